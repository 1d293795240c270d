//! Services with several addresses, by the program: checks beside the requests, metrics, the dump and the log.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use weir_e2e::name_server::NameServer;
use weir_e2e::{Gateway, GatewaySpec, Site, eventually};
use weir_testkit::{get, upstream};

fn start(site: &Site, addresses: &[SocketAddr]) -> Gateway {
    let mut spec = GatewaySpec::new("edge", "edge", addresses[0]);
    spec.apis.clear();
    let addresses: Vec<_> = addresses.iter().map(|address| format!("\"http://{address}\"")).collect();
    spec.more_yaml = format!(
        "---
apiVersion: gateway.weir.dev/v1
kind: Service
metadata: {{name: orders}}
spec:
  addresses: [{}]
  healthChecks: {{interval: 100ms, unhealthyThreshold: 1}}
  retries: {{attempts: 1}}
---
apiVersion: gateway.weir.dev/v1
kind: ApiInstance
metadata: {{name: api-0}}
spec: {{address: \"http://127.0.0.1:0\"}}
---
apiVersion: gateway.weir.dev/v1
kind: PolicyBinding
metadata: {{name: all}}
spec:
  targetRef: {{name: api-0}}
  policyRef: {{name: route}}
  config: {{destinationRef: {{name: orders}}}}
",
        addresses.join(", ")
    );
    Gateway::start(site, &spec).unwrap()
}

async fn metric(gateway: &Gateway, name: &str) -> Vec<(String, f64)> {
    let text = get(&format!("http://{}/metrics", gateway.admin)).await.unwrap().1;
    let of = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once("} "));
    of.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_down_is_reported_and_gets_no_requests() {
    let site = Site::new().unwrap();
    let (live, dead) = (upstream::spawn("127.0.0.1:0").await.unwrap(), {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    });
    let gateway = start(&site, &[dead, live]);
    let of = |rows: &[(String, f64)], address: SocketAddr, more: &str| {
        let label = format!("endpoint=\"http://{address}\"");
        rows.iter().find(|(labels, _)| labels.contains(&label) && labels.contains(more)).map(|(_, value)| *value)
    };
    eventually("the address that is down is left out", async || {
        let available = metric(&gateway, "weir_upstream_endpoint_available").await;
        (of(&available, dead, "") == Some(0.0) && of(&available, live, "") == Some(1.0)).then_some(())
    })
    .await;
    let url = format!("http://{}/x", gateway.address);
    for _ in 0..20 {
        assert_eq!(get(&url).await.unwrap().0, 200);
    }
    let checks = metric(&gateway, "weir_upstream_health_checks_total").await;
    assert!(of(&checks, dead, "result=\"failed\"").unwrap() >= 1.0);
    assert!(of(&checks, live, "result=\"failed\"").unwrap() < 1.0);
    let retries = metric(&gateway, "weir_upstream_retries_total").await;
    assert!(retries.iter().all(|(labels, value)| labels.contains("service=\"orders\"") && *value < 1.0), "{retries:?}");
    let dump: serde_json::Value =
        serde_json::from_str(&get(&format!("http://{}/dump", gateway.admin)).await.unwrap().1).unwrap();
    let service = &dump["configuration"]["apis"][0]["services"][0];
    assert_eq!(service["addresses"][0]["address"], format!("http://{dead}"), "{dump:#}");
    assert_eq!(service["cluster"]["healthChecks"]["interval"], "100ms");
    let log = site.log("edge");
    let said = log.lines().find(|line| line.contains("an endpoint is unhealthy")).unwrap_or_else(|| panic!("{log}"));
    assert!(said.contains("orders") && said.contains(&dead.to_string()), "{said}");
}

/// Answers every request with a word of three letters, and keeps its connections.
async fn saying(word: &'static str, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut lines = BufReader::new(stream);
            let mut line = String::new();
            while lines.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                if line == "\r\n" {
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{word}");
                    lines.write_all(answer.as_bytes()).await.unwrap();
                }
                line.clear();
            }
        });
    }
}

/// The word that a request is answered with; it must not fail.
async fn word(client: &mut TcpStream) -> String {
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    loop {
        assert!(client.read_buf(&mut answer).await.unwrap() > 0, "{}", answer.escape_ascii());
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, word)) = text.split_once("\r\n\r\n")
            && word.len() >= 3
        {
            assert!(head.starts_with("HTTP/1.1 200 "), "{text}");
            return word.to_owned();
        }
    }
}

/// The old address goes on to serve: its connection is in use and never fails, so that nothing but time tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_moves_is_followed_under_traffic() {
    const OLD: Ipv4Addr = Ipv4Addr::LOCALHOST;
    const NEW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
    for setting in ["dnsTtl: 1s", "maxConnectionAge: 1s"] {
        let mut site = Site::new().unwrap();
        let names = NameServer::start(OLD).expect("as root, or with net.ipv4.ip_unprivileged_port_start=0");
        site.name_server("edge", names.address).unwrap();
        let old = TcpListener::bind((OLD, 0)).await.unwrap();
        let port = old.local_addr().unwrap().port();
        let new = TcpListener::bind((NEW, port)).await.unwrap();
        let served = [tokio::spawn(saying("old", old)), tokio::spawn(saying("new", new))];
        let mut spec = GatewaySpec::new("edge", "edge", ([127, 0, 0, 1], port).into());
        spec.apis.clear();
        spec.more_yaml = format!(
            "---
apiVersion: gateway.weir.dev/v1
kind: ApiInstance
metadata: {{name: named}}
spec:
  address: http://127.0.0.1:0
  services: {{up: {{address: \"http://moving.example:{port}\", {setting}, routes: [{{rules: [{{path: /.*}}]}}]}}}}
"
        );
        let gateway = Gateway::start(&site, &spec).unwrap();
        let mut client = TcpStream::connect(gateway.address).await.unwrap();
        assert_eq!(word(&mut client).await, "old", "{setting}");
        names.moves_to(NEW);
        let moved = Instant::now();
        eventually("the new address", async || (word(&mut client).await == "new").then_some(())).await;
        assert!(moved.elapsed() < Duration::from_secs(10), "{setting}: after {:?}", moved.elapsed());
        for _ in 0..20 {
            assert_eq!(word(&mut client).await, "new", "{setting}");
        }
        served.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// A frame of HTTP/2 (RFC 9113 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// An upload over HTTP/2, and the frame that takes it back.
fn upload_over_http2() -> (Vec<u8>, Vec<u8>) {
    let literal = |(name, value): (&str, &str)| {
        [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    };
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    let head: Vec<u8> = fields.into_iter().flat_map(literal).collect();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let sent = [preface, frame(4, 0, 0, &[]), frame(1, 4, 1, &head), frame(0, 0, 1, &[b'x'; 1000])].concat();
    (sent, frame(3, 0, 1, &8_u32.to_be_bytes()))
}

/// An upload that its client breaks off is no failure of the service, in no metric.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_breaks_off_is_the_clients_in_every_metric() {
    let site = Site::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let served = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut lines = BufReader::new(stream);
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    lines.read_line(&mut line).await.unwrap();
                }
                tell.send(()).unwrap();
                lines.read_to_end(&mut Vec::new()).await.ok();
            });
        }
    });
    let gateway = Gateway::start(&site, &GatewaySpec::new("edge", "edge", silent)).unwrap();
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n";
    let (over_http2, reset) = upload_over_http2();
    let uploads = [
        (head.as_bytes().to_vec(), Vec::new()),
        ([head.as_bytes(), &[b'x'; 1000]].concat(), Vec::new()),
        (over_http2, reset),
    ];
    for (upload, last) in &uploads {
        let mut client = TcpStream::connect(gateway.address).await.unwrap();
        client.write_all(upload).await.unwrap();
        told.recv().await.unwrap();
        client.write_all(last).await.unwrap();
    }
    let of = |rows: &[(String, f64)], labels: &[&str]| -> f64 {
        let rows = rows.iter().filter(|(row, _)| labels.iter().all(|label| row.contains(label)));
        rows.map(|(_, count)| count).sum()
    };
    eventually("all are counted, and as the client's", async || {
        let ended = metric(&gateway, "weir_requests_total").await;
        (of(&ended, &[]) >= 3.0).then_some(())
    })
    .await;
    let attempts = metric(&gateway, "http_client_request_duration_seconds_count").await;
    let requests = metric(&gateway, "http_server_request_duration_seconds_count").await;
    let failed = metric(&gateway, "weir_requests_failed_total").await;
    let counts = [
        of(&attempts, &["error_type=\"client_closed\""]),
        of(&attempts, &[]),
        of(&requests, &["http_response_status_code=\"499\"", "error_type=\"\""]),
        of(&requests, &[]),
        of(&failed, &[]),
    ];
    assert_eq!(counts.map(|count| count as u64), [3, 3, 3, 3, 0], "{attempts:?} {requests:?}");
    served.abort();
}
