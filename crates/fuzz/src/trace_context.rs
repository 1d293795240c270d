//! Any bytes as traceparent and tracestate: what is accepted is sent in a form that is accepted again, unchanged.

use weir_telemetry::trace_context::TraceParent;
use weir_telemetry::trace_context::tracestate::TraceState;

pub fn trace_context(bytes: &[u8]) {
    if let Some(parent) = TraceParent::parse(bytes) {
        assert_eq!(TraceParent::parse(&parent.text()), Some(parent));
    }
    if let Some(state) = TraceState::read(bytes.split(|byte| *byte == b'\n')) {
        let line = state.clone().into_header();
        assert_eq!(TraceState::read([line.as_ref()].into_iter()), Some(state));
    }
}
