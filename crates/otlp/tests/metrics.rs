//! Metrics reach their receiver by gRPC and by HTTP, in pieces, and a last time at the end; what is lost is counted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::until;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use weir_config::{HistogramForm, MetricExport, OtlpProtocol, OtlpTarget};
use weir_event::Identity;
use weir_metrics::Exposition;
use weir_otlp::{Collection, Counts, GivenUp, Loss, MetricExporter};
use weir_testkit::otlp::{Answer, Receiver};

weir_metrics::catalogue! {
    REQUESTS Counter "weir_requests_total" "{request}" ["route"] "Requests.";
}

const BOTH: [OtlpProtocol; 2] = [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf];
const SOON: Duration = Duration::from_millis(10);
/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

fn settings(receiver: &Receiver, protocol: OtlpProtocol, interval: Duration) -> MetricExport {
    let path = if protocol == OtlpProtocol::Grpc { "" } else { "/v1/metrics" };
    MetricExport {
        target: OtlpTarget {
            endpoint: format!("http://{}{path}", receiver.address).parse().unwrap(),
            protocol,
            headers: Vec::new(),
            gzip: true,
            timeout: Duration::from_secs(5),
            tls: Default::default(),
            service_name: None,
            resource: vec![("team".to_owned(), "payments".to_owned())],
        },
        interval,
        timeout: Duration::from_secs(20),
        histograms: HistogramForm::Exponential,
    }
}

struct Running {
    counts: Arc<Counts>,
    /// Collections that were begun.
    begun: Arc<AtomicU64>,
    end: oneshot::Sender<Instant>,
    task: JoinHandle<()>,
}

impl Running {
    /// Each collection has the number of series that it is told, and their value is its own number.
    fn start(settings: &MetricExport, series: u64) -> Self {
        let identity = Identity { gateway: "edge".into(), ..Identity::default() };
        let exporter = MetricExporter::new(settings, (&identity, "b007", "1.2.3")).unwrap();
        let (counts, begun) = (exporter.counts(), Arc::new(AtomicU64::new(0)));
        let (end, ended) = oneshot::channel();
        let number = Arc::clone(&begun);
        let collect = async move |out: &mut Collection<'_>| -> Result<(), GivenUp> {
            let value = number.fetch_add(1, Ordering::SeqCst) + 1;
            let mut text = Exposition::of_otlp(1, false);
            for route in 0..series {
                text.counter(&REQUESTS, &[&format!("{route:0>100}")], value);
                out.add(text.take_points()).await?;
            }
            out.add(text.finish_points()).await
        };
        // What it runs on has one thread: whoever collects is not to be sent to others.
        let task = tokio::task::spawn_local(exporter.run(ended, collect));
        Self { counts, begun, end, task }
    }

    async fn end_within(self, time: Duration) -> Arc<Counts> {
        self.end.send(Instant::now() + time).unwrap();
        self.task.await.unwrap();
        self.counts
    }
}

/// The values of all points, in the order in which they came.
fn values(receiver: &Receiver) -> Vec<i64> {
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
    let points = receiver.metrics().into_iter().flat_map(|metric| match metric.data {
        Some(Data::Sum(sum)) => sum.data_points,
        other => panic!("{other:?}"),
    });
    points.map(|point| if let Some(Value::AsInt(value)) = point.value { value } else { 0 }).collect()
}

async fn locally(test: impl Future<Output = ()>) {
    tokio::task::LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn metrics_arrive_by_both_protocols_at_each_interval_and_at_the_end() {
    locally(async {
        for protocol in BOTH {
            let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
            let running = Running::start(&settings(&receiver, protocol, SOON), 1);
            until("two collections", || (running.counts.exported() >= 2).then_some(())).await;
            let counts = running.end_within(Duration::from_secs(10)).await;
            let values = values(&receiver);
            assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{values:?}");
            assert_eq!(counts.exported(), values.len() as u64);
            let resource = receiver.received()[0].resource().unwrap().attributes.clone();
            let keys: Vec<_> = resource.iter().map(|pair| pair.key.as_str()).collect();
            for key in ["service.name", "service.instance.id", "service.version", "team"] {
                assert!(keys.contains(&key), "{keys:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_last_collection_is_made_when_the_process_ends() {
    locally(async {
        let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
        let running = Running::start(&settings(&receiver, OtlpProtocol::Grpc, NEVER), 3);
        let counts = running.end_within(Duration::from_secs(10)).await;
        assert_eq!((values(&receiver), counts.exported()), (vec![1, 1, 1], 3));
        receiver.answer_next([Answer::Silence]);
        let running = Running::start(&settings(&receiver, OtlpProtocol::Grpc, NEVER), 3);
        let counts = running.end_within(Duration::from_millis(100)).await;
        assert_eq!((counts.exported(), counts.lost(Loss::Ended)), (0, 3));
    })
    .await;
}

/// Receivers take 4 MiB.
#[tokio::test]
async fn a_collection_of_many_series_is_several_requests_of_bounded_size() {
    const SERIES: u64 = 40_000;
    locally(async {
        let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
        let running = Running::start(&settings(&receiver, OtlpProtocol::HttpProtobuf, NEVER), SERIES);
        let counts = running.end_within(Duration::from_secs(60)).await;
        assert_eq!((counts.exported(), values(&receiver).len() as u64), (SERIES, SERIES));
        use prost::Message;
        let sizes: Vec<_> = receiver
            .received()
            .iter()
            .map(|request| match &request.body {
                weir_testkit::otlp::Body::Metrics(body) => body.encoded_len(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(sizes.len() > 1 && sizes.iter().all(|size| *size < 4 << 20), "{sizes:?}");
    })
    .await;
}

#[tokio::test]
async fn what_may_help_is_tried_again_and_what_is_lost_is_counted() {
    locally(async {
        for (protocol, again, refused) in [
            (OtlpProtocol::HttpProtobuf, Answer::Status(503, Some(0)), Answer::Status(400, None)),
            (OtlpProtocol::Grpc, Answer::Code(14), Answer::Code(3)),
        ] {
            let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
            receiver.answer_next([again, Answer::Taken, refused, Answer::Partly(1, "no room")]);
            let running = Running::start(&settings(&receiver, protocol, SOON), 2);
            until("a part is rejected", || (running.counts.lost(Loss::Rejected) == 1).then_some(())).await;
            until("the next one is taken", || (running.counts.exported() > 3).then_some(())).await;
            assert_eq!((running.counts.lost(Loss::Refused), running.counts.failed()), (2, 2));
            assert_eq!(values(&receiver)[..8], [1, 1, 1, 1, 2, 2, 3, 3], "the first is sent twice, the others once");
        }
    })
    .await;
}

/// A receiver that does not answer costs one collection at a time.
#[tokio::test]
async fn a_receiver_that_is_away_costs_the_collection_and_nothing_waits() {
    locally(async {
        let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
        receiver.answer_next([Answer::Silence, Answer::Silence]);
        let mut settings = settings(&receiver, OtlpProtocol::HttpProtobuf, SOON);
        (settings.target.timeout, settings.timeout) = (Duration::from_millis(20), Duration::from_millis(30));
        let running = Running::start(&settings, 5);
        until("it is given up", || (running.counts.lost(Loss::Unavailable) >= 5).then_some(())).await;
        until("a later one is taken", || (running.counts.exported() >= 5).then_some(())).await;
        let seen = values(&receiver);
        assert!(seen.last() > seen.first(), "{seen:?}");
        assert!(running.begun.load(Ordering::SeqCst) >= 2);
    })
    .await;
}
