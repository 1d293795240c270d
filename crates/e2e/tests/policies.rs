//! Policies in a running gateway: bound while it runs, the same for all its workers, and reported in the event and the
//! figures of the very requests that met them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::net::SocketAddr;
use std::process::Command;
use weir_e2e::{Gateway, GatewaySpec, Site, TestStack, eventually};
use weir_testkit::{get, upstream};

/// A client that may use the API, and what the API asks of its clients: of the paths under `/fast` alone.
const POLICIES: &str = r##"apiVersion: gateway.mulesoft.com/v1alpha1
kind: Contract
metadata: {name: mobile}
spec: {apiId: api-0, client: {id: mobile, secret: s3cret}}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata: {name: clients}
spec:
  targetRef: {name: api-0}
  policyRef: {name: client-id-enforcement-flex}
  config: {clientSecretExpression: "#[attributes.headers['client_secret']]"}
  order: 1
  rules: [{path: /fast/.*}]
---
apiVersion: gateway.weir.dev/v1
kind: PolicyBinding
metadata: {name: limits}
spec:
  targetRef: {kind: Selector, selector: {kind: ApiInstance}}
  policyRef: {name: rate-limiting-flex}
  config:
    rateLimits: [{maximumRequests: 3, timePeriodInMilliseconds: 3600000}]
    keyBy: consumer
    exposeHeaders: true
  order: 2
  rules: [{path: /fast/.*}]
"##;

/// Status and `x-ratelimit-remaining` of one request.
fn ask(gateway: SocketAddr, path: &str, headers: &[&str]) -> (String, String) {
    let mut command = Command::new("curl");
    command.args(["-s", "-o", "/dev/null", "-w", "%{http_code} %header{x-ratelimit-remaining}"]);
    headers.iter().for_each(|header| _ = command.args(["-H", header]));
    let output = command.arg(format!("http://{gateway}{path}")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let (status, remaining) = said.split_once(' ').unwrap();
    (status.to_owned(), remaining.trim().to_owned())
}

#[derive(clickhouse::Row, serde::Deserialize, Debug, PartialEq)]
struct Reported {
    status: u16,
    consumer: String,
    auth: String,
    rate_limit: String,
    reason: String,
    answered_by: String,
    policies: String,
    n: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_bound_while_it_runs_are_in_the_events_of_their_requests() {
    let stack = TestStack::start(None).await.unwrap();
    assert_eq!(ask(stack.gateway_at, "/fast/x", &[]).0, "200", "before");
    std::fs::write(stack.site.path("edge/conf.d/policies.yaml"), POLICIES).unwrap();
    eventually("the policies hold", async || (ask(stack.gateway_at, "/fast/wait", &[]).0 == "401").then_some(())).await;

    let mobile = ["client_id: mobile", "client_secret: s3cret"];
    let answers: Vec<_> = (0..5).map(|_| ask(stack.gateway_at, "/fast/mine", &mobile)).collect();
    let expected = [("200", "2"), ("200", "1"), ("200", "0"), ("429", "0"), ("429", "0")];
    assert_eq!(answers, expected.map(|(status, remaining)| (status.to_owned(), remaining.to_owned())));
    assert_eq!(ask(stack.gateway_at, "/fast/mine", &["client_id: mobile", "client_secret: no"]).0, "401");
    assert_eq!(ask(stack.gateway_at, "/status/204", &[]).0, "204", "the rules leave it out");

    stack.settle().await;
    let sql = "SELECT status, consumer, auth, rate_limit, reason, answered_by, arrayStringConcat(policy_names, ' ') AS policies, \
               count() AS n FROM access_events WHERE path IN ('/fast/mine', '/status/204') GROUP BY ALL ORDER BY status, consumer";
    let reported: Vec<Reported> = stack.client().query(sql).fetch_all().await.unwrap();
    let row = |status, [consumer, auth, rate_limit, reason, answered_by, policies]: [&str; 6], n| Reported {
        status,
        consumer: consumer.to_owned(),
        auth: auth.to_owned(),
        rate_limit: rate_limit.to_owned(),
        reason: reason.to_owned(),
        answered_by: answered_by.to_owned(),
        policies: policies.to_owned(),
        n,
    };
    let (ids, limits) = ("client-id-enforcement-flex", "rate-limiting-flex");
    let both = format!("{ids} {limits}");
    let expected = [
        row(200, ["mobile", "client_id", "within", "", "", &both], 3),
        row(204, ["", "", "", "", "", ""], 1),
        row(401, ["", "", "", "authentication_failed", ids, ids], 1),
        row(429, ["mobile", "client_id", "exceeded", "rate_limited", limits, &both], 2),
    ];
    assert_eq!(reported, expected);

    let (_, metrics) = get(&format!("http://{}/metrics", stack.admin().unwrap())).await.unwrap();
    let value = |name: &str, labels: &[&str]| -> u64 {
        let mut lines =
            metrics.lines().filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
        lines.next().and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
    };
    assert_eq!(
        value("weir_requests_rejected_total", &[r#"policy="rate-limiting-flex""#, r#"reason="rate_limited""#]),
        2
    );
    assert_eq!(value("weir_rate_limit_requests_total", &[r#"state="within""#]), 3);
    assert_eq!(value("weir_rate_limit_requests_total", &[r#"state="exceeded""#]), 2);
}

/// curl with sixteen connections at once against two workers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_admit_what_the_limit_says() {
    let site = Site::new().unwrap();
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream);
    spec.workers = 2;
    let limit = "config: {rateLimits: [{maximumRequests: 100, timePeriodInMilliseconds: 3600000}]}";
    spec.more_yaml = format!(
        "---\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: PolicyBinding\nmetadata: {{name: limit}}\n\
         spec: {{targetRef: {{name: api-0}}, policyRef: {{name: rate-limiting-flex}}, {limit}}}\n"
    );
    let gateway = Gateway::start(&site, &spec).unwrap();
    let urls = format!("http://{}/fast/[1-300]", gateway.address);
    let output = Command::new("curl")
        .args([
            "-s",
            "-Z",
            "--parallel-immediate",
            "--parallel-max",
            "16",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}\n",
            &urls,
        ])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let count = |status: &str| said.lines().filter(|line| *line == status).count();
    assert_eq!((count("200"), count("429")), (100, 200), "{said}");
}
