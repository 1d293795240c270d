//! Joins the data plane to the spool, to the exporter of spans and to the log of requests: a finished exchange becomes a
//! record in its worker's ring, and where its spans are kept, or it has a line, a copy of the record goes to be made these.

use std::sync::{Arc, Mutex};
use weir_config::Logging;
use weir_event::clock::system_us;
use weir_event::degradation::Level;
use weir_event::exchange::TraceFacts;
use weir_event::{Exchange, NameId, failpoint, record};
use weir_logs::{Entry, Logs, PolicyMessage};
use weir_otlp::KeptRequest;
use weir_policies::Message;
use weir_proxy::{EventSink, OriginOf, SinkFactory};
use weir_spool::RingWriter;
use weir_telemetry::LineDecision;

/// One worker's way into its ring. The buffer is kept, so that recording allocates nothing.
struct RingSink {
    ring: RingWriter,
    /// The record of the last exchange.
    buffer: Vec<u8>,
    /// Where spans are made, if they are.
    spans: Option<weir_otlp::Sender>,
    lines: weir_logs::Sender,
}

impl EventSink for RingSink {
    fn record(&mut self, seq: u64, exchange: &Exchange) {
        failpoint::pass("record.before_encode");
        self.buffer.clear();
        record::encode(exchange, seq, &mut self.buffer);
        failpoint::pass("record.before_commit");
        // A full ring sheds the event and counts it: the request is never held up for its telemetry.
        let _ = self.ring.append(seq, &self.buffer);
        failpoint::pass("record.after_commit");
    }

    fn keep_spans(&mut self, exchange: &Exchange, origin_of: &OriginOf<'_>) {
        if let Some(spans) = &mut self.spans {
            let attempts = if Level::of(exchange) >= Level::ClientSpans { 0 } else { exchange.attempts.len() };
            spans.send(KeptRequest::new(&self.buffer, exchange, origin_of), attempts);
        }
    }

    fn log_request(&mut self, decision: LineDecision) {
        match decision {
            LineDecision::Write => self.lines.send(&Entry::Request(&self.buffer)),
            LineDecision::LeaveOut => self.lines.leave_out(),
            LineDecision::Skip => {}
        }
    }

    fn log_message(&mut self, exchange: &Exchange, policy: NameId, message: &Message) {
        let TraceFacts { trace, span, .. } = exchange.trace;
        let Message { level, category, text } = message;
        let (api, level) = (exchange.api, *level);
        self.lines.send(&Entry::Message(PolicyMessage {
            at_us: system_us(),
            trace,
            span,
            api,
            policy,
            level,
            category,
            text,
        }));
    }
}

/// Gives each worker its ring, and a way to the exporter of spans.
pub fn sinks(
    rings: Vec<RingWriter>,
    spans: Option<&weir_otlp::Sender>,
    logs: &Arc<Logs>,
    logging: &Logging,
) -> Arc<SinkFactory> {
    let (logs, outputs) = (Arc::clone(logs), logging.of_requests());
    // A sender is cloned where it is used: it is not to be shared.
    let spans = Mutex::new(spans.cloned());
    let rings: Mutex<Vec<_>> = Mutex::new(rings.into_iter().map(Some).collect());
    Arc::new(move |worker| {
        let mut rings = rings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let ring = rings.get_mut(usize::from(worker)).and_then(Option::take);
        let ring = ring.expect("the spool made one ring a worker, and each worker asks once");
        let spans = spans.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let lines = logs.sender(&outputs);
        Box::new(RingSink { ring, buffer: Vec::with_capacity(1024), spans, lines })
    })
}
