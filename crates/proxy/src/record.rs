//! Phase `record`: an exchange is closed, once, and handed to the worker's sink.
//!
//! It happens when the last frame of the response is handed over for writing, before it is flushed: a client that
//! has the whole response proves by it that the event exists. Whatever ends otherwise is closed by its [`Closer`].

use crate::connection::Connection;
use crate::snapshot::Held;
use crate::worker::Worker;
use std::cell::{Cell, Ref, RefCell, RefMut};
use std::rc::{Rc, Weak};
use std::time::Instant;
use weir_event::{Exchange, Outcome, Reason, Turn};

struct Shared {
    exchange: RefCell<Exchange>,
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    snapshot: Rc<Held>,
    /// Listener, API and route, once known: where the figures are.
    place: Cell<Option<Place>>,
    /// When the last byte of the request was handed to the upstream; `None` while there is more to come.
    request_done: Cell<Option<Instant>>,
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
    pub(crate) fn new(exchange: Exchange, connection: Rc<Connection>, snapshot: Rc<Held>) -> Self {
        let worker = Rc::clone(connection.worker());
        let (request_done, place) = (Cell::new(None), Cell::new(None));
        let progress = Cell::new(exchange.started);
        let exchange = RefCell::new(exchange);
        Self(Rc::new(Shared { exchange, worker, connection, snapshot, place, request_done, progress }))
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

    pub(crate) fn request_done(&self) -> Option<Instant> {
        self.0.request_done.get()
    }

    fn close(&self, outcome: Outcome) {
        let now = self.0.worker.clock.now();
        let mut exchange = self.0.exchange.borrow_mut();
        if exchange.finish(outcome, now) {
            let metrics = self.0.place.get().map_or(&self.0.snapshot.unrouted, |place| {
                &self.0.snapshot.listeners[place.listener].apis[place.api].routes[place.route].metrics
            });
            self.0.worker.record(&exchange, metrics);
            self.0.connection.end_exchange(now, self.request_done().is_some());
        }
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
}

/// Whoever holds it owes the exchange its end. Dropped with the debt unpaid - the client left, the handler
/// panicked - it pays with what is known.
pub(crate) struct Closer {
    exchange: ExchangeRef,
}

impl Closer {
    pub(crate) fn new(exchange: ExchangeRef) -> Self {
        Self { exchange }
    }

    /// Closes the exchange now.
    pub(crate) fn close(self, outcome: Outcome) {
        self.exchange.close(outcome);
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
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
