//! Lines as log records: what the receiver has, and what is counted where it does not take them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_config::policy::LogLevel;
use weir_config::{LogOutput, load_text};
use weir_event::record::encode;
use weir_event::{Exchange, Identity, Names, Outcome, SpanId, TraceId};
use weir_logs::{Entry, Logs, PolicyMessage};
use weir_testkit::otlp::{Answer, Receiver};

/// More than any of these tests takes.
const LONG: Duration = Duration::from_secs(60);

fn output(receiver: &Receiver, parameters: &str, variables: &[(&str, &str)]) -> LogOutput {
    let text = format!(
        "apiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: logs}}\nspec: {{logging: {{outputs: \
         [{{name: central, type: otlp, parameters: {{address: 'http://{}', {parameters}}}}}]}}}}\n",
        receiver.address
    );
    let env = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
    load_text(Path::new("x.yaml"), &text, &env).unwrap().startup.logging.outputs.remove(0)
}

fn start(output: &LogOutput, names: &Arc<Names>) -> Logs {
    let identity = Identity { gateway: "edge".to_owned(), site: "berlin".to_owned(), ..Identity::default() };
    let logs = Logs::start(std::iter::once(output.clone()), &identity, names, "1.2.3").unwrap();
    logs.lives_as("b007");
    logs
}

fn record(names: &Names, number: u8) -> Vec<u8> {
    let now = weir_event::Instant::now();
    let mut exchange = Exchange::new(now, 1_795_416_085_000_000);
    exchange.api = names.register("orders");
    exchange.target = "/a/b?c=d".parse().unwrap();
    exchange.method = weir_event::Method::Get;
    exchange.status = 503;
    exchange.trace.trace = TraceId([number; 16]);
    exchange.trace.span = SpanId([number; 8]);
    exchange.trace.sampled = true;
    exchange.finish(Outcome::Completed, now + Duration::from_micros(12_345));
    let mut bytes = Vec::new();
    encode(&exchange, 7, &mut bytes);
    bytes
}

fn said(value: Option<Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => format!("int {number}"),
        Some(Value::BoolValue(flag)) => format!("bool {flag}"),
        other => panic!("{other:?}"),
    }
}

fn body(record: &LogRecord) -> String {
    said(record.body.clone().and_then(|any| any.value))
}

fn attributes(record: &LogRecord) -> BTreeMap<&str, String> {
    record.attributes.iter().map(|pair| (&*pair.key, said(pair.value.clone().unwrap().value))).collect()
}

fn counted(logs: &Logs) -> (u64, BTreeMap<&'static str, u64>) {
    let (name, counts) = logs.counts().next().unwrap();
    assert_eq!(name, "central");
    (counts.written(), counts.dropped().into_iter().filter(|(_, count)| *count > 0).collect())
}

/// Ends them on a thread of its own: the receiver runs on this one's runtime.
async fn end(logs: Logs, within: Duration) -> Logs {
    tokio::task::spawn_blocking(move || {
        logs.end(Instant::now() + within);
        logs
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_is_a_record_with_its_fields_as_attributes() {
    for (kind, path) in [("grpc", "/opentelemetry.proto.collector.logs.v1.LogsService/Export"), ("http", "/v1/logs")] {
        let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
        let parameters = format!(
            "serviceType: {kind}, compression: gzip, fields: [ts, trace_id, api, gateway, status, sampled, query]"
        );
        let output = output(&receiver, &parameters, &[]);
        let names = Arc::new(Names::new());
        let logs = start(&output, &names);
        let mut sender = logs.sender(std::slice::from_ref(&output));
        sender.send(&Entry::Request(&record(&names, 0xab)));
        let (api, policy) = (names.register("orders"), names.register("message-logging-flex"));
        let (trace, span, level) = (TraceId([0xab; 16]), SpanId([0xcd; 8]), LogLevel::Warn);
        let message = PolicyMessage { at_us: 5, trace, span, api, policy, level, category: "c", text: "said\nso" };
        sender.send(&Entry::Message(message));
        sender.send(&Entry::Program { at_us: 7, level: LogLevel::Error, text: "broken" });
        sender.leave_out();
        let logs = end(logs, LONG).await;
        // What was left out is reported when the output comes to it, between lines or behind them.
        let (losses, records): (Vec<_>, Vec<_>) =
            receiver.logs().into_iter().partition(|record| attributes(record).contains_key("left_out"));
        let ([of_request, of_policy, of_program], [of_loss]) = (&records[..], &losses[..]) else {
            panic!("{records:#?} {losses:#?}")
        };
        assert_eq!(body(of_request), "GET /a/b 503 12.345ms");
        assert_eq!((&*of_request.severity_text, of_request.severity_number, of_request.flags), ("INFO", 9, 1));
        assert_eq!((&of_request.trace_id, &of_request.span_id), (&vec![0xab; 16], &vec![0xab; 8]));
        assert_eq!(of_request.time_unix_nano, 1_795_416_085_012_345_000);
        assert!(of_request.observed_time_unix_nano > 0);
        let expected = [
            ("api", "orders"),
            ("gateway", "edge"),
            ("query", "c=*"),
            ("sampled", "bool true"),
            ("status", "int 503"),
            ("ts", "2026-11-23T06:41:25.000000Z"),
        ];
        assert_eq!(attributes(of_request), expected.map(|(key, value)| (key, value.to_owned())).into());
        assert_eq!(
            (body(of_policy), of_policy.severity_number, of_policy.time_unix_nano),
            ("said\nso".to_owned(), 13, 5000)
        );
        assert_eq!((&of_policy.trace_id, &of_policy.span_id), (&vec![0xab; 16], &vec![0xcd; 8]));
        let expected =
            [("api", "orders"), ("category", "c"), ("kind", "accessLog"), ("policy", "message-logging-flex")];
        assert_eq!(attributes(of_policy), expected.map(|(key, value)| (key, value.to_owned())).into());
        assert_eq!((body(of_program), of_program.severity_number), ("broken".to_owned(), 17));
        assert!(of_program.trace_id.is_empty() && attributes(of_program)["kind"] == "runtimeLog");
        assert_eq!(attributes(of_loss)["left_out"], "int 1");
        let request = &receiver.received()[0];
        assert_eq!(request.path, path);
        let resource = request.resource().unwrap().attributes.clone();
        let of = |key: &str| {
            resource.iter().find(|pair| pair.key == key).map(|pair| said(pair.value.clone().unwrap().value))
        };
        let who = ["service.name", "service.instance.id", "service.version", "weir.site"].map(of);
        assert_eq!(who, ["edge", "b007", "1.2.3", "berlin"].map(|text| Some(text.to_owned())));
        assert_eq!(counted(&logs), (4, [("limit", 1)].into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_is_the_body() {
    let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    let output = output(&receiver, "template: '{status} {api}: {message}'", &[]);
    let names = Arc::new(Names::new());
    let logs = start(&output, &names);
    logs.sender(std::slice::from_ref(&output)).send(&Entry::Request(&record(&names, 1)));
    end(logs, LONG).await;
    let records = receiver.logs();
    let trace = "01".repeat(16);
    assert_eq!(body(&records[0]), format!("503 orders: [trace: {trace}] GET /a/b 503 12.345ms"));
    assert_eq!(attributes(&records[0]), [("api", "orders".to_owned()), ("status", "int 503".to_owned())].into());
}

/// They are sent by their number and by their age, in the order in which they came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_sent_in_batches_and_tried_again() {
    let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    receiver.answer_next([
        Answer::Status(503, Some(0)),
        Answer::Taken,
        Answer::Partly(2, "no room"),
        Answer::Status(400, None),
    ]);
    let bounds = [("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "10"), ("OTEL_BLRP_SCHEDULE_DELAY", "3600000")];
    let output = output(&receiver, "serviceType: http, fields: [status]", &bounds);
    let names = Arc::new(Names::new());
    let logs = start(&output, &names);
    let mut sender = logs.sender(std::slice::from_ref(&output));
    (0..35).for_each(|number| sender.send(&Entry::Request(&record(&names, number + 1))));
    let logs = end(logs, LONG).await;
    let sizes: Vec<_> = receiver.received().iter().map(|request| request.logs().count()).collect();
    assert_eq!(sizes, [10, 10, 10, 10, 5], "the first is sent twice");
    let order: Vec<_> = receiver.logs()[10..].iter().map(|record| record.trace_id[0]).collect();
    assert_eq!(order, (1..=35).collect::<Vec<_>>());
    assert_eq!(counted(&logs), (23, [("refused", 10), ("rejected", 2)].into()));
}

/// Nobody waits for it, and every line is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_does_not_answer_costs_counted_lines() {
    const LINES: u64 = 100_000;
    let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    receiver.answer_next(std::iter::repeat_n(Answer::Silence, 10_000));
    let output = output(&receiver, "serviceType: http", &[]);
    let names = Arc::new(Names::new());
    let logs = start(&output, &names);
    let mut sender = logs.sender(std::slice::from_ref(&output));
    let bytes = record(&names, 1);
    (0..LINES).for_each(|_| sender.send(&Entry::Request(&bytes)));
    let (_, dropped) = counted(&logs);
    assert!(dropped["queue_full"] > LINES / 4, "two buffers of 2 MiB take some thousand: {dropped:?}");
    let logs = end(logs, Duration::from_millis(500)).await;
    // Nobody waits for the thread any more, which counts on.
    let deadline = Instant::now() + LONG;
    let (written, dropped) = loop {
        let (written, dropped) = counted(&logs);
        if dropped.values().sum::<u64>() >= LINES {
            break (written, dropped);
        }
        assert!(Instant::now() < deadline, "{dropped:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(written == 0 && dropped["ended"] > 0, "{dropped:?}");
    // What the output says of its losses is lost as well.
    assert!(dropped.values().sum::<u64>() < LINES + 10, "{dropped:?}");
}
