//! The kit for the OpenTelemetry Collector does what its page says: the real Collector, as it is configured in
//! `otel-collector/`, in front of the real ClickHouse. `make test-collector` builds it and runs these.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Command;
use weir_e2e::collector::{Collector, otelcol, shipped, spans_of, stored_spans};
use weir_e2e::otlp::{numbered, protobuf, request, span};
use weir_e2e::{DEADLINE, Part, Site, TestStack, check_metrics, eventually, reserve};
use weir_testkit::process::Process;
use weir_testkit::{get, post};

const PLAIN: &[&str] = &["config.yaml"];
const SAMPLED: &[&str] = &["config.yaml", "tail-sampling.yaml"];

/// ClickHouse alone, which can be ended and started again at its addresses.
struct Store {
    site: Site,
    engine: Option<Process>,
    http: SocketAddr,
    native: SocketAddr,
}

impl Store {
    fn start() -> Self {
        let mut store = Self::not_yet();
        store.start_again();
        store
    }

    fn not_yet() -> Self {
        Self { site: Site::new().unwrap(), engine: None, http: reserve().unwrap(), native: reserve().unwrap() }
    }

    fn start_again(&mut self) {
        let path = self.site.path("clickhouse").to_string_lossy().into_owned();
        let (listen, native) = (self.http.to_string(), self.native.port().to_string());
        let args = ["--path", &path, "--listen", &listen, "--tcp-port", &native];
        let mut engine = self.site.start("engine", "weir-chdb", &args, &[]).unwrap();
        engine.wait_until_listening(DEADLINE).unwrap_or_else(|error| panic!("{error}\n{}", self.site.log("engine")));
        self.engine = Some(engine);
    }

    fn stop(&mut self) {
        self.engine.take().unwrap().stop(DEADLINE).unwrap();
    }

    fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    fn client(&self) -> clickhouse::Client {
        clickhouse::Client::default().with_url(self.url())
    }

    async fn collector(&self, configurations: &[&str], env: &[(&str, &str)]) -> Collector {
        Collector::with(&self.site, &self.url(), configurations, env).await.unwrap()
    }

    /// Waits until so many spans are stored.
    async fn has(&self, spans: u64) {
        eventually("the spans are stored", async || (stored_spans(&self.client()).await.ok()? == spans).then_some(()))
            .await;
    }
}

/// What a sender by gRPC is answered: the value of `grpc-status`.
fn send_by_grpc(collector: &Collector, site: &Site, message: &[u8]) -> String {
    let body = site.path("message");
    let length = u32::try_from(message.len()).unwrap();
    std::fs::write(&body, [&[0], &length.to_be_bytes()[..], message].concat()).unwrap();
    let method = "opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let output = Command::new("curl")
        .args(["-s", "-D", "-", "-o", "/dev/null", "--http2-prior-knowledge"])
        .args(["-H", "content-type: application/grpc", "-H", "te: trailers"])
        .args(["--data-binary", &format!("@{}", body.display()), &format!("http://{}/{method}", collector.grpc)])
        .output()
        .expect("curl is installed: make tools");
    let head = String::from_utf8(output.stdout).unwrap();
    let status = head.lines().find_map(|line| line.strip_prefix("grpc-status: "));
    status.unwrap_or_else(|| panic!("{head}")).trim().to_owned()
}

async fn accepted(collector: &Collector, request: &Value) {
    let (status, body) = collector.send(request).await.unwrap();
    assert_eq!((status, body.as_str()), (200, r#"{"partialSuccess":{}}"#));
}

/// What `otelcol validate` complains of; nothing when it takes the configurations.
fn complaints(configurations: &[&std::path::Path]) -> String {
    let mut command = otelcol().unwrap();
    command.arg("validate");
    configurations.iter().for_each(|path| _ = command.arg("--config").arg(path));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

#[test]
#[ignore = "needs the Collector: make test-collector"]
fn the_shipped_configurations_are_valid() {
    let (plain, sampled) = (shipped("config.yaml"), shipped("tail-sampling.yaml"));
    assert_eq!(complaints(&[&plain]), "");
    assert_eq!(complaints(&[&plain, &sampled]), "");
    let site = Site::new().unwrap();
    let wrong = site.path("wrong.yaml");
    let text = std::fs::read_to_string(&plain).unwrap();
    std::fs::write(&wrong, text.replace("queue_size:", "queue_sise:")).unwrap();
    assert!(complaints(&[&wrong]).contains("queue_sise"), "the check can say no");
}

/// By HTTP and by the native protocol, each gateway of a chain in a request of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn spans_of_two_gateways_arrive_in_clickhouse_as_one_trace() {
    let store = Store::start();
    for (number, endpoint) in [(1, store.url()), (2, format!("tcp://{}", store.native))] {
        let collector = Collector::start(&store.site, &endpoint).await.unwrap();
        let (trace, first) = (format!("{number:032x}"), number * 16);
        let inner = span(&trace, first + 2, Some(first + 1), 20, &json!({"code": 2, "message": "no answer"}));
        accepted(&collector, &request("inner", &[inner])).await;
        let outer = [span(&trace, first, None, 50, &json!({})), span(&trace, first + 1, Some(first), 30, &json!({}))];
        accepted(&collector, &request("outer", &outer)).await;
        let spans = eventually("the trace is stored", async || {
            spans_of(&store.client(), &trace).await.ok().filter(|spans| spans.len() == 3)
        })
        .await;
        let seen: Vec<_> = spans.iter().map(|span| (span.service.as_str(), span.duration_ns / 1_000_000)).collect();
        assert_eq!(seen, [("outer", 50), ("outer", 30), ("inner", 20)], "{endpoint}");
        assert_eq!(spans[0].parent_span_id, "");
        assert!(spans.windows(2).all(|pair| pair[1].parent_span_id == pair[0].span_id), "{spans:#?}");
        let last = &spans[2];
        assert_eq!((last.kind.as_str(), last.status.as_str(), last.name.as_str()), ("Server", "Error", "GET /orders"));
        assert_eq!(last.attributes, [("http.request.method".to_owned(), "GET".to_owned())]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn spans_come_by_grpc_and_by_http() {
    let store = Store::start();
    let collector = store.collector(PLAIN, &[]).await;
    assert_eq!(send_by_grpc(&collector, &store.site, &protobuf(1, 1)), "0");
    let (status, _) = post(&collector.traces_url(), "application/x-protobuf", protobuf(1, 2)).await.unwrap();
    assert_eq!(status, 200);
    accepted(&collector, &request("edge", &[span(&format!("{:032x}", 1), 3, None, 5, &json!({}))])).await;
    store.has(3).await;
    let spans = spans_of(&store.client(), &format!("{:032x}", 1)).await.unwrap();
    let mut seen: Vec<_> =
        spans.iter().map(|span| (&*span.span_id, &*span.service, &*span.name, &*span.kind)).collect();
    seen.sort_unstable();
    let ids = ["0000000000000001", "0000000000000002", "0000000000000003"];
    assert_eq!(seen, ids.map(|id| (id, "edge", "GET /orders", "Server")));
    let (status, _) = post(&collector.traces_url(), "application/x-protobuf", &b"\xff"[..]).await.unwrap();
    assert_eq!(status, 400, "what is no OTLP is not to be sent again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn its_health_check_answers_and_its_own_metrics_count() {
    let store = Store::start();
    let collector = store.collector(PLAIN, &[]).await;
    let (status, body) = get(&format!("http://{}/", collector.health)).await.unwrap();
    assert!(status == 200 && body.contains("Server available"), "{status} {body}");
    accepted(&collector, &numbered(1, 7)).await;
    store.has(7).await;
    eventually("it has counted them", async || {
        (collector.metric("otelcol_exporter_sent_spans_total", "clickhouse").await.ok()? == 7.0).then_some(())
    })
    .await;
    for (metric, label, expected) in [
        ("otelcol_receiver_accepted_spans_total", "http", 7.0),
        ("otelcol_receiver_refused_spans_total", "http", 0.0),
        ("otelcol_exporter_queue_capacity", "clickhouse", 67_108_864.0),
        ("otelcol_exporter_queue_size", "clickhouse", 0.0),
    ] {
        assert_eq!(collector.metric(metric, label).await.unwrap(), expected, "{metric}");
    }
    check_metrics(&collector.scrape().await.unwrap());
    assert!(collector.log().contains(r#""spans": 7"#), "the debug exporter told of them");
}

/// With tail sampling: traces with an error and slow ones, and of others the share that was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn tail_sampling_keeps_what_failed_or_was_slow() {
    let store = Store::start();
    let error = json!({"code": 2});
    for (share, stored) in [("0", 4), ("100", 7)] {
        let mut collector =
            store.collector(SAMPLED, &[("OTELCOL_DECISION_WAIT", "1s"), ("OTELCOL_SHARE_PERCENT", share)]).await;
        let trace = |number: u64| format!("{:032x}", stored * 16 + number);
        // The error is known only when the first span has long been there.
        accepted(&collector, &request("outer", &[span(&trace(1), 1, None, 20, &json!({}))])).await;
        accepted(&collector, &request("outer", &[span(&trace(2), 2, None, 1500, &json!({}))])).await;
        accepted(&collector, &request("outer", &[span(&trace(3), 3, None, 20, &json!({}))])).await;
        accepted(&collector, &request("inner", &[span(&trace(1), 4, Some(1), 10, &error)])).await;
        accepted(&collector, &request("inner", &[span(&trace(2), 5, Some(2), 10, &json!({}))])).await;
        let decided = "otelcol_processor_tail_sampling_global_count_traces_sampled_total";
        eventually("all is decided", async || (collector.metric(decided, "sampled=").await.ok()? == 3.0).then_some(()))
            .await;
        let not_kept = collector.metric(decided, r#"sampled="false""#).await.unwrap();
        assert_eq!(not_kept, if share == "0" { 1.0 } else { 0.0 }, "{}", collector.scrape().await.unwrap());
        // What it holds is stored before it ends: nothing comes later.
        collector.stop().unwrap();
        for (number, spans) in [(1, 2), (2, 2), (3, if share == "0" { 0 } else { 1 })] {
            assert_eq!(spans_of(&store.client(), &trace(number)).await.unwrap().len(), spans, "{share}: {number}");
        }
    }
}

/// With less than it needs to be there at all, it refuses everything, and the sender may try again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn beyond_its_memory_it_refuses_and_the_sender_may_try_again() {
    let store = Store::start();
    let limits = [("OTELCOL_MEMORY_MIB", "2"), ("OTELCOL_MEMORY_SPIKE_MIB", "1")];
    let collector = store.collector(PLAIN, &limits).await;
    // It measures once a second, and takes what comes before the first time.
    let answer = eventually("it refuses", async || {
        let answer = collector.send(&numbered(1, 3)).await.unwrap();
        (answer.0 != 200).then_some(answer)
    })
    .await;
    assert!(answer.0 == 503 && answer.1.contains("high memory usage"), "{answer:?}");
    assert_eq!(collector.metric("otelcol_receiver_refused_spans_total", "http").await.unwrap(), 3.0);
    let refused = "otelcol_processor_memory_limiter_refused_spans_total";
    assert_eq!(collector.metric(refused, "").await.unwrap(), 3.0);
    assert_eq!(send_by_grpc(&collector, &store.site, &protobuf(1, 1)), "14", "UNAVAILABLE");
}

/// A batch that ClickHouse never takes is given up, and counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn what_it_gives_up_is_counted() {
    let mut store = Store::start();
    let soon = "yaml:exporters::clickhouse::retry_on_failure: {max_interval: 1s, max_elapsed_time: 1s}";
    let collector = store.collector(&["config.yaml", soon], &[]).await;
    store.stop();
    accepted(&collector, &numbered(1, 7)).await;
    eventually("it gives them up", async || {
        (collector.metric("otelcol_exporter_send_failed_spans_total", "clickhouse").await.ok()? == 7.0).then_some(())
    })
    .await;
    assert_eq!(collector.metric("otelcol_exporter_queue_size", "clickhouse").await.unwrap(), 0.0);
}

/// More traces than may be undecided: the oldest go, and are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn traces_for_which_tail_sampling_has_no_room_are_counted() {
    let store = Store::start();
    let mut collector = store
        .collector(
            SAMPLED,
            &[("OTELCOL_TRACES", "3"), ("OTELCOL_SHARE_PERCENT", "100"), ("OTELCOL_DECISION_WAIT", "1s")],
        )
        .await;
    accepted(&collector, &numbered(1, 10)).await;
    let dropped = "otelcol_processor_tail_sampling_sampling_trace_dropped_too_early_total";
    eventually("the oldest are dropped", async || (collector.metric(dropped, "").await.ok()? == 7.0).then_some(()))
        .await;
    collector.stop().unwrap();
    assert_eq!(stored_spans(&store.client()).await.unwrap(), 3);
}

/// Without ClickHouse it takes what its queue holds and refuses the rest: what it took is stored when ClickHouse is back,
/// and what it refused it has counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn without_clickhouse_its_queue_fills_its_memory_does_not_and_nothing_that_it_took_is_lost() {
    const A_REQUEST: u64 = 500;
    let mut store = Store::start();
    let collector = store.collector(PLAIN, &[("OTELCOL_QUEUE_BYTES", "4000000")]).await;
    accepted(&collector, &numbered(1, 1)).await;
    store.has(1).await;
    store.stop();
    let (mut next, mut taken) = (2, 1);
    let answer = eventually("the queue is full", async || {
        let answer = collector.send(&numbered(next, A_REQUEST)).await.unwrap();
        next += A_REQUEST;
        taken += if answer.0 == 200 { A_REQUEST } else { 0 };
        (answer.0 != 200).then_some(answer)
    })
    .await;
    assert!(answer.0 == 503 && answer.1.contains("sending queue is full"), "{answer:?}");
    // Many more than have room.
    for _ in 0..200 {
        assert_eq!(collector.send(&numbered(next, A_REQUEST)).await.unwrap().0, 503);
    }
    let memory = collector.memory_mib().unwrap();
    assert!(memory < 200, "{memory} MiB");
    let refused = (201 * A_REQUEST) as f64;
    assert_eq!(collector.metric("otelcol_receiver_refused_spans_total", "http").await.unwrap(), refused);
    assert_eq!(collector.metric("otelcol_exporter_enqueue_failed_spans_total", "clickhouse").await.unwrap(), refused);
    assert!(taken > 10 * A_REQUEST, "{taken}");
    store.start_again();
    store.has(taken).await;
    accepted(&collector, &numbered(next, A_REQUEST)).await;
    store.has(taken + A_REQUEST).await;
    assert_eq!(collector.metric("otelcol_exporter_send_failed_spans_total", "").await.unwrap(), 0.0);
}

/// SIGTERM: what it has taken is stored, although no batch is full and the second has not passed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn an_end_in_order_loses_nothing() {
    let store = Store::start();
    let mut collector = store.collector(PLAIN, &[]).await;
    for first in 0..20 {
        accepted(&collector, &numbered(1 + first * 100, 100)).await;
    }
    collector.stop().unwrap();
    assert_eq!(stored_spans(&store.client()).await.unwrap(), 2000, "{}", collector.log());
}

/// SIGKILL in the midst of traffic: lost is what was taken and not yet stored, and nothing before or after that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn killed_under_load_it_loses_what_was_not_stored_yet_and_takes_more_when_it_is_back() {
    let store = Store::start();
    let mut collector = store.collector(PLAIN, &[]).await;
    let mut next = 1;
    let stored = eventually("some are stored", async || {
        accepted(&collector, &numbered(next, 100)).await;
        next += 100;
        stored_spans(&store.client()).await.ok().filter(|stored| *stored >= 2000)
    })
    .await;
    collector.kill().unwrap();
    assert!(collector.send(&numbered(next, 1)).await.is_err(), "a sender learns that nobody is there");
    let taken = next - 1;
    collector.start_again().await.unwrap();
    for _ in 0..20 {
        accepted(&collector, &numbered(next, 100)).await;
        next += 100;
    }
    // An insert that was whole when its sender was killed is done all the same.
    let sql = format!("SELECT uniqExact(SpanId) FROM weir.otel_traces WHERE SpanId > '{taken:016x}'");
    eventually("all of the second life are stored", async || {
        (store.client().query(&sql).fetch_one::<u64>().await.ok()? == 2000).then_some(())
    })
    .await;
    let of_the_first = stored_spans(&store.client()).await.unwrap() - 2000;
    assert!((stored..=taken).contains(&of_the_first), "{stored} {of_the_first} {taken}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn it_makes_its_tables_at_the_start_or_waits_for_those_that_others_make() {
    let mut store = Store::not_yet();
    let mut makes = Collector::new(&store.site, &store.url(), PLAIN, &[]).unwrap();
    let error = makes.start_again().await.unwrap_err().to_string();
    assert!(error.contains(r#"failed to start "clickhouse" exporter"#), "{error}");
    // Told that the tables are there, it starts without ClickHouse and keeps what comes.
    let waits = store.collector(PLAIN, &[("OTELCOL_CREATE_SCHEMA", "false")]).await;
    accepted(&waits, &numbered(1, 10)).await;
    store.start_again();
    makes.start_again().await.unwrap();
    store.has(10).await;
    let sql = "SELECT count() FROM system.tables WHERE database = 'weir' AND name = 'otel_traces' \
               AND create_table_query LIKE '%TTL toDateTime(Timestamp) + toIntervalDay(7)%'";
    assert_eq!(store.client().query(sql).fetch_one::<u64>().await.unwrap(), 1);
}

/// The SQL of the page, in a database that weir-analytics has made, where a request's span and its event are one row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn the_pages_statements_find_spans_and_their_events() {
    const TRACE: &str = "5b8efff798038103d269b633813fc60c";
    let mut stack = TestStack::start(None).await.unwrap();
    let collector = Collector::start(&stack.site, &format!("http://{}", stack.engine_at)).await.unwrap();
    // weir-analytics starts again with these tables among its own.
    stack.stop(Part::Analytics).unwrap();
    stack.start_part(Part::Analytics, None).unwrap();
    let asked = Command::new("curl")
        .args(["-sf", "-o", "/dev/null", "-H", &format!("traceparent: 00-{TRACE}-00000000000000aa-01")])
        .arg(format!("http://{}/fast", stack.gateway_at))
        .status();
    assert!(asked.unwrap().success());
    stack.settle().await;
    let sql = format!("SELECT lower(hex(span_id)) FROM access_events WHERE trace_id = unhex('{TRACE}')");
    let id: String = stack.client().query(&sql).fetch_one().await.unwrap();
    let id = u64::from_str_radix(&id, 16).unwrap();
    accepted(&collector, &request("edge", &[span(TRACE, id, Some(0xaa), 2000, &json!({"code": 2}))])).await;
    // The view fills the second table within the insert, after the first.
    let sql = format!("SELECT count() FROM otel_traces_trace_id_ts WHERE TraceId = '{TRACE}'");
    eventually("the span is stored in both tables", async || {
        (stack.client().query(&sql).fetch_one::<u64>().await.ok()? == 1).then_some(())
    })
    .await;
    let page = std::fs::read_to_string(shipped("../docs/tracing-collector.md")).unwrap();
    let statements: Vec<_> = page.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(statements.len() >= 4, "{statements:?}");
    for statement in statements {
        let url = format!("http://{}/?default_format=TSV", stack.engine_at);
        let (status, rows) = post(&url, "text/plain", statement.to_owned()).await.unwrap();
        assert!(status == 200 && !rows.is_empty(), "{statement}: {status} {rows}");
    }
}

/// What an operator may set is on the page with its default, and the page knows no other variable.
#[test]
fn the_page_has_every_variable() {
    let files = PLAIN.iter().chain(SAMPLED).map(|name| std::fs::read_to_string(shipped(name)).unwrap());
    let text = files.collect::<String>();
    let mut known: Vec<_> = text
        .split("${env:")
        .skip(1)
        .map(|rest| rest.split('}').next().unwrap().split_once(":-").unwrap())
        .map(|(name, default)| (name.to_owned(), default.to_owned()))
        .collect();
    known.sort();
    known.dedup();
    let page = std::fs::read_to_string(shipped("../docs/tracing-collector.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `OTELCOL_") || line.starts_with("| `CLICKHOUSE_"));
    let mut written: Vec<_> = rows
        .map(|row| row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>())
        .map(|cells| (cells[1].clone(), cells[2].clone()))
        .collect();
    written.sort();
    assert_eq!(written, known);
}
