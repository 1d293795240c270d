#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use super::*;
use std::path::Path;
use std::time::Duration;
use weir_config::load_text;
use weir_event::Instant;
use weir_event::record::encode;
use weir_event::{Exchange, Outcome, SpanId, TraceId};

fn format(parameters: &str) -> LineFormat {
    let text = format!(
        "apiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: logs}}\nspec: {{logging: {{outputs: \
         [{{name: a, type: stdout, parameters: {parameters}}}]}}}}\n"
    );
    load_text(Path::new("x.yaml"), &text, &|_| None).unwrap().startup.logging.outputs[0].format.clone()
}

fn record(names: &Names, target: &str) -> Vec<u8> {
    let now = Instant::now();
    let mut exchange = Exchange::new(now, 1_795_416_085_000_000);
    exchange.api = names.register("orders");
    exchange.target = target.parse().unwrap();
    exchange.method = weir_event::Method::Get;
    exchange.user_agent = http::HeaderValue::from_bytes(b"a\"\tb\xff").ok();
    exchange.status = 200;
    exchange.trace.trace = TraceId([0xab; 16]);
    exchange.finish(Outcome::Completed, now + Duration::from_micros(12_345));
    let mut bytes = Vec::new();
    encode(&exchange, 7, &mut bytes);
    bytes
}

fn written(parameters: &str, of: impl FnOnce(&Names) -> Vec<u8>) -> String {
    let names = Arc::new(Names::new());
    let entries = of(&names);
    let mut lines =
        Lines::new(&format(parameters), Identity { gateway: "edge".to_owned(), ..Identity::default() }, names);
    let (mut out, mut rest) = (Vec::new(), &entries[..]);
    while let Some(entry) = Entry::take(&mut rest) {
        assert!(lines.put(&mut out, &entry));
    }
    String::from_utf8(out).unwrap()
}

fn entry(entry: Entry<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry.put(&mut bytes);
    bytes
}

fn message(names: &Names) -> Vec<u8> {
    let (api, policy) = (names.register("orders"), names.register("message-logging-flex"));
    let (trace, span, level) = (TraceId([0xab; 16]), SpanId([0xcd; 8]), LogLevel::Warn);
    let message = PolicyMessage { at_us: 0, trace, span, api, policy, level, category: "c", text: "said\nso" };
    entry(Entry::Message(message))
}

const TRACE_ID: &str = "abababababababababababababababab";

#[test]
fn a_request_as_json() {
    let line = written("{fields: [ts, status, path, query, api, gateway, user_agent, total_us, sampled]}", |names| {
        entry(Entry::Request(&record(names, "/a?secret=1")))
    });
    let expected = "{\"ts\":\"2026-11-23T06:41:25.000000Z\",\"status\":200,\"path\":\"/a\",\"query\":\"secret=*\",\"api\":\"orders\",\
                    \"gateway\":\"edge\",\"user_agent\":\"a\\\"\\tb\u{fffd}\",\"total_us\":12345,\"sampled\":false,\
                    \"trace_id\":\"abababababababababababababababab\"}\n";
    assert_eq!(line, expected);
}

#[test]
fn a_request_by_a_template() {
    let line = written("{template: '[{date}][{kind}] {message} {user_agent} {consumer}'}", |names| {
        entry(Entry::Request(&record(names, "/a%20b")))
    });
    let expected = format!(
        "[2026-11-23T06:41:25.012345Z][accessLog] [trace: {TRACE_ID}] GET /a%20b 200 12.345ms a\"\\x09b\\xff -\n"
    );
    assert_eq!(line, expected);
    let line = written("{template: '{status}'}", |names| entry(Entry::Request(&record(names, "/"))));
    assert_eq!(line, format!("200 trace_id={TRACE_ID}\n"));
    let line = written("{template: '{trace_id} {message}'}", |names| entry(Entry::Request(&record(names, "/"))));
    assert_eq!(line, format!("{TRACE_ID} GET / 200 12.345ms\n"));
}

#[test]
fn a_message_of_a_policy() {
    let json = written("{format: json}", message);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json,
        json!({
            "ts": "1970-01-01T00:00:00.000000Z", "kind": "accessLog", "level": "warn", "trace_id": TRACE_ID, "span_id": "cdcdcdcdcdcdcdcd",
            "api": "orders", "policy": "message-logging-flex", "category": "c", "message": "said\nso",
        })
    );
    // A template of Flex, as its documentation has it.
    let line = written("{format: template, template: '[{logger}][{level}][{kind}] {message}'}", message);
    assert_eq!(line, format!("[weir][warn][accessLog] [trace: {TRACE_ID}] c said\\x0aso\n"));
}

#[test]
fn what_the_program_says() {
    let program = |_: &Names| entry(Entry::Program { at_us: 0, level: LogLevel::Error, text: "it ends" });
    let json: Value = serde_json::from_str(&written("{format: json}", program)).unwrap();
    assert_eq!(json["message"], "it ends");
    assert_eq!(json["kind"], "runtimeLog");
    assert_eq!(written("{template: '{level} {message} {status}'}", program), "error it ends -\n");
    assert_eq!(written("{template: '{status} {path}'}", program), "- - it ends\n");
}
