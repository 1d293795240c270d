//! One client connection, from its first byte to its last: what its requests, its socket and its worker know of it.
//!
//! Here is what both protocols share. [`open`] finds out what is spoken, [`serve`] has it served by [`http1`] or [`http2`],
//! each of which serves its requests by the same pipeline and has a state of its own; [`sweep`] is the worker's look.

mod http1;
mod http2;
mod open;
mod serve;
mod sweep;
mod waker;

pub(crate) use serve::serve;

use self::http1::state::{Phase, State as Http1};
use self::http2::state::State as Http2;
use self::waker::{remember, wake};
use crate::accept::is_host;
use crate::client::Client;
use crate::escape::escaped;
use crate::exchange::{Owner, WeakExchange};
use crate::worker::Worker;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;
use weir_event::Instant;
use weir_event::{Exchange, Outcome, Protocol, Reason, SpanId, TraceId, Turn};
use weir_http1::{Fields, legible};

/// How long a connection that was just accepted is given to say something once the worker drains.
const FRESH: Duration = Duration::from_millis(500);

/// What is spoken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing yet: the TLS handshake is under way.
    Handshake,
    /// Or what begins in the clear, until it turns out to be HTTP/2.
    Http1,
    Http2,
}

/// What the worker asks of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    None,
    /// Finish what is open, then close.
    Drain,
    /// Close now.
    Close,
}

/// One client connection.
pub(crate) struct Connection {
    client: Rc<Client>,
    kind: Cell<Kind>,
    accepted: Instant,
    /// Whether a request has come on it.
    spoken: Cell<bool>,
    /// Since when no exchange is open, or, of HTTP/1.1, the next head has begun.
    since: Cell<Instant>,
    /// Since when the client takes nothing of what is written to it.
    blocked: Cell<Option<Instant>>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
    http1: Http1,
    http2: Http2,
}

impl Owner for Connection {
    fn began(&self, exchange: WeakExchange) {
        self.spoken.set(true);
        match self.kind.get() {
            Kind::Http2 => self.http2.begin(exchange),
            _ => self.http1.begin(exchange),
        }
    }

    fn ended(&self, now: Instant) {
        self.since.set(now);
        match self.kind.get() {
            Kind::Http2 => self.http2.end(now),
            _ => self.http1.end(),
        }
    }

    fn interim(&self, status: StatusCode, fields: Fields) {
        match self.kind.get() {
            Kind::Http2 => self.http2.interim(status, fields),
            _ => self.http1.interim(status, &fields),
        }
    }
}

impl Connection {
    pub(crate) fn new(client: Client) -> Self {
        let accepted = client.worker.clock.now();
        Self {
            kind: Cell::new(if client.acceptor.is_some() { Kind::Handshake } else { Kind::Http1 }),
            client: Rc::new(client),
            accepted,
            spoken: Cell::new(false),
            since: Cell::new(accepted),
            blocked: Cell::new(None),
            order: Cell::new(Order::None),
            waker: RefCell::default(),
            http1: Http1::default(),
            http2: Http2::default(),
        }
    }

    fn worker(&self) -> &Worker {
        &self.client.worker
    }

    fn now(&self) -> Instant {
        self.client.worker.clock.now()
    }

    /// The client took some of what is written to it, or it did not.
    fn has_written(&self, some: bool) {
        match (some, self.blocked.get()) {
            (true, Some(_)) => self.blocked.set(None),
            (false, None) => self.blocked.set(Some(self.now())),
            _ => {}
        }
    }

    /// A connection that was just accepted may have a request in its socket that nobody has read yet.
    fn may_still_speak(&self) -> bool {
        !self.spoken.get() && self.now().saturating_duration_since(self.accepted) < FRESH
    }

    fn give(&self, order: Order) {
        self.order.set(order);
        wake(&self.waker);
    }

    /// Runs `inner` to its end, or until the worker says to close. `drain` is called once, when it says to drain.
    async fn obediently<F: Future>(&self, mut inner: Pin<&mut F>, drain: impl Fn(Pin<&mut F>)) -> Option<F::Output> {
        let mut reported = false;
        poll_fn(|cx| {
            match self.order.get() {
                Order::Close => return Poll::Ready(None),
                Order::Drain if !reported && !self.may_still_speak() => {
                    reported = true;
                    drain(inner.as_mut());
                }
                _ => {}
            }
            remember(&self.waker, cx.waker());
            inner.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Something of a next head of HTTP/1 has come.
    fn head_has_begun(&self) {
        if self.http1.phase.get() == Phase::Idle {
            self.http1.phase.set(Phase::Head);
            self.since.set(self.now());
        }
    }

    /// The connection ends before a head of HTTP/1 that has begun is whole: that was a request.
    fn head_is_cut_off(&self, reason: Reason) {
        if self.http1.phase.get() == Phase::Head {
            self.http1.phase.set(Phase::Flushing);
            self.record_unparsed(reason, None, &[]);
        }
    }

    /// Records a request that was refused before it was one, with the status that it was answered with, if it was, and what
    /// can be read of its `head`. Answers its trace and span.
    fn record_unparsed(&self, reason: Reason, status: Option<StatusCode>, head: &[u8]) -> (TraceId, SpanId) {
        let (client, worker, now) = (&self.client, self.worker(), self.now());
        let began = self.since.get().min(now);
        let mut exchange = Exchange::new(began, worker.clock.wall_us(began));
        exchange.hand_to(Turn::Client, began);
        let snapshot = worker.snapshot();
        let trace = worker.begin_trace(snapshot.propagators).facts;
        exchange.trace = trace;
        exchange.generation = snapshot.generation();
        exchange.entry = client.is_entry(&snapshot);
        exchange.protocol = if self.kind.get() == Kind::Http2 { Protocol::Http2 } else { Protocol::Unknown };
        (exchange.tls_version, exchange.tls_cipher) = client.tls();
        exchange.client = client.peer;
        describe_unparsed(&mut exchange, head);
        exchange.status = status.map_or(0, |status| status.as_u16());
        exchange.blame(reason);
        let outcome = if status.is_some() { Outcome::Completed } else { Outcome::Cancelled };
        exchange.finish(outcome, now);
        worker.record(&mut exchange, None, &snapshot);
        (trace.trace, trace.span)
    }
}

/// What can be read of a head that is none.
fn describe_unparsed(exchange: &mut Exchange, head: &[u8]) {
    let legible = legible(head);
    if let Some(method) = legible.method.and_then(|method| Method::from_bytes(method).ok()) {
        exchange.set_method(&method);
    }
    // Of another form the authority may have a password, and means more than `Host`.
    let Some(target) = legible.target.filter(|target| target.starts_with(b"/")) else { return };
    if let Ok(target) = PathAndQuery::from_maybe_shared(escaped(Bytes::copy_from_slice(target))) {
        exchange.target = target.into();
    }
    exchange.host = legible.host.and_then(|host| HeaderValue::from_bytes(host).ok()).filter(is_host);
}
