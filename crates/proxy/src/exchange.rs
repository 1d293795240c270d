//! The exchange at hand, as the phases of its request, its bodies and its attempts share it.

use crate::client::Client;
use crate::grpc;
use crate::snapshot::Held;
use crate::worker::Worker;
use bytes::Bytes;
use http::StatusCode;
use std::cell::{Cell, Ref, RefCell, RefMut};
use std::rc::{Rc, Weak};
use std::sync::atomic::Ordering;
use std::time::Duration;
use weir_event::Instant;
use weir_event::{Exchange, Outcome, Protocol, Reason, TUNNEL_DURATION, Turn, micros};
use weir_http1::Fields;

/// Whose exchange it is: a connection, which must know whether one is open.
pub(crate) trait Owner {
    /// It is open.
    fn began(&self, exchange: WeakExchange);

    /// It is recorded.
    fn ended(&self, now: Instant);

    /// A head of 1xx has come for it, which goes to the client in front of the response (RFC 9110 15.2).
    fn interim(&self, status: StatusCode, fields: Fields);
}

/// The attribute of an exchange whose answer was whole before its request was: `bytes_in` are those that had come.
const PARTIAL: (Bytes, Bytes) = (Bytes::from_static(b"request.partial"), Bytes::from_static(b"true"));

struct Shared {
    exchange: RefCell<Exchange>,
    client: Rc<Client>,
    owner: Rc<dyn Owner>,
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
    /// Since when it is a tunnel, and who has ended it.
    tunnel: Cell<Option<(Instant, Option<Turn>)>>,
    /// It is gRPC over HTTP/2, which may have a deadline.
    grpc: Cell<Option<Option<Instant>>>,
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
    pub(crate) fn new(client: Rc<Client>, owner: Rc<dyn Owner>, snapshot: Rc<Held>) -> Self {
        let worker = &client.worker;
        let now = worker.clock.now();
        // Made where it stays: it is large.
        Self(Rc::new(Shared {
            exchange: RefCell::new(Exchange::new(now, worker.clock.wall_us(now))),
            client,
            owner,
            snapshot,
            place: Cell::new(None),
            request_done: Cell::new(None),
            sized: Cell::new(false),
            request_whole: Cell::new(false),
            progress: Cell::new(now),
            tunnel: Cell::new(None),
            grpc: Cell::new(None),
        }))
    }

    /// Tells its connection that it is open.
    pub(crate) fn begins(&self) {
        self.0.owner.began(WeakExchange(Rc::downgrade(&self.0)));
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

    /// Nothing where somebody who panicked holds it.
    pub(crate) fn try_borrow_mut(&self) -> Option<RefMut<'_, Exchange>> {
        self.0.exchange.try_borrow_mut().ok()
    }

    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.0.client.worker
    }

    /// The configuration that it is served by: held from the first phase to the last.
    pub(crate) fn snapshot(&self) -> &Rc<Held> {
        &self.0.snapshot
    }

    /// Passes a head of 1xx on, where the client knows of such (RFC 9110 15.2): HTTP/1.0 has none.
    pub(crate) fn interim(&self, status: StatusCode, fields: Fields) {
        if self.borrow().protocol != Protocol::Http10 {
            self.0.owner.interim(status, fields);
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    /// Says whose turn it is from now on, and answers now.
    pub(crate) fn hand_to(&self, turn: Turn) -> Instant {
        let now = self.0.client.worker.clock.now();
        self.0.exchange.borrow_mut().hand_to(turn, now);
        now
    }

    pub(crate) fn blame(&self, reason: Reason) {
        self.0.exchange.borrow_mut().blame(reason);
    }

    pub(crate) fn progressed(&self, now: Instant) {
        self.0.progress.set(now);
    }

    /// Says whose turn it is from now on, and whether something has moved.
    pub(crate) fn progressed_in(&self, turn: Turn, has_moved: bool) {
        let now = self.hand_to(turn);
        if has_moved {
            self.progressed(now);
        }
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

    /// It is gRPC over HTTP/2, and its client waits for so long, if it says so.
    pub(crate) fn speaks_grpc(&self, timeout: Option<Duration>) {
        let started = self.borrow().started;
        self.0.grpc.set(Some(timeout.map(|timeout| started + timeout)));
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.0.grpc.get().is_some()
    }

    /// Until when its client waits, of gRPC.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.grpc.get().flatten()
    }

    /// Its handshake is over: the connection is a tunnel. How long that is open is no part of the request's time.
    pub(crate) fn is_tunnel(&self, now: Instant) {
        self.0.exchange.borrow_mut().meter.end(now);
        self.0.tunnel.set(Some((now, None)));
    }

    /// Of a tunnel, one side has ended: who did first is in the event.
    pub(crate) fn tunnel_ends(&self, by: Turn) {
        if let Some((since, None)) = self.0.tunnel.get() {
            self.0.tunnel.set(Some((since, Some(by))));
        }
    }

    /// Closes it at `now`.
    pub(crate) fn close(&self, outcome: Outcome, now: Instant) {
        let mut exchange = self.0.exchange.borrow_mut();
        if !self.0.request_whole.get() && !exchange.is_finished() && outcome == Outcome::Completed {
            exchange.attrs.push(PARTIAL);
        }
        // Of a client that has left there is nobody to have the answer.
        let outcome = if exchange.reason == Reason::ClientClosed { Outcome::Cancelled } else { outcome };
        let tunnel = self.0.tunnel.get().filter(|_| !exchange.is_finished());
        if let Some((since, by)) = tunnel {
            describe_tunnel(&mut exchange, now.saturating_duration_since(since), by);
        }
        if outcome == Outcome::Cancelled && !exchange.is_finished() {
            grpc::left(&mut exchange, self.deadline(), now);
        }
        if exchange.finish(outcome, now) {
            if tunnel.is_some() {
                part_from_tunnel(&mut exchange);
            }
            let snapshot = &self.0.snapshot;
            let route = self.0.place.get();
            let route = route.map(|at| &snapshot.listeners[at.listener].apis[at.api].routes[at.route]);
            self.0.client.worker.record(&mut exchange, route, snapshot);
            self.0.snapshot.open.fetch_sub(1, Ordering::Relaxed);
            self.0.owner.ended(now);
        }
    }
}

/// How long a tunnel was open, and who has closed it.
#[cold]
fn describe_tunnel(exchange: &mut Exchange, open: Duration, by: Option<Turn>) {
    let by: &[u8] = match (by, exchange.reason) {
        (Some(Turn::Client), _) | (None, Reason::ClientClosed) => b"client",
        (Some(Turn::Upstream), _) | (None, Reason::ResponseIncomplete) => b"service",
        // Idle for too long, or cut off by a drain.
        _ => b"gateway",
    };
    exchange.attrs.push((TUNNEL_DURATION, micros(open).to_string().into()));
    exchange.attrs.push((Bytes::from_static(b"tunnel.closed_by"), Bytes::from_static(by)));
}

/// Why the service or the gateway has ended a tunnel. Its request was answered: how the tunnel ended later is no failure of
/// it, in the event and in all that is made of the event.
#[cold]
fn part_from_tunnel(exchange: &mut Exchange) {
    if !matches!(exchange.reason, Reason::None | Reason::ClientClosed) {
        let why = std::mem::replace(&mut exchange.reason, Reason::None);
        exchange.attrs.push((Bytes::from_static(b"tunnel.reason"), Bytes::from_static(why.as_str().as_bytes())));
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

    /// The status that it has was not sent.
    pub(crate) fn has_sent_nothing(&self) {
        if let Some(shared) = self.0.upgrade() {
            shared.exchange.borrow_mut().status = 0;
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
