//! WebSockets of another library through a gateway: messages of every kind, ends of every kind, and what is known of each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use clickhouse::Row;
use serde::Deserialize;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use weir_e2e::{Gateway, GatewaySpec, Part, Site, TestStack, eventually, python, reserve};
use weir_testkit::get;

#[derive(Debug, PartialEq, Eq, Row, Deserialize)]
struct Tunnel {
    path: String,
    status: u16,
    reason: String,
    by: String,
    count: u64,
    is_open: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_ends_of_every_kind_pass_and_are_known() {
    let mut stack = TestStack::start(None).await.unwrap();
    let (_server, address) = python::server(&stack.site, "websockets", &[]).await;
    let port = reserve().unwrap();
    stack.stop(Part::Gateway).unwrap();
    stack.spec.more_yaml = format!(
        "---
apiVersion: gateway.weir.dev/v1
kind: ApiInstance
metadata: {{name: chat}}
spec:
  address: http://{port}
  services: {{main: {{address: \"http://{address}\"}}}}
  policies:
    - policyRef: {{name: direct-response}}
      config: {{status: 403, body: not you}}
      rules: [{{headers: {{x-refuse: \".+\"}}}}]
"
    );
    stack.start_part(Part::Gateway, None).unwrap();
    let output = tokio::task::spawn_blocking(move || {
        python::script("websockets", "client.py", &[&port.to_string()]).output().unwrap()
    })
    .await;
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stack.settle().await;

    let statement = "SELECT path, status, reason, attrs['tunnel.closed_by'] AS by, count() AS count,
        toBool(min(toUInt64OrZero(attrs['tunnel.duration_us'])) > 0) AS is_open
        FROM access_events WHERE api = 'chat' GROUP BY path, status, reason, by ORDER BY path";
    let tunnels: Vec<Tunnel> = stack.client().query(statement).fetch_all().await.unwrap();
    let tunnel = |path: &str, count| Tunnel {
        path: path.to_owned(),
        status: 101,
        reason: String::new(),
        by: "service".to_owned(),
        count,
        is_open: true,
    };
    // By the closing handshake it is the service that ends the connection first (RFC 6455 7.1.1).
    let mut wanted: Vec<_> = [("/closes", 1), ("/compressed", 1), ("/fragments", 1), ("/large", 1), ("/leave", 1)]
        .into_iter()
        .chain([("/many", 50), ("/pings", 1), ("/subprotocols", 1), ("/texts", 1), ("/violations", 1)])
        .map(|(path, count)| tunnel(path, count))
        .collect();
    // Without a closing handshake, and with an end of TCP that is in order: the gateway reads no frames.
    wanted.push(tunnel("/break", 1));
    wanted.push(Tunnel {
        status: 403,
        reason: "policy_answered".to_owned(),
        by: String::new(),
        is_open: false,
        ..tunnel("/nowhere/else", 1)
    });
    wanted.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(tunnels, wanted);
    let bytes = "SELECT bytes_in > 8 << 20 AND bytes_out > 8 << 20 FROM access_events WHERE path = '/large'";
    assert!(stack.client().query(&bytes.replace("8 << 20", "8388608")).fetch_one::<bool>().await.unwrap());
}

/// Opens a tunnel for every handshake, and ends with it.
fn opens_tunnels() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                until_blank_line(&mut stream);
                let open = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
                    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                stream.write_all(open.as_bytes()).unwrap();
                stream.read_to_end(&mut Vec::new()).ok();
            });
        }
    });
    address
}

fn until_blank_line(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// What a scrape says of tunnels: that they were, not how long they took, and never that they failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_counts_tunnels_and_has_no_duration_of_them() {
    let site = Site::new().unwrap();
    let gateway = Gateway::start(&site, &GatewaySpec::new("edge", "edge", opens_tunnels())).unwrap();
    let handshake = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
    for _ in 0..3 {
        let mut client = TcpStream::connect(gateway.address).unwrap();
        client.write_all(handshake.as_bytes()).unwrap();
        let answer = until_blank_line(&mut client);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        client.shutdown(Shutdown::Write).unwrap();
    }
    let sum = |text: &str, name: &str| -> f64 {
        let of = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once("} "));
        of.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
    };
    let text = eventually("three requests are counted", async || {
        let text = get(&format!("http://{}/metrics", gateway.admin)).await.unwrap().1;
        (sum(&text, "weir_requests_total") >= 3.0).then_some(text)
    })
    .await;
    assert!((sum(&text, "weir_requests_total") - 3.0).abs() < 0.5, "{text}");
    for name in ["weir_requests_failed_total", "http_server_request_duration_seconds_count"] {
        assert!(sum(&text, name) < 0.5, "{name}: {text}");
    }
}
