//! One worker: a thread, a current-thread runtime, and everything that its requests touch.
//!
//! A worker is sent signals by [`Command`]s and tells nothing back but its [`WorkerStats`]. It looks for a newer
//! snapshot with one relaxed load a request; taking it costs two counter updates a worker and generation, not a
//! request, because requests share the worker's own handle.

use crate::connection::Connection;
use crate::cost::Stopwatch;
use crate::listener::{accept_loop, welcome_from_elsewhere};
use crate::sink::{EventSink, Signal, WorkerStats};
use crate::snapshot::{Held, RouteEntry, Snapshot};
use http::{HeaderMap, HeaderValue};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpListener;
use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, error};
use weir_config::{Cached, Live, Propagators, TraceTrust};
use weir_event::{Clock, Exchange, NameId};
use weir_policies::Message;
use weir_telemetry::{Continuation, SpanSource};
use weir_upstream::Pool;

/// How often connections are looked at: those that are idle, and those whose requests wait.
pub(crate) const SWEEP: Duration = Duration::from_secs(1);

/// The end of the year 9999, the last that a date has room for. Seconds.
const LAST_DATE: u64 = 253_402_300_799;

/// What a worker is sent.
pub(crate) enum Command {
    /// Accept on this socket too. The address is the configured one.
    Listen(SocketAddr, StdListener),
    /// Accept no more at this address.
    Unlisten(SocketAddr),
    /// Serve a connection that was accepted for a worker that stands still. The address is the configured one.
    Welcome(SocketAddr, TcpStream, SocketAddr),
    /// Take up the newest snapshot, and say so.
    Renew,
    /// Accept no more at all, finish what is open within this time, then end.
    Drain(Duration),
}

/// What a worker's requests touch. One thread, so no lock and no atomic but for the counts that others read.
pub(crate) struct Worker {
    index: usize,
    pub(crate) clock: Clock,
    pub(crate) pool: Pool,
    newest: RefCell<Cached<Snapshot>>,
    current: RefCell<Rc<Held>>,
    spans: RefCell<SpanSource>,
    sink: RefCell<Box<dyn EventSink>>,
    accepted: Cell<u64>,
    stats: Arc<WorkerStats>,
    connections: RefCell<HashMap<usize, Weak<Connection>>>,
    next_connection: Cell<usize>,
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
            newest: RefCell::new(live.cached()),
            current,
            spans: RefCell::default(),
            sink: RefCell::new(sink),
            accepted: Cell::new(0),
            stats,
            connections: RefCell::default(),
            next_connection: Cell::new(0),
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
    pub(crate) fn continue_trace(
        &self,
        headers: &mut HeaderMap,
        trust: TraceTrust,
        formats: Propagators,
    ) -> Continuation {
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
            sink.keep_spans(exchange, route.map(|route| &route.origin.address));
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

    /// Keeps `connection` in the worker's list for as long as the entry lives.
    pub(crate) fn enter(self: &Rc<Self>, connection: &Rc<Connection>) -> Entry {
        let id = self.next_connection.replace(self.next_connection.get().wrapping_add(1));
        let mut connections = self.connections.borrow_mut();
        connections.insert(id, Rc::downgrade(connection));
        self.stats.set_connections(connections.len());
        Entry { worker: Rc::clone(self), id }
    }

    pub(crate) fn stats(&self) -> &WorkerStats {
        &self.stats
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.get()
    }

    fn each_connection(&self, act: impl Fn(&Connection)) {
        let connections: Vec<_> = self.connections.borrow().values().filter_map(Weak::upgrade).collect();
        connections.iter().for_each(|connection| act(connection));
    }

    fn sweep(&self, now: Instant) {
        self.stats.turn();
        let snapshot = self.snapshot();
        let limit = snapshot.timeouts.downstream_connection_idle;
        let blocked = snapshot.timeouts.stream_idle;
        self.each_connection(|connection| connection.sweep(now, limit, blocked));
        self.pool.evict(now, &snapshot.upstream_timeouts());
    }
}

fn date(second: u64) -> HeaderValue {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second.min(LAST_DATE));
    HeaderValue::try_from(httpdate::fmt_http_date(time)).expect("a date is visible ASCII")
}

/// A connection's place in its worker's list.
pub(crate) struct Entry {
    worker: Rc<Worker>,
    id: usize,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut connections = self.worker.connections.borrow_mut();
        connections.remove(&self.id);
        self.worker.stats.set_connections(connections.len());
    }
}

/// A worker's accept loops, by configured address.
type Listeners = HashMap<SocketAddr, (oneshot::Sender<()>, JoinHandle<()>)>;

/// What a worker runs on. Tasks of one thread without a `LocalSet` between them and the runtime: 3 % fewer instructions a
/// request. Made on the worker's thread.
pub(crate) fn runtime() -> std::io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

/// Runs a worker on the calling thread until it has drained.
pub(crate) fn run(runtime: LocalRuntime, worker: Worker, commands: mpsc::UnboundedReceiver<Command>) {
    let worker = Rc::new(worker);
    runtime.block_on(obey(Rc::clone(&worker), commands));
    worker.ending.set(true);
    // What did not finish in time is dropped with the tasks here: each open exchange records itself as cancelled. A name
    // that is still being looked up does not hold up the end.
    runtime.shutdown_background();
    worker.stats.end();
}

async fn obey(worker: Rc<Worker>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut listeners = Listeners::new();
    let mut tick = interval(SWEEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Listen(address, socket)) => listen(&worker, &mut listeners, address, socket),
                Some(Command::Unlisten(address)) => drop(listeners.remove(&address)),
                Some(Command::Welcome(address, stream, peer)) => welcome_from_elsewhere(&worker, address, stream, peer),
                Some(Command::Renew) => worker.stats.set_generation(worker.snapshot().generation()),
                Some(Command::Drain(limit)) => return drain(&worker, listeners, limit).await,
                None => return drain(&worker, listeners, Duration::ZERO).await,
            },
            now = tick.tick() => worker.sweep(now.into_std()),
        }
    }
}

fn listen(worker: &Rc<Worker>, listeners: &mut Listeners, address: SocketAddr, socket: StdListener) {
    match TcpListener::from_std(socket) {
        Ok(listener) => {
            let (stop, stopped) = oneshot::channel();
            let accepting = tokio::task::spawn_local(accept_loop(Rc::clone(worker), address, listener, stopped));
            listeners.insert(address, (stop, accepting));
        }
        Err(error) => error!(%address, %error, "a worker cannot use its listener"),
    }
}

async fn drain(worker: &Rc<Worker>, listeners: Listeners, limit: Duration) {
    let deadline = Instant::now() + limit;
    for (stop, accepting) in listeners.into_values() {
        drop(stop);
        // It takes in what is queued before it ends; if it panicked there is nothing more to take in.
        drop(accepting.await);
    }
    let mut tick = interval(Duration::from_millis(10));
    loop {
        worker.each_connection(Connection::drain);
        worker.sweep(Instant::now());
        let open = worker.connections.borrow().len();
        if open == 0 || Instant::now() >= deadline || worker.stats.is_hurried() {
            debug!(open, "worker drained");
            return;
        }
        tick.tick().await;
    }
}
