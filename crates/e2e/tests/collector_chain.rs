//! Two chained gateways and the real Collector: their spans are one trace in ClickHouse, and a Collector that is killed under
//! load costs no request anything. `make test-collector` builds the Collector and runs these.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use weir_e2e::collector::{Collector, spans_of, stored_spans};
use weir_e2e::{DEADLINE, Gateway, GatewaySpec, Site, eventually, reserve};
use weir_testkit::process::Process;
use weir_testkit::{get, get_with, upstream};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

struct Chain {
    site: Site,
    _engine: Process,
    clickhouse: clickhouse::Client,
    collector: Collector,
    edge: Gateway,
    inner: Gateway,
}

impl Chain {
    /// The first gateway speaks gRPC to the Collector, the second HTTP.
    async fn start(env: &[(&str, &str)]) -> Self {
        let site = Site::new().unwrap();
        let at = reserve().unwrap();
        let path = site.path("clickhouse").to_string_lossy().into_owned();
        let mut engine =
            site.start("engine", "weir-chdb", &["--path", &path, "--listen", &at.to_string()], &[]).unwrap();
        engine.wait_until_listening(DEADLINE).unwrap();
        let url = format!("http://{at}");
        let collector = Collector::start(&site, &url).await.unwrap();
        let (grpc, http) = (format!("http://{}", collector.grpc), format!("http://{}", collector.http));
        let origin = upstream::spawn("127.0.0.1:0").await.unwrap();
        let start = |spec: &GatewaySpec, protocol, endpoint: &str| {
            let own = [
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
                ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ];
            Gateway::start_with(&site, spec, &[&own[..], env].concat()).unwrap()
        };
        let inner = start(&GatewaySpec::new("cloud", "inner", origin), "http/protobuf", &http);
        let edge = start(&GatewaySpec::new("berlin", "edge", inner.address), "grpc", &grpc);
        let clickhouse = clickhouse::Client::default().with_url(url);
        Self { site, _engine: engine, clickhouse, collector, edge, inner }
    }

    /// Of both gateways: what was exported, and what was dropped.
    async fn counted(&self) -> (f64, f64) {
        let mut counted = (0.0, 0.0);
        for gateway in [&self.edge, &self.inner] {
            let text = get(&format!("http://{}/metrics", gateway.admin)).await.unwrap().1;
            let sum = |name: &str| -> f64 {
                let lines = text.lines().filter(|line| line.starts_with(name));
                lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
            };
            counted.0 += sum("weir_spans_exported_total");
            counted.1 += sum("weir_spans_dropped_total");
        }
        counted
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn two_chained_gateways_are_one_trace_in_clickhouse() {
    let chain = Chain::start(&[]).await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let url = format!("http://{}/status/503", chain.edge.address);
    assert_eq!(get_with(&url, &[("traceparent", &parent)]).await.unwrap().0, 503);
    let spans = eventually("the trace is stored", async || {
        spans_of(&chain.clickhouse, TRACE).await.ok().filter(|spans| spans.len() == 4)
    })
    .await;
    let seen: Vec<_> = spans.iter().map(|span| (&*span.service, &*span.kind, &*span.status)).collect();
    let expected = [("edge", "Server"), ("edge", "Client"), ("inner", "Server"), ("inner", "Client")];
    assert_eq!(seen, expected.map(|(service, kind)| (service, kind, "Error")));
    assert_eq!(spans[0].parent_span_id, "00f067aa0ba902b7");
    assert!(spans.windows(2).all(|pair| pair[1].parent_span_id == pair[0].span_id), "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn a_collector_that_is_killed_under_load_costs_no_request_anything() {
    const REQUESTS: usize = 600;
    let bounds = [("OTEL_BSP_MAX_QUEUE_SIZE", "64"), ("OTEL_BSP_EXPORT_TIMEOUT", "500")];
    let mut chain = Chain::start(&bounds).await;
    let url = format!("http://{}/fast", chain.edge.address);
    for number in 0..REQUESTS {
        if number == REQUESTS / 3 {
            chain.collector.kill().unwrap();
        }
        if number == REQUESTS * 2 / 3 {
            eventually("spans are dropped and counted", async || (chain.counted().await.1 > 0.0).then_some(())).await;
            chain.collector.start_again().await.unwrap();
        }
        assert_eq!(get(&url).await.unwrap().0, 200, "{number}");
    }
    // A request is two spans at each gateway.
    eventually("every span is exported or counted as dropped", async || {
        let (exported, dropped) = chain.counted().await;
        (exported + dropped == (4 * REQUESTS) as f64).then_some(())
    })
    .await;
    let before = stored_spans(&chain.clickhouse).await.unwrap();
    assert_eq!(get_with(&url, &[("traceparent", &format!("00-{TRACE}-00f067aa0ba902b7-01"))]).await.unwrap().0, 200);
    eventually("spans are stored again", async || (stored_spans(&chain.clickhouse).await.ok()? > before).then_some(()))
        .await;
    drop(chain.site);
}
