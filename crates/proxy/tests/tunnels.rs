//! WebSockets over HTTP/1.1: what opens a tunnel, what passes through it, and what is reported of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::{Gateway, Upstream, api, header, timeouts};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;
use weir_event::{Exchange, Outcome, Reason, Turn};

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: chat\r\n\r\n";
const OPEN: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// A text message of 125 bytes, as a client masks it (RFC 6455 5.2).
const MESSAGE: usize = 2 + 4 + 125;

/// Opens, and sends back what comes until its end; then it ends.
fn echo() -> Upstream {
    Upstream::after_one(|stream| {
        stream.write_all(OPEN.as_bytes()).unwrap();
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(read) => stream.write_all(&buffer[..read]).unwrap(),
            }
        }
        drop(stream.shutdown(Shutdown::Both));
    })
}

fn attr(event: &Exchange, name: &str) -> Option<String> {
    let found = event.attrs.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap())
}

#[test]
fn bytes_pass_both_ways_until_one_side_ends() {
    let upstream = echo();
    let gateway = Gateway::before(upstream.address);
    let mut client = gateway.connect();
    // The first message may come with the handshake.
    client.send(&[HANDSHAKE.as_bytes(), &[7; MESSAGE]].concat());
    let answer = client.read_until("\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
    assert_eq!(header(&answer, "connection"), Some("Upgrade"));
    assert_eq!(header(&answer, "upgrade"), Some("websocket"));
    assert_eq!(header(&answer, "sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!((header(&answer, "content-length"), header(&answer, "transfer-encoding")), (None, None));
    let request = upstream.request().to_ascii_lowercase();
    assert!(request.contains("connection: upgrade\r\n") && request.contains("upgrade: websocket\r\n"), "{request}");
    assert!(request.contains("sec-websocket-protocol: chat\r\n"), "{request}");
    let mut echoed = [0; MESSAGE];
    client.stream.read_exact(&mut echoed).unwrap();
    assert_eq!(echoed, [7; MESSAGE]);
    for byte in 0..50 {
        client.send(&[byte; MESSAGE]);
        client.stream.read_exact(&mut echoed).unwrap();
        assert_eq!(echoed, [byte; MESSAGE]);
    }
    assert!(gateway.events().is_empty(), "it is open");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read_to_end(), "");
    let event = gateway.event();
    assert_eq!((event.status, event.reason, event.outcome), (101, Reason::None, Outcome::Completed));
    assert_eq!((event.bytes_in, event.bytes_out), (51 * MESSAGE as u64, 51 * MESSAGE as u64));
    assert_eq!(attr(&event, "tunnel.closed_by").as_deref(), Some("client"));
    let open: u128 = attr(&event, "tunnel.duration_us").unwrap().parse().unwrap();
    // Its time is the handshake's: a tunnel of hours is no slow request.
    let times = [Turn::Gateway, Turn::Upstream, Turn::Client].map(|turn| event.meter.spent(turn));
    assert_eq!(times.iter().sum::<Duration>(), event.total());
    assert!(open > 0 && event.attempts.len() == 1);
}

#[test]
fn a_service_that_ends_a_tunnel_is_named() {
    let upstream = Upstream::after_one(|stream| {
        stream.write_all(format!("{OPEN}bye").as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let gateway = Gateway::before(upstream.address);
    let mut client = gateway.connect();
    client.send(HANDSHAKE.as_bytes());
    assert!(client.read_to_end().ends_with("\r\n\r\nbye"));
    drop(client);
    let event = gateway.event();
    assert_eq!((event.status, event.outcome, event.bytes_out), (101, Outcome::Completed, 3));
    assert_eq!(attr(&event, "tunnel.closed_by").as_deref(), Some("service"));
}

#[test]
fn a_tunnel_that_is_idle_is_closed() {
    let upstream = echo();
    let gateway = Gateway::start(&(api(upstream.address, "") + &timeouts(1, 60)));
    let mut client = gateway.connect();
    client.send(HANDSHAKE.as_bytes());
    assert!(client.read_to_end().starts_with("HTTP/1.1 101 "));
    let event = gateway.event();
    assert_eq!((event.status, event.reason), (101, Reason::UpstreamIdleTimeout));
    assert_eq!(attr(&event, "tunnel.closed_by").as_deref(), Some("gateway"));
}

#[test]
fn a_client_that_breaks_off_is_named() {
    let upstream = echo();
    let gateway = Gateway::before(upstream.address);
    let mut client = gateway.connect();
    client.send(HANDSHAKE.as_bytes());
    client.read_until("\r\n\r\n");
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let event = gateway.event();
    assert_eq!((event.reason, event.outcome), (Reason::ClientClosed, Outcome::Cancelled));
    assert_eq!(attr(&event, "tunnel.closed_by").as_deref(), Some("client"));
}

/// A client cannot have the gateway take for a tunnel what its service reads as requests.
#[test]
fn what_is_no_handshake_opens_nothing() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for handshake in [
        HANDSHAKE.replace("version: 13", "version: 8"),
        HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"),
        HANDSHAKE.replace("connection: keep-alive, Upgrade", "connection: keep-alive"),
        HANDSHAKE.replace("upgrade: websocket", "upgrade: websocket, h2c"),
        HANDSHAKE.replace("GET ", "PUT "),
        HANDSHAKE.to_owned(),
    ] {
        let upstream = Upstream::answering(ok);
        let gateway = Gateway::before(upstream.address);
        let answers = gateway.exchange(&format!("{handshake}{smuggled}"));
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{handshake}: {answers}");
        let first = upstream.request().to_ascii_lowercase();
        assert_eq!(first.contains("upgrade: "), handshake == HANDSHAKE, "{first}");
        assert!(upstream.request().starts_with("GET /smuggled "));
        let paths = [gateway.event(), gateway.event()].map(|event| event.target.path().to_owned());
        assert_eq!(paths, ["/chat", "/smuggled"]);
    }
}

/// Nor can a service open a tunnel that nobody asked for.
#[test]
fn a_101_that_is_no_answer_is_refused() {
    let wrong = [
        (HANDSHAKE.to_owned(), OPEN.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
        (HANDSHAKE.to_owned(), OPEN.replace("upgrade: websocket", "upgrade: other")),
        (HANDSHAKE.replace("version: 13", "version: 8"), OPEN.to_owned()),
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), OPEN.to_owned()),
    ];
    for (handshake, answer) in wrong {
        let upstream = Upstream::answering(answer.clone().leak());
        let gateway = Gateway::before(upstream.address);
        let mut client = gateway.connect();
        client.send(handshake.as_bytes());
        let refused = client.read_until("}");
        assert!(refused.starts_with("HTTP/1.1 502 "), "{handshake}{answer}{refused}");
        assert_eq!(gateway.event().reason, Reason::UpstreamProtocolError);
    }
}
