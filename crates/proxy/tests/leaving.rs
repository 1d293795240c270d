//! Clients that leave: when it is noticed, and what is recorded of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::http2::{GET, PREFACE, SETTINGS, frame, head};
use common::{DEADLINE, Gateway, Handler, Upstream};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use weir_event::{Exchange, Outcome, Reason, Side};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const ASK: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

fn reported(event: &Exchange) -> (u16, Reason, Side, Outcome) {
    (event.status, event.reason, event.side(), event.outcome)
}

/// Answers `begun` and no more, and tells when the gateway has ended the connection.
fn holding(begun: &'static str) -> (Upstream, Receiver<()>) {
    let (tell, ended) = channel();
    let handler: Handler = Box::new(move |stream, heads| {
        drop(heads.send(common::read_request(stream).unwrap()));
        stream.write_all(begun.as_bytes()).unwrap();
        drop(stream.read_to_end(&mut Vec::new()));
        tell.send(()).unwrap();
    });
    (Upstream::new(vec![handler]), ended)
}

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    Closes,
    /// It may still read. It has left all the same, as for nginx.
    HalfCloses,
}

/// Bytes behind a request do not hide that its client has left: the empty line of old clients, a pipelined request.
#[test]
fn a_client_that_leaves_bytes_behind_its_request_has_left() {
    const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let empty_line = "\r\n";
    for (first, behind, later) in [
        (ASK, "", ""),
        (ASK, empty_line, ""),
        (POST, empty_line, ""),
        (ASK, ASK, ""),
        (ASK, "", empty_line),
        (ASK, "", ASK),
        (ASK, empty_line, ASK),
    ] {
        for leaves in [Leaves::Closes, Leaves::HalfCloses] {
            for (begun, status) in [("", 499), (half, 200)] {
                let (upstream, ended) = holding(begun);
                let gateway = Gateway::before(upstream.address);
                let mut client = gateway.connect();
                client.send([first, behind].concat().as_bytes());
                upstream.request();
                if status == 200 {
                    client.read_until("half");
                }
                client.send(later.as_bytes());
                match leaves {
                    Leaves::Closes => drop(client),
                    Leaves::HalfCloses => {
                        client.stream.shutdown(Shutdown::Write).unwrap();
                        assert_eq!(client.read_to_end(), "");
                    }
                }
                let event = gateway.event();
                let case = format!("{first:?} {behind:?} {later:?} {leaves:?} {status}");
                let wanted = (status, Reason::ClientClosed, Side::Downstream, Outcome::Cancelled);
                assert_eq!(reported(&event), wanted, "{case}");
                // The upstream that kept it waiting is in the record, and is not to blame.
                let attempt = (event.attempts[0].address, event.attempts[0].outcome);
                let outcome = if status == 499 { Reason::ClientClosed } else { Reason::None };
                assert_eq!(attempt, (Some(upstream.address), outcome), "{case}");
                ended.recv_timeout(DEADLINE).expect("the upstream's connection is dropped");
                assert!(gateway.events().is_empty(), "what nobody has looked at is no request: {case}");
            }
        }
    }
}

/// The same over HTTP/2, where a frame is behind the request.
#[test]
fn a_client_of_http2_that_leaves_a_frame_behind_has_left() {
    let (upstream, ended) = holding("");
    let gateway = Gateway::before(upstream.address);
    let mut client = gateway.connect();
    client.send(&[PREFACE, &SETTINGS, &frame(1, 5, 1, &head(&GET))].concat());
    upstream.request();
    client.send(&frame(6, 0, 0, &[0; 8]));
    drop(client);
    let wanted = (499, Reason::ClientClosed, Side::Downstream, Outcome::Cancelled);
    assert_eq!(reported(&gateway.event()), wanted);
    ended.recv_timeout(DEADLINE).expect("the upstream's connection is dropped");
}

/// What is read ahead is bounded: the rest stays with the client, and is served in its turn.
#[test]
fn who_pipelines_without_end_is_held_back() {
    const MOST: usize = 64 << 20;
    let (go, goes) = channel::<()>();
    let goes = std::sync::Mutex::new(goes);
    let held: Handler = Box::new(move |stream, heads| {
        drop(heads.send(common::read_request(stream).unwrap()));
        goes.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        while stream.write_all(OK.as_bytes()).is_ok() && common::read_request(stream).is_some() {}
    });
    let upstream = Upstream::new(vec![held]);
    let gateway = Gateway::before(upstream.address);
    let mut client = gateway.connect();
    client.send(ASK.as_bytes());
    upstream.request();
    client.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let requests = ASK.repeat(1000);
    let mut sent = 0;
    // The sockets take some megabytes.
    while sent < MOST {
        match client.stream.write(&requests.as_bytes()[sent % requests.len()..]) {
            Ok(len) => sent += len,
            Err(_) => break,
        }
    }
    assert!(sent < MOST, "{sent} bytes were taken");
    go.send(()).unwrap();
    for _ in 0..1000 {
        client.read_until("\r\n\r\nok");
        assert_eq!(gateway.event().status, 200);
    }
}

/// The end of the client comes with its second request, behind a response that it has had: the connection ends before
/// anything is done for it.
#[test]
fn a_client_that_closes_with_its_next_request_has_left() {
    let (began, begun) = channel();
    let upstream = Upstream::new(vec![Box::new(move |stream, heads| {
        drop(heads.send(common::read_request(stream).unwrap()));
        stream.write_all(OK.as_bytes()).unwrap();
        drop(common::read_request(stream));
        began.send(()).unwrap();
    })]);
    let gateway = Gateway::before(upstream.address);
    let mut client = gateway.connect();
    client.send(b"GET /first HTTP/1.1\r\nhost: a\r\n\r\n");
    client.read_until("ok");
    client.send(b"GET /second HTTP/1.1\r\nhost: a\r\n\r\n");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read_to_end(), "");
    assert_eq!(reported(&gateway.event()), (200, Reason::None, Side::None, Outcome::Completed));
    let event = gateway.event();
    assert_eq!(reported(&event), (499, Reason::ClientClosed, Side::Downstream, Outcome::Cancelled));
    assert_eq!(event.target.path(), "/second");
    begun.recv_timeout(DEADLINE).expect("the upstream's connection is dropped");
}

#[test]
fn a_client_that_leaves_in_its_upload_has_left() {
    let upstream = Upstream::new(vec![Box::new(|stream, _| drop(common::read_request(stream)))]);
    let gateway = Gateway::before(upstream.address);
    let mut client = gateway.connect();
    client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nten bytes.");
    client.stream.shutdown(Shutdown::Write).unwrap();
    client.read_to_end();
    assert_eq!(gateway.event().reason, Reason::ClientClosed);
}

/// A part of a head was a request; an empty line was none.
#[test]
fn a_client_that_leaves_in_its_head_has_left() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    let whole = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    for (sent, requests) in [("", 0), ("\r\n", 0), (whole, 1)] {
        for (part, of_a_head) in [
            ("G", true),
            ("GET / HTTP/1.1\r\n", true),
            ("GET / HTTP/1.1\r\nhost: a\r\nx", true),
            ("\r\n", false),
            ("", false),
        ] {
            let mut client = gateway.connect();
            client.send(sent.as_bytes());
            for _ in 0..requests {
                client.read_until("ok");
                assert_eq!(gateway.event().reason, Reason::None);
            }
            client.send(part.as_bytes());
            client.stream.shutdown(Shutdown::Write).unwrap();
            client.read_to_end();
            // Of a connection without an event the next request shows that none came.
            let events = if of_a_head { vec![gateway.event()] } else { Vec::new() };
            gateway.get("/next");
            let next = gateway.event();
            assert_eq!(next.target.path(), "/next", "{sent:?} {part:?}");
            for event in events {
                assert_eq!(
                    (event.reason, event.outcome),
                    (Reason::ClientClosed, Outcome::Cancelled),
                    "{sent:?} {part:?}"
                );
                assert!(event.status == 499 && event.method_original.is_empty(), "{sent:?} {part:?}");
            }
        }
    }
}
