//! `weirctl probe --check pipeline`: a marked request is found in metrics, in ClickHouse and as a span, or the part that is
//! in the way is named; it counts in no figure of the user's, and a mark is worth nothing to anybody else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;
use weir_e2e::{DEADLINE, Gateway, GatewaySpec, Part, Site, TestStack, disagreement, eventually, reserve};
use weir_testkit::get;
use weir_testkit::otlp::Receiver;
use weir_testkit::process::program;

const TOKEN: &str = "a-token-of-the-administrator";
/// Spans go at once.
const SOON: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "20");

/// A stack whose gateway sends spans to a receiver that can be stopped, and requests to an upstream that keeps their heads.
struct Probed {
    stack: TestStack,
    gateway: Option<Gateway>,
    /// Of the gateway.
    socket: PathBuf,
    receiver: Receiver,
    receiving: Receiving,
    heads: Arc<Mutex<Vec<String>>>,
}

/// What a receiver runs on, and ends with.
struct Receiving(Option<Runtime>);

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Probed {
    async fn start() -> Self {
        let mut stack = TestStack::start(None).await.unwrap();
        stack.stop(Part::Gateway).unwrap();
        let (receiving, receiver) = receiver("127.0.0.1:0").await;
        let (upstream, heads) = upstream();
        let token = stack.site.path("gateway-token");
        std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
        stack.spec.more_args = vec!["--admin-token-file".to_owned(), token.to_string_lossy().into_owned()];
        stack.spec.apis[0].1 = upstream;
        stack.spec.workers = 2;
        stack.spec.more_yaml = format!(
            "---
apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {{name: tracing}}
spec:
  tracing:
    provider: {{type: opentelemetry, properties: {{address: \"h2://{}\", serviceType: grpc}}}}
    sampling: {{random: 0}}
  logging:
    outputs:
      - {{name: requests, type: file, parameters: {{file: \"{}\"}}}}
    accessLogs: {{outputs: [requests]}}
",
            receiver.address,
            stack.site.path("requests.log").display()
        );
        let gateway = Gateway::start_with(&stack.site, &stack.spec, &[SOON]).unwrap();
        let socket = gateway.socket.clone();
        Self { stack, gateway: Some(gateway), socket, receiver, receiving, heads }
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    /// The exit code of the command, and its document.
    fn probe(&self, more: &[&str]) -> (i32, Value) {
        let (code, text) = self.weirctl(&[&["probe", "--check=pipeline", "--json"], more].concat());
        (code, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    fn weirctl(&self, args: &[&str]) -> (i32, String) {
        let output = Command::new(program("weirctl").unwrap())
            .args(["--analytics", &format!("http://{}", self.stack.analytics_at)])
            .args(["--admin", &format!("unix:{}", self.socket.display())])
            .args(args)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    async fn metrics(&self) -> BTreeMap<String, String> {
        let (_, text) = get(&format!("http://{}/metrics", self.gateway().admin)).await.unwrap();
        let line = |line: &str| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned()));
        text.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect()
    }

    async fn metric(&self, series: &str) -> f64 {
        self.metrics().await.get(series).map_or(0.0, |value| value.parse().unwrap())
    }

    async fn analytics(&self, path: &str) -> Value {
        let (status, body) = get(&format!("http://{}{path}", self.stack.analytics_at)).await.unwrap();
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn number(&self, sql: &str) -> u64 {
        self.stack.client().query(sql).fetch_one().await.unwrap()
    }

    /// What the user sees of requests: figures of the gateway, of the overview, and single requests.
    async fn figures(&self) -> Value {
        let of_requests = |name: &String| {
            let metric = name.split('{').next().unwrap_or_default();
            metric.starts_with("http_")
                || metric.starts_with("weir_requests_") && metric != "weir_requests_open"
                || metric.starts_with("weir_gateway_overhead")
                || metric.starts_with("weir_traces_kept")
        };
        let metrics: BTreeMap<_, _> = self.metrics().await.into_iter().filter(|(name, _)| of_requests(name)).collect();
        let mut overview = self.analytics("/api/v1/overview").await;
        for row in overview["rows"].as_array_mut().unwrap() {
            // Of the running minute.
            row.as_object_mut().unwrap().remove("requests_per_second");
        }
        let rows = self.number("SELECT count() FROM (SELECT DISTINCT * EXCEPT slow_trace FROM requests_1m)").await;
        json!({
            "metrics": metrics, "overview": overview, "rows": rows,
            "series": self.analytics("/api/v1/series").await,
            "slow": self.analytics("/api/v1/slow").await,
            "errors": self.analytics("/api/v1/errors").await,
        })
    }

    /// A mark, as the administrator gets one.
    fn mark(&self) -> String {
        let head = format!("POST /probes/pipeline HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {TOKEN}\r\n");
        let answer = asked(self.gateway().admin, &head);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let document: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
        document["mark"].as_str().unwrap().to_owned()
    }

    /// The head of the answer to a request with this mark.
    fn with_mark(&self, mark: &str) -> String {
        asked(self.gateway().address, &format!("GET /marked HTTP/1.1\r\nhost: a\r\nweir-probe: {mark}\r\n"))
    }
}

async fn receiver(address: &str) -> (Receiving, Receiver) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let address = address.to_owned();
    let receiver = runtime.spawn(async move { Receiver::start(&address).await.unwrap() }).await.unwrap();
    (Receiving(Some(runtime)), receiver)
}

/// Answers 200 to everything and keeps the heads that came.
fn upstream() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, heads) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
    let kept = Arc::clone(&heads);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
            }
            kept.lock().unwrap().push(String::from_utf8(head).unwrap());
            // Whoever left does not want it.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
    });
    (address, heads)
}

/// The whole answer to a request with this head, of a connection that ends with it.
fn asked(at: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(format!("{head}content-length: 0\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The state of each leg by its name, and what it says.
fn legs(document: &Value) -> BTreeMap<&str, (&str, &str)> {
    let mut found = BTreeMap::new();
    for leg in document["legs"].as_array().unwrap() {
        let text = |name: &str| leg[name].as_str().unwrap();
        assert_eq!(text("state") == "passed", leg["after_ms"].is_number(), "{leg}");
        assert!(!text("message").is_empty(), "{leg}");
        found.insert(text("leg"), (text("state"), text("message")));
    }
    found
}

fn states(document: &Value) -> Vec<(&str, &str)> {
    legs(document).into_iter().map(|(name, (state, _))| (name, state)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_is_found_everywhere_and_counts_nowhere() {
    let probed = Probed::start().await;
    // The user's own request, on every figure before the probes come.
    assert!(asked(probed.gateway().address, "GET /own HTTP/1.1\r\nhost: a\r\n").starts_with("HTTP/1.1 200"));
    eventually("the user's request is in the overview", async || {
        let overview = probed.analytics("/api/v1/overview").await;
        (overview["rows"][0]["requests"] == 1).then_some(())
    })
    .await;
    let before = probed.figures().await;

    let (code, document) = probed.probe(&[]);
    let expected = [
        ("event", "passed"),
        ("metrics", "passed"),
        ("request", "passed"),
        ("span", "passed"),
        ("span row", "not_checked"),
    ];
    assert_eq!((code, states(&document)), (0, expected.to_vec()), "{document:#}");
    let trace = document["trace_id"].as_str().unwrap();
    let event = &probed.analytics(&format!("/api/v1/trace/{trace}")).await["events"][0];
    assert_eq!((&event["sample_interval"], &event["status"]), (&json!(0), &json!(204)));
    assert_eq!(event["attrs"], json!({"weir.probe": "pipeline"}));
    let mut spans = probed.receiver.spans();
    // Not what the gateway does by itself, as shipping events.
    spans.retain(|span| span.kind == SpanKind::Server as i32);
    assert_eq!(spans.len(), 1, "of the probe alone, though nothing is sampled: {spans:?}");
    assert!(spans[0].attributes.iter().any(|pair| pair.key == "weir.probe"));

    // Spans in ClickHouse: the row is looked for in whatever has the exporter's columns.
    let client = probed.stack.client();
    let url = format!("http://{}/weir.otel_traces", probed.stack.engine_at);
    let (code, document) = probed.probe(&["--span-table", &url, "--timeout", "2s"]);
    assert_eq!((code, legs(&document)["span row"].0), (1, "failed"), "there is no such table");
    let view = "CREATE VIEW otel_traces AS SELECT lower(hex(trace_id)) AS TraceId, ts AS Timestamp FROM access_events \
                WHERE sampled = 1";
    client.query(view).execute().await.unwrap();
    let (code, document) = probed.probe(&["--span-table", &url]);
    assert_eq!((code, legs(&document)["span row"].0), (0, "passed"), "{document:#}");
    assert_eq!(probed.metric("weir_probe_requests_total").await, 3.0);

    // Every one of them is an event that is accounted for, and none is in a figure.
    assert_eq!(probed.number("SELECT count() FROM access_events WHERE sample_interval = 0").await, 3);
    assert_eq!(probed.figures().await, before);
    assert_eq!(disagreement(&client).await.unwrap(), Vec::<String>::new());
    assert_eq!(probed.number("SELECT toUInt64(sum(n)) FROM stored_seqs").await, 4);
    let ledger = eventually("the gateway has reported the probes", async || {
        let ledger = probed.analytics("/api/v1/ledger").await;
        (ledger["accepted"] == 4).then_some(ledger)
    })
    .await;
    assert_eq!((&ledger["state"], &ledger["stored"], &ledger["doubled"]), (&json!("balanced"), &json!(4), &json!(0)));
    assert_eq!(probed.heads.lock().unwrap().len(), 1, "the user's request alone went upstream");
    assert!(asked(probed.gateway().address, "GET /last HTTP/1.1\r\nhost: a\r\n").starts_with("HTTP/1.1 200"));
    let log = eventually("the last request has its line", async || {
        let log = std::fs::read_to_string(probed.stack.site.path("requests.log")).ok()?;
        log.contains("/last").then_some(log)
    })
    .await;
    assert_eq!(log.lines().count(), 2, "the user's requests alone are in the access log: {log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_part_that_is_down_is_named() {
    let mut probed = Probed::start().await;
    let brief = ["--timeout", "3s"];

    let address = probed.receiver.address.to_string();
    drop(std::mem::replace(&mut probed.receiving, Receiving(None)));
    eventually("the receiver is gone", async || TcpStream::connect(&address).err()).await;
    let (code, document) = probed.probe(&brief);
    // The event may take as long as the probe has.
    let found = legs(&document);
    let (state, why) = found["span"];
    assert_eq!(
        (code, state, found["metrics"].0, found["request"].0),
        (1, "failed", "passed", "passed"),
        "{document:#}"
    );
    assert!(why.contains(&address) && why.contains("refused"), "{why}");
    (probed.receiving, probed.receiver) = receiver(&address).await;
    let (code, document) = probed.probe(&["--timeout", "2m"]);
    assert_eq!((code, legs(&document)["span"].0), (0, "passed"), "{document:#}");

    probed.stack.stop(Part::Analytics).unwrap();
    let (code, document) = probed.probe(&brief);
    let (state, why) = legs(&document)["event"];
    assert_eq!((code, state, &document["message"]), (1, "failed", &json!("failed: event")), "{document:#}");
    assert!(why.starts_with("weir-analytics: cannot reach") && why.contains("the gateway ships to"), "{why}");
    probed.stack.start_part(Part::Analytics, None).unwrap();

    probed.stack.stop(Part::Engine).unwrap();
    let (code, document) = probed.probe(&brief);
    let (state, why) = legs(&document)["event"];
    assert_eq!((code, state, &document["message"]), (1, "failed", &json!("failed: event")), "{document:#}");
    assert!(why.starts_with("weir-analytics answers, and ClickHouse does not: "), "{why}");
    probed.stack.start_part(Part::Engine, None).unwrap();

    let (code, document) = probed.probe(&["--timeout", "2m"]);
    assert_eq!((code, legs(&document)["event"].0), (0, "passed"), "{document:#}");

    let (code, text) = probed.weirctl(&["probe", "--check=pipeline", "--url", &format!("http://{address}")]);
    assert_eq!(code, 1);
    assert!(text.starts_with("request   failed"), "{text}");
    probed.gateway.take().unwrap().process.stop(DEADLINE).unwrap();
    let (code, document) = probed.probe(&brief);
    assert_eq!((code, states(&document)), (1, vec![("gateway", "failed")]), "{document:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_hides_no_request_but_the_one_probe() {
    let probed = Probed::start().await;
    let gateway = probed.gateway();
    let denied = asked(gateway.admin, "POST /probes/pipeline HTTP/1.1\r\nhost: 127.0.0.1\r\n");
    assert!(denied.starts_with("HTTP/1.1 401"), "{denied}");

    let mark = probed.mark();
    let answer = probed.with_mark(&mark).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 204") && answer.contains("\r\nweir-probe: "), "{answer}");
    assert_eq!(probed.heads.lock().unwrap().len(), 0, "answered here");

    // The second use, one that somebody made up, one of another process' form, two at once: requests like any other.
    let forged = mark.replacen(&mark[..1], if mark.starts_with('0') { "1" } else { "0" }, 1);
    let two = format!("{}\r\nweir-probe: {}", probed.mark(), probed.mark());
    for wrong in [&mark, &forged, "1", &two] {
        let answer = probed.with_mark(wrong);
        assert!(answer.starts_with("HTTP/1.1 200"), "{wrong}: {answer}");
    }
    let heads = probed.heads.lock().unwrap().clone();
    assert_eq!(heads.len(), 4);
    assert!(!heads.iter().any(|head| head.to_ascii_lowercase().contains("weir-probe")), "{heads:?}");
    let rejected = async |why: &str| probed.metric(&format!("weir_probe_marks_rejected_total{{why=\"{why}\"}}")).await;
    assert_eq!((rejected("used").await, rejected("forged").await, rejected("expired").await), (1.0, 3.0, 0.0));
    assert_eq!(probed.metric("weir_probe_requests_total").await, 1.0);
    let requests = async || {
        let metrics = probed.metrics().await;
        let of_requests = metrics.iter().filter(|(name, _)| name.starts_with("weir_requests_total{"));
        of_requests.map(|(_, value)| value.parse::<f64>().unwrap()).sum::<f64>()
    };
    assert_eq!(requests().await, 4.0);
    eventually("they are requests in ClickHouse, too", async || {
        let (raw, rolled) = ("SELECT count() FROM access_events", "SELECT toUInt64(sum(n)) FROM requests_1m");
        (probed.number(raw).await == 5 && probed.number(rolled).await == 4).then_some(())
    })
    .await;
}

/// What a gateway does not do is neither passed nor failed; and a port of every address is called here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_configured_does_not_fail() {
    let site = Site::new().unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream().0);
    spec.listen = Some(SocketAddr::from(([0, 0, 0, 0], reserve().unwrap().port())));
    let gateway = Gateway::start(&site, &spec).unwrap();
    let admin = format!("unix:{}", gateway.socket.display());
    let weirctl = |args: &[&str]| {
        let output = Command::new(program("weirctl").unwrap()).args(["--admin", &admin]).args(args).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = weirctl(&["probe", "--check=pipeline", "--json"]);
    let document: Value = serde_json::from_str(&text).unwrap();
    let expected = [
        ("event", "not_configured"),
        ("metrics", "passed"),
        ("request", "passed"),
        ("span", "not_configured"),
        ("span row", "not_configured"),
    ];
    assert_eq!((code, states(&document)), (0, expected.to_vec()), "{document:#}");
    // The same for people, in columns.
    let (code, text) = weirctl(&["probe", "--check=pipeline"]);
    let lines: Vec<_> = text.lines().map(|line| line.split_at(26).0).collect();
    let expected = ["request   passed", "metrics   passed", "event     not configured", "span      not configured"];
    assert_eq!(code, 0);
    assert!(lines.iter().zip(expected).all(|(line, expected)| line.trim_end() == expected), "{text}");
}
