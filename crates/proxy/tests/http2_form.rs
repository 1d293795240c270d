//! The form of requests over HTTP/2 (RFC 9113 8), and whom it costs what when one of them breaks it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::http2::{GET, PREFACE, SETTINGS, ask, connect, frame, get, head, run};
use common::{Client, Gateway, Upstream};
use http::{Request, StatusCode};
use std::io::Read;
use weir_event::{Outcome, Reason};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The fields of a GET, some of them others.
fn with(other: &[(&'static str, &'static str)]) -> Vec<u8> {
    let value = |name| other.iter().find(|(theirs, _)| *theirs == name).map(|(_, value)| *value);
    let pseudo = GET.iter().map(|(name, usual)| (*name, value(*name).unwrap_or(usual)));
    let more = other.iter().filter(|(name, _)| !name.starts_with(':')).copied();
    head(&pseudo.chain(more).collect::<Vec<_>>())
}

/// The next frame that is not one of the connection: its kind, its stream, its payload.
fn next(client: &mut Client) -> (u8, u32, Vec<u8>) {
    loop {
        let mut header = [0; 9];
        client.stream.read_exact(&mut header).unwrap();
        let len = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; len as usize];
        client.stream.read_exact(&mut payload).unwrap();
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        // SETTINGS, PING and WINDOW_UPDATE.
        if !matches!(header[3], 4 | 6 | 8) {
            return (header[3], stream, payload);
        }
    }
}

fn begun(gateway: &Gateway) -> Client {
    let mut client = gateway.connect();
    client.send(&[PREFACE, &SETTINGS].concat());
    client
}

/// Refused, that stream alone: by a 400 or by a reset. The connection goes on.
#[test]
fn a_malformed_request_costs_its_own_stream() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    for fields in [
        with(&[("x-a", " b")]),
        with(&[("x-a", "b\t")]),
        with(&[(":path", "?q")]),
        with(&[(":path", "*")]),
        with(&[(":scheme", "")]),
        with(&[(":authority", "a:x")]),
        with(&[(":authority", ":80")]),
        with(&[("host", "b")]),
        with(&[("host", "a:81")]),
    ] {
        let text = fields.escape_ascii().to_string();
        let mut client = begun(&gateway);
        client.send(&frame(1, 5, 1, &fields));
        let (kind, stream, payload) = next(&mut client);
        assert!(stream == 1 && (kind == 3 || kind == 1 && payload.starts_with(&[0x8c])), "{kind} {payload:?}: {text}");
        if kind == 1 {
            // Its body.
            assert_eq!(next(&mut client).0, 0);
        }
        client.send(&frame(1, 5, 3, &head(&GET)));
        let (kind, stream, _) = next(&mut client);
        assert_eq!((kind, stream), (1, 3), "{text}");
        drop(client);
        let mut events = [gateway.event(), gateway.event()];
        events.sort_by_key(|event| event.reason == Reason::None);
        assert_eq!((events[0].reason, events[1].status), (Reason::MalformedRequest, 200), "{text}");
        let reported = if kind == 3 { (0, Outcome::Cancelled) } else { (events[0].status, Outcome::Completed) };
        assert!(kind == 3 || reported == (events[0].status, events[0].outcome), "{text}");
    }
    assert!(gateway.events().is_empty());
}

/// Compared as authorities are, not as text (RFC 9113 8.3.1).
#[test]
fn a_host_may_be_spelt_otherwise_than_the_authority() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    for (authority, host) in [("api.example", "API.example"), ("a", "a:80"), ("A:80", "a"), ("a:", "a")] {
        run(async {
            let (mut client, _) = connect(gateway.address).await;
            let request = Request::get(format!("http://{authority}/")).header("host", host).body(()).unwrap();
            assert_eq!(ask(&mut client, request).await.status(), StatusCode::OK, "{authority} {host}");
        });
    }
}

#[test]
fn a_hundred_fields_are_the_limit_over_both_protocols() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    for (count, status) in [(100, 200), (101, 431)] {
        let mut request = get(gateway.address, "/");
        let mut text = String::from("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n");
        for number in 0..count {
            let name: http::HeaderName = format!("x-{number}").parse().unwrap();
            request.headers_mut().insert(name, http::HeaderValue::from_static("1"));
            if number >= 2 {
                text += &format!("x-{number}: 1\r\n");
            }
        }
        run(async {
            let (mut client, _) = connect(gateway.address).await;
            assert_eq!(ask(&mut client, request).await.status(), status, "{count} over HTTP/2");
        });
        let answer = gateway.exchange(&(text + "\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{count}: {answer}");
    }
}

/// RFC 9110 8.6: clients reset a stream whose head promises what cannot come.
#[test]
fn an_answer_without_content_has_no_length() {
    let upstream = Upstream::answering("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n");
    let gateway = Gateway::before(upstream.address);
    run(async {
        let (mut client, _) = connect(gateway.address).await;
        let response = ask(&mut client, get(gateway.address, "/")).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert!(!response.headers().contains_key("content-length"), "{response:?}");
        assert!(response.headers().contains_key("date"), "{response:?}");
    });
}

/// A field that HPACK's decoder takes and HTTP does not ends the whole connection, in the library. Everyone on it is
/// recorded, the guilty request and the innocent ones apart, and nobody with a status that was never sent.
#[test]
fn who_dies_with_the_connection_is_distinguished_from_who_broke_it() {
    let held = Upstream::after_one(|stream| drop(stream.read_to_end(&mut Vec::new())));
    let gateway = Gateway::before(held.address);
    let mut client = begun(&gateway);
    client.send(&frame(1, 5, 1, &head(&GET)));
    held.request();
    client.send(&frame(1, 5, 3, &with(&[("x-a", "b\0c")])));
    let mut rest = Vec::new();
    drop(client.stream.read_to_end(&mut rest));
    let mut reported: Vec<_> = [gateway.event(), gateway.event()]
        .map(|event| (event.reason.as_str(), event.status, event.outcome.as_str()))
        .into();
    reported.sort_unstable();
    assert_eq!(reported, [("connection_broken", 0, "cancelled"), ("malformed_request", 0, "cancelled")]);
    assert!(gateway.events().is_empty());
}
