//! The form of requests over HTTP/2 (RFC 9113 8), and whom it costs what when one of them breaks it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::http2::{GET, PREFACE, SETTINGS, ask, connect, frame, get, head, run};
use common::{Client, Gateway, Upstream};
use http::{Request, StatusCode};
use std::io::Read;
use weir_event::{Outcome, Reason};

const PROTOCOL_ERROR: &[u8] = &[0, 0, 0, 1];
const REFUSED_STREAM: &[u8] = &[0, 0, 0, 7];
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The fields of a GET, some of them others.
fn with(other: &[(&'static str, &'static str)]) -> Vec<u8> {
    let value = |name| other.iter().find(|(theirs, _)| *theirs == name).map(|(_, value)| *value);
    let pseudo = GET.iter().map(|(name, usual)| (*name, value(*name).unwrap_or(usual)));
    let more = other.iter().filter(|(name, _)| !GET.iter().any(|(usual, _)| usual == name)).copied();
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
        let [refused, served] = events;
        assert_eq!((refused.reason, served.status), (Reason::MalformedRequest, 200), "{text}");
        let wanted = if kind == 3 { (0, Outcome::Cancelled) } else { (400, Outcome::Completed) };
        assert_eq!((refused.status, refused.outcome), wanted, "what was sent: {text}");
        if kind == 3 {
            assert_eq!(payload, PROTOCOL_ERROR, "{text}");
        }
    }
    assert!(gateway.events().is_empty());
}

/// RFC 9113 8.7: a stream beyond the limit was not looked at, and its client may ask again.
#[test]
fn a_stream_beyond_the_limit_is_refused_alone() {
    let held = Upstream::after_one_head(|stream| drop(stream.read_to_end(&mut Vec::new())));
    let gateway = Gateway::before(held.address);
    let mut client = begun(&gateway);
    let streams = (0..129).flat_map(|number| frame(1, 5, 2 * number + 1, &head(&GET)));
    client.send(&streams.collect::<Vec<_>>());
    assert_eq!(next(&mut client), (3, 257, REFUSED_STREAM.to_vec()));
    (0..128).for_each(|_| drop(held.request()));
    drop(client);
    let mut reported: Vec<_> = std::iter::repeat_with(|| gateway.event())
        .take(129)
        .map(|event| (event.reason.as_str(), event.status, event.outcome))
        .collect();
    reported.sort_unstable_by_key(|(reason, ..)| *reason == "overloaded");
    assert_eq!(reported[..128], [("client_closed", 499, Outcome::Cancelled); 128]);
    assert_eq!(reported[128], ("overloaded", 0, Outcome::Cancelled));
}

/// What a request that the gateway refuses over HTTP/2 leaves: an event, no status that was not sent, and no request that
/// its upstream could take for whole. `frames` are those of stream 1.
fn is_refused(frames: &[u8], reasons: &[Reason], case: &str) {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    let mut client = begun(&gateway);
    client.send(frames);
    // A reset, the end of the connection, or an answer.
    let (kind, _, payload) = next(&mut client);
    assert!(kind == 3 || kind == 7 || kind == 1 && payload.starts_with(&[0x8c]), "{kind} {payload:?}: {case}");
    drop(client);
    let event = gateway.event();
    assert!(reasons.contains(&event.reason), "{}: {case}", event.reason);
    let wanted = if kind == 1 { (400, Outcome::Completed) } else { (0, Outcome::Cancelled) };
    assert_eq!((event.status, event.outcome), wanted, "{case}");
    // What had reached the upstream would have before this.
    gateway.get("/next");
    let seen = upstream.request();
    assert!(seen.starts_with("GET /next "), "{seen}: {case}");
    assert!(upstream.try_request().is_none() && gateway.event().status == 200 && gateway.events().is_empty(), "{case}");
}

/// Downgraded to HTTP/1.1, a length decides where the request ends: one that is not true never ends a request (RFC 9113
/// 8.1.1).
#[test]
fn a_length_that_disagrees_with_the_data_is_never_a_whole_request() {
    let malformed = [Reason::MalformedRequest, Reason::MalformedRequestBody];
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    for (lengths, data) in [
        (&["10"][..], Some("hello")),
        (&["3"], Some("hello")),
        (&["0"], Some("hello")),
        (&["0"], Some(smuggled)),
        (&["5", "5"], Some("hello")),
        (&["5", "0"], Some("hello")),
        (&["0", "5"], Some("hello")),
        (&["5, 5"], Some("hello")),
        (&["+5"], Some("hello")),
        (&["-5"], Some("hello")),
        (&["0x5"], Some("hello")),
        (&["18446744073709551621"], Some("hello")),
        (&[""], Some("hello")),
        // The head is the end of the request.
        (&["5"], None),
        (&["5", "5"], None),
        (&["+0"], None),
        (&[""], None),
    ] {
        let lines = lengths.iter().map(|length| ("content-length", *length)).collect::<Vec<_>>();
        for method in ["POST", "GET"] {
            let fields = with(&[&[(":method", method)], &lines[..]].concat());
            let frames = match data {
                Some(data) => [frame(1, 4, 1, &fields), frame(0, 1, 1, data.as_bytes())].concat(),
                None => frame(1, 5, 1, &fields),
            };
            is_refused(&frames, &malformed, &format!("{method} {lengths:?} {data:?}"));
        }
    }
}

/// The same in pieces: the request has begun to be forwarded when it breaks its word.
#[test]
fn a_length_that_turns_out_to_be_wrong_ends_the_request() {
    for data in ["hello worl", "hello worldly"] {
        let (tell, told) = std::sync::mpsc::channel();
        let upstream = Upstream::after_one_head(move |stream| {
            common::read_until(stream, "hello");
            tell.send(None).unwrap();
            let mut rest = Vec::new();
            drop(stream.read_to_end(&mut rest));
            tell.send(Some(rest)).unwrap();
        });
        let gateway = Gateway::before(upstream.address);
        let mut client = begun(&gateway);
        client.send(&frame(1, 4, 1, &with(&[(":method", "POST"), ("content-length", "11")])));
        client.send(&frame(0, 0, 1, &data.as_bytes()[..5]));
        assert_eq!(told.recv_timeout(common::DEADLINE).unwrap(), None);
        client.send(&frame(0, 1, 1, &data.as_bytes()[5..]));
        let rest = told.recv_timeout(common::DEADLINE).unwrap().unwrap();
        assert!(5 + rest.len() < 11, "{}", rest.escape_ascii());
        let (kind, _, payload) = next(&mut client);
        assert_eq!((kind, &payload[..]), (3, PROTOCOL_ERROR), "{data}");
        let event = gateway.event();
        let reported = (event.reason, event.status, event.attempts[0].outcome);
        assert_eq!(reported, (Reason::MalformedRequestBody, 0, Reason::MalformedRequestBody), "{data}");
    }
}

/// What would be more than one line of HTTP/1.1 never reaches an upstream.
#[test]
fn a_field_that_is_more_than_one_line_is_not_forwarded() {
    let split = "a\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    for (name, value) in [
        ("x\r\ny", "b"),
        ("x\ry", "b"),
        ("x\ny", "b"),
        ("x\0y", "b"),
        ("x:y", "b"),
        ("x: y\r\nz", "b"),
        (":x", "b"),
        ("x y", "b"),
        (" x", "b"),
        ("", "b"),
        ("X-Capital", "b"),
        ("Transfer-Encoding", "chunked"),
        ("transfer-encoding", "chunked"),
        ("connection", "x-request-id"),
        ("upgrade", "websocket"),
        ("x", split),
        ("x", "a\rb"),
        ("x", "a\nb"),
        ("x", "a\0b"),
        (":method", "GET / HTTP/1.1\r\nx: y\r\n\r\nGET"),
        (":method", "G T"),
        (":method", ""),
        (":path", "/ HTTP/1.1\r\nx: y"),
        (":path", "/ HTTP/1.1"),
        (":path", "/\0"),
        (":path", "http://b/"),
        (":authority", "a\r\nx: y"),
        (":authority", "a b"),
        (":authority", "u:p@a"),
        (":scheme", "http://b/?"),
        ("host", split),
        ("cookie", "a\r\nb"),
    ] {
        let frames = frame(1, 5, 1, &with(&[(name, value)]));
        is_refused(&frames, &[Reason::MalformedRequest], &format!("{name:?} {value:?}"));
    }
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

/// RFC 9110 8.6: servers that insist on a length answer 411 otherwise.
#[test]
fn a_request_that_may_have_content_and_has_none_says_so() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    let cases = [("POST", Some("0")), ("PUT", Some("0")), ("PATCH", Some("0")), ("DELETE", None), ("GET", None)];
    for (method, length) in cases {
        let mut client = begun(&gateway);
        client.send(&frame(1, 5, 1, &with(&[(":method", method)])));
        assert_eq!(next(&mut client).0, 1, "{method}");
        let seen = upstream.request();
        assert!(seen.starts_with(method), "{seen}");
        let framing = (common::header(&seen, "content-length"), common::header(&seen, "transfer-encoding"));
        assert_eq!(framing, (length, None), "{method}");
    }
}
