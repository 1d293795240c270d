//! More than the gateway takes on: what is open is served, what comes beyond is asked to come again, and whoever watches
//! is answered.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::io::Read;
use std::net::TcpStream;
use weir_e2e::{Gateway, GatewaySpec, Site, eventually};
use weir_testkit::{get, upstream};

fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_is_served_and_what_comes_beyond_is_shed() {
    let site = Site::new().unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    spec.more_yaml = "---
apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {name: limits}
spec:
  limits: {openRequests: 3}
"
    .to_owned();
    let gateway = Gateway::start(&site, &spec).unwrap();
    let open: Vec<_> = (0..3).map(|_| gateway.ask("/slow?ms=1500").unwrap()).collect();
    // The three may not have been read yet when the fourth is.
    let shed = eventually("a request beyond the limit is shed", async || {
        let text = answer(gateway.ask("/fast").unwrap());
        text.starts_with("HTTP/1.1 503 ").then_some(text)
    })
    .await;
    assert!(shed.contains("retry-after: 1\r\n") && shed.contains("\"reason\":\"overloaded\""), "{shed}");
    for probe in ["liveness", "readiness"] {
        let (status, body) = get(&format!("http://{}/probes/{probe}", gateway.admin)).await.unwrap();
        assert_eq!(status, 200, "{probe}: {body}");
    }
    let (_, metrics) = get(&format!("http://{}/metrics", gateway.admin)).await.unwrap();
    assert!(metrics.contains("reason=\"overloaded\""), "{metrics}");
    assert!(open.into_iter().all(|stream| answer(stream).starts_with("HTTP/1.1 200 ")));
    assert!(answer(gateway.ask("/fast").unwrap()).starts_with("HTTP/1.1 200 "), "there is room again");
}

/// Clients that read nothing cost memory; it is given back when they have left, however little is asked after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_goes_back_after_an_attack() {
    let site = Site::new().unwrap();
    let spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    let gateway = Gateway::start(&site, &spec).unwrap();
    assert!(answer(gateway.ask("/fast").unwrap()).starts_with("HTTP/1.1 200 "));
    let before = gateway.memory().unwrap();
    let held: Vec<_> = (0..400)
        .map(|_| {
            let stream = gateway.ask("/large?kib=2048").unwrap();
            socket2::SockRef::from(&stream).set_recv_buffer_size(4096).unwrap();
            stream
        })
        .collect();
    let most = eventually("what clients do not read is held", async || {
        let now = gateway.memory().unwrap();
        (now > before + 20).then_some(now)
    })
    .await;
    drop(held);
    eventually("it is given back", async || {
        answer(gateway.ask("/fast").unwrap());
        (gateway.memory().unwrap() < before + (most - before) / 3).then_some(())
    })
    .await;
}
