//! What a gateway measures of itself is in ClickHouse: the figures of `/metrics`, by the way that its reports take.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde_json::Value;
use std::collections::BTreeMap;
use weir_e2e::{Part, TestStack, eventually};
use weir_testkit::get;
use weir_testkit::witness::Witness;

/// The last sample of the gateway's last life.
async fn sample(stack: &TestStack) -> Option<Value> {
    let sql = "SELECT * FROM gateway_gauges ORDER BY t DESC LIMIT 1 FORMAT JSONEachRow \
               SETTINGS output_format_json_quote_64bit_integers = 0";
    let url = format!("http://{}/?database=weir&query={}", stack.engine_at, sql.replace(' ', "%20"));
    serde_json::from_str(&get(&url).await.ok()?.1).ok()
}

/// The series without labels, and sums of those with labels, by name.
async fn metrics(stack: &TestStack) -> BTreeMap<String, f64> {
    let (_, text) = get(&format!("http://{}/metrics", stack.admin().unwrap())).await.unwrap();
    let mut sums = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        *sums.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap_or_default();
    }
    sums
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_has_the_figures_of_the_metrics() {
    let mut stack = TestStack::start(None).await.unwrap();
    // The first comes with the start, and not ten seconds later.
    let first = eventually("a first sample", async || sample(&stack).await).await;
    assert_eq!(
        (&first["site"], &first["gateway"], &first["version"]),
        (&"here".into(), &"edge".into(), &env!("CARGO_PKG_VERSION").into())
    );
    let tally = Witness::start(stack.traffic(200, 400.0)).unwrap().wait().await.unwrap();
    stack.settle().await;
    let last = eventually("a sample of after the traffic", async || {
        let last = sample(&stack).await?;
        (last["events_accepted"].as_u64()? == tally.sent && last["spool_chunks"] == 0).then_some(last)
    })
    .await;
    let metrics = metrics(&stack).await;
    // What stands still while nothing is asked for.
    for (column, metric) in [
        ("events_accepted", "weir_events_accepted_total"),
        ("events_written", "weir_events_written_total"),
        ("config_generation", "weir_config_generation"),
        ("config_serving", "weir_config_serving_generation"),
        ("reloads", "weir_config_reloads_total"),
        ("chunks_sealed", "weir_spool_chunks_sealed_total"),
        ("chunks_acknowledged", "weir_spool_chunks_acknowledged_total"),
        ("spool_bytes", "weir_spool_bytes"),
        ("spool_limit_bytes", "weir_spool_limit_bytes"),
        ("files_limit", "process_max_fds"),
        ("threads", "process_threads"),
        ("requests_open", "weir_requests_open"),
        ("worker_stalls", "weir_worker_stalls_total"),
    ] {
        assert_eq!(last[column].as_f64(), metrics.get(metric).copied(), "{column}: {last}");
    }
    let workers = last["worker_busy"].as_array().unwrap();
    assert_eq!(workers.len(), usize::from(stack.spec.workers));
    let above = |name: &str, least: f64| assert!(last[name].as_f64().unwrap() > least, "{name}: {last}");
    above("cpu_seconds", 0.0);
    above("memory_bytes", 1e6);
    above("files", 5.0);
    above("requests_limit", 1.0);
    above("ring_bytes", 1024.0);
    above("saturation", 0.0);
    assert!(["worker", "files", "requests", "ring", "spool"].contains(&last["saturated_by"].as_str().unwrap()));
    let busy = stack.client().query("SELECT max(cpu_cores) > 0 AND max(arrayMax(worker_busy)) > 0 FROM gateway_gauges");
    assert!(busy.fetch_one::<bool>().await.unwrap(), "two hundred requests took processor time");
    // Another life is another `boot`.
    stack.kill(Part::Gateway).unwrap();
    stack.start_part(Part::Gateway, None).unwrap();
    eventually("a sample of the next life", async || (sample(&stack).await?["boot"] != last["boot"]).then_some(()))
        .await;
}
