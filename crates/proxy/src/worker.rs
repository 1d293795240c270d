//! One worker, as its requests have it: everything that they touch.
//!
//! It looks for a newer snapshot with one relaxed load a request; taking it costs two counter updates a worker and
//! generation, not a request, because requests share the worker's own handle.

use crate::cost::Stopwatch;
use crate::sink::{EventSink, Signal, WorkerStats};
use crate::snapshot::{Held, RouteEntry, Snapshot};
use http::HeaderValue;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use weir_config::{Cached, Live, Propagators, TraceTrust};
use weir_event::{Attempt, Clock, Exchange, NameId};
use weir_http1::Fields;
use weir_policies::Message;
use weir_telemetry::{Continuation, SpanSource};
use weir_upstream::{Balancer, Pool};

/// How often connections are looked at: those that are idle, and those whose requests wait.
pub(crate) const SWEEP: Duration = Duration::from_secs(1);

/// The end of the year 9999, the last that a date has room for. Seconds.
const LAST_DATE: u64 = 253_402_300_799;

/// What a worker's requests touch. One thread, so no lock and no atomic but for the counts that others read.
pub(crate) struct Worker {
    index: usize,
    pub(crate) clock: Clock,
    pub(crate) pool: Pool,
    pub(crate) balancer: Balancer,
    newest: RefCell<Cached<Snapshot>>,
    current: RefCell<Rc<Held>>,
    spans: RefCell<SpanSource>,
    sink: RefCell<Box<dyn EventSink>>,
    accepted: Cell<u64>,
    stats: Arc<WorkerStats>,
    /// A second since the Unix epoch, as `Date` has it.
    date: RefCell<(u64, HeaderValue)>,
    /// What is dropped from now on was cut off by the gateway.
    ending: Cell<bool>,
}

impl Worker {
    pub(crate) fn new(index: u16, live: &Live<Snapshot>, sink: Box<dyn EventSink>, stats: Arc<WorkerStats>) -> Self {
        let snapshot = live.snapshot();
        let pool = Pool::new(Arc::clone(&snapshot.descriptors));
        let current = RefCell::new(Rc::new(Held(snapshot)));
        Self {
            index: usize::from(index),
            clock: Clock::new(),
            pool,
            balancer: Balancer::default(),
            newest: RefCell::new(live.cached()),
            current,
            spans: RefCell::default(),
            sink: RefCell::new(sink),
            accepted: Cell::new(0),
            stats,
            date: RefCell::new((0, date(0))),
            ending: Cell::new(false),
        }
    }

    /// The newest snapshot, for one request to hold to its end.
    pub(crate) fn snapshot(&self) -> Rc<Held> {
        let mut newest = self.newest.borrow_mut();
        let newest = newest.load();
        let mut current = self.current.borrow_mut();
        if !Arc::ptr_eq(newest, &current.0) {
            *current = Rc::new(Held(Arc::clone(newest)));
        }
        Rc::clone(&current)
    }

    /// Of a request that brings a trace.
    pub(crate) fn continue_trace(&self, headers: &mut Fields, trust: TraceTrust, formats: Propagators) -> Continuation {
        Continuation::take(headers, trust, formats, &mut self.spans.borrow_mut())
    }

    /// Of a request that brings none, or none that could be read.
    pub(crate) fn begin_trace(&self, formats: Propagators) -> Continuation {
        Continuation::begin(formats, &mut self.spans.borrow_mut())
    }

    /// The time as the `Date` field has it (RFC 9110 5.6.7), made once a second.
    pub(crate) fn date(&self) -> HeaderValue {
        let second = u64::try_from(self.clock.wall_us(self.clock.now()) / 1_000_000).unwrap_or_default();
        let mut kept = self.date.borrow_mut();
        if kept.0 != second {
            *kept = (second, date(second));
        }
        kept.1.clone()
    }

    /// Counts a finished exchange and hands it to the sink under its number. Mutable, for what is decided at the end
    /// (whether its spans are kept) is a field of it and comes first.
    pub(crate) fn record(&self, exchange: &mut Exchange, route: Option<&RouteEntry>, snapshot: &Snapshot) {
        let (is_probe, seq) = (exchange.is_probe(), self.accepted.get());
        let mut watch = Stopwatch::of(seq, &self.stats);
        if is_probe {
            snapshot.marks.answered();
        } else {
            self.observe(exchange, route, snapshot);
        }
        watch.lap(Signal::Metrics);
        let mut sink = self.sink.borrow_mut();
        sink.record(seq, exchange);
        watch.lap(Signal::Events);
        self.accepted.set(seq + 1);
        self.stats.set_accepted(seq + 1);
        if let Some(why) = exchange.trace.kept {
            if !is_probe {
                self.stats.keep_trace(why);
            }
            let origin_of = |attempt: &Attempt| {
                let member = route?.cluster.members().get(usize::from(attempt.endpoint))?;
                Some(&member.origin.address)
            };
            sink.keep_spans(exchange, &origin_of);
            watch.lap(Signal::Traces);
        }
        if !is_probe && let Some(rule) = route.map_or(&snapshot.lines, |route| &route.lines) {
            sink.log_request(rule.decide(exchange));
            watch.lap(Signal::Logs);
        }
    }

    /// Hands over what a policy wants written about a request.
    #[cold]
    pub(crate) fn log_messages(&self, exchange: &Exchange, policy: NameId, messages: &[Message]) {
        let mut sink = self.sink.borrow_mut();
        messages.iter().for_each(|message| sink.log_message(exchange, policy, message));
    }

    /// Adds a request to the figures, which decide whether its spans are kept though it was not sampled.
    fn observe(&self, exchange: &mut Exchange, route: Option<&RouteEntry>, snapshot: &Snapshot) {
        let metrics = route.map_or(&snapshot.unrouted, |route| &route.metrics);
        metrics.observe(self.index, exchange, snapshot.exemplars.takes(exchange.trace.kept.is_some()));
        if let Some(tracer) = &snapshot.tracer {
            let late = metrics.kept_late(self.index, exchange, tracer.keep);
            exchange.trace.kept = exchange.trace.kept.or(late);
        }
    }

    pub(crate) fn stats(&self) -> &WorkerStats {
        &self.stats
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.get()
    }

    /// What is dropped from now on was cut off by the gateway.
    pub(crate) fn ends(&self) {
        self.ending.set(true);
    }
}

fn date(second: u64) -> HeaderValue {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second.min(LAST_DATE));
    HeaderValue::try_from(httpdate::fmt_http_date(time)).expect("a date is visible ASCII")
}
