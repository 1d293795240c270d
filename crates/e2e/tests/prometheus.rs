//! A real Prometheus scrapes a gateway: its total, ClickHouse's and the witness's are one number. And the kit for it in
//! `dashboards/prometheus` is what it says: its rules hold, and an alert reaches whoever is on call.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use weir_e2e::{DEADLINE, Gateway, GatewaySpec, Site, TestStack, certificate, check_metrics, eventually, reserve};
use weir_testkit::process::Process;
use weir_testkit::witness::Witness;
use weir_testkit::{get, upstream};

/// `scrape` are targets in quotes; `how` belongs to their job, `more` to the whole.
fn prometheus(site: &Site, scrape: &str, how: &str, more: &str) -> (Process, String) {
    prometheus_with(site, scrape, how, more, &[])
}

/// With further arguments.
fn prometheus_with(site: &Site, scrape: &str, how: &str, more: &str, args: &[&str]) -> (Process, String) {
    let config = format!(
        "global: {{scrape_interval: 200ms, evaluation_interval: 1s}}\n{more}\
         scrape_configs: [{{job_name: weir, {how} static_configs: [{{targets: [{scrape}]}}]}}]\n"
    );
    let file = site.path("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let listen = reserve().unwrap();
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", site.path("tsdb").display()))
        .arg(format!("--web.listen-address={listen}"))
        .args(args);
    let process = Process::start("prometheus", command, &site.path("prometheus.log"))
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
    let (_prometheus, base) = prometheus(&stack.site, &scrape, "", "");
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
        check_metrics(&metrics);
    }
}

/// What a program answers to whoever takes `accept`: the content type, and the text.
fn scraped(program: SocketAddr, path: &str, accept: &str) -> (String, String) {
    let output = Command::new("curl")
        .args(["-s", "-D", "-", "-H", &format!("Accept: {accept}")])
        .arg(format!("http://{program}{path}"))
        .output()
        .expect("curl is installed: make tools");
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let kind = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-type").then(|| value.to_owned())
    });
    (kind.unwrap(), body.to_owned())
}

/// Of the first series in the text that begins so.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(series)).unwrap_or_else(|| panic!("{series} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// By the library for Python; what it found.
fn strictly_parsed(text: &str) -> Value {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut parser = Command::new("python3")
        .arg(root.join("crates/e2e/tests/openmetrics/check.py"))
        .env("PYTHONPATH", root.join(".tools/openmetrics"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    parser.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = parser.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_parser_of_openmetrics_has_nothing_to_say() {
    const OPEN: &str = "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,text/plain;q=0.3";
    let stack = TestStack::start(None).await.unwrap();
    let tally = Witness::start(stack.traffic(200, 400.0)).unwrap().wait().await.unwrap();
    stack.settle().await;
    let admin = stack.admin().unwrap();
    let (kind, text) = scraped(admin, "/metrics", OPEN);
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores");
    let found = strictly_parsed(&text);
    assert_eq!(found["requests"].as_u64().or(found["requests"].as_f64().map(|sum| sum as u64)), Some(tally.sent));
    assert_eq!((&found["units"], &found["infos"]), (&json!(["bytes", "seconds"]), &json!(["target", "weir_build"])));
    assert_eq!(found["created"], 0);
    let traces = found["traces"].as_array().unwrap();
    assert!(!traces.is_empty());
    // The same series as in the other format.
    let (kind, plain) = scraped(admin, "/metrics", "text/plain");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let lines = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(lines(&plain), lines(&text));
    // With times from which on series grow: of each counter and each histogram.
    let with_times = strictly_parsed(&scraped(admin, "/metrics?created=true", OPEN).1);
    let (samples, times) = (found["samples"].as_u64().unwrap(), with_times["created"].as_u64().unwrap());
    assert!(times > 40 && with_times["samples"] == samples + times, "{with_times}");

    let (kind, text) = scraped(stack.analytics_at, "/metrics", OPEN);
    assert!(kind.starts_with("application/openmetrics-text; "), "{kind}");
    assert_eq!(strictly_parsed(&text)["infos"], json!(["weir_build"]));
}

/// Prometheus keeps exemplars, and the event of each is in ClickHouse, by the trace and the span.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_exemplar_leads_to_its_event() {
    let stack = TestStack::start(None).await.unwrap();
    let site = Site::new().unwrap();
    let scrape = format!("\"{}\"", stack.admin().unwrap());
    let (_prometheus, base) = prometheus_with(&site, &scrape, "", "", &["--enable-feature=exemplar-storage"]);
    Witness::start(stack.traffic(600, 300.0)).unwrap().wait().await.unwrap();
    stack.settle().await;
    let found = eventually("exemplars in Prometheus", async || {
        let url = format!(
            "{base}/api/v1/query_exemplars?query=http_server_request_duration_seconds_bucket&start=0&end=4102444800"
        );
        let answer: Value = serde_json::from_str(&get(&url).await.ok()?.1).ok()?;
        let series = answer["data"].as_array()?.clone();
        let all: Vec<Value> =
            series.iter().flat_map(|series| series["exemplars"].as_array().cloned().unwrap_or_default()).collect();
        (all.len() >= 3).then_some(all)
    })
    .await;
    for exemplar in &found {
        let (trace, span) =
            (exemplar["labels"]["trace_id"].as_str().unwrap(), exemplar["labels"]["span_id"].as_str().unwrap());
        let sql = format!(
            "SELECT total_us FROM access_events WHERE trace_id = unhex('{trace}') AND span_id = unhex('{span}')"
        );
        let events: Vec<u64> = stack.client().query(&sql).fetch_all().await.unwrap();
        let value: f64 = exemplar["value"].as_str().unwrap().parse().unwrap();
        let [total_us] = events[..] else { panic!("{trace}: {events:?}") };
        // The event's is the sum of three whole numbers.
        assert!((value * 1e6 - total_us as f64).abs() <= 3.0, "{trace}: {value} s, {total_us} us");
    }
    let trace = found[0]["labels"]["trace_id"].as_str().unwrap();
    let output = Command::new(weir_testkit::process::program("weirctl").unwrap())
        .args(["trace", trace, "--analytics", &format!("http://{}", stack.analytics_at)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A scraper that takes protobuf has native histograms: their count is the witness's, and their quantiles lie where the
/// requests' durations do. A family of more series than one message holds is read whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_histograms_are_in_prometheus_whole() {
    const APIS: usize = 300;
    let site = Site::new().unwrap();
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream);
    spec.workers = 1;
    spec.apis.extend((1..APIS).map(|n| (format!("/api-{n}"), upstream, String::new())));
    let gateway = Gateway::start(&site, &spec).unwrap();
    let scrape = format!("\"{}\"", gateway.admin);
    let features = ["--enable-feature=native-histograms,exemplar-storage"];
    let (_prometheus, base) = prometheus_with(&site, &scrape, "", "", &features);
    for n in 1..APIS {
        get(&format!("http://{}/api-{n}/fast", gateway.address)).await.unwrap();
    }
    for _ in 0..50 {
        get(&format!("http://{}/slow?ms=30", gateway.address)).await.unwrap();
    }
    let duration = "http_server_request_duration_seconds";
    let total = (APIS - 1 + 50) as f64;
    eventually("every request is in the native histograms", async || {
        (promql(&base, &format!("histogram_count(sum({duration}))")).await? == total).then_some(())
    })
    .await;
    assert_eq!(promql(&base, &format!("count({duration})")).await, Some(APIS as f64));
    assert_eq!(promql(&base, &format!("sum({duration}_count)")).await, None, "no classic series beside them");
    let slow = format!("{duration}%7Bapi=%22api-0%22%7D");
    let median = promql(&base, &format!("histogram_quantile(0.5,sum({slow}))")).await.unwrap();
    let mean = promql(&base, &format!("histogram_sum(sum({slow}))/histogram_count(sum({slow}))")).await.unwrap();
    assert!(median >= 0.03 && (median / mean - 1.0).abs() < 0.5, "median {median}, mean {mean}");
    // The text has the same count.
    let (kind, text) = scraped(gateway.admin, "/metrics", "text/plain");
    assert!(kind.starts_with("text/plain"), "{kind}");
    let counts = text.lines().filter(|line| line.starts_with(&format!("{duration}_count")));
    let sum: f64 = counts.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
    assert_eq!(sum, total);
}

/// Connections that are kept count once, refused ones as failures; and the threads that did it say what they cost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_services_and_the_cost_of_threads_are_counted() {
    let site = Site::new().unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    spec.workers = 1;
    spec.apis.push(("/gone".to_owned(), reserve().unwrap(), String::new()));
    let gateway = Gateway::start(&site, &spec).unwrap();
    for (path, status) in [("/fast", 200), ("/fast", 200), ("/fast", 200), ("/gone/x", 502), ("/gone/x", 502)] {
        assert_eq!(get(&format!("http://{}{path}", gateway.address)).await.unwrap().0, status, "{path}");
    }
    let (_, text) = scraped(gateway.admin, "/metrics", "text/plain");
    let value = |series: &str| value(&text, series);
    let of = |api: &str| format!("{{api=\"{api}\",service=\"{api}-main\"}}");
    for (api, opened, failed) in [("api-0", 1.0, 0.0), ("api-1", 0.0, 2.0)] {
        assert_eq!(value(&format!("weir_upstream_connections_opened_total{}", of(api))), opened, "{api}");
        assert_eq!(value(&format!("weir_upstream_connect_failures_total{}", of(api))), failed, "{api}");
    }
    let output = Command::new(weir_testkit::process::program("weirctl").unwrap())
        .args(["cardinality", "--json", "--admin", &format!("http://{}", gateway.admin)])
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(found["series"], series);
    let labels = |metric: &Value| metric["name"] == "http_server_request_duration_seconds" && metric["series"] == 34;
    assert!(found["metrics"].as_array().unwrap().iter().any(labels), "{found}");
    let worker = value("weir_thread_cpu_seconds_total{thread=\"worker-0\"}");
    assert!(worker > 0.0 && worker <= value("process_cpu_seconds_total"), "{worker}");
}

/// A service that answers with ever new statuses makes as many series as the limit allows. Series that are there go on,
/// what comes after counts under `__other__`, the total is what was asked, and a higher limit takes effect with a reload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn label_sets_past_the_limit_count_under_other() {
    let site = Site::new().unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    let limit = |limit: u32| {
        format!(
            "---\napiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: metrics}}\n\
             spec: {{metrics: {{cardinalityLimit: {limit}}}}}\n"
        )
    };
    spec.workers = 2;
    spec.more_yaml = limit(3);
    let gateway = Gateway::start(&site, &spec).unwrap();
    let ask = async |statuses: std::ops::Range<u16>| {
        for status in statuses {
            assert_eq!(get(&format!("http://{}/status/{status}", gateway.address)).await.unwrap().0, status);
        }
    };
    let series = || -> Vec<(String, u64)> {
        let (_, text) = scraped(gateway.admin, "/metrics", "text/plain");
        let lines = text.lines().filter(|line| line.starts_with("http_server_request_duration_seconds_count{"));
        let status =
            |line: &str| line.split("http_response_status_code=\"").nth(1)?.split('"').next().map(str::to_owned);
        lines.map(|line| (status(line).unwrap(), line.rsplit(' ').next().unwrap().parse().unwrap())).collect()
    };
    ask(400..420).await;
    let mut expected: Vec<_> = (400..403).map(|status| (status.to_string(), 1)).collect();
    expected.push(("__other__".to_owned(), 17));
    assert_eq!(series(), expected);
    ask(400..405).await;
    expected.iter_mut().for_each(|(_, count)| *count += 1);
    expected[3].1 += 1;
    assert_eq!(series(), expected, "what has its series keeps it, whichever worker is asked");
    std::fs::write(gateway.conf.join("gateway.yaml"), spec.yaml(&site.path("edge")).replace(&limit(3), &limit(5)))
        .unwrap();
    gateway.process.signal(rustix::process::Signal::HUP);
    let value = |series: &str| value(&scraped(gateway.admin, "/metrics", "text/plain").1, series);
    eventually("the new limit is read", async || (value("weir_metric_label_sets_limit ") == 5.0).then_some(())).await;
    ask(403..406).await;
    expected.splice(3..3, [("403".to_owned(), 1), ("404".to_owned(), 1)]);
    expected[5].1 += 1;
    assert_eq!(series(), expected);
    let used = "weir_metric_label_sets{metric=\"http_server_request_duration_seconds\"}";
    assert_eq!(value(used), 5.0);
    assert_eq!(value("weir_requests_total{api=\"api-0\""), 28.0);
}

/// What telemetry brings out of the process is counted by signal: to the byte what files and answers have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bytes_of_telemetry_are_counted() {
    let site = Site::new().unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    let log = site.path("access.log");
    spec.more_yaml = format!(
        "---\napiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: logging}}\nspec:\n  logging:\n    \
         outputs: [{{name: file, type: file, parameters: {{file: {}}}}}]\n    accessLogs: {{outputs: [file]}}\n",
        log.display()
    );
    let gateway = Gateway::start(&site, &spec).unwrap();
    for _ in 0..20 {
        get(&format!("http://{}/fast", gateway.address)).await.unwrap();
    }
    let bytes =
        |signal: &str, text: &str| value(text, &format!("weir_telemetry_bytes_total{{signal=\"{signal}\"}}")) as u64;
    let text = eventually("all lines are written", async || {
        let text = scraped(gateway.admin, "/metrics", "text/plain").1;
        let written = std::fs::read(&log).ok()?;
        let lines = written.iter().filter(|byte| **byte == b'\n').count();
        (lines == 20 && bytes("logs", &text) == written.len() as u64).then_some(text)
    })
    .await;
    let again = scraped(gateway.admin, "/metrics", "text/plain").1;
    let scraped_since = bytes("metrics", &again) - bytes("metrics", &text);
    // An answer counts itself only as far as it was passed on when that line was written.
    assert!(scraped_since.abs_diff(text.len() as u64) < 32 << 10, "{scraped_since} of {}", text.len());
    eventually("the chunk is written", async || {
        let text = scraped(gateway.admin, "/metrics", "text/plain").1;
        (bytes("events", &text) > 0).then_some(())
    })
    .await;
}

/// What `weirctl top` shows of a second in which somebody asks all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_shows_who_is_busy() {
    let site = Site::new().unwrap();
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::start(&site, &GatewaySpec::new("here", "edge", upstream)).unwrap();
    let top = |args: &[&str]| {
        let mut command = Command::new(weir_testkit::process::program("weirctl").unwrap());
        command.args(["top", "--count=1", "--interval=1", "--admin", &format!("http://{}", gateway.admin)]);
        command.args(args).stdout(Stdio::piped()).spawn().unwrap()
    };
    let (mut people, mut programs) = (top(&[]), top(&["--json"]));
    let mut asked = 0;
    while people.try_wait().unwrap().is_none() || programs.try_wait().unwrap().is_none() {
        assert_eq!(get(&format!("http://{}/fast", gateway.address)).await.unwrap().0, 200);
        asked += 1;
    }
    let text = String::from_utf8(people.wait_with_output().unwrap().stdout).unwrap();
    assert!(text.contains(" requests/s, ") && text.trim_end().ends_with(" api-0"), "{text}");
    let found: Value = serde_json::from_slice(&programs.wait_with_output().unwrap().stdout).unwrap();
    let api = &found["apis"][0];
    let requests = api["requests_per_second"].as_f64().unwrap() * found["seconds"].as_f64().unwrap();
    assert!(requests > 0.0 && requests.round() <= f64::from(asked), "{asked}: {found}");
    assert!(api["p99_seconds"].as_f64() > Some(0.0) && api["failed_per_second"] == 0.0, "{found}");
    assert!(found["cores"].as_f64() > Some(0.0) && found["events_given_up"] == 0.0, "{found}");
}

/// A Prometheus elsewhere has a port with a token and TLS, and sees nothing there but metrics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_for_metrics_alone_is_scraped_over_tls_with_a_token() {
    const TOKEN: &str = "scrape-and-nothing-else";
    let site = Site::new().unwrap();
    let dir = site.path("tls");
    std::fs::create_dir_all(&dir).unwrap();
    certificate(&dir, "2").unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    spec.more_yaml = format!(
        "---\napiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: metrics}}\nspec:\n  metrics:\n    \
         address: 127.0.0.1:0\n    token: {TOKEN}\n    tls: {{certificate: {{crtFile: {0}/served.pem, keyFile: {0}/served.key}}}}\n",
        dir.display()
    );
    let mut gateway = Gateway::start(&site, &spec).unwrap();
    let port = gateway
        .process
        .wait_for(DEADLINE, |line| {
            line.split_once("metrics on https://127.0.0.1:").map(|(_, port)| port.trim().to_owned())
        })
        .unwrap();
    let asked = |path: &str, more: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"]).arg(dir.join("served.pem"));
        let output = curl.args(more).arg(format!("https://localhost:{port}{path}")).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let shown = format!("authorization: Bearer {TOKEN}");
    let with_token: &[&str] = &["-H", &shown];
    assert_eq!(asked("/metrics", with_token), "200");
    for (path, more, status) in [
        ("/metrics", &[][..], "401"),
        ("/metrics", &["-H", "authorization: Bearer scrape-and-nothing-els"], "401"),
        ("/dump", with_token, "404"),
        ("/reload", &["-X", "POST", "-H", &shown], "404"),
        ("/metrics", &["-X", "POST", "-H", &shown], "405"),
    ] {
        assert_eq!(asked(path, more), status, "{path} {more:?}");
    }
    assert!(get(&format!("http://127.0.0.1:{port}/metrics")).await.is_err(), "no clear text");
    let how = format!(
        "scheme: https, authorization: {{credentials: {TOKEN}}}, tls_config: {{ca_file: {}, server_name: localhost}},",
        dir.join("served.pem").display()
    );
    let (_prometheus, base) = prometheus(&site, &format!("\"127.0.0.1:{port}\""), &how, "");
    eventually("it is scraped", async || (promql(&base, "up").await? == 1.0).then_some(())).await;
    let expiry = "weir_tls_certificate_expiry_timestamp_seconds";
    let first = eventually("its certificate is a metric", async || promql(&base, expiry).await).await;
    // The next one is shown without a restart, and the alert on its end is quiet again.
    certificate(&dir, "90").unwrap();
    eventually("the new certificate is shown", async || {
        (promql(&base, expiry).await? > first + 80.0 * 86_400.0).then_some(())
    })
    .await;
    assert_eq!(asked("/metrics", with_token), "200", "curl trusts the new one alone");
}

/// The kit's folder.
fn kit() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../dashboards/prometheus"))
}

fn kit_file(name: &str) -> String {
    std::fs::read_to_string(kit().join(name)).unwrap()
}

const RULES: [&str; 3] = ["rules/recording.yml", "rules/slo.yml", "rules/alerts.yml"];

/// The command of the documentation starts a Prometheus that has all of the kit's rules.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_command_starts_prometheus_with_the_kit() {
    let site = Site::new().unwrap();
    let root = kit().join("../..");
    let page = std::fs::read_to_string(root.join("docs/operations.md")).unwrap();
    let line = page.lines().find(|line| line.starts_with("prometheus --config.file=")).unwrap();
    let mut words = line.split(' ');
    let listen = reserve().unwrap();
    let mut command = Command::new(words.next().unwrap());
    command.args(words).arg(format!("--web.listen-address={listen}")).current_dir(root);
    command.arg(format!("--storage.tsdb.path={}", site.path("tsdb").display()));
    let _process = Process::start("prometheus", command, &site.path("prometheus.log")).unwrap();
    let alerts = eventually("the rules are loaded", async || {
        let (_, body) = get(&format!("http://{listen}/api/v1/rules?type=alert")).await.ok()?;
        let answer: Value = serde_json::from_str(&body).ok()?;
        let groups = answer["data"]["groups"].as_array()?.clone();
        Some(groups.iter().map(|group| group["rules"].as_array().map_or(0, Vec::len)).sum::<usize>())
    })
    .await;
    let written = RULES.iter().map(|file| values(&kit_file(file), "alert: ").count()).sum::<usize>();
    assert!(alerts == written && written > 30, "{alerts} of {written}");
}

/// What stands behind `key` in each line that has it.
fn values<'t>(text: &'t str, key: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines().filter_map(move |line| line.trim_start().trim_start_matches("- ").strip_prefix(key)).map(str::trim)
}

#[test]
fn the_tools_of_prometheus_accept_the_kit() {
    let run = |program: &str, args: &[&str]| {
        let Output { status, stdout, stderr } =
            Command::new(program).args(args).current_dir(kit()).output().expect("it is installed: make tools");
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{program} {args:?}: {said}");
        said
    };
    let rules = run("promtool", &["check", "rules", RULES[0], RULES[1], RULES[2]]);
    assert!(rules.contains("SUCCESS: 31 rules") && !rules.contains("WARN"), "{rules}");
    run("promtool", &["check", "config", "prometheus.yml"]);
    run("promtool", &["test", "rules", "tests/alerts.yml", "tests/slo.yml"]);
    run("amtool", &["check-config", "alertmanager.yml"]);
}

/// Each alert has a part of the runbooks, which it links to, and cases in which it fires and is quiet.
#[test]
fn every_alert_has_a_runbook_and_its_tests() {
    let runbooks = std::fs::read_to_string(kit().join("../../docs/runbooks.md")).unwrap();
    let headings: Vec<_> = values(&runbooks, "### ").collect();
    let mut alerts = Vec::new();
    for name in &RULES[1..] {
        let rules = kit_file(name);
        let named: Vec<_> = values(&rules, "alert:").map(str::to_owned).collect();
        let linked: Vec<_> = values(&rules, "runbook_url:").map(str::to_owned).collect();
        let links: Vec<_> =
            named.iter().map(|alert| format!("docs/runbooks.md#{}", alert.to_ascii_lowercase())).collect();
        assert_eq!(linked, links, "{name}");
        alerts.extend(named);
    }
    alerts.dedup();
    let mut sorted: Vec<_> = alerts.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let mut written = headings.clone();
    written.sort_unstable();
    assert_eq!(sorted, written, "docs/runbooks.md has a part for each alert, and no other");
    let (of_alerts, of_slo) = (kit_file("tests/alerts.yml"), kit_file("tests/slo.yml"));
    for alert in alerts {
        let both = [format!("name: {alert} fires\n"), format!("name: {alert} is quiet\n")];
        let tested = both.iter().all(|case| of_alerts.contains(case)) || of_slo.contains(&alert);
        assert!(tested, "{alert} has no test");
    }
}

/// The kit and the runbooks name no metric that there is not.
#[test]
fn every_metric_of_the_kit_is_in_the_catalogues() {
    let catalogue = |name: &str| std::fs::read_to_string(kit().join("..").join(name)).unwrap();
    let catalogues = catalogue("metrics.md") + &catalogue("metrics-analytics.md");
    let mut seen = 0;
    // The names of groups of rules are no metrics.
    for name in RULES.iter().chain(&["../../docs/runbooks.md"]) {
        let text: String = kit_file(name).lines().filter(|line| !line.contains("- name:")).collect();
        // A recording rule's name has colons and is no metric of a program.
        let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || "_:".contains(char)));
        let is_metric = |word: &&str| {
            ["weir_", "http_", "process_"].iter().any(|prefix| word.starts_with(prefix)) && !word.contains(':')
        };
        for word in words.filter(is_metric) {
            let metric =
                ["_bucket", "_sum", "_count"].iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word);
            seen += 1;
            assert!(catalogues.contains(&format!("| `{metric}` |")), "{name}: {metric}");
        }
    }
    assert!(seen > 60, "{seen}");
}

/// The objectives with all times divided by sixty.
fn quick(rules: &str) -> String {
    let windows =
        [("5m", "5s"), ("30m", "30s"), ("1h", "1m"), ("6h", "6m"), ("2h", "2m"), ("1d", "24m"), ("3d", "72m")];
    let mut text = rules.to_owned();
    for (long, short) in windows {
        text = text.replace(&format!("[{long}]"), &format!("[{short}]"));
    }
    let waits = [("for: 2m", "for: 2s"), ("for: 5m", "for: 5s"), ("for: 15m", "for: 15s"), ("for: 30m", "for: 30s")];
    waits.iter().fold(text, |text, (long, short)| text.replace(long, short)).replace("* 3600 >=", "* 60 >=")
}

/// Whoever is on call: what Alertmanager posts, as text.
fn on_call() -> (SocketAddr, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, messages) = (listener.local_addr().unwrap(), Arc::<Mutex<String>>::default());
    let received = Arc::clone(&messages);
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut request = Vec::new();
            let mut part = [0; 1 << 14];
            while !request.ends_with(b"}\n") && !request.ends_with(b"}") {
                match client.read(&mut part) {
                    Ok(count @ 1..) => request.extend_from_slice(&part[..count]),
                    _ => break,
                }
            }
            received.lock().unwrap().push_str(&String::from_utf8_lossy(&request));
            drop(client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
        }
    });
    (address, messages)
}

/// A service breaks: whoever is on call is called. It is repaired: they are told that it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_reaches_who_is_on_call_and_ends() {
    let site = Site::new().unwrap();
    // Nobody listens there yet.
    let service = reserve().unwrap();
    let gateway = Gateway::start(&site, &GatewaySpec::new("here", "edge", service)).unwrap();
    let (pager, messages) = on_call();
    let config = kit_file("alertmanager.yml")
        .replace("http://127.0.0.1:9099", &format!("http://{pager}"))
        .replace("group_wait: 10s", "group_wait: 1s")
        .replace("group_interval: 5m", "group_interval: 1s");
    let file = site.path("alertmanager.yml");
    std::fs::write(&file, config).unwrap();
    let listen = reserve().unwrap();
    let mut command = Command::new("prometheus-alertmanager");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.path={}", site.path("alerts").display()))
        .arg(format!("--web.listen-address={listen}"))
        .arg("--cluster.listen-address=");
    let _alertmanager = Process::start("alertmanager", command, &site.path("alertmanager.log"))
        .expect("prometheus-alertmanager is installed: make tools");
    for name in &RULES[..2] {
        std::fs::create_dir_all(site.path("rules")).unwrap();
        std::fs::write(site.path(name), quick(&kit_file(name))).unwrap();
    }
    let more = format!(
        "rule_files: [{}/*.yml]\nalerting: {{alertmanagers: [{{static_configs: [{{targets: [\"{listen}\"]}}]}}]}}\n",
        site.path("rules").display()
    );
    let (_prometheus, _) = prometheus(&site, &format!("\"{}\"", gateway.admin), "", &more);
    let called = async |status: &str| {
        let alert =
            format!("{{\"status\":\"{status}\",\"labels\":{{\"alertname\":\"WeirAvailabilityBudgetBurn\",\"api\":\"");
        eventually(status, async || {
            // Some twenty requests a second, as long as it takes.
            for _ in 0..4 {
                get(&format!("http://{}/", gateway.address)).await.ok();
            }
            messages.lock().unwrap().contains(&alert).then_some(())
        })
        .await;
    };
    called("firing").await;
    let text = messages.lock().unwrap().clone();
    assert!(text.contains("\"severity\":\"page\"") && text.contains("docs/runbooks.md#weiravailability"), "{text}");
    assert!(text.contains("POST /pages "), "{text}");
    let _service = upstream::spawn(&service.to_string()).await.unwrap();
    called("resolved").await;
}

/// Each expression of the dashboard for Prometheus, as Grafana sends it for All.
fn expressions() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&kit_file("../prometheus.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().unwrap().clone();
        targets.into_iter().map(move |target| (title.clone(), target["expr"].as_str().unwrap().to_owned()))
    };
    let grafana = |text: String| {
        text.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$api", ".*").replace("[1h]", "[1m]")
    };
    panels.flat_map(of_panel).map(|(title, expression)| (title, grafana(expression))).collect()
}

/// What Prometheus answers to `query`: how many series have a number.
async fn series(base: &str, query: &str) -> usize {
    let output = Command::new("curl")
        .args(["-s", "--data-urlencode", &format!("query={query}"), &format!("{base}/api/v1/query")])
        .output()
        .unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["status"], "success", "{query}: {answer}");
    let result = answer["data"]["result"].as_array().unwrap();
    result.iter().filter(|series| series["value"][1].as_str().is_some_and(|value| value != "NaN")).count()
}

/// Every panel of the dashboard has series of a gateway that is used, and of weir-analytics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_expression_of_the_dashboard_has_series() {
    let mut stack = TestStack::start(None).await.unwrap();
    // An API whose policy rejects, and whose service is not there.
    stack.stop(weir_e2e::Part::Gateway).unwrap();
    let nobody = reserve().unwrap();
    (stack.spec.apis[0].0, stack.spec.apis[0].2) = ("/somebody/".to_owned(), "/".to_owned());
    stack.spec.apis.push(("/nobody/".to_owned(), nobody, String::new()));
    stack.spec.more_yaml = "---\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: PolicyBinding\nmetadata: {name: limit}\nspec:\n  \
        targetRef: {name: api-0}\n  policyRef: {name: rate-limiting-flex}\n  config: {rateLimits: [{maximumRequests: 2, timePeriodInMilliseconds: 500}]}\n"
        .to_owned();
    stack.start_part(weir_e2e::Part::Gateway, None).unwrap();
    std::fs::create_dir_all(stack.site.path("rules")).unwrap();
    std::fs::write(stack.site.path("rules/recording.yml"), quick(&kit_file(RULES[0]))).unwrap();
    let scrape = format!("\"{}\", \"{}\"", stack.admin().unwrap(), stack.analytics_at);
    let rules = format!("rule_files: [{}/*.yml]\n", stack.site.path("rules").display());
    let (_prometheus, base) = prometheus(&stack.site, &scrape, "", &rules);
    let all = expressions();
    assert!(all.len() > 20, "{}", all.len());
    eventually("the gateway is scraped", async || (promql(&base, "sum(up)").await? == 2.0).then_some(())).await;
    for (title, expression) in all {
        eventually(&format!("{title}: {expression}"), async || {
            for path in ["somebody/fast", "nobody/fast"] {
                get(&format!("http://{}/{path}", stack.gateway_at)).await.ok();
            }
            (series(&base, &expression).await > 0).then_some(())
        })
        .await;
    }
    assert_eq!(series(&base, "weir_no_such_metric").await, 0);
}
