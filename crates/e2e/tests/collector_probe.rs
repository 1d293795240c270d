//! `weirctl probe --check pipeline` with the real Collector: its acknowledgement and the row that it stores, each of which
//! can be missing without the other. `make test-collector` builds the Collector and runs this.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde_json::Value;
use std::process::Command;
use weir_e2e::collector::Collector;
use weir_e2e::{DEADLINE, Gateway, GatewaySpec, Site, reserve};
use weir_testkit::process::program;
use weir_testkit::upstream;

/// The exit code, and the states of `span` and `span row`.
fn probe(gateway: &Gateway, table: &str, timeout: &str) -> (i32, String, String) {
    let output = Command::new(program("weirctl").unwrap())
        .args(["--admin", &format!("unix:{}", gateway.socket.display()), "probe", "--check=pipeline", "--json"])
        .args(["--span-table", table, "--timeout", timeout])
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let legs = document["legs"].as_array().unwrap();
    let state = |name: &str| legs.iter().find(|leg| leg["leg"] == name).unwrap()["state"].as_str().unwrap().to_owned();
    assert_eq!(state("event"), "not_configured", "{document:#}");
    (output.status.code().unwrap(), state("span"), state("span row"))
}

fn found(code: i32, span: &str, row: &str) -> (i32, String, String) {
    (code, span.to_owned(), row.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn a_span_is_acknowledged_and_stored_or_the_one_that_is_down_is_named() {
    let site = Site::new().unwrap();
    let at = reserve().unwrap();
    let path = site.path("clickhouse").to_string_lossy().into_owned();
    let mut engine = site.start("engine", "weir-chdb", &["--path", &path, "--listen", &at.to_string()], &[]).unwrap();
    engine.wait_until_listening(DEADLINE).unwrap();
    let mut collector = Collector::start(&site, &format!("http://{at}")).await.unwrap();
    let endpoint = format!("http://{}", collector.grpc);
    let spec = GatewaySpec::new("berlin", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    let env = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let gateway = Gateway::start_with(&site, &spec, &env).unwrap();
    let table = format!("http://{at}/weir.otel_traces");
    assert_eq!(probe(&gateway, &table, "2m"), found(0, "passed", "passed"));

    // The Collector takes spans for a ClickHouse that is away, and only the row shows it.
    engine.stop(DEADLINE).unwrap();
    assert_eq!(probe(&gateway, &table, "5s"), found(1, "passed", "failed"));
    collector.kill().unwrap();
    assert_eq!(probe(&gateway, &table, "5s"), found(1, "failed", "failed"));
}
