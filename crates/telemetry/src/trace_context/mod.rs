//! W3C Trace Context Level 2: what came in, what goes on.
//!
//! Own parser, because the stock Rust propagator gets 14 of the 41 cases of the W3C harness wrong (duplicates,
//! future versions, the tracestate grammar). The rules are those of the specification; each is a test in
//! [`traceparent`] and [`tracestate`], and here those that need both headers.
//!
//! One convention is Weir's own: of the eight bytes of a span id, the low four bits name the attempt. A server
//! span ends in `0`, its attempts are `…1` to `…f`. So the parent id that the next gateway records leads back to
//! this gateway's event without a lookup, and no attempt needs a stored id.

pub mod traceparent;
pub mod tracestate;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
pub use traceparent::TraceParent;
use tracestate::TraceState;
use weir_event::exchange::TraceFacts;
use weir_event::{SpanId, TraceId};

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What a listener does with a trace that a client brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Goes on with it.
    Continue,
    /// Begins a new one, as at an edge that strangers talk to (W3C Trace Context 3.4, 6.2).
    Restart,
}

/// Draws ids for one worker. wyrand: not a secret, but uniform over all 64 bits, which is what Level 2 asks of
/// an id that sets the random flag.
pub struct SpanSource {
    rng: fastrand::Rng,
}

impl SpanSource {
    /// A source seeded from the operating system's entropy.
    pub fn new() -> Self {
        Self { rng: fastrand::Rng::new() }
    }

    /// A source that draws the same ids at every run, for tests.
    pub fn seeded(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed) }
    }

    fn trace(&mut self) -> TraceId {
        loop {
            let id = TraceId(self.rng.u128(..).to_be_bytes());
            if !id.is_none() {
                return id;
            }
        }
    }

    /// A server span's id: its low four bits are 0, the rest is not.
    fn span(&mut self) -> SpanId {
        loop {
            let id = self.rng.u64(..) & !0xf;
            if id != 0 {
                return SpanId(id.to_be_bytes());
            }
        }
    }
}

impl Default for SpanSource {
    fn default() -> Self {
        Self::new()
    }
}

/// The id of the `attempt`-th upstream attempt (from 1) under a server span; attempts past the 15th share one.
pub fn attempt_span(server: SpanId, attempt: usize) -> SpanId {
    let mut id = server.0;
    id[7] = (id[7] & 0xf0) | attempt.clamp(1, 15) as u8;
    SpanId(id)
}

/// This gateway's place in a trace, and what it sends on.
#[derive(Clone, Debug)]
pub struct Continuation {
    pub facts: TraceFacts,
    random: bool,
    state: Option<Bytes>,
}

impl Continuation {
    /// Takes both headers out of the request - the upstream gets the ones that [`Continuation::inject`] writes,
    /// never two - and goes on with the trace that they name, or begins one.
    pub fn take(headers: &mut HeaderMap, trust: Trust, source: &mut SpanSource, sample_new: bool) -> Self {
        let parent = Self::parent(headers);
        let state = if headers.contains_key(&TRACESTATE) { take_state(headers) } else { None };
        match (parent, trust) {
            (Some(parent), Trust::Continue) => Self {
                facts: TraceFacts {
                    trace: parent.trace,
                    span: source.span(),
                    parent: parent.span,
                    sampled: parent.sampled,
                    kept: None,
                },
                random: parent.random,
                state,
            },
            _ => Self::begin(source, sample_new),
        }
    }

    /// Begins a trace.
    pub fn begin(source: &mut SpanSource, sampled: bool) -> Self {
        let (trace, span) = (source.trace(), source.span());
        let facts = TraceFacts { trace, span, parent: SpanId::default(), sampled, kept: None };
        Self { facts, random: true, state: None }
    }

    /// Exactly one header line, or none that counts (W3C harness: `test_traceparent_duplicated`).
    fn parent(headers: &mut HeaderMap) -> Option<TraceParent> {
        let duplicated = {
            let mut lines = headers.get_all(&TRACEPARENT).iter();
            lines.next()?;
            lines.next().is_some()
        };
        let value = headers.remove(&TRACEPARENT)?;
        if duplicated { None } else { TraceParent::parse(value.as_bytes()) }
    }

    /// Writes both headers for the `attempt`-th attempt (from 1): a parent id of its own, the flags as they were
    /// decided, the state as it came.
    pub fn inject(&self, attempt: usize, headers: &mut HeaderMap) {
        let parent = TraceParent {
            trace: self.facts.trace,
            span: attempt_span(self.facts.span, attempt),
            sampled: self.facts.sampled,
            random: self.random,
        };
        headers.insert(TRACEPARENT, parent.header());
        if let Some(state) = &self.state
            && let Ok(value) = HeaderValue::from_maybe_shared(state.clone())
        {
            headers.insert(TRACESTATE, value);
        }
    }
}

fn take_state(headers: &mut HeaderMap) -> Option<Bytes> {
    let state = TraceState::read(headers.get_all(&TRACESTATE).iter().map(HeaderValue::as_bytes));
    headers.remove(&TRACESTATE);
    state.map(TraceState::into_header)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server span that a parent id belongs to, if a Weir gateway made it.
    fn server_span(parent: SpanId) -> SpanId {
        let mut id = parent.0;
        id[7] &= 0xf0;
        SpanId(id)
    }

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn take(lines: &[(&'static str, &str)]) -> (Continuation, HeaderMap) {
        let mut headers = headers(lines);
        let taken = Continuation::take(&mut headers, Trust::Continue, &mut SpanSource::seeded(7), false);
        taken.inject(1, &mut headers);
        (taken, headers)
    }

    fn sent(headers: &HeaderMap, name: &HeaderName) -> String {
        let lines: Vec<_> = headers.get_all(name).iter().map(|line| line.to_str().unwrap()).collect();
        assert!(lines.len() < 2, "{name} sent twice");
        lines.concat()
    }

    #[test]
    fn a_trace_goes_on_under_a_new_parent_id() {
        let (taken, headers) = take(&[("traceparent", PARENT), ("tracestate", "a=1,b=2")]);
        let out = TraceParent::parse(sent(&headers, &TRACEPARENT).as_bytes()).unwrap();
        assert_eq!(out.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(taken.facts.parent.to_string(), "00f067aa0ba902b7");
        assert_ne!(out.span, taken.facts.parent);
        assert!(out.sampled && !out.random);
        assert_eq!(sent(&headers, &TRACESTATE), "a=1,b=2");
    }

    #[test]
    fn nothing_came_so_a_trace_begins_with_the_random_flag() {
        let (taken, headers) = take(&[]);
        let out = TraceParent::parse(sent(&headers, &TRACEPARENT).as_bytes()).unwrap();
        assert!(out.random && !out.sampled && taken.facts.parent.is_none());
    }

    #[test]
    fn two_traceparents_are_none() {
        let (taken, headers) = take(&[("traceparent", PARENT), ("traceparent", PARENT), ("tracestate", "a=1")]);
        assert!(taken.facts.parent.is_none());
        assert_ne!(taken.facts.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        sent(&headers, &TRACEPARENT);
        assert_eq!(sent(&headers, &TRACESTATE), "");
    }

    #[test]
    fn an_invalid_traceparent_takes_tracestate_with_it() {
        let (_, headers) = take(&[("traceparent", "00-zz"), ("tracestate", "a=1")]);
        assert_eq!(sent(&headers, &TRACESTATE), "");
    }

    #[test]
    fn tracestate_alone_is_discarded() {
        let (_, headers) = take(&[("tracestate", "a=1")]);
        assert_eq!(sent(&headers, &TRACESTATE), "");
    }

    #[test]
    fn a_bad_tracestate_never_touches_traceparent() {
        let (taken, headers) = take(&[("traceparent", PARENT), ("tracestate", "@bad=1")]);
        assert_eq!(taken.facts.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(sent(&headers, &TRACESTATE), "");
    }

    #[test]
    fn several_tracestate_lines_go_on_as_one_in_order() {
        let (_, headers) = take(&[("traceparent", PARENT), ("tracestate", "a=1 "), ("tracestate", ", b=2,c= 3")]);
        assert_eq!(sent(&headers, &TRACESTATE), "a=1,b=2,c= 3");
    }

    #[test]
    fn at_an_edge_that_restarts_nothing_of_the_clients_goes_on() {
        let mut headers = headers(&[("traceparent", PARENT), ("tracestate", "a=1")]);
        let taken = Continuation::take(&mut headers, Trust::Restart, &mut SpanSource::seeded(1), false);
        taken.inject(1, &mut headers);
        assert_ne!(taken.facts.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(!taken.facts.sampled && taken.facts.parent.is_none());
        assert_eq!(sent(&headers, &TRACESTATE), "");
    }

    #[test]
    fn the_parent_id_that_an_attempt_sends_leads_back_to_its_server_span() {
        let mut source = SpanSource::seeded(3);
        for _ in 0..1000 {
            let server = source.span();
            for attempt in [1, 2, 15, 99] {
                let sent = attempt_span(server, attempt);
                assert_ne!(sent, server);
                assert_eq!(server_span(sent), server);
            }
        }
    }
}
