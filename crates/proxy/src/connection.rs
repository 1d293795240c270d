//! One client connection: hyper's HTTP/1.1 over it, and what must be known between its requests.

use crate::answer::problem;
use crate::client_io::ClientIo;
use crate::pipeline;
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
}

impl Connection {
    pub(crate) fn new(worker: Rc<Worker>, listener: SocketAddr, peer: SocketAddr) -> Self {
        let peer = peer.ip().to_canonical();
        let peer_text = HeaderValue::from_str(&peer.to_string()).expect("an IP address is visible ASCII");
        let since = Cell::new(worker.clock.now());
        let (phase, order) = (Cell::new(Phase::Idle), Cell::new(Order::None));
        Self { worker, listener, peer, peer_text, phase, since, order, waker: RefCell::default() }
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

    pub(crate) fn begin_exchange(&self) {
        self.phase.set(Phase::Busy);
    }

    pub(crate) fn end_exchange(&self, now: Instant) {
        self.phase.set(Phase::Flushing);
        self.since.set(now);
    }

    pub(crate) fn has_read(&self) {
        if self.phase.get() == Phase::Idle {
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
        if !self.is_quiet() || now.saturating_duration_since(self.since.get()) < limit {
            return;
        }
        if self.phase.get() == Phase::Head {
            self.record_unparsed(Reason::RequestHeadTimeout);
        }
        self.give(Order::Close);
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
            Order::Drain if !told => {
                told = true;
                served.as_mut().graceful_shutdown();
            }
            _ => {}
        }
        remember(&connection.waker, cx.waker());
        // How it ends is in the record of its exchanges already.
        served.as_mut().poll(cx).map(drop)
    })
    .await;
}

fn remember(kept: &RefCell<Option<Waker>>, waker: &Waker) {
    let mut kept = kept.borrow_mut();
    if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
        *kept = Some(waker.clone());
    }
}
