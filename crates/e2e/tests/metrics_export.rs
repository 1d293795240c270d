//! Metrics that a gateway sends by OTLP: the same as are scraped, under OpenTelemetry's names, and nothing unless asked.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, number_data_point};
use std::collections::BTreeSet;
use weir_e2e::{DEADLINE, Gateway, GatewaySpec, Site, eventually};
use weir_testkit::otlp::{Answer, Body, Receiver};
use weir_testkit::{get, get_with, upstream};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// Of all requests together.
const SOON: (&str, &str) = ("OTEL_METRIC_EXPORT_INTERVAL", "100");

struct Pushed {
    _site: Site,
    gateway: Gateway,
    receiver: Receiver,
}

impl Pushed {
    async fn start(
        more_yaml: impl Fn(&Receiver) -> String,
        env: impl Fn(&Receiver) -> Vec<(&'static str, String)>,
    ) -> Self {
        let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
        let mut spec = GatewaySpec::new("berlin", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
        spec.more_yaml = more_yaml(&receiver);
        let site = Site::new().unwrap();
        let env = env(&receiver);
        let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let gateway = Gateway::start_with(&site, &spec, &env).unwrap();
        Self { _site: site, gateway, receiver }
    }

    /// By the variables, over HTTP.
    async fn of_variables() -> Self {
        let env = |receiver: &Receiver| {
            vec![
                ("OTEL_METRICS_EXPORTER", "otlp".to_owned()),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", receiver.address)),
                ("OTEL_RESOURCE_ATTRIBUTES", "team=payments".to_owned()),
                (SOON.0, SOON.1.to_owned()),
            ]
        };
        Self::start(|_| String::new(), env).await
    }

    async fn ask(&self, path: &str) -> u16 {
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        get_with(&format!("http://{}{path}", self.gateway.address), &[("traceparent", &parent)]).await.unwrap().0
    }

    async fn scrape(&self) -> String {
        get(&format!("http://{}/metrics", self.gateway.admin)).await.unwrap().1
    }

    /// The points of the family in the request that came last of those that have it.
    fn last(&self, name: &str) -> Option<Metric> {
        self.receiver.metrics().into_iter().rfind(|metric| metric.name == name)
    }

    /// The requests that have ended, as they were said last.
    fn requests(&self) -> i64 {
        let points = self.last("weir_requests").map(|metric| sum(&metric)).unwrap_or_default();
        points
            .iter()
            .map(|point| if let Some(number_data_point::Value::AsInt(value)) = point.value { value } else { 0 })
            .sum()
    }
}

fn sum(metric: &Metric) -> Vec<NumberDataPoint> {
    match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points.clone(),
        other => panic!("{other:?}"),
    }
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match attributes.iter().find(|pair| pair.key == key)?.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{other:?}"),
    }
}

/// The names of the families in Prometheus' text, as OTLP has them; the resource has what `target_info` says.
fn families(text: &str) -> BTreeSet<String> {
    let known = [weir_telemetry::metrics::catalogue::all(), weir_metrics::process::all()].concat();
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let metric = |name: &str| *known.iter().find(|metric| metric.name == name).unwrap();
    let names = names.map(metric).filter(|metric| metric.name != "target_info");
    names.map(|metric| weir_metrics::otlp_name(metric).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_scraped_is_sent_under_the_names_of_opentelemetry() {
    let pushed = Pushed::of_variables().await;
    for _ in 0..5 {
        assert_eq!(pushed.ask("/fast/a").await, 200);
    }
    assert_eq!(pushed.ask("/status/503").await, 503);
    let wanted = families(&pushed.scrape().await);
    assert!(wanted.contains("http.server.request.duration") && wanted.contains("weir_spool"), "{wanted:?}");
    let seen = || pushed.receiver.metrics().into_iter().map(|metric| metric.name).collect::<BTreeSet<_>>();
    eventually("all requests are counted", async || {
        (pushed.requests() == 6 && pushed.last("http.server.request.duration").is_some()).then_some(())
    })
    .await;
    assert_eq!(seen(), wanted);

    let duration = pushed.last("http.server.request.duration").unwrap();
    let Some(Data::ExponentialHistogram(histogram)) = &duration.data else { panic!("{duration:?}") };
    assert_eq!((&*duration.unit, histogram.data_points.len()), ("s", 2));
    for point in &histogram.data_points {
        let (status, error) =
            (text(&point.attributes, "http.response.status_code"), text(&point.attributes, "error.type"));
        let (count, error_type) =
            if status.as_deref() == Some("200") { (5, None) } else { (1, Some("503".to_owned())) };
        assert_eq!((point.count, error), (count, error_type), "{point:?}");
        assert_eq!(text(&point.attributes, "http.request.method").as_deref(), Some("GET"));
        assert_eq!(text(&point.attributes, "http.route").as_deref(), Some("/.*"));
        assert_eq!(text(&point.attributes, "api").as_deref(), Some("api-0"));
        let buckets = point.positive.as_ref().unwrap();
        assert_eq!((point.scale, buckets.bucket_counts.iter().sum::<u64>() + point.zero_count), (3, count));
        assert!(point.start_time_unix_nano > 0 && point.start_time_unix_nano < point.time_unix_nano);
        let trace = u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes();
        assert!(!point.exemplars.is_empty() && point.exemplars.iter().all(|one| one.trace_id == trace), "{point:?}");
    }
    let request =
        pushed.receiver.received().into_iter().find(|request| matches!(request.body, Body::Metrics(_))).unwrap();
    assert_eq!(request.path, "/v1/metrics");
    let resource = &request.resource().unwrap().attributes;
    let said = ["service.name", "service.namespace", "deployment.environment.name", "weir.site", "team"];
    let said = said.map(|key| text(resource, key).unwrap_or_default());
    assert_eq!(said, ["edge", "acme", "test", "berlin", "payments"]);
    let scraped = pushed.scrape().await;
    assert!(scraped.contains("weir_metric_exports_total{outcome=\"failure\"} 0\n"), "{scraped}");
    assert!(!scraped.contains("weir_metric_points_exported_total 0\n"), "{scraped}");
}

/// What happened since the last interval is not lost with the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_figures_are_sent_when_the_gateway_ends() {
    let yaml = |receiver: &Receiver| {
        format!(
            "---
apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {{name: metrics}}
spec:
  metrics:
    otlp: {{address: \"h2://{}\", serviceType: grpc, compression: gzip, headers: {{x-tenant: blue}}}}
    exportInterval: 1h
",
            receiver.address
        )
    };
    let mut pushed = Pushed::start(yaml, |_| Vec::new()).await;
    for _ in 0..3 {
        assert_eq!(pushed.ask("/fast/a").await, 200);
    }
    assert_eq!(pushed.receiver.metrics(), []);
    pushed.gateway.process.signal(rustix::process::Signal::TERM);
    assert!(pushed.gateway.process.wait(DEADLINE).unwrap().success());
    assert_eq!(pushed.requests(), 3);
    let request = &pushed.receiver.received()[0];
    assert_eq!(request.path, "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export");
    assert_eq!(
        (&request.headers["x-tenant"], &request.headers["grpc-encoding"]),
        (&"blue".parse().unwrap(), &"gzip".parse().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_refuses_costs_counted_points_and_no_request() {
    let pushed = Pushed::of_variables().await;
    pushed.receiver.answer_next(std::iter::repeat_n(Answer::Status(400, None), 3));
    let dropped = "weir_metric_points_dropped_total{reason=\"refused\"} ";
    eventually("points are counted as dropped", async || {
        assert_eq!(pushed.ask("/fast/a").await, 200);
        let text = pushed.scrape().await;
        let count: f64 = text.lines().find_map(|line| line.strip_prefix(dropped))?.parse().ok()?;
        (count > 0.0).then_some(())
    })
    .await;
    let before = pushed.requests();
    // The last of them may have been taken before they were counted here.
    eventually("they are taken again", async || {
        assert_eq!(pushed.ask("/fast/a").await, 200);
        (pushed.requests() > before).then_some(())
    })
    .await;
}

/// A base URL, which spans are sent to, asks for no metrics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_being_asked_for_metrics_are_scraped_alone() {
    let env = |receiver: &Receiver| {
        let endpoint = format!("http://{}", receiver.address);
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_BSP_SCHEDULE_DELAY", "20".to_owned()),
            (SOON.0, SOON.1.to_owned()),
        ]
    };
    let pushed = Pushed::start(|_| String::new(), env).await;
    assert_eq!(pushed.ask("/fast/a").await, 200);
    eventually("spans arrive", async || (pushed.receiver.spans().len() >= 2).then_some(())).await;
    assert!(!pushed.scrape().await.contains("weir_metric_exports_total"));
    assert_eq!(pushed.receiver.metrics(), []);
}

/// Exemplars are of any request, of those that are sampled, or of none; the requests are counted all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exemplars_are_of_the_requests_that_the_filter_takes() {
    for (filter, of_sampled, of_others) in
        [("always_on", true, true), ("trace_based", true, false), ("always_off", false, false)]
    {
        let env = |receiver: &Receiver| {
            vec![
                ("OTEL_METRICS_EXPORTER", "otlp".to_owned()),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", receiver.address)),
                ("OTEL_METRICS_EXEMPLAR_FILTER", filter.to_owned()),
                ("OTEL_TRACES_SAMPLER", "parentbased_always_off".to_owned()),
                (SOON.0, SOON.1.to_owned()),
            ]
        };
        let pushed = Pushed::start(|_| String::new(), env).await;
        // Sampled by its caller; and one of another status, so that it has a histogram of its own.
        assert_eq!(pushed.ask("/fast").await, 200);
        assert_eq!(get(&format!("http://{}/status/404", pushed.gateway.address)).await.unwrap().0, 404);
        eventually("both are counted", async || (pushed.requests() == 2).then_some(())).await;
        let metric = pushed.last("http.server.request.duration").unwrap();
        let Some(Data::ExponentialHistogram(histogram)) = metric.data else { panic!("{metric:?}") };
        let found: Vec<_> =
            histogram.data_points.iter().flat_map(|point| point.exemplars.iter().map(|it| &it.trace_id)).collect();
        let is_sampled = |id: &&Vec<u8>| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>() == TRACE;
        assert_eq!(found.iter().filter(|id| is_sampled(id)).count(), usize::from(of_sampled), "{filter}");
        assert_eq!(found.iter().filter(|id| !is_sampled(id)).count(), usize::from(of_others), "{filter}");
    }
}
