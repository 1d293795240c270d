//! The time between two gateways of a chain: measured without synchronised clocks, and believed of gateways alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use weir_e2e::{Gateway, GatewaySpec, Site, eventually};
use weir_testkit::{delay_proxy, get, get_with, upstream};

/// One way.
const DELAY: Duration = Duration::from_millis(20);
const PEERS: &str = "---
apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {name: peers}
spec: {peerGateways: [127.0.0.0/8]}
";

/// A gateway that sends everything to `to` and writes what its events say of time to a file.
fn start(site: &Site, name: &str, to: SocketAddr, (service, more): (&str, &str)) -> Gateway {
    let mut spec = GatewaySpec::new(name, name, to);
    spec.apis.clear();
    let log = site.path(&format!("{name}.lines"));
    spec.more_yaml = format!(
        "---
apiVersion: gateway.weir.dev/v1
kind: ApiInstance
metadata: {{name: api-0}}
spec:
  address: http://127.0.0.1:0
  services: {{main: {{address: \"http://{to}\"{service}}}}}
---
apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {{name: logs}}
spec:
  logging:
    outputs: [{{name: a, type: file, parameters: {{file: \"{}\", fields: [ts, link_us, upstream_us, total_us]}}}}]
    accessLogs: {{outputs: [a]}}
{more}",
        log.display()
    );
    Gateway::start(site, &spec).unwrap()
}

/// What a gateway wrote of so many requests.
async fn lines(log: &Path, count: usize) -> Vec<Value> {
    eventually("the lines are written", async || {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<_> = text.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
        (lines.len() >= count).then_some(lines)
    })
    .await
}

fn us(line: &Value, field: &str) -> u64 {
    line[field].as_u64().unwrap()
}

async fn metric(gateway: &Gateway, series: &str) -> Option<f64> {
    let text = get(&format!("http://{}/metrics", gateway.admin)).await.unwrap().1;
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

/// 40 ms on the way, and a clock that is ten seconds wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_between_two_gateways_is_measured_whatever_their_clocks_say() {
    const COUNT: usize = 200;
    let mut site = Site::new().unwrap();
    let service = upstream::spawn("127.0.0.1:0").await.unwrap();
    site.own_clock("far", "+10s").unwrap();
    let far = start(&site, "far", service, ("", PEERS));
    let way = delay_proxy::spawn(far.address, DELAY).await.unwrap();
    let near = start(&site, "near", way, (", peerGateway: true", ""));
    for turn in 0..COUNT {
        let path = if turn % 10 == 0 { "/slow?ms=30" } else { "/" };
        let (status, headers, _) = get_with(&format!("http://{}{path}", near.address), &[]).await.unwrap();
        assert_eq!((status, headers.get("weir-link")), (200, None), "clients are not told");
    }
    let at_near = lines(&site.path("near.lines"), COUNT).await;
    let mut links: Vec<_> = at_near.iter().map(|line| us(line, "link_us")).collect();
    links.sort_unstable();
    let median = links[COUNT / 2];
    println!("link of {COUNT} requests, us: least {}, median {median}, most {}", links[0], links[COUNT - 1]);
    // Never less than the way takes. How much more depends on what else the machine does.
    assert!(links[0] >= 40_000 && median < 60_000, "{links:?}");
    assert!(at_near.iter().all(|line| us(line, "link_us") <= us(line, "upstream_us")), "it is a part of the wait");
    let at_far = lines(&site.path("far.lines"), COUNT).await;
    assert!(at_far.iter().all(|line| us(line, "link_us") == 0), "{at_far:?}");
    let same = at_near.iter().find(|line| line["trace_id"] == at_far[0]["trace_id"]).unwrap();
    let ahead = at_far[0]["ts"].as_str().unwrap() > same["ts"].as_str().unwrap();
    assert!(ahead, "its clock is ahead: {} {same}", at_far[0]);
    let count = "weir_link_duration_seconds_count{api=\"api-0\",route=\"api-0-main-route-0\",service=\"api-0-main\"}";
    assert_eq!(metric(&near, count).await, Some(COUNT as f64));
    assert_eq!(metric(&near, "weir_link_reports_invalid_total{worker=\"0\"}").await, Some(0.0));

    // Who calls the far one is no gateway, or did not say which request it is.
    let stranger = start(&site, "stranger", service, ("", ""));
    let parent = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b1-01");
    for (gateway, headers, told) in
        [(&far, &[parent][..], true), (&far, &[], false), (&stranger, &[parent], false), (&stranger, &[], false)]
    {
        let (_, headers, _) = get_with(&format!("http://{}/", gateway.address), headers).await.unwrap();
        let link = headers.get("weir-link").map(|value| value.to_str().unwrap());
        assert_eq!(link.is_some_and(|link| link.starts_with("00f067aa0ba902b1;dur=")), told, "{link:?}");
    }
}

/// What it says of a link, whoever asks.
async fn liar(said: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = [0; 4096];
            drop(client.read(&mut head).await);
            let answer =
                format!("HTTP/1.1 200 OK\r\nweir-link: {said}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            drop(client.write_all(answer.as_bytes()).await);
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_gateway_is_believed_and_only_what_can_be_true() {
    for (number, (service, said, doubted)) in [
        // Of a service nobody believes anything.
        ("", "00f067aa0ba902b1;dur=1", 0.0),
        (", peerGateway: true", "00f067aa0ba902b1;dur=1", 1.0),
        (", peerGateway: true", "rubbish", 1.0),
    ]
    .into_iter()
    .enumerate()
    {
        let site = Site::new().unwrap();
        let gateway = start(&site, "near", liar(said).await, (service, ""));
        let (status, headers, _) = get_with(&format!("http://{}/", gateway.address), &[]).await.unwrap();
        assert_eq!((status, headers.get("weir-link")), (200, None), "{number}");
        let line = &lines(&site.path("near.lines"), 1).await[0];
        assert_eq!(us(line, "link_us"), 0, "{number}");
        assert_eq!(metric(&gateway, "weir_link_reports_invalid_total{worker=\"0\"}").await, Some(doubted), "{number}");
        assert_eq!(metric(&gateway, "weir_link_duration_seconds_count").await, None, "{number}");
    }
}
