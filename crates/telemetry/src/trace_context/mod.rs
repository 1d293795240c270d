//! W3C Trace Context Level 2: what came in, what goes on.
//!
//! Own parser, because the stock Rust propagator gets 14 of the 41 cases of the W3C harness wrong (duplicates,
//! future versions, the tracestate grammar). The rules are those of the specification; each is a test in
//! [`traceparent`] and [`tracestate`], and here those that need both headers.
//!
//! One convention is Weir's own: of the eight bytes of a span id, the low four bits name the attempt. A server
//! span ends in `0`, its attempts are `…1` to `…f`. So the parent id that the next gateway records leads back to
//! this gateway's event without a lookup, and no attempt needs a stored id.

mod b3;
pub mod traceparent;
pub mod tracestate;

use crate::sampling::Asked;
use bytes::Bytes;
use http::header::HeaderName;
pub use traceparent::TraceParent;
use tracestate::TraceState;
use weir_config::{Propagators, TraceTrust};
use weir_event::exchange::TraceFacts;
use weir_event::{SpanId, TraceId};
use weir_http1::{Fields, Known};

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

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

/// This gateway's place in a trace, and what it sends on.
#[derive(Clone, Debug)]
pub struct Continuation {
    pub facts: TraceFacts,
    /// The trace that a caller brought to an edge that begins another, and the caller's span.
    pub link: Option<(TraceId, SpanId)>,
    /// Whether a caller that brought no trace wants the one that begins here sampled.
    pub wish: Option<bool>,
    /// What the caller asks for, as far as it may; for whoever decides once more.
    pub asked: Asked,
    random: bool,
    state: Option<Bytes>,
    formats: Propagators,
}

impl Continuation {
    /// Takes the headers of all formats out of the request - the upstream gets the ones that [`Continuation::inject`]
    /// writes, never two - and goes on with the trace that they name, or begins one. The sampled flag is the caller's until
    /// somebody decides.
    pub fn take(headers: &mut Fields, trust: TraceTrust, formats: Propagators, source: &mut SpanSource) -> Self {
        if cfg!(feature = "no-trace-context") {
            return Self::begin(formats, source);
        }
        let of_b3 = if formats == Propagators::default() { None } else { b3::take(headers, formats) };
        let of_w3c = Self::parent(headers);
        let state = if headers.has(Known::TraceState) { take_state(headers) } else { None };
        // The state belongs to the `traceparent` that it came with.
        let state = if of_w3c.is_some() { state } else { None };
        let (of_b3, wish) = match of_b3 {
            Some(b3::Said::Parent(parent)) => (Some(parent), None),
            Some(b3::Said::Sampled(sampled)) => (None, Some(sampled)),
            None => (None, None),
        };
        match (of_w3c.or(of_b3), trust) {
            (None, TraceTrust::Continue) if wish.is_some() => {
                let begun = Self::begin(formats, source);
                let facts = TraceFacts { sampled: wish == Some(true), ..begun.facts };
                Self { facts, wish, ..begun }
            }
            (Some(parent), TraceTrust::Continue) => {
                let TraceParent { trace, span, sampled, random } = parent;
                let facts = TraceFacts { trace, span: source.span(), parent: span, sampled, kept: None };
                Self { facts, link: None, wish: None, asked: Asked::default(), random, state, formats }
            }
            (parent, _) => {
                let link = parent.map(|parent| (parent.trace, parent.span));
                Self { link, ..Self::begin(formats, source) }
            }
        }
    }

    /// Begins a trace.
    pub fn begin(formats: Propagators, source: &mut SpanSource) -> Self {
        let (trace, span) = (source.trace(), source.span());
        let facts = TraceFacts { trace, span, parent: SpanId::default(), sampled: false, kept: None };
        Self { facts, link: None, wish: None, asked: Asked::default(), random: true, state: None, formats }
    }

    /// `tracestate` as it came and goes on; none where there is none.
    pub fn state(&self) -> Option<&Bytes> {
        self.state.as_ref()
    }

    /// Exactly one header line, or none that counts (W3C harness: `test_traceparent_duplicated`).
    fn parent(headers: &mut Fields) -> Option<TraceParent> {
        let parent = {
            let mut lines = headers.get_all(Known::TraceParent);
            let first = lines.next()?;
            if lines.next().is_some() { None } else { TraceParent::parse(first) }
        };
        headers.remove(Known::TraceParent);
        parent
    }

    /// Writes both headers for the `attempt`-th attempt (from 1): a parent id of its own, the flags as they were
    /// decided, the state as it came.
    pub fn inject(&self, attempt: usize, headers: &mut Fields) {
        if cfg!(feature = "no-trace-context") {
            return;
        }
        let parent = TraceParent {
            trace: self.facts.trace,
            span: self.facts.span.of_attempt(attempt),
            sampled: self.facts.sampled,
            random: self.random,
        };
        let set = headers.set(Known::TraceParent, &parent.text());
        debug_assert!(set.is_ok(), "hex digits and dashes are visible ASCII");
        if self.formats != Propagators::default() {
            b3::inject(&parent, self.formats, headers);
        }
        if let Some(state) = &self.state {
            let set = headers.set(Known::TraceState, state);
            debug_assert!(set.is_ok(), "it was read by its grammar");
        }
    }
}

fn take_state(headers: &mut Fields) -> Option<Bytes> {
    let state = TraceState::read(headers.get_all(Known::TraceState));
    headers.remove(Known::TraceState);
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

    const B3: HeaderName = HeaderName::from_static("b3");
    const NO_B3: Propagators = Propagators { b3: false, b3_multi: false };
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(lines: &[(&'static str, &str)]) -> Fields {
        let mut headers = Fields::new();
        for (name, value) in lines {
            headers.append(*name, value.as_bytes()).unwrap();
        }
        headers
    }

    fn take(lines: &[(&'static str, &str)]) -> (Continuation, Fields) {
        let mut headers = headers(lines);
        let taken = Continuation::take(&mut headers, TraceTrust::Continue, NO_B3, &mut SpanSource::seeded(7));
        taken.inject(1, &mut headers);
        (taken, headers)
    }

    fn sent(headers: &Fields, name: &HeaderName) -> String {
        let lines: Vec<_> = headers.get_all(name).map(|line| std::str::from_utf8(line).unwrap()).collect();
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
    fn b3_counts_where_no_traceparent_came_and_goes_on_in_both_forms() {
        let formats = Propagators { b3: true, b3_multi: false };
        let b3 = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1";
        let taken = |lines: &[(&'static str, &str)]| {
            let mut headers = headers(lines);
            let taken = Continuation::take(&mut headers, TraceTrust::Continue, formats, &mut SpanSource::seeded(7));
            taken.inject(1, &mut headers);
            (taken, headers)
        };
        let (one, sent_on) = taken(&[("b3", b3), ("tracestate", "a=1")]);
        assert_eq!((one.facts.parent.to_string().as_str(), one.facts.sampled), ("00f067aa0ba902b7", true));
        let out = TraceParent::parse(sent(&sent_on, &TRACEPARENT).as_bytes()).unwrap();
        assert_eq!(sent(&sent_on, &B3), format!("{}-{}-1", out.trace, out.span));
        assert_eq!(sent(&sent_on, &TRACESTATE), "");
        for (text, wish) in [("0", false), ("1", true), ("d", true)] {
            let (alone, sent_on) = taken(&[("b3", text)]);
            assert_eq!((alone.wish, alone.facts.sampled, alone.facts.parent.is_none()), (Some(wish), wish, true));
            assert!(sent(&sent_on, &B3).ends_with(if wish { "-1" } else { "-0" }));
            assert_eq!(taken(&[("b3", text), ("traceparent", PARENT)]).0.wish, None, "W3C's counts");
        }
        let other = PARENT.replace("4bf9", "aaaa");
        let (both, _) = taken(&[("b3", b3), ("traceparent", &other)]);
        assert!(both.facts.trace.to_string().starts_with("aaaa"));
    }

    #[test]
    fn at_an_edge_that_restarts_nothing_of_the_clients_goes_on() {
        let mut headers = headers(&[("traceparent", PARENT), ("tracestate", "a=1")]);
        let taken = Continuation::take(&mut headers, TraceTrust::Restart, NO_B3, &mut SpanSource::seeded(1));
        taken.inject(1, &mut headers);
        assert_ne!(taken.facts.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(!taken.facts.sampled && taken.facts.parent.is_none());
        let link = taken.link.map(|(trace, span)| (trace.to_string(), span.to_string()));
        assert_eq!(link, Some(("4bf92f3577b34da6a3ce929d0e0e4736".to_owned(), "00f067aa0ba902b7".to_owned())));
        assert_eq!(sent(&headers, &TRACESTATE), "");
    }

    #[test]
    fn at_such_an_edge_a_caller_decides_of_no_trace() {
        let mut headers = headers(&[("b3", "1")]);
        let formats = Propagators { b3: true, b3_multi: false };
        let taken = Continuation::take(&mut headers, TraceTrust::Restart, formats, &mut SpanSource::seeded(1));
        assert_eq!((taken.wish, taken.facts.sampled), (None, false));
    }

    #[test]
    fn the_parent_id_that_an_attempt_sends_leads_back_to_its_server_span() {
        let mut source = SpanSource::seeded(3);
        for _ in 0..1000 {
            let server = source.span();
            for attempt in [1, 2, 15, 99] {
                let sent = server.of_attempt(attempt);
                assert_ne!(sent, server);
                assert_eq!(server_span(sent), server);
            }
        }
    }
}
