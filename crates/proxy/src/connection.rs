//! One client connection: hyper's HTTP/1.1 over it, and what must be known between its requests.

use crate::answer::problem;
use crate::client_io::ClientIo;
use crate::pipeline;
use crate::record::WeakExchange;
use crate::worker::Worker;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use weir_event::{Exchange, Outcome, Protocol, Reason};

/// A request head larger than this, in bytes, is 431: Flex's limit.
const MAX_HEAD: usize = 60 * 1024;

/// How long a connection that was just accepted is given to say something once the worker drains.
const FRESH: Duration = Duration::from_millis(500);
/// How long the end of a client that is still sending is waited for, after its answer.
const LINGER: Duration = Duration::from_secs(2);

/// Where a connection stands between its requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No exchange, and nothing of the next request has come.
    Idle,
    /// No exchange, but bytes of a next head.
    Head,
    /// An exchange is open.
    Busy,
    /// The last exchange is recorded; its bytes may not be flushed yet.
    Flushing,
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

/// One client connection, as seen by its requests, its socket and its worker.
pub(crate) struct Connection {
    worker: Rc<Worker>,
    /// The listener's address as configured.
    listener: SocketAddr,
    peer: IpAddr,
    /// The peer's address as text, made once for all requests.
    peer_text: HeaderValue,
    phase: Cell<Phase>,
    /// When the phase last became `Idle` or `Head`.
    since: Cell<Instant>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
    accepted: Instant,
    /// Whether a request has come on it.
    spoken: Cell<bool>,
    /// The exchange that is open.
    current: RefCell<Option<WeakExchange>>,
    /// The last request was answered before its body was in: what is read now is the rest of that.
    unread_body: Cell<bool>,
    /// Since when the client takes nothing of what is written to it.
    blocked: Cell<Option<Instant>>,
    /// Since when only the end of the client is waited for, after ours.
    lingering: Cell<Option<Instant>>,
    /// A head that hyper refused was answered and recorded.
    refused: Cell<bool>,
}

impl Connection {
    pub(crate) fn new(worker: Rc<Worker>, listener: SocketAddr, peer: SocketAddr) -> Self {
        let peer = peer.ip().to_canonical();
        let peer_text = HeaderValue::from_str(&peer.to_string()).expect("an IP address is visible ASCII");
        let accepted = worker.clock.now();
        Self {
            worker,
            listener,
            peer,
            peer_text,
            phase: Cell::new(Phase::Idle),
            since: Cell::new(accepted),
            order: Cell::new(Order::None),
            waker: RefCell::default(),
            accepted,
            spoken: Cell::new(false),
            current: RefCell::default(),
            unread_body: Cell::new(false),
            blocked: Cell::new(None),
            lingering: Cell::new(None),
            refused: Cell::new(false),
        }
    }

    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    pub(crate) fn listener(&self) -> SocketAddr {
        self.listener
    }

    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    pub(crate) fn peer_text(&self) -> &HeaderValue {
        &self.peer_text
    }

    pub(crate) fn begin_exchange(&self, exchange: WeakExchange) {
        self.phase.set(Phase::Busy);
        self.spoken.set(true);
        self.unread_body.set(false);
        *self.current.borrow_mut() = Some(exchange);
    }

    /// `request_done`: whether the whole request has come.
    pub(crate) fn end_exchange(&self, now: Instant, request_done: bool) {
        self.phase.set(Phase::Flushing);
        self.since.set(now);
        self.unread_body.set(!request_done);
        // An idle connection keeps nothing of its last request in memory.
        self.current.take();
    }

    /// The client took some of what is written to it, or it did not.
    pub(crate) fn has_written(&self, some: bool) {
        match (some, self.blocked.get()) {
            (true, Some(_)) => self.blocked.set(None),
            (false, None) => self.blocked.set(Some(self.worker.clock.now())),
            _ => {}
        }
    }

    /// Whether closing now, with bytes of the client unread, could destroy the answer on its way to it: the kernel
    /// resets such a connection. Then its end is waited for, for a moment.
    pub(crate) fn must_linger(&self) -> bool {
        let must = self.unread_body.get() || self.refused.get();
        if must && self.lingering.get().is_none() {
            self.lingering.set(Some(self.worker.clock.now()));
        }
        must
    }

    pub(crate) fn has_read(&self) {
        if self.phase.get() == Phase::Idle && !self.unread_body.get() {
            self.phase.set(Phase::Head);
            self.since.set(self.worker.clock.now());
        }
    }

    pub(crate) fn has_flushed(&self) {
        if self.phase.get() == Phase::Flushing {
            self.phase.set(Phase::Idle);
        }
    }

    /// Nothing is open and nothing is left to flush: whatever is written now is hyper's own.
    pub(crate) fn is_quiet(&self) -> bool {
        matches!(self.phase.get(), Phase::Idle | Phase::Head)
    }

    /// Lets open exchanges finish, then closes.
    pub(crate) fn drain(&self) {
        self.give(Order::Drain);
    }

    /// Closes a connection on which nothing has happened for `limit`. One that has sent half a head is told apart:
    /// that was a request, and it gets its event.
    pub(crate) fn close_if_idle(&self, now: Instant, limit: Duration) {
        if self.lingering.get().is_some_and(|since| now.saturating_duration_since(since) >= LINGER) {
            return self.give(Order::Close);
        }
        if !self.is_quiet() || now.saturating_duration_since(self.since.get()) < limit {
            return;
        }
        if self.phase.get() == Phase::Head && !self.refused.get() {
            self.record_unparsed(Reason::RequestHeadTimeout);
        }
        self.give(Order::Close);
    }

    /// Closes a connection whose client has taken nothing of its response for `limit`.
    pub(crate) fn close_if_blocked(&self, now: Instant, limit: Duration) {
        if self.blocked.get().is_some_and(|since| now.saturating_duration_since(since) >= limit) {
            if let Some(exchange) = self.current.borrow().as_ref() {
                exchange.blame(Reason::ClientIdleTimeout);
            }
            self.give(Order::Close);
        }
    }

    /// A connection that was just accepted may have a request in its socket that nobody has read yet.
    fn may_still_speak(&self) -> bool {
        let age = self.worker.clock.now().saturating_duration_since(self.accepted);
        !self.spoken.get() && self.phase.get() == Phase::Idle && age < FRESH
    }

    /// hyper ended the connection over a head that it could not answer: a request all the same.
    fn ended(&self, error: &hyper::Error) {
        if error.is_parse() && !self.refused.replace(true) {
            self.record_unparsed(Reason::MalformedRequest);
        }
    }

    fn give(&self, order: Order) {
        self.order.set(order);
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// The answer to a head that hyper refused, in place of hyper's own, and its event. `None` if `head` does not
    /// begin like an answer.
    pub(crate) fn answer_for_hyper(&self, head: &[u8]) -> Option<Bytes> {
        let code = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?.get(..3)?;
        let status = StatusCode::from_bytes(code).ok()?;
        let (reason, detail) = match status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                (Reason::HeadersTooLarge, "the head of the request is larger than 60 KiB, or has more than 100 fields")
            }
            StatusCode::URI_TOO_LONG => (Reason::HeadersTooLarge, "the target of the request is too long"),
            _ => (Reason::MalformedRequest, "the head of the request is not HTTP/1.1"),
        };
        self.refused.set(true);
        let body = problem(reason, status, detail, self.record_unparsed_as(reason, status));
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        Some([head.as_bytes(), &body].concat().into())
    }

    fn record_unparsed(&self, reason: Reason) {
        self.record_unparsed_as(reason, reason.status());
    }

    /// The event of a request of which nothing is known but who sent it.
    fn record_unparsed_as(&self, reason: Reason, status: StatusCode) -> weir_event::TraceId {
        let now = self.worker.clock.now();
        let began = self.since.get().min(now);
        let mut exchange = Exchange::new(began, self.worker.clock.wall_us(began));
        exchange.hand_to(weir_event::Turn::Client, began);
        let trace = self.worker.new_trace();
        exchange.trace = trace;
        let snapshot = self.worker.snapshot();
        exchange.generation = snapshot.generation();
        exchange.protocol = Protocol::Unknown;
        exchange.client = self.peer;
        exchange.status = status.as_u16();
        exchange.blame(reason);
        let outcome = if reason == Reason::RequestHeadTimeout { Outcome::Cancelled } else { Outcome::Completed };
        exchange.finish(outcome, now);
        self.worker.record(&exchange, &snapshot.unrouted);
        trace.trace
    }
}

/// Serves `stream` until it closes or the worker says so.
pub(crate) async fn serve(connection: Rc<Connection>, stream: TcpStream) {
    stream.set_nodelay(true).ok();
    let io = ClientIo::new(stream, Rc::clone(&connection));
    let service = {
        let connection = Rc::clone(&connection);
        service_fn(move |request| pipeline::serve(Rc::clone(&connection), request))
    };
    let mut builder = http1::Builder::new();
    // Idle times and slow heads are the worker's sweep: a timer a request costs 0.3 µs.
    builder.max_header_size(MAX_HEAD).max_buf_size(MAX_HEAD + 8192).header_read_timeout(None);
    let mut served = pin!(builder.serve_connection(io, service));
    let mut told = false;
    poll_fn(|cx| {
        match connection.order.get() {
            Order::Close => return Poll::Ready(()),
            Order::Drain if !told && !connection.may_still_speak() => {
                told = true;
                served.as_mut().graceful_shutdown();
            }
            _ => {}
        }
        remember(&connection.waker, cx.waker());
        served.as_mut().poll(cx).map(|ended| {
            if let Err(error) = ended {
                connection.ended(&error);
            }
        })
    })
    .await;
}

fn remember(kept: &RefCell<Option<Waker>>, waker: &Waker) {
    let mut kept = kept.borrow_mut();
    if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
        *kept = Some(waker.clone());
    }
}
