//! Whether a request entered the fleet at this gateway is said by its socket alone, for every event there is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::{Client, DEADLINE, Gateway, Upstream, api};
use std::net::SocketAddr;
use tokio::net::TcpSocket;
use weir_event::{Protocol, Reason};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
/// The preface of HTTP/2, empty settings, and a head that is no field.
const HTTP2_MALFORMED: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x02\x01\x05\0\0\0\x01\x40\0";
/// A client that is no gateway.
const STRANGER: &str = "127.0.0.1:0";
/// One that the configurations below call a gateway.
const PEER: &str = "127.0.0.2:0";

fn config(upstream: SocketAddr, spec: &str) -> String {
    let more = format!(
        "
---
apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {{name: fleet}}
spec: {spec}
"
    );
    api(upstream, &more)
}

/// A connection from an address of the client's choice.
fn connect(from: &str, to: SocketAddr) -> Client {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connect = async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(from.parse().unwrap()).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    };
    let stream = runtime.block_on(connect);
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    Client { stream }
}

#[test]
fn what_comes_from_a_peer_gateway_entered_elsewhere() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::start(&config(upstream.address, "{peerGateways: [10.0.0.0/8, 127.0.0.2]}"));
    for (from, entry) in [(PEER, false), (STRANGER, true)] {
        let mut client = connect(from, gateway.address);
        for _ in 0..2 {
            client.send(GET);
            client.read_until("ok");
            assert_eq!(gateway.event().entry, entry, "{from}");
        }
        // A head that is refused by the pipeline, and ones that never come there.
        for (bytes, reason) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], Reason::MalformedRequest),
            (b"nonsense\r\n\r\n", Reason::MalformedRequest),
            (HTTP2_MALFORMED, Reason::MalformedRequest),
        ] {
            let mut client = connect(from, gateway.address);
            client.send(bytes);
            // Its answer has begun: a client that closes before is one that has left.
            client.stream.peek(&mut [0]).unwrap();
            client.stream.shutdown(std::net::Shutdown::Write).unwrap();
            client.read_to_end();
            let event = gateway.event();
            assert_eq!((event.entry, event.reason), (entry, reason), "{from} {}", String::from_utf8_lossy(bytes));
        }
    }
}

/// Also where its headers are believed, which say who the client is and not where the request entered.
#[test]
fn no_header_of_a_stranger_takes_its_requests_out_of_the_count() {
    let upstream = Upstream::answering(OK);
    let fleet = "{peerGateways: [127.0.0.2], trustedPeers: [127.0.0.0/8]}";
    let gateway = Gateway::start(&config(upstream.address, fleet));
    // What this gateway sends to its upstream: its peer gateways get the same.
    let mut client = connect(PEER, gateway.address);
    client.send(b"GET / HTTP/1.1\r\nhost: test\r\nx-forwarded-for: 192.0.2.1\r\n\r\n");
    client.read_until("ok");
    assert!(!gateway.event().entry);
    let sent = upstream.request();
    assert!(["via:", "traceparent:", "x-request-id:"].iter().all(|name| sent.contains(name)), "{sent}");

    let mut client = connect(STRANGER, gateway.address);
    client.send(sent.as_bytes());
    client.read_until("ok");
    let event = gateway.event();
    assert_eq!((event.entry, event.client.to_string()), (true, "192.0.2.1".to_owned()));
}

#[test]
fn of_http2_too() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::start(&config(upstream.address, "{peerGateways: [127.0.0.2/32]}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (from, entry) in [(PEER, false), (STRANGER, true)] {
        let ask = async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(from.parse().unwrap()).unwrap();
            let stream = socket.connect(gateway.address).await.unwrap();
            let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
            let connection = tokio::spawn(connection);
            let request = http::Request::get("http://test/").body(()).unwrap();
            let (response, _) = client.send_request(request, true).unwrap();
            assert_eq!(response.await.unwrap().status(), 200);
            connection.abort();
        };
        runtime.block_on(async { tokio::time::timeout(DEADLINE, ask).await }).unwrap();
        let event = gateway.event();
        assert_eq!((event.entry, event.protocol), (entry, Protocol::Http2), "{from}");
    }
}

/// By the configuration that serves the request, as all else, and not by that of the time of the connection.
#[test]
fn a_reload_counts_for_connections_that_are_kept() {
    let upstream = Upstream::answering(OK);
    let mut gateway = Gateway::start(&config(upstream.address, "{peerGateways: []}"));
    let mut client = connect(PEER, gateway.address);
    for (fleet, entry) in [("[]", true), ("[127.0.0.2]", false), ("[10.0.0.0/8]", true)] {
        gateway.reload(&config(upstream.address, &format!("{{peerGateways: {fleet}}}")));
        client.send(GET);
        client.read_until("ok");
        assert_eq!(gateway.event().entry, entry, "{fleet}");
    }
}
