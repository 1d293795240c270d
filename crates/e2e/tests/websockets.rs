//! WebSockets of another library through a gateway: messages of every kind, ends of every kind, and what is known of each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use clickhouse::Row;
use serde::Deserialize;
use weir_e2e::{Part, TestStack, python, reserve};

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
