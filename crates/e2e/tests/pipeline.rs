//! An event's way: from two gateways to ClickHouse, to the roll-ups, to a trace in the terminal, to the ledger - and
//! with the ingestor away for a while, nothing of it lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::process::Command;
use weir_e2e::{Gateway, GatewaySpec, Part, TestStack, eventually};
use weir_testkit::get;
use weir_testkit::process::program;
use weir_testkit::witness::Witness;

fn weirctl(stack: &TestStack, args: &[&str]) -> (i32, String) {
    let output = Command::new(program("weirctl").unwrap())
        .args(["--analytics", &format!("http://{}", stack.analytics_at)])
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_witness_sent_is_stored_whole() {
    let stack = TestStack::start(None).await.unwrap();
    let tally = Witness::start(stack.traffic(800, 400.0)).unwrap().wait().await.unwrap();
    stack.settle().await;
    let (report, disagreement) = stack.verdict().await.unwrap();
    assert!(report.holds(), "{report}");
    assert_eq!((report.sent as u64, report.stored as u64), (tally.sent, tally.sent));
    assert!(disagreement.is_empty(), "{disagreement:#?}");
    let (_, overview) = get(&format!("http://{}/api/v1/overview?minutes=60", stack.analytics_at)).await.unwrap();
    assert!(overview.contains("\"here\"") && overview.contains("api-0"), "{overview}");
    let (status, page) = get(&format!("http://{}/", stack.analytics_at)).await.unwrap();
    assert!(status == 200 && page.contains("<html"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_through_two_gateways_is_a_waterfall() {
    let stack = TestStack::start(None).await.unwrap();
    let mut spec = GatewaySpec::new("on-prem", "front", stack.gateway_at);
    spec.analytics = Some((stack.analytics_at, "token-front".to_owned()));
    let front = Gateway::start(&stack.site, &spec).unwrap();
    let id = asked(&front).await;
    let picture = eventually("the trace is stored", async || {
        let (code, out) = weirctl(&stack, &["trace", &id]);
        (code == 0 && out.contains("2 gateways")).then_some(out)
    })
    .await;
    assert!(picture.contains("on-prem/front") && picture.contains("  here/edge"), "{picture}");
    assert!(picture.contains("between") && picture.contains("own "), "{picture}");
    let (code, out) = weirctl(&stack, &["trace", &"a".repeat(32)]);
    assert!(code == 1 && out.contains("no event of trace"), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_gone_is_reported_by_the_one_before_it() {
    let mut stack = TestStack::start(None).await.unwrap();
    let mut spec = GatewaySpec::new("on-prem", "front", stack.gateway_at);
    spec.analytics = Some((stack.analytics_at, "token-front".to_owned()));
    let front = Gateway::start(&stack.site, &spec).unwrap();
    stack.kill(Part::Gateway).unwrap();
    let id = asked(&front).await;
    let picture = eventually("the trace is stored", async || {
        let (code, out) = weirctl(&stack, &["trace", &id]);
        (code == 0).then_some(out)
    })
    .await;
    assert!(picture.contains("502") && picture.contains("upstream: connection_refused"), "{picture}");
}

/// The `x-request-id` of one request.
async fn asked(gateway: &Gateway) -> String {
    let output = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%header{x-request-id}", &format!("http://{}/fast", gateway.address)])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_ingestor_away_nothing_is_lost_and_the_ledger_balances() {
    let mut stack = TestStack::start(None).await.unwrap();
    stack.kill(Part::Analytics).unwrap();
    let tally = Witness::start(stack.traffic(600, 300.0)).unwrap().wait().await.unwrap();
    stack.start_part(Part::Analytics, None).unwrap();
    stack.settle().await;
    let (report, disagreement) = stack.verdict().await.unwrap();
    assert!(report.holds(), "{report}");
    assert_eq!(report.stored as u64, tally.sent);
    assert!(disagreement.is_empty(), "{disagreement:#?}");
    let ledger = eventually("the ledger balances", async || {
        let (code, out) = weirctl(&stack, &["ledger"]);
        (code == 0 && out.starts_with("balanced up to ") && out.contains(" 0  balanced up to")).then_some(out)
    })
    .await;
    assert!(ledger.contains(&tally.sent.to_string()), "{ledger}");
    let (code, out) = weirctl(&stack, &["ledger", "--json"]);
    assert_eq!(code, 0, "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_asked_to_end_ships_what_it_holds_and_says_goodbye() {
    let mut stack = TestStack::start(None).await.unwrap();
    let tally = Witness::start(stack.traffic(200, 400.0)).unwrap().wait().await.unwrap();
    // At once: the last events are still in the ring.
    stack.stop(Part::Gateway).unwrap();
    let stored: u64 = stack.client().query("SELECT count() FROM access_events").fetch_one().await.unwrap();
    assert_eq!(stored, tally.sent);
    let (_, ledger) = weirctl(&stack, &["ledger"]);
    assert!(ledger.contains("  balanced, ended "), "{ledger}");
}

/// A status is said before the answer is whole: one that the upstream breaks off is an error, whatever it began with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_is_an_error() {
    let stack = TestStack::start(None).await.unwrap();
    for path in ["fast", "broken", "fast", "broken"] {
        // The end of a broken one is an error here as well.
        drop(get(&format!("http://{}/{path}", stack.gateway_at)).await);
    }
    let errors = eventually("all are stored", async || {
        let (_, text) = get(&format!("http://{}/api/v1/overview?minutes=60", stack.analytics_at)).await.ok()?;
        let overview: serde_json::Value = serde_json::from_str(&text).ok()?;
        let row = &overview["rows"][0];
        (row["requests"] == 4).then(|| row["errors"].clone())
    })
    .await;
    assert_eq!(errors, 2);
    let (_, series) = get(&format!("http://{}/api/v1/series?minutes=60", stack.analytics_at)).await.unwrap();
    let series: serde_json::Value = serde_json::from_str(&series).unwrap();
    let points = series["rows"][0]["points"].as_array().unwrap();
    assert_eq!(points.iter().filter_map(|point| point[2].as_u64()).sum::<u64>(), 2);
    let (_, listed) = get(&format!("http://{}/api/v1/errors", stack.analytics_at)).await.unwrap();
    assert_eq!(listed.matches("response_incomplete").count(), 2, "{listed}");
}

/// What answers a call by `host`, at `path`.
fn called(address: std::net::SocketAddr, path: &str, host: &str) -> String {
    let output = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "20", "-H", &format!("Host: {host}")])
        .arg(format!("http://{address}{path}"))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// DNS rebinding: a page whose name was made to lead here reads nothing. Probes may call by any name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_calls_by_a_strange_name_reads_nothing() {
    let stack = TestStack::start(None).await.unwrap();
    let (admin, analytics) = (stack.admin().unwrap(), stack.analytics_at);
    let paths = [(admin, "/"), (admin, "/status"), (admin, "/ledger"), (admin, "/dump"), (admin, "/metrics")];
    let paths =
        paths.into_iter().chain([(analytics, "/"), (analytics, "/api/v1/overview"), (analytics, "/api/v1/ledger")]);
    for (address, path) in paths {
        for host in ["attacker.example", "attacker.example:80", "127.0.0.1.attacker.example"] {
            assert_eq!(called(address, path, host), "421", "{path} by {host}");
        }
        for host in ["localhost:1", "127.0.0.1", "[::1]:9901"] {
            assert_eq!(called(address, path, host), "200", "{path} by {host}");
        }
    }
    assert_eq!(called(admin, "/tail", "attacker.example"), "421");
    for (address, path) in [(admin, "/probes/liveness"), (analytics, "/healthz")] {
        assert_eq!(called(address, path, "attacker.example"), "200", "{path}");
    }
}

/// HEAD is answered as GET is, and a 405 says what is taken (RFC 9110 9.3.2, 15.5.6).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_are_answered_as_they_should_be() {
    let stack = TestStack::start(None).await.unwrap();
    let (admin, analytics) = (stack.admin().unwrap(), stack.analytics_at);
    let ask = |method: &str, address: std::net::SocketAddr, path: &str| {
        let url = format!("http://{address}{path}");
        let said = "%{http_code} %header{allow}";
        let head = if method == "HEAD" { "-I" } else { "-X" };
        let mut args = vec!["-s", "-o", "/dev/null", "-w", said, "-m", "20", head];
        args.extend((method != "HEAD").then_some(method));
        let output = Command::new("curl").args(args).arg(url).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    for (method, address, path, wanted) in [
        ("HEAD", admin, "/", "200"),
        ("HEAD", admin, "/metrics", "200"),
        ("HEAD", admin, "/status", "200"),
        ("HEAD", admin, "/probes/liveness", "200"),
        ("POST", admin, "/probes/liveness", "405 GET, HEAD"),
        ("DELETE", admin, "/metrics", "405 GET, HEAD"),
        ("GET", admin, "/reload", "405 POST"),
        ("HEAD", analytics, "/", "200"),
        ("HEAD", analytics, "/healthz", "200"),
        ("GET", analytics, "/v1/chunks", "405 POST"),
        ("POST", analytics, "/", "405 GET, HEAD"),
    ] {
        assert_eq!(ask(method, address, path), wanted, "{method} {path}");
    }
}
