//! Metrics and log records, and the real Collector: it takes what a gateway sends, over gRPC and over HTTP. `make test-collector` builds the
//! Collector and runs these.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde_json::Value;
use std::path::Path;
use weir_e2e::collector::Collector;
use weir_e2e::{Gateway, GatewaySpec, Site, eventually};
use weir_testkit::{get, get_with, upstream};

/// A pipeline of `signal` that ends in a file.
async fn collector(site: &Site, signal: &str, file: &Path) -> Collector {
    let exporter = format!("yaml:exporters::file: {{path: \"{}\", flush_interval: 100ms}}", file.display());
    let pipeline = format!(
        "yaml:service::pipelines::{signal}: {{receivers: [otlp], processors: [memory_limiter], exporters: [file]}}"
    );
    // Nobody stores spans here.
    let env = [("OTELCOL_CREATE_SCHEMA", "false")];
    Collector::with(site, "http://127.0.0.1:1", &["config.yaml", &exporter, &pipeline], &env).await.unwrap()
}

/// Every item in the file, in OTLP's JSON, by the keys that lead to it.
fn stored(file: &Path, keys: [&str; 3]) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let requests = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect();
    keys.iter().fold(requests, |values: Vec<Value>, key| {
        values.iter().flat_map(|value| value[*key].as_array().cloned().unwrap_or_default()).collect()
    })
}

const METRICS: [&str; 3] = ["resourceMetrics", "scopeMetrics", "metrics"];
const LOGS: [&str; 3] = ["resourceLogs", "scopeLogs", "logRecords"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn the_collector_takes_metrics_over_both_protocols() {
    let origin = upstream::spawn("127.0.0.1:0").await.unwrap();
    for protocol in ["grpc", "http/protobuf"] {
        let site = Site::new().unwrap();
        let file = site.path("metrics.json");
        let collector = collector(&site, "metrics", &file).await;
        let endpoint = if protocol == "grpc" { collector.grpc } else { collector.http };
        let env = [
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*format!("http://{endpoint}")),
            ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
        ];
        let gateway = Gateway::start_with(&site, &GatewaySpec::new("berlin", "edge", origin), &env).unwrap();
        for _ in 0..4 {
            assert_eq!(get(&format!("http://{}/fast", gateway.address)).await.unwrap().0, 200);
        }
        // Numbers of 64 bits are texts in OTLP's JSON.
        let point = eventually("the Collector has the histogram", async || {
            let named = |metric: &Value| metric["name"] == "http.server.request.duration";
            let point =
                stored(&file, METRICS).into_iter().rfind(named)?["exponentialHistogram"]["dataPoints"][0].clone();
            (point["count"] == "4").then_some(point)
        })
        .await;
        assert_eq!(point["scale"], 3, "{point}");
        assert_eq!(point["exemplars"][0]["traceId"].as_str().map(str::len), Some(32), "{point}");
        let sums = stored(&file, METRICS);
        let requests = sums.iter().rfind(|metric| metric["name"] == "weir_requests").unwrap();
        assert_eq!(
            (&requests["sum"]["isMonotonic"], &requests["sum"]["aggregationTemporality"]),
            (&true.into(), &2.into())
        );
        let dropped = get(&format!("http://{}/metrics", gateway.admin)).await.unwrap().1;
        assert!(dropped.contains("weir_metric_points_dropped_total{reason=\"rejected\"} 0"), "{dropped}");
        drop(collector);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn the_collector_takes_lines_over_both_protocols() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let origin = upstream::spawn("127.0.0.1:0").await.unwrap();
    for protocol in ["grpc", "http/protobuf"] {
        let site = Site::new().unwrap();
        let file = site.path("logs.json");
        let collector = collector(&site, "logs", &file).await;
        let endpoint = if protocol == "grpc" { collector.grpc } else { collector.http };
        let mut spec = GatewaySpec::new("berlin", "edge", origin);
        spec.more_yaml =
            "---\napiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {name: logs}\nspec: {logging: \
                          {accessLogs: {requests: true}}}\n"
                .to_owned();
        let env = [
            ("OTEL_LOGS_EXPORTER", "otlp"),
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*format!("http://{endpoint}")),
            ("OTEL_BLRP_SCHEDULE_DELAY", "50"),
        ];
        let gateway = Gateway::start_with(&site, &spec, &env).unwrap();
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let url = format!("http://{}/status/503", gateway.address);
        assert_eq!(get_with(&url, &[("traceparent", &parent)]).await.unwrap().0, 503);
        let record = eventually("the Collector has the record", async || stored(&file, LOGS).pop()).await;
        assert_eq!((&record["traceId"], &record["severityNumber"]), (&TRACE.into(), &9.into()), "{record}");
        let body = record["body"]["stringValue"].as_str().unwrap();
        assert!(body.starts_with("GET /status/503 503 "), "{body}");
        let status = serde_json::json!({"key": "status", "value": {"intValue": "503"}});
        assert!(record["attributes"].as_array().unwrap().contains(&status), "{record}");
        drop(collector);
    }
}
