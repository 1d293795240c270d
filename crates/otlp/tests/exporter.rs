//! Spans reach their receiver by gRPC and by HTTP, are sent again where that may help and only there, and what is lost is
//! counted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::until;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use weir_config::{AttributeLimits, Batch, OtlpProtocol, OtlpTarget, Secret, TraceExport};
use weir_event::Instant;
use weir_event::exchange::TraceFacts;
use weir_event::{Exchange, Identity, Names, Outcome, SpanId, TraceId, record};
use weir_otlp::{Counts, Exporter, KeptRequest, Loss, Sender, queue};
use weir_testkit::otlp::{Answer, Receiver};

const BOTH: [OtlpProtocol; 2] = [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf];

fn settings(receiver: std::net::SocketAddr, protocol: OtlpProtocol) -> TraceExport {
    let path = if protocol == OtlpProtocol::Grpc { "" } else { "/v1/traces" };
    TraceExport {
        target: OtlpTarget {
            endpoint: format!("http://{receiver}{path}").parse().unwrap(),
            protocol,
            headers: vec![("x-tenant".parse().unwrap(), Secret::new("blue"))],
            gzip: false,
            timeout: Duration::from_secs(5),
            tls: Default::default(),
            service_name: None,
            resource: vec![("team".to_owned(), "payments".to_owned())],
        },
        batch: Batch { delay: Duration::from_millis(10), timeout: Duration::from_secs(20), ..Batch::default() },
        attributes: AttributeLimits::default(),
        known_methods: None,
    }
}

struct Running {
    sender: Sender,
    counts: Arc<Counts>,
    end: oneshot::Sender<tokio::time::Instant>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(settings: &TraceExport) -> Self {
        let (sender, queue) = queue(&settings.batch);
        let identity = Identity {
            organization: "acme".into(),
            environment: "test".into(),
            site: "berlin".into(),
            gateway: "edge".into(),
            replica: "r1".into(),
        };
        let exporter = Exporter::new(queue, settings, (&identity, "b007", "1.2.3"), Arc::new(Names::new())).unwrap();
        let counts = exporter.counts();
        let (end, ended) = oneshot::channel();
        Self { sender, counts, end, task: tokio::spawn(exporter.run(ended)) }
    }

    fn send(&mut self, numbers: std::ops::RangeInclusive<u8>) {
        for number in numbers {
            let now = Instant::now();
            let mut exchange = Exchange::new(now, 1_700_000_000_000_000);
            exchange.status = 200;
            let (trace, span) = (TraceId([number; 16]), SpanId([number; 8]));
            exchange.trace = TraceFacts { trace, span, ..TraceFacts::default() };
            exchange.finish(Outcome::Completed, now);
            let mut bytes = Vec::new();
            record::encode(&exchange, 0, &mut bytes);
            self.sender.send(KeptRequest::new(&bytes, &exchange, &|_| None), 0);
        }
    }

    async fn end_within(self, time: Duration) -> Arc<Counts> {
        self.end.send(tokio::time::Instant::now() + time).unwrap();
        self.task.await.unwrap();
        self.counts
    }
}

fn traces(receiver: &Receiver) -> Vec<u8> {
    receiver.spans().iter().map(|span| span.trace_id[0]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_arrive_by_both_protocols_plain_and_compressed() {
    for protocol in BOTH {
        for gzip in [false, true] {
            let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
            let mut settings = settings(receiver.address, protocol);
            settings.target.gzip = gzip;
            let mut running = Running::start(&settings);
            running.send(1..=3);
            let counts = Arc::clone(&running.counts);
            until("three spans", || (counts.exported() == 3).then_some(())).await;
            assert_eq!(traces(&receiver), [1, 2, 3], "{protocol:?} {gzip}");
            let first = &receiver.received()[0];
            assert_eq!(first.headers["x-tenant"], "blue");
            let path = if protocol == OtlpProtocol::Grpc {
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
            } else {
                "/v1/traces"
            };
            assert_eq!(first.path, path);
            let resource: Vec<_> = first.resource().unwrap().attributes.iter().map(|pair| pair.key.as_str()).collect();
            for key in ["service.name", "service.namespace", "service.instance.id", "service.version", "team"] {
                assert!(resource.contains(&key), "{resource:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_help_is_tried_again_and_nothing_else() {
    for (protocol, again, refused) in [
        (OtlpProtocol::HttpProtobuf, Answer::Status(503, Some(0)), Answer::Status(400, None)),
        (OtlpProtocol::HttpProtobuf, Answer::Status(429, None), Answer::Status(500, None)),
        (OtlpProtocol::Grpc, Answer::Code(14), Answer::Code(3)),
        (OtlpProtocol::Grpc, Answer::Status(503, None), Answer::Code(8)),
    ] {
        let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
        receiver.answer_next([again.clone(), Answer::Taken, refused.clone()]);
        let mut running = Running::start(&settings(receiver.address, protocol));
        let counts = Arc::clone(&running.counts);
        running.send(1..=1);
        until("it is taken", || (counts.exported() == 1).then_some(())).await;
        assert_eq!((traces(&receiver), counts.failed()), (vec![1, 1], 1), "{protocol:?} {again:?}");
        running.send(2..=2);
        until("it is refused", || (counts.lost(Loss::Refused) == 1).then_some(())).await;
        assert_eq!(traces(&receiver), [1, 1, 2], "{protocol:?} {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_was_rejected_is_counted_and_never_sent_again() {
    for protocol in BOTH {
        let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
        receiver.answer_next([Answer::Partly(2, "too old")]);
        let mut running = Running::start(&TraceExport {
            batch: Batch { delay: Duration::from_millis(300), ..Batch::default() },
            ..settings(receiver.address, protocol)
        });
        let counts = Arc::clone(&running.counts);
        running.send(1..=5);
        until("they are answered", || (counts.exported() + counts.lost(Loss::Rejected) == 5).then_some(())).await;
        assert_eq!(counts.lost(Loss::Rejected), 2);
        let counts = running.end_within(Duration::from_secs(5)).await;
        assert_eq!((traces(&receiver).len(), counts.exported()), (5, 3));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_away_costs_bounded_memory_and_counted_spans() {
    for protocol in BOTH {
        let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
        receiver.answer_next([Answer::Silence]);
        let batch = Batch { queue: 4, size: 2, delay: Duration::from_millis(10), timeout: Duration::from_millis(50) };
        let timeout = Duration::from_millis(100);
        let mut settings = TraceExport { batch, ..settings(receiver.address, protocol) };
        settings.target.timeout = timeout;
        let mut running = Running::start(&settings);
        let counts = Arc::clone(&running.counts);
        running.send(1..=1);
        until("the first is under way", || (counts.requests() == 1).then_some(())).await;
        running.send(2..=20);
        assert!(counts.lost(Loss::QueueFull) >= 10, "{}", counts.lost(Loss::QueueFull));
        until("the first is given up", || (counts.lost(Loss::Unavailable) >= 1).then_some(())).await;
        let counts = running.end_within(Duration::from_secs(5)).await;
        let lost: u64 = Loss::ALL.iter().map(|(_, why)| counts.lost(*why)).sum();
        assert_eq!((counts.exported() + lost, counts.waiting()), (20, 0), "{protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_at_the_end_is_sent_or_counted() {
    let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    let long = Batch { delay: Duration::from_secs(3600), ..Batch::default() };
    let mut running = Running::start(&TraceExport { batch: long, ..settings(receiver.address, OtlpProtocol::Grpc) });
    // The tick of the start has passed once the runtime has had its turn.
    running.send(1..=3);
    let counts = running.end_within(Duration::from_secs(10)).await;
    assert_eq!((counts.exported(), traces(&receiver).len()), (3, 3));
    receiver.answer_next([Answer::Silence, Answer::Silence]);
    let mut running = Running::start(&TraceExport { batch: long, ..settings(receiver.address, OtlpProtocol::Grpc) });
    running.send(4..=6);
    let counts = running.end_within(Duration::from_millis(100)).await;
    assert_eq!((counts.exported(), counts.lost(Loss::Ended)), (0, 3));
}
