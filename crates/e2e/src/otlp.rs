//! Spans as a sender writes them for OTLP, in JSON and in protobuf: what a Collector is tested with before there is a gateway.
//!
//! Written by hand and apart from Weir's own exporter, which must not be tested by itself.

use crate::now_ms;
use serde_json::{Value, json};

/// One span that took `ms`, as OTLP's JSON has it.
pub fn span(trace: &str, id: u64, parent: Option<u64>, ms: i64, status: &Value) -> Value {
    let begun_ms = now_ms() - ms;
    json!({
        "traceId": trace, "spanId": format!("{id:016x}"), "name": "GET /orders", "kind": 2, "status": status,
        "parentSpanId": parent.map(|id| format!("{id:016x}")).unwrap_or_default(),
        "startTimeUnixNano": format!("{begun_ms}000000"), "endTimeUnixNano": format!("{}000000", begun_ms + ms),
        "attributes": [{"key": "http.request.method", "value": {"stringValue": "GET"}}],
    })
}

/// A request with spans of one service.
pub fn request(service: &str, spans: &[Value]) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
        "scopeSpans": [{"scope": {"name": "weir"}, "spans": spans}],
    }]})
}

/// A request with `count` spans of traces of their own, with ids from `first` on.
pub fn numbered(first: u64, count: u64) -> Value {
    let spans: Vec<_> = (first..first + count).map(|id| span(&format!("{id:032x}"), id, None, 5, &json!({}))).collect();
    request("edge", &spans)
}

/// A field of a protobuf message that has bytes, or another message.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut rest = content.len();
    while rest > 127 {
        out.push(rest as u8 & 127 | 128);
        rest >>= 7;
    }
    out.push(rest as u8);
    out.extend(content);
    out
}

/// A request with one span, as OTLP's protobuf has it: `ExportTraceServiceRequest`.
pub fn protobuf(trace: u128, id: u64) -> Vec<u8> {
    let now = now_ms().unsigned_abs() * 1_000_000;
    let times = [vec![7 << 3 | 1], now.to_le_bytes().into(), vec![8 << 3 | 1], (now + 1).to_le_bytes().into()].concat();
    let name = field(5, b"GET /orders");
    let span = [field(1, &trace.to_be_bytes()), field(2, &id.to_be_bytes()), name, vec![6 << 3, 2], times].concat();
    let service = [field(1, b"service.name"), field(2, &field(1, b"edge"))].concat();
    let (resource, scope_spans) = (field(1, &field(1, &service)), field(2, &field(2, &span)));
    field(1, &[resource, scope_spans].concat())
}
