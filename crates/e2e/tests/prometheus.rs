//! A real Prometheus scrapes a gateway: its total, ClickHouse's and the witness's are one number.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};
use weir_e2e::{TestStack, eventually, reserve};
use weir_testkit::get;
use weir_testkit::process::Process;
use weir_testkit::witness::Witness;

fn prometheus(stack: &TestStack, scrape: &str) -> (Process, String) {
    let config = format!(
        "global: {{scrape_interval: 200ms}}\nscrape_configs: [{{job_name: weir, static_configs: [{{targets: [{scrape}]}}]}}]\n"
    );
    let file = stack.site.path("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let listen = reserve().unwrap();
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", stack.site.path("tsdb").display()))
        .arg(format!("--web.listen-address={listen}"));
    let process = Process::start("prometheus", command, &stack.site.path("prometheus.log"))
        .expect("prometheus is installed: make tools");
    (process, format!("http://{listen}"))
}

async fn promql(base: &str, query: &str) -> Option<f64> {
    let (status, body) = get(&format!("{base}/api/v1/query?query={query}")).await.ok()?;
    let answer: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
    answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_clickhouse_and_the_witness_agree() {
    let stack = TestStack::start(None).await.unwrap();
    let scrape = format!("\"{}\", \"{}\"", stack.admin().unwrap(), stack.analytics_at);
    let (_prometheus, base) = prometheus(&stack, &scrape);
    let tally = Witness::start(stack.traffic(600, 400.0)).unwrap().wait().await.unwrap();
    stack.settle().await;
    let total = "sum(http_server_request_duration_seconds_count)";
    eventually("prometheus has the witness's total", async || {
        (promql(&base, total).await? == tally.sent as f64).then_some(())
    })
    .await;
    let stored: u64 = stack.client().query("SELECT count() FROM access_events").fetch_one().await.unwrap();
    assert_eq!(stored, tally.sent);
    let rolled: u64 = stack.client().query("SELECT sum(n) FROM requests_1m").fetch_one().await.unwrap();
    assert_eq!(rolled, tally.sent);
    let accepted = promql(&base, "sum(weir_events_accepted_total)").await.unwrap();
    assert_eq!(accepted, tally.sent as f64);
    eventually("weir-analytics has counted what it stored", async || {
        let stored = promql(&base, "weir_ingest_events_total%7Boutcome=%22stored%22%7D").await?;
        (stored == tally.sent as f64).then_some(())
    })
    .await;
    assert_eq!(promql(&base, "sum(weir_ingest_block_events_sum)").await, Some(tally.sent as f64));
    assert_eq!(
        promql(&base, "weir_ingest_lag_seconds_count%20-%20weir_ingest_block_duration_seconds_count").await,
        Some(0.0)
    );
    assert_eq!(promql(&base, "weir_ingest_writer").await, Some(1.0));
    assert_eq!(promql(&base, "weir_ingest_open_intents").await, Some(0.0));
    assert_eq!(promql(&base, "weir_ingest_waiting_bytes").await, Some(0.0));
    assert!(promql(&base, "weir_clickhouse_statements_total%7Banswer=%22ok%22%7D").await > Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_has_nothing_to_say() {
    let stack = TestStack::start(None).await.unwrap();
    Witness::start(stack.traffic(50, 400.0)).unwrap().wait().await.unwrap();
    for program in [stack.admin().unwrap(), stack.analytics_at] {
        let (status, metrics) = get(&format!("http://{program}/metrics")).await.unwrap();
        assert_eq!(status, 200);
        check(&metrics);
    }
}

fn check(metrics: &str) {
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed: make tools");
    check.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
