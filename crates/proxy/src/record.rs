//! Phase `record`: an exchange is closed, once, and handed to the worker's sink.
//!
//! It happens when the last frame of the response is handed over for writing, before it is flushed: a client that
//! has the whole response proves by it that the event exists. Whatever ends otherwise is closed by its [`Closer`].

use crate::connection::Connection;
use crate::snapshot::Held;
use crate::worker::Worker;
use bytes::Bytes;
use std::cell::{Cell, Ref, RefCell, RefMut};
use std::rc::{Rc, Weak};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use weir_event::{Exchange, Outcome, Reason, Turn};

/// The attribute of an exchange whose answer was whole before its request was: `bytes_in` are those that had come.
const PARTIAL: (Bytes, Bytes) = (Bytes::from_static(b"request.partial"), Bytes::from_static(b"true"));

struct Shared {
    exchange: RefCell<Exchange>,
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    snapshot: Rc<Held>,
    /// Listener, API and route, once known: where the figures are.
    place: Cell<Option<Place>>,
    /// When the request was over for the upstream, whole or not; `None` while there is more to come.
    request_done: Cell<Option<Instant>>,
    /// Whether the request says how long it is.
    sized: Cell<bool>,
    /// Whether all of it has come: nobody reads the rest of one that is done and not whole.
    request_whole: Cell<bool>,
    /// When a frame last moved, either way.
    progress: Cell<Instant>,
}

/// Where in a snapshot a route stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) listener: usize,
    pub(crate) api: usize,
    pub(crate) route: usize,
}

/// The exchange as its phases share it: the request's side, the bodies, the attempts. One thread, no lock.
#[derive(Clone)]
pub(crate) struct ExchangeRef(Rc<Shared>);

impl ExchangeRef {
    /// One that begins now.
    pub(crate) fn new(connection: Rc<Connection>, snapshot: Rc<Held>) -> Self {
        let worker = Rc::clone(connection.worker());
        let now = worker.clock.now();
        // Made where it stays: it is large.
        Self(Rc::new(Shared {
            exchange: RefCell::new(Exchange::new(now, worker.clock.wall_us(now))),
            worker,
            connection,
            snapshot,
            place: Cell::new(None),
            request_done: Cell::new(None),
            sized: Cell::new(false),
            request_whole: Cell::new(false),
            progress: Cell::new(now),
        }))
    }

    /// For whoever must not keep the exchange open.
    pub(crate) fn downgrade(&self) -> WeakExchange {
        WeakExchange(Rc::downgrade(&self.0))
    }

    pub(crate) fn is_at(&self, place: Place) {
        self.0.place.set(Some(place));
    }

    pub(crate) fn borrow(&self) -> Ref<'_, Exchange> {
        self.0.exchange.borrow()
    }

    pub(crate) fn borrow_mut(&self) -> RefMut<'_, Exchange> {
        self.0.exchange.borrow_mut()
    }

    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.0.worker
    }

    /// The configuration that it is served by: held from the first phase to the last.
    pub(crate) fn snapshot(&self) -> &Rc<Held> {
        &self.0.snapshot
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// Says whose turn it is from now on, and answers now.
    pub(crate) fn hand_to(&self, turn: Turn) -> Instant {
        let now = self.0.worker.clock.now();
        self.0.exchange.borrow_mut().hand_to(turn, now);
        now
    }

    pub(crate) fn blame(&self, reason: Reason) {
        self.0.exchange.borrow_mut().blame(reason);
    }

    pub(crate) fn progressed(&self, now: Instant) {
        self.0.progress.set(now);
    }

    pub(crate) fn progress(&self) -> Instant {
        self.0.progress.get()
    }

    pub(crate) fn request_is_done(&self, now: Instant) {
        self.0.progress.set(now);
        self.0.request_done.set(Some(now));
    }

    /// An attempt begins: a response is waited for from here on, or from the end of the request.
    pub(crate) fn attempted(&self, now: Instant) {
        if self.request_done().is_some() {
            self.request_is_done(now);
        }
    }

    pub(crate) fn request_is_whole(&self, now: Instant) {
        self.0.request_whole.set(true);
        self.request_is_done(now);
    }

    pub(crate) fn has_size(&self) {
        self.0.sized.set(true);
    }

    pub(crate) fn is_sized(&self) -> bool {
        self.0.sized.get()
    }

    pub(crate) fn request_done(&self) -> Option<Instant> {
        self.0.request_done.get()
    }

    /// Closes it, and answers now.
    fn close(&self, outcome: Outcome) -> Instant {
        let now = self.0.worker.clock.now();
        let mut exchange = self.0.exchange.borrow_mut();
        if !self.0.request_whole.get() && !exchange.is_finished() && outcome == Outcome::Completed {
            exchange.attrs.push(PARTIAL);
        }
        // Of a client that has left there is nobody to have the answer.
        let outcome = if exchange.reason == Reason::ClientClosed { Outcome::Cancelled } else { outcome };
        if exchange.finish(outcome, now) {
            let snapshot = &self.0.snapshot;
            let route = self.0.place.get();
            let route = route.map(|at| &snapshot.listeners[at.listener].apis[at.api].routes[at.route]);
            self.0.worker.record(&mut exchange, route, snapshot);
            self.0.snapshot.open.fetch_sub(1, Ordering::Relaxed);
            self.0.connection.end_exchange(now);
        }
        now
    }
}

/// An exchange that may be over.
pub(crate) struct WeakExchange(Weak<Shared>);

impl WeakExchange {
    /// Blames `reason` if the exchange is still open.
    pub(crate) fn blame(&self, reason: Reason) {
        if let Some(shared) = self.0.upgrade() {
            shared.exchange.borrow_mut().blame(reason);
        }
    }

    /// Whether it is open and its response has not begun.
    pub(crate) fn waits_for_response(&self) -> bool {
        self.0.upgrade().is_some_and(|shared| shared.exchange.borrow().status == 0)
    }

    /// Whether its response has begun and nothing has moved for `limit` because of the client.
    pub(crate) fn waits_for_client(&self, now: Instant, limit: Duration) -> bool {
        self.0.upgrade().is_some_and(|shared| {
            let exchange = shared.exchange.borrow();
            exchange.status != 0
                && exchange.meter.turn() == Turn::Client
                && now.saturating_duration_since(shared.progress.get()) >= limit
        })
    }
}

/// Whoever holds it owes the exchange its end. Dropped with the debt unpaid - the client left, the handler
/// panicked - it pays with what is known.
pub(crate) struct Closer {
    exchange: ExchangeRef,
    paid: bool,
}

impl Closer {
    pub(crate) fn new(exchange: ExchangeRef) -> Self {
        Self { exchange, paid: false }
    }

    /// Closes the exchange, and answers when that was.
    pub(crate) fn close(mut self, outcome: Outcome) -> Instant {
        self.paid = true;
        self.exchange.close(outcome)
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        if self.paid {
            return;
        }
        if std::thread::panicking() {
            let Ok(mut exchange) = self.exchange.0.exchange.try_borrow_mut() else { return };
            exchange.blame(Reason::GatewayPanic);
            exchange.status = Reason::GatewayPanic.status().as_u16();
        }
        if self.exchange.worker().is_ending()
            && let Ok(mut exchange) = self.exchange.0.exchange.try_borrow_mut()
        {
            exchange.blame(Reason::GatewayDraining);
        }
        self.exchange.close(Outcome::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Registry;
    use crate::sink::{EventSink, WorkerStats};
    use crate::snapshot::Snapshot;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use weir_config::{GatewayConfig, Live};

    struct Collect(Sender<(u64, Exchange)>);

    impl EventSink for Collect {
        fn record(&mut self, seq: u64, exchange: &Exchange) {
            let _ = self.0.send((seq, exchange.clone()));
        }
    }

    fn open() -> (ExchangeRef, Receiver<(u64, Exchange)>) {
        let snapshot = Snapshot::compile(&GatewayConfig::default(), 1, &Registry::new(1)).unwrap();
        let (sender, events) = channel();
        let stats = Arc::new(WorkerStats::default());
        let worker = Rc::new(Worker::new(0, &Live::new(snapshot), Box::new(Collect(sender)), stats));
        let address = "127.0.0.1:1".parse().unwrap();
        let connection = Rc::new(Connection::new(Rc::clone(&worker), address, address, None));
        (ExchangeRef::new(connection, worker.snapshot()), events)
    }

    #[test]
    fn a_panic_is_an_event_and_ends_with_its_request() {
        let (exchange, events) = open();
        let closer = Closer::new(exchange.clone());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _closer = closer;
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        let (seq, event) = events.try_recv().unwrap();
        assert_eq!((seq, event.status, event.reason), (0, 500, Reason::GatewayPanic));
        assert!(events.try_recv().is_err(), "once");
    }

    #[test]
    fn an_exchange_is_recorded_once_however_often_it_ends() {
        let (exchange, events) = open();
        Closer::new(exchange.clone()).close(Outcome::Completed);
        drop(Closer::new(exchange));
        assert_eq!(events.try_iter().map(|(_, event)| event.outcome).collect::<Vec<_>>(), [Outcome::Completed]);
    }
}
