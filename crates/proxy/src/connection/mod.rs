//! One client connection, from its first byte to its last: what its requests, its socket and its worker know of it.
//!
//! [`open`] finds out what is spoken; then it is [`http1`]'s or [`http2`]'s, each of which serves its requests by the
//! same pipeline. What must be known between requests, and differs, is theirs; what does not is here.

mod http1;
mod http2;
mod open;

pub(crate) use http1::Upload as Http1Upload;
pub(crate) use http2::{Upload as Http2Upload, UploadError};

use crate::accept::is_host;
use crate::record::WeakExchange;
use crate::snapshot::Snapshot;
use crate::worker::Worker;
use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode};
use rustls::ServerConfig;
use std::cell::{Cell, OnceCell, RefCell};
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use weir_config::PeerGateway;
use weir_event::{Exchange, Outcome, Protocol, Reason, TlsVersion};
use weir_http1::legible;
use weir_transport::Stream;

/// A request head larger than this, in bytes, is 431: Flex's limit.
pub(crate) const MAX_HEAD: usize = 60 * 1024;

/// How long a connection that was just accepted is given to say something once the worker drains.
const FRESH: Duration = Duration::from_millis(500);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

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
    worker: Rc<Worker>,
    /// The listener's address as configured.
    listener: SocketAddr,
    peer: IpAddr,
    /// The peer's address as text, made once for all requests.
    peer_text: HeaderValue,
    /// A generation of the configuration, and whether by it requests of the peer enter the fleet here.
    entry: Cell<(u32, bool)>,
    /// What to shake hands with; `None` in the clear.
    acceptor: Option<Arc<ServerConfig>>,
    /// Version and cipher suite.
    tls: Cell<(TlsVersion, &'static str)>,
    /// Of the client's certificate, where it has shown one and the port's authorities vouch for it.
    names: OnceCell<Vec<String>>,
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
    http1: http1::State,
    http2: http2::State,
}

impl Connection {
    /// `acceptor` is what to shake hands with where the port speaks TLS.
    pub(crate) fn new(
        worker: Rc<Worker>,
        listener: SocketAddr,
        peer: SocketAddr,
        acceptor: Option<Arc<ServerConfig>>,
    ) -> Self {
        let peer = peer.ip().to_canonical();
        let peer_text = HeaderValue::from_str(&peer.to_string()).expect("an IP address is visible ASCII");
        let accepted = worker.clock.now();
        Self {
            worker,
            listener,
            peer,
            peer_text,
            entry: Cell::new((0, true)),
            tls: Cell::new((TlsVersion::None, "")),
            names: OnceCell::new(),
            kind: Cell::new(if acceptor.is_some() { Kind::Handshake } else { Kind::Http1 }),
            acceptor,
            accepted,
            spoken: Cell::new(false),
            since: Cell::new(accepted),
            blocked: Cell::new(None),
            order: Cell::new(Order::None),
            waker: RefCell::default(),
            http1: http1::State::default(),
            http2: http2::State::default(),
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

    /// Whether a request that `snapshot` serves enters the fleet here: its peer is no gateway of the fleet. Only the
    /// socket and the client's certificate are asked, for any client can send the headers that a gateway sends. Found out once for a connection and
    /// a generation, so that a reload counts for connections that are kept, too.
    pub(crate) fn is_entry(&self, snapshot: &Snapshot) -> bool {
        let (generation, entry) = self.entry.get();
        if generation == snapshot.generation {
            return entry;
        }
        let names = self.names.get().map(Vec::as_slice).unwrap_or_default();
        let is_this = |gateway: &PeerGateway| gateway.is(self.peer, self.listener.port(), names);
        let entry = !snapshot.peer_gateways.iter().any(is_this);
        self.entry.set((snapshot.generation, entry));
        entry
    }

    pub(crate) fn tls(&self) -> (TlsVersion, &'static str) {
        self.tls.get()
    }

    /// The port speaks TLS and the client does not.
    pub(crate) fn is_in_clear_by_mistake(&self) -> bool {
        self.acceptor.is_some() && self.tls.get().0 == TlsVersion::None
    }

    pub(crate) fn begin_exchange(&self, exchange: WeakExchange) {
        self.spoken.set(true);
        match self.kind.get() {
            Kind::Http2 => self.http2.begin(exchange),
            _ => self.http1.begin(exchange),
        }
    }

    pub(crate) fn end_exchange(&self, now: Instant) {
        self.since.set(now);
        match self.kind.get() {
            Kind::Http2 => self.http2.end(now),
            _ => self.http1.end(),
        }
    }

    /// The client took some of what is written to it, or it did not.
    fn has_written(&self, some: bool) {
        match (some, self.blocked.get()) {
            (true, Some(_)) => self.blocked.set(None),
            (false, None) => self.blocked.set(Some(self.worker.clock.now())),
            _ => {}
        }
    }

    /// Lets open exchanges finish, then closes.
    pub(crate) fn drain(&self) {
        if self.spoken.get() || self.may_still_speak() || self.kind.get() == Kind::Http2 {
            return self.give(Order::Drain);
        }
        if self.kind.get() == Kind::Http1 {
            self.http1_cut_off(Reason::GatewayDraining);
        }
        self.give(Order::Close);
    }

    /// The worker's look, about once a second: closes what has been quiet for `idle`, and what takes nothing of its
    /// responses, or sends nothing of its requests, for `stalled`. Reminds of the time what waits for an upstream.
    pub(crate) fn sweep(&self, now: Instant, idle: Duration, stalled: Duration) {
        match self.kind.get() {
            Kind::Handshake if self.has_passed(self.accepted, now, HANDSHAKE.min(idle)) => self.give(Order::Close),
            Kind::Handshake => {}
            Kind::Http1 => self.sweep_http1(now, idle),
            Kind::Http2 => self.sweep_http2(now, idle, stalled),
        }
        if self.order.get() == Order::None && self.is_of_other_terms() {
            self.give(Order::Drain);
        }
        if self.blocked.get().is_some_and(|since| self.has_passed(since, now, stalled)) {
            self.blame_open(Reason::ClientIdleTimeout);
            self.give(Order::Close);
        }
    }

    /// Whether the port has since begun to speak TLS, or to ask clients for other certificates: who came in before that
    /// has not shown them. (A new certificate of the port itself changes nothing here: its ticket keys are kept.)
    fn is_of_other_terms(&self) -> bool {
        let snapshot = self.worker.snapshot();
        let Some(index) = snapshot.listener(self.listener) else { return false };
        match (&self.acceptor, &snapshot.listeners[index].acceptor) {
            (None, None) => false,
            (Some(ours), Some(theirs)) => {
                !std::ptr::addr_eq(Arc::as_ptr(&ours.ticketer), Arc::as_ptr(&theirs.ticketer))
            }
            _ => true,
        }
    }

    fn has_passed(&self, since: Instant, now: Instant, limit: Duration) -> bool {
        now.saturating_duration_since(since) >= limit
    }

    /// Blames `reason` for the end of every exchange that is open.
    fn blame_open(&self, reason: Reason) {
        match self.kind.get() {
            Kind::Http2 => self.http2.each_exchange(|exchange| exchange.blame(reason)),
            _ => self.http1.blame(reason),
        }
    }

    /// A connection that was just accepted may have a request in its socket that nobody has read yet.
    fn may_still_speak(&self) -> bool {
        let age = self.worker.clock.now().saturating_duration_since(self.accepted);
        !self.spoken.get() && age < FRESH
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

    /// Records a request that was refused before it was one, with the status that it was answered with, if it was, and what
    /// can be read of its `head`. Answers its trace id.
    fn record_unparsed(&self, reason: Reason, status: Option<StatusCode>, head: &[u8]) -> weir_event::TraceId {
        let now = self.worker.clock.now();
        let began = self.since.get().min(now);
        let mut exchange = Exchange::new(began, self.worker.clock.wall_us(began));
        exchange.hand_to(weir_event::Turn::Client, began);
        let snapshot = self.worker.snapshot();
        let trace = self.worker.begin_trace(snapshot.propagators).facts;
        exchange.trace = trace;
        exchange.generation = snapshot.generation();
        exchange.entry = self.is_entry(&snapshot);
        exchange.protocol = if self.kind.get() == Kind::Http2 { Protocol::Http2 } else { Protocol::Unknown };
        (exchange.tls_version, exchange.tls_cipher) = self.tls.get();
        exchange.client = self.peer;
        describe_unparsed(&mut exchange, head);
        exchange.status = status.map_or(0, |status| status.as_u16());
        exchange.blame(reason);
        let outcome = if status.is_some() { Outcome::Completed } else { Outcome::Cancelled };
        exchange.finish(outcome, now);
        self.worker.record(&mut exchange, None, &snapshot);
        trace.trace
    }
}

/// Serves `tcp` until it closes or the worker says so.
pub(crate) async fn serve(connection: Rc<Connection>, tcp: TcpStream) {
    tcp.set_nodelay(true).ok();
    let opened = {
        let opening = std::pin::pin!(open::open(&connection, tcp));
        connection.obediently(opening, |_| {}).await
    };
    match opened.flatten() {
        Some(Opened { stream, ahead, http2: false }) => http1::serve(connection, stream, ahead).await,
        // Boxed: a connection of HTTP/1.1 does not carry room for the state of HTTP/2.
        Some(Opened { stream, ahead, http2: true }) => Box::pin(http2::serve(connection, stream, ahead)).await,
        None => {}
    }
}

/// A connection whose language is known.
struct Opened {
    stream: Stream,
    /// What was read to find out.
    ahead: BytesMut,
    http2: bool,
}

/// What can be read of a head that is none.
fn describe_unparsed(exchange: &mut Exchange, head: &[u8]) {
    let legible = legible(head);
    if let Some(method) = legible.method.and_then(|method| Method::from_bytes(method).ok()) {
        exchange.set_method(&method);
    }
    // Of another form the authority may have a password, and means more than `Host`.
    let Some(target) = legible.target.filter(|target| target.starts_with(b"/")) else { return };
    if let Ok(target) = PathAndQuery::from_maybe_shared(http1::escaped(Bytes::copy_from_slice(target))) {
        exchange.target = target.into();
    }
    exchange.host = legible.host.and_then(|host| HeaderValue::from_bytes(host).ok()).filter(is_host);
}

fn remember(kept: &RefCell<Option<Waker>>, waker: &Waker) {
    let mut kept = kept.borrow_mut();
    if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
        *kept = Some(waker.clone());
    }
}

fn wake(kept: &RefCell<Option<Waker>>) {
    if let Some(waker) = kept.borrow().as_ref() {
        waker.wake_by_ref();
    }
}
