//! WebSockets over HTTP/1.1 and HTTP/2: what opens a tunnel, what passes through it, and what is reported of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use common::{Gateway, Upstream, api, header, http2, timeouts};
use h2::client::SendRequest;
use h2::ext::Protocol;
use http::Request;
use sha1::{Digest, Sha1};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;
use weir_event::Protocol::Http2 as HTTP2;
use weir_event::{Exchange, Method, Outcome, Reason, Turn};

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
    assert_eq!((event.status, event.reason), (101, Reason::None), "the request was answered");
    assert_eq!(attr(&event, "tunnel.closed_by").as_deref(), Some("gateway"));
    assert_eq!(attr(&event, "tunnel.reason").as_deref(), Some("upstream_idle_timeout"));
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

/// A tunnel that a service breaks off, or a drain, is no failed request.
#[test]
fn a_tunnel_that_breaks_off_says_why() {
    let upstream = Upstream::after_one(|stream| {
        stream.write_all(OPEN.as_bytes()).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let gateway = Gateway::before(upstream.address);
    let mut client = gateway.connect();
    client.send(HANDSHAKE.as_bytes());
    client.read_until("\r\n\r\n");
    client.send(b"x");
    client.read_to_end();
    let event = gateway.event();
    assert_eq!((event.status, event.reason), (101, Reason::None));
    assert_eq!(attr(&event, "tunnel.closed_by").as_deref(), Some("service"));
    assert_eq!(attr(&event, "tunnel.reason").as_deref(), Some("response_incomplete"));
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

/// What a client of HTTP/2 asks for a WebSocket by (RFC 8441 5.1).
fn extended_connect(address: SocketAddr, more: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method("CONNECT").uri(format!("http://{address}/chat?room=1"));
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    let mut request = request.body(()).unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    request
}

const OVER_HTTP2: [(&str, &str); 2] = [("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat")];

/// Answers the key that comes, and sends back what comes then.
fn handshaking(status: &'static str) -> Upstream {
    Upstream::new(vec![Box::new(move |stream, heads| {
        let Some(head) = common::read_request(stream) else { return };
        let key = header(&head, "sec-websocket-key").unwrap_or_default().to_owned();
        drop(heads.send(head));
        let digest = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
        let accept = STANDARD.encode(digest);
        let answer = format!(
            "HTTP/1.1 {status}\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n\
             sec-websocket-protocol: chat\r\n\r\n"
        );
        drop(stream.write_all(answer.as_bytes()));
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        drop(stream.shutdown(Shutdown::Both));
    })])
}

#[test]
fn a_tunnel_over_http2_is_the_handshake_that_it_stands_for() {
    let upstream = handshaking("101 Switching Protocols");
    let gateway = Gateway::before(upstream.address);
    http2::run(async {
        let (client, _connection) = http2::connect(gateway.address).await;
        let mut client = client.ready().await.unwrap();
        // The settings of the gateway are there with its first answer.
        assert_eq!(http2::ask(&mut client, http2::get(gateway.address, "/%zz")).await.status(), 400);
        assert!(client.is_extended_connect_protocol_enabled());
        let request = extended_connect(gateway.address, &OVER_HTTP2);
        let (answer, mut send) = client.send_request(request, false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        let field = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(field("sec-websocket-protocol").as_deref(), Some("chat"));
        let none = ["upgrade", "connection", "sec-websocket-accept", "content-length"].map(field);
        assert_eq!(none, [const { None }; 4]);
        let mut recv = answer.into_body();
        for byte in 0..50 {
            send.send_data(vec![byte; MESSAGE].into(), false).unwrap();
            let mut echoed = Vec::new();
            while echoed.len() < MESSAGE {
                let data = recv.data().await.unwrap().unwrap();
                recv.flow_control().release_capacity(data.len()).unwrap();
                echoed.extend_from_slice(&data);
            }
            assert_eq!(echoed, [byte; MESSAGE]);
        }
        send.send_data(Bytes::new(), true).unwrap();
        assert_eq!(http2::body(&mut recv).await.unwrap(), b"", "both ways have ended");
    });
    assert_eq!(gateway.event().status, 400);
    let request = upstream.request();
    assert!(request.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{request}");
    assert_eq!(header(&request, "upgrade"), Some("websocket"));
    assert_eq!(header(&request, "connection"), Some("Upgrade"));
    assert!(header(&request, "content-length").is_none() && header(&request, "transfer-encoding").is_none());
    let event = gateway.event();
    assert_eq!((event.status, event.upstream_status, event.reason), (200, 101, Reason::None));
    assert_eq!((event.outcome, event.protocol, event.method), (Outcome::Completed, HTTP2, Method::Get));
    assert_eq!((event.bytes_in, event.bytes_out), (50 * MESSAGE as u64, 50 * MESSAGE as u64));
    assert_eq!(attr(&event, "tunnel.closed_by").as_deref(), Some("client"));
    assert!(attr(&event, "tunnel.duration_us").is_some());
}

/// Success would tell the client that the tunnel is open.
#[test]
fn a_tunnel_over_http2_is_open_only_where_the_service_says_so() {
    for (status, told, reason) in [
        ("200 OK\r\ncontent-length: 0", 502, Reason::UpstreamProtocolError),
        ("403 Forbidden\r\ncontent-length: 0", 403, Reason::None),
        ("101 Switching Protocols\r\nsec-websocket-accept: AAAA", 502, Reason::UpstreamProtocolError),
    ] {
        let upstream = handshaking(status);
        let gateway = Gateway::before(upstream.address);
        http2::run(async {
            let (client, _connection) = http2::connect(gateway.address).await;
            let mut client = client.ready().await.unwrap();
            let request = extended_connect(gateway.address, &OVER_HTTP2);
            let (answer, _send) = client.send_request(request, false).unwrap();
            assert_eq!(answer.await.unwrap().status(), told, "{status}");
        });
        let event = gateway.event();
        assert_eq!((event.status, event.reason), (told, reason), "{status}");
        assert_eq!(attr(&event, "tunnel.closed_by"), None, "{status}");
    }
    let upstream = handshaking("101 Switching Protocols");
    let gateway = Gateway::before(upstream.address);
    http2::run(async {
        let (client, _connection) = http2::connect(gateway.address).await;
        let mut client = client.ready().await.unwrap();
        for (fields, protocol, told) in [
            (&OVER_HTTP2[1..], "websocket", 400),
            (&[("sec-websocket-version", "8")], "websocket", 400),
            (&OVER_HTTP2[..], "connect-udp", 501),
        ] {
            let mut request = extended_connect(gateway.address, fields);
            request.extensions_mut().insert(Protocol::from_static(protocol));
            let (answer, _send) = client.send_request(request, false).unwrap();
            assert_eq!(answer.await.unwrap().status(), told, "{fields:?} {protocol}");
            client = client.ready().await.unwrap();
        }
    });
    assert!(upstream.try_request().is_none(), "nothing of them goes on");
}

#[test]
fn a_client_that_resets_its_stream_ends_the_tunnel_and_nothing_else() {
    let upstream = handshaking("101 Switching Protocols");
    let gateway = Gateway::before(upstream.address);
    http2::run(async {
        let (client, _connection) = http2::connect(gateway.address).await;
        let mut client = client.ready().await.unwrap();
        let open = |client: &mut SendRequest<Bytes>| {
            client.send_request(extended_connect(gateway.address, &OVER_HTTP2), false).unwrap()
        };
        let (first, mut send) = open(&mut client);
        let _first = first.await.unwrap();
        client = client.ready().await.unwrap();
        let (second, mut other) = open(&mut client);
        let mut second = second.await.unwrap().into_body();
        send.send_reset(h2::Reason::CANCEL);
        other.send_data(Bytes::from_static(b"still"), true).unwrap();
        assert_eq!(http2::body(&mut second).await.unwrap(), b"still");
    });
    let mut events = [gateway.event(), gateway.event()];
    events.sort_by_key(|event| event.outcome == Outcome::Completed);
    assert_eq!((events[0].reason, events[0].outcome), (Reason::ClientClosed, Outcome::Cancelled));
    assert_eq!((events[1].reason, events[1].outcome), (Reason::None, Outcome::Completed));
}
