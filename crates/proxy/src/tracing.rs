//! What becomes of the trace that a request belongs to: whether it is sampled, and what the client is told of it.

use crate::headers::Special;
use bytes::Bytes;
use std::sync::Arc;
use weir_config::{ApiTracing, Keep, ParentDecision, TraceLabel, TraceLabelValue, TraceTrust, Tracing};
use weir_event::degradation::{DEGRADED, Level};
use weir_event::{Exchange, Kept, Turn};
use weir_http1::{Fields, Known};
use weir_telemetry::Continuation;
use weir_telemetry::degradation::Degradation;
use weir_telemetry::sampling::{Asked, Budget, DebugRules, Sampler};

/// What baggage must be passed on for (W3C Baggage, "Limits"); more is dropped whole.
const MOST_BAGGAGE_MEMBERS: usize = 64;
const MOST_BAGGAGE_BYTES: usize = 8192;

/// The event's attribute that says what its server span is called.
const SPAN_NAME: Bytes = Bytes::from_static(b"span.name");

/// How requests are sampled, where spans are made at all.
#[derive(Debug)]
pub(crate) struct Tracer {
    sampler: Sampler,
    pub(crate) keep: Keep,
    callers_per_second: u32,
    callers: Arc<Budget>,
    /// Traces that an administrator asks for.
    pub(crate) debug: Arc<DebugRules>,
    /// What is left out, because telemetry costs too much.
    degradation: Arc<Degradation>,
    labels: Vec<TraceLabel>,
    span_name: Option<Bytes>,
}

impl Tracer {
    pub(crate) fn new(
        tracing: &Tracing,
        callers: Arc<Budget>,
        debug: Arc<DebugRules>,
        degradation: Arc<Degradation>,
    ) -> Self {
        Self {
            degradation,
            sampler: Sampler::new(tracing.sampling, tracing.parent),
            keep: tracing.keep,
            callers_per_second: tracing.callers_per_second,
            callers,
            debug,
            labels: tracing.labels.clone(),
            span_name: None,
        }
    }

    /// That of an API, with what it has otherwise.
    pub(crate) fn of_api(&self, api: &ApiTracing, parent: ParentDecision) -> Self {
        Self {
            sampler: Sampler::new(api.sampling, parent),
            labels: api.labels.clone(),
            span_name: api.span_name.as_ref().map(|name| Bytes::copy_from_slice(name.as_bytes())),
            callers: Arc::clone(&self.callers),
            debug: Arc::clone(&self.debug),
            degradation: Arc::clone(&self.degradation),
            ..*self
        }
    }

    /// What the caller asks for, as far as it may: a stranger so often a second.
    pub(crate) fn ask(&self, trace: &Continuation, second: i64, special: Special, is_stranger: bool) -> Asked {
        let facts = &trace.facts;
        let parent = (!facts.parent.is_none()).then_some(facts.sampled).or(trace.wish);
        let asked = Asked { parent, is_asked_for: special.asks_for_trace() };
        if !is_stranger || !(parent == Some(true) || asked.is_asked_for) {
            return asked;
        }
        let second = u32::try_from(second).unwrap_or_default();
        if self.callers.take(second, self.callers_per_second) {
            return asked;
        }
        Asked { parent: parent.map(|_| false), is_asked_for: false }
    }

    /// Decides of the flag that is sent on, and notes what spans have of the head. Of two decisions the later one counts,
    /// and of two labels of one name its.
    pub(crate) fn sample(&self, trace: &mut Continuation, exchange: &mut Exchange, headers: &Fields) {
        let facts = &mut trace.facts;
        if facts.kept != Some(Kept::Debug) {
            facts.sampled = self.sampler.decide(facts.trace, trace.asked);
            facts.kept = facts.sampled.then_some(Kept::Sampled);
            exchange.trace = *facts;
        }
        let level = self.degradation.level();
        if level > Level::Nothing {
            return degrade(level, trace, exchange);
        }
        for label in &self.labels {
            let value = match &label.value {
                TraceLabelValue::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
                TraceLabelValue::Header(name, default) => match (headers.get(name), default) {
                    (Some(value), _) => Bytes::copy_from_slice(value),
                    (None, Some(default)) => Bytes::copy_from_slice(default.as_bytes()),
                    (None, None) => continue,
                },
            };
            exchange.attrs.retain(|(name, _)| *name != label.name.as_bytes());
            exchange.attrs.push((Bytes::copy_from_slice(label.name.as_bytes()), value));
        }
        exchange.attrs.extend(self.span_name.clone().map(|name| (SPAN_NAME, name)));
    }
}

/// Leaves out what the level says, and notes it in the event.
#[cold]
fn degrade(level: Level, trace: &mut Continuation, exchange: &mut Exchange) {
    if level >= Level::SampledSpans && trace.facts.kept == Some(Kept::Sampled) {
        // The flag stays: others may keep their part.
        trace.facts.kept = None;
        exchange.trace = trace.facts;
    }
    exchange.attrs.retain(|(name, _)| *name != DEGRADED);
    exchange.attrs.push((DEGRADED, Bytes::from_static(level.as_str().as_bytes())));
}

/// Has the trace of a request kept if an administrator's rule takes it.
pub(crate) fn debug(
    tracer: Option<&Tracer>,
    trace: &mut Continuation,
    exchange: &mut Exchange,
    takes: impl FnOnce(&DebugRules, &Exchange, u64) -> bool,
) {
    let Some(tracer) = tracer.filter(|tracer| !tracer.debug.is_empty() && trace.facts.kept != Some(Kept::Debug)) else {
        return;
    };
    let second = u64::try_from(exchange.started_us / 1_000_000).unwrap_or_default();
    if takes(&tracer.debug, exchange, second) {
        (trace.facts.sampled, trace.facts.kept) = (true, Some(Kept::Debug));
        exchange.trace = trace.facts;
    }
}

/// The event's attribute that leads from a trace that begins here to the one that the caller brought.
pub(crate) fn link(trace: &Continuation) -> Option<(Bytes, Bytes)> {
    let (trace, span) = trace.link?;
    Some((Bytes::from_static(b"trace.link"), Bytes::from(format!("{trace}-{span}"))))
}

/// Baggage of a caller that is not believed ends here, for it may be about somebody (W3C Baggage, "Privacy"); and so does
/// more than has to be passed on.
pub(crate) fn limit_baggage(headers: &mut Fields, trust: TraceTrust) {
    let lines = || headers.get_all(Known::Baggage);
    let bytes = lines().map(|line| line.len() + 1).sum::<usize>().saturating_sub(1);
    let members = lines().map(|line| line.split(|byte| *byte == b',').count()).sum::<usize>();
    if trust == TraceTrust::Restart || bytes > MOST_BAGGAGE_BYTES || members > MOST_BAGGAGE_MEMBERS {
        headers.remove(Known::Baggage);
    }
}

/// Tells the client what the gateway and the upstream took up to the response's head, and which trace it is
/// (W3C Server Timing; W3C Trace Context Level 3, `trace`).
pub(crate) fn server_timing(exchange: &Exchange, headers: &mut Fields) {
    let ms = |turn| exchange.meter.spent(turn).as_secs_f64() * 1000.0;
    let (trace, flags) = (exchange.trace, u8::from(exchange.trace.sampled));
    let value = format!(
        "gateway;dur={:.3}, upstream;dur={:.3}, trace;desc=\"00-{}-{}-{flags:02x}\"",
        ms(Turn::Gateway),
        ms(Turn::Upstream),
        trace.trace,
        trace.span
    );
    let added = headers.append(Known::ServerTiming, value.as_bytes());
    debug_assert!(added.is_ok(), "digits, names and a quoted text");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(lines: &[&str], trust: TraceTrust) -> bool {
        let mut headers = Fields::new();
        for line in lines {
            headers.append(Known::Baggage, line.as_bytes()).unwrap();
        }
        limit_baggage(&mut headers, trust);
        headers.get_all(Known::Baggage).count() == lines.len()
    }

    #[test]
    fn baggage_passes_within_its_limits_and_not_at_an_edge() {
        let members = |count: usize| vec!["a=1"; count].join(",");
        assert!(passes(&[&members(64)], TraceTrust::Continue));
        assert!(!passes(&[&members(65)], TraceTrust::Continue));
        assert!(!passes(&[&members(40), &members(25)], TraceTrust::Continue));
        let of = |len: usize| format!("a={}", "x".repeat(len - 2));
        assert!(passes(&[&of(8192)], TraceTrust::Continue));
        assert!(!passes(&[&of(8193)], TraceTrust::Continue));
        assert!(!passes(&[&of(4096), &of(4096)], TraceTrust::Continue));
        assert!(!passes(&["a=1"], TraceTrust::Restart));
    }
}
