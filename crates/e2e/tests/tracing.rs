//! Spans of a gateway, as their receiver has them: which are kept, what they belong to, and what is told to whom.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use http::HeaderMap;
use opentelemetry_proto::tonic::trace::v1::Span;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;
use weir_e2e::{Gateway, GatewaySpec, Site, eventually};
use weir_testkit::otlp::Receiver;
use weir_testkit::process::program;
use weir_testkit::{get, get_with, post, upstream};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
/// Spans come at once.
const SOON: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "20");

struct Traced {
    _site: Site,
    gateway: Gateway,
    receiver: Receiver,
}

impl Traced {
    /// A gateway with these settings of `tracing` beside the provider.
    async fn start(settings: &str, env: &[(&str, &str)]) -> Self {
        let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
        let mut spec = GatewaySpec::new("berlin", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
        spec.more_yaml = format!(
            "---
apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {{name: tracing}}
spec:
  tracing:
    provider: {{type: opentelemetry, properties: {{address: \"h2://{}\", serviceType: grpc}}}}
{settings}",
            receiver.address
        );
        let site = Site::new().unwrap();
        let gateway = Gateway::start_with(&site, &spec, &[&[SOON], env].concat()).unwrap();
        Self { _site: site, gateway, receiver }
    }

    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap) {
        ask(self.gateway.address, path, headers).await
    }

    /// The spans of requests for `path`, when there are so many.
    async fn spans(&self, path: &str, count: usize) -> Vec<Span> {
        eventually("the spans arrive", async || {
            let spans = self.receiver.spans();
            let of_path = |span: &&Span| {
                text(span, "url.path").as_deref() == Some(path)
                    || text(span, "url.full").is_some_and(|url| url.ends_with(path))
            };
            let spans: Vec<_> = spans.iter().filter(of_path).cloned().collect();
            (spans.len() == count).then_some(spans)
        })
        .await
    }

    async fn metric(&self, series: &str) -> Option<f64> {
        let text = get(&format!("http://{}/metrics", self.gateway.admin)).await.ok()?.1;
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }
}

async fn ask(at: SocketAddr, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap) {
    let answer = get_with(&format!("http://{at}{path}"), headers).await.unwrap();
    (answer.0, answer.1)
}

fn text(span: &Span, key: &str) -> Option<String> {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    let value = span.attributes.iter().find(|pair| pair.key == key)?.value.clone()?.value?;
    Some(match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sampled_trace_goes_on_through_the_gateway() {
    let traced = Traced::start("", &[]).await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    assert_eq!(traced.ask("/fast/a", &[("traceparent", &parent)]).await.0, 200);
    let spans = traced.spans("/fast/a", 2).await;
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "{spans:?}");
    let server = spans.iter().find(|span| span.kind == 2).unwrap();
    let client = spans.iter().find(|span| span.kind == 3).unwrap();
    assert_eq!((hex(&server.parent_span_id).as_str(), &client.parent_span_id), (PARENT, &server.span_id));
    assert_eq!((server.name.as_str(), client.name.as_str()), ("GET /.*", "GET"));
    // A caller that does not sample is followed.
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    traced.ask("/fast/b", &[("traceparent", &unsampled)]).await;
    traced.ask("/fast/c", &[]).await;
    traced.spans("/fast/c", 2).await;
    assert!(!traced.receiver.spans().iter().any(|span| text(span, "url.path").as_deref() == Some("/fast/b")));
    let kept = r#"weir_traces_kept_total{kept="sampled",worker="0"}"#;
    assert_eq!((traced.metric(kept).await, traced.metric("weir_spans_exported_total").await), (Some(2.0), Some(4.0)));
}

/// Nothing is sampled, and what failed is kept all the same, as often a second as its budget says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_is_kept_within_its_budget() {
    let settings = "    sampling: {random: 0}\n    keep: {perSecond: 3}\n";
    let traced = Traced::start(settings, &[]).await;
    traced.ask("/fast/well", &[]).await;
    for _ in 0..200 {
        assert_eq!(traced.ask("/status/503", &[]).await.0, 503);
    }
    let kept = eventually("failures are kept", async || {
        let kept = traced.metric(r#"weir_traces_kept_total{kept="failed",worker="0"}"#).await?;
        (kept > 0.0 && traced.metric("weir_spans_exported_total").await? == 2.0 * kept).then_some(kept)
    })
    .await;
    assert!(kept < 100.0, "{kept} of 200 within a second or a few");
    let spans = traced.receiver.spans();
    assert!(spans.iter().filter(|span| span.kind == 2).all(|span| {
        let status = span.status.as_ref().map(|status| status.code);
        (text(span, "weir.kept").as_deref(), text(span, "error.type").as_deref(), status)
            == (Some("failed"), Some("503"), Some(2))
    }));
    // Its siblings were told that it is not sampled.
    assert!(spans.iter().all(|span| span.flags & 1 == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_begins_a_trace_of_its_own_with_a_link_and_says_which() {
    let traced = Traced::start("    trust: restart\n    serverTiming: true\n", &[]).await;
    let (_, headers) = traced.ask("/fast/edge", &[("traceparent", &format!("00-{TRACE}-{PARENT}-01"))]).await;
    let spans = traced.spans("/fast/edge", 2).await;
    let server = spans.iter().find(|span| span.kind == 2).unwrap();
    assert_ne!(hex(&server.trace_id), TRACE);
    assert!(server.parent_span_id.is_empty());
    let [link] = &server.links[..] else { panic!("one link") };
    assert_eq!((hex(&link.trace_id).as_str(), hex(&link.span_id).as_str()), (TRACE, PARENT));
    let timing = headers["server-timing"].to_str().unwrap();
    let expected = format!("trace;desc=\"00-{}-{}-01\"", hex(&server.trace_id), hex(&server.span_id));
    assert!(
        timing.starts_with("gateway;dur=") && timing.contains("upstream;dur=") && timing.ends_with(&expected),
        "{timing}"
    );
}

/// Callers that nobody knows may ask for so many traces a second, and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_cannot_have_every_request_traced() {
    let settings = "    sampling: {random: 0}\n    callersPerSecond: 2\n  peerGateways: [10.0.0.0/8]\n";
    let traced = Traced::start(settings, &[]).await;
    // The gateways of tests trust this machine, which is not trusted in this one.
    let conf = traced.gateway.conf.join("gateway.yaml");
    let yaml = std::fs::read_to_string(&conf).unwrap().replace("trustedPeers: [127.0.0.0/8]", "trustedPeers: []");
    std::fs::write(&conf, yaml).unwrap();
    eventually("the change is served", async || {
        (traced.metric("weir_config_serving_generation").await? == 2.0).then_some(())
    })
    .await;
    for _ in 0..200 {
        traced.ask("/fast/stranger", &[("traceparent", &format!("00-{TRACE}-{PARENT}-01"))]).await;
    }
    let kept = traced.metric(r#"weir_traces_kept_total{kept="sampled",worker="0"}"#).await.unwrap();
    assert!((1.0..100.0).contains(&kept), "{kept} of 200 within a second or a few");
}

/// By OpenTelemetry's variables alone, over HTTP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_are_enough() {
    let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    let spec = GatewaySpec::new("berlin", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    let site = Site::new().unwrap();
    let endpoint = format!("http://{}", receiver.address);
    let env = [
        SOON,
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue%20one"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_SERVICE_NAME", "front"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=payments"),
        ("OTEL_PROPAGATORS", "tracecontext,b3"),
    ];
    let gateway = Gateway::start_with(&site, &spec, &env).unwrap();
    ask(gateway.address, "/fast/env", &[("b3", &format!("{TRACE}-{PARENT}-1"))]).await;
    let received = eventually("spans arrive", async || receiver.received().first().cloned()).await;
    assert_eq!((received.path.as_str(), received.headers["x-tenant"].to_str().unwrap()), ("/v1/traces", "blue one"));
    let resource = format!("{:?}", received.resource().unwrap());
    assert!(resource.contains("\"front\"") && resource.contains("\"payments\""), "{resource}");
    assert!(received.spans().all(|span| hex(&span.trace_id) == TRACE));
}

/// A receiver that is not there costs no request anything, and what is dropped is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_receiver_requests_pass_and_drops_are_counted() {
    let env = [("OTEL_BSP_MAX_QUEUE_SIZE", "8"), ("OTEL_BSP_EXPORT_TIMEOUT", "100")];
    let nobody = weir_e2e::reserve().unwrap();
    let site = Site::new().unwrap();
    let spec = GatewaySpec::new("berlin", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    let endpoint = format!("http://{nobody}");
    let env = [&env[..], &[SOON, ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]].concat();
    let gateway = Gateway::start_with(&site, &spec, &env).unwrap();
    for _ in 0..100 {
        assert_eq!(ask(gateway.address, "/fast", &[]).await.0, 200);
    }
    eventually("every span is counted as dropped", async || {
        let text = get(&format!("http://{}/metrics", gateway.admin)).await.ok()?.1;
        let dropped = text.lines().filter(|line| line.starts_with("weir_spans_dropped_total{"));
        let dropped: f64 = dropped.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        (dropped == 200.0).then_some(())
    })
    .await;
    gateway.process.stop(Duration::from_secs(20)).unwrap();
}

/// Flex's documented pattern: nothing is sampled but where the policy says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_says_how_one_api_is_traced() {
    let policy = "    sampling: {random: 0}
    keep: {failed: false, slow: false}
    labels: [{name: tag, type: literal, defaultValue: of-all}, {name: other, type: literal, defaultValue: kept}]
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: traced}
spec:
  address: http://ADDRESS/traced
  services: {main: {address: \"http://UPSTREAM\"}}
  policies:
    - policyRef: {name: tracing-flex}
      config: {spanName: the-orders, labels: [{name: tag, type: requestHeader, keyName: x-tag, defaultValue: none}]}
";
    // The second API is at the first one's port, as the gateway's own.
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let policy = policy.replace("ADDRESS", "127.0.0.1:0").replace("UPSTREAM", &upstream.to_string());
    let traced = Traced::start(&policy, &[]).await;
    traced.ask("/untraced", &[]).await;
    traced.ask("/traced/a", &[("x-tag", "blue")]).await;
    let spans = traced.spans("/traced/a", 1).await;
    assert_eq!(spans[0].name, "the-orders");
    assert_eq!((text(&spans[0], "tag"), text(&spans[0], "other")), (Some("blue".to_owned()), Some("kept".to_owned())));
    assert_eq!(text(&spans[0], "weir.kept").as_deref(), Some("sampled"));
    assert!(traced.receiver.spans().iter().all(|span| text(span, "url.path").as_deref() != Some("/untraced")));
    assert_eq!(text(&spans[0], "span.name"), None);
}

/// Set by the administrator alone; the flag goes on; bounded, and over by itself or when it is ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_asks_for_traces() {
    let traced = Traced::start("    sampling: {random: 0}\n    keep: {failed: false, slow: false}\n", &[]).await;
    let admin = format!("unix:{}", traced.gateway.socket.display());
    let weirctl = |args: &[&str]| {
        let output = Command::new(program("weirctl").unwrap())
            .arg("debug")
            .args(args)
            .args(["--admin", &admin])
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, _, error) = weirctl(&["add", "--api", "nothing"]);
    assert!(code == Some(3) && error.contains("there is no API `nothing` here"), "{error}");
    let (code, said, error) = weirctl(&["add", "--header", "x-debug=1", "--per-second", "2"]);
    assert!(code == Some(0) && said.starts_with("1  header x-debug:1  until 20"), "{said}{error}");
    traced.ask("/other", &[("x-debug", "2")]).await;
    let (_, headers) = traced.ask("/headers", &[("x-debug", "1")]).await;
    drop(headers);
    let spans = traced.spans("/headers", 2).await;
    assert!(spans.iter().any(|span| text(span, "weir.kept").as_deref() == Some("debug")), "{spans:?}");
    assert!(spans.iter().all(|span| span.flags & 1 == 1), "the flag goes on");
    assert_eq!(traced.metric("weir_traces_kept_total{kept=\"debug\",worker=\"0\"}").await, Some(1.0));
    // At the port nobody may, for there is no token.
    let url = format!("http://{}/debug-rules?header=x", traced.gateway.admin);
    let refused = post(&url, "text/plain", "").await.unwrap();
    assert_eq!(refused.0, 403);
    assert!(weirctl(&["list"]).1.contains("1 so far"));
    assert_eq!(weirctl(&["end", "1"]).0, Some(0));
    assert_eq!(weirctl(&["list"]).1, "no traces are asked for\n");
    assert_eq!(weirctl(&["end", "1"]).0, Some(3));
    let (code, said, error) = weirctl(&["add", "--api", "api-0", "--json"]);
    assert!(code == Some(0) && said.contains("\"api\":\"api-0\""), "{said}{error}");
    traced.ask("/of-api", &[]).await;
    assert_eq!(traced.spans("/of-api", 2).await.len(), 2);
    assert!(traced.receiver.spans().iter().all(|span| text(span, "url.path").as_deref() != Some("/other")));
    let audit = std::fs::read_to_string(traced.gateway.socket.with_file_name("audit.log")).unwrap();
    assert_eq!(audit.lines().filter(|line| line.contains("debug rule")).count(), 4, "{audit}");
}

/// With a budget that is always exceeded: labels go, then spans of attempts, then sampled spans, and each event says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_its_budget_telemetry_leaves_out_parts_and_never_an_event() {
    let settings =
        "    cpuBudget: 0\n    labels: [{name: tag, type: literal, defaultValue: blue}]\n    keep: {slow: false}\n";
    let traced = Traced::start(settings, &[]).await;
    let mut asked = 0;
    let level =
        |text: &str| text.lines().find_map(|line| line.strip_prefix("weir_telemetry_degraded_level ")?.parse().ok());
    eventually("it leaves out all that it may", async || {
        for _ in 0..50 {
            traced.ask("/busy", &[]).await;
            asked += 1;
        }
        let text = get(&format!("http://{}/metrics", traced.gateway.admin)).await.unwrap().1;
        (level(&text) == Some(3.0)).then_some(())
    })
    .await;
    traced.ask("/late", &[]).await;
    traced.ask("/status/503", &[]).await;
    // What failed is kept for its own sake, without its attempts.
    let failed = traced.spans("/status/503", 1).await;
    assert_eq!(text(&failed[0], "telemetry.degraded").as_deref(), Some("sampled_spans"));
    assert_eq!((text(&failed[0], "tag"), text(&failed[0], "weir.kept").as_deref()), (None, Some("failed")));
    let spans = traced.receiver.spans();
    assert!(spans.iter().all(|span| text(span, "url.path").as_deref() != Some("/late")));
    let whole = spans.iter().find(|span| text(span, "tag").is_some()).unwrap();
    assert_eq!(text(whole, "telemetry.degraded"), None, "it began with everything");
    assert_eq!(traced.metric("weir_events_accepted_total{worker=\"0\"}").await, Some(f64::from(asked + 2)));
}

/// Loading a configuration and shipping a chunk are spans of the gateway's own, at whatever level it logs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_gateway_does_by_itself_is_a_span_as_well() {
    let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    let site = Site::new().unwrap();
    let mut spec = GatewaySpec::new("berlin", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    spec.more_args = vec!["--log".to_owned(), "error".to_owned()];
    let endpoint = format!("http://{}", receiver.address);
    let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
    let gateway = Gateway::start_with(&site, &spec, &env).unwrap();
    let file = gateway.conf.join("gateway.yaml");
    let yaml = std::fs::read_to_string(&file).unwrap().replace("name: api-0", "name: api-renamed");
    std::fs::write(&file, yaml).unwrap();
    let reload =
        eventually("the reload arrives", async || receiver.spans().into_iter().find(|span| span.name == "reload"))
            .await;
    assert_eq!((text(&reload, "outcome").as_deref(), text(&reload, "apis").as_deref()), (Some("taken"), Some("1")));
    // Without them, no line of the log is about it.
    assert!(!site.log("edge").contains("reload"), "{}", site.log("edge"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_carry_the_callers_tracestate() {
    let traced = Traced::start("", &[]).await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    traced.ask("/fast/a", &[("traceparent", &parent), ("tracestate", "a=1, ot=th:c")]).await;
    let spans = traced.spans("/fast/a", 2).await;
    assert!(spans.iter().all(|span| span.trace_state == "a=1,ot=th:c"), "{spans:?}");
}

/// A decision without a trace (B3, "Sampling State"): of the trace that begins here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_b3_decision_alone_is_honoured() {
    let env = [("OTEL_PROPAGATORS", "tracecontext,b3")];
    let none = Traced::start("    sampling: {random: 0}\n", &env).await;
    none.ask("/fast/not", &[]).await;
    for (text, path) in [("1", "/fast/one"), ("d", "/fast/debug")] {
        none.ask(path, &[("b3", text)]).await;
        let spans = none.spans(path, 2).await;
        assert!(spans.iter().all(|span| span.flags & 1 == 1) && spans[0].trace_id == spans[1].trace_id, "{spans:?}");
    }
    let all = Traced::start("", &env).await;
    all.ask("/fast/not", &[("b3", "0")]).await;
    all.ask("/fast/last", &[]).await;
    all.spans("/fast/last", 2).await;
    for traced in [none, all] {
        let is_not = |span: &Span| text(span, "url.path").as_deref() == Some("/fast/not");
        assert!(!traced.receiver.spans().iter().any(is_not));
    }
}
