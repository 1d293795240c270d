//! The connections of the admin and probe ports: so many at once, each for so long.
//!
//! A port with all of its places taken does not turn a newcomer away while it has a connection that waits for its
//! client: a probe and a scrape come through, whatever else is open. What waits is a connection without a request, and
//! one whose client does not read its answer.

use super::operator::Peer;
use super::{Body, text};
use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tracing::warn;

/// Answers that may be large and are written at the same time: scrapes, dumps, ledgers.
const LARGE: usize = 4;
/// Clients that follow the tail at the same time.
const TAILS: usize = 16;
/// How long a client may take over a request's head, and be idle before it.
const HEAD: Duration = Duration::from_secs(10);
/// The most that a head takes, and what is kept of a client that sends ahead. Bytes.
const HEAD_BYTES: usize = 16 << 10;
/// How long a client may take no byte of what it is sent.
const STALL: Duration = Duration::from_secs(10);
/// How long a client may take over a whole answer; the tail has no end.
const ANSWER: Duration = Duration::from_secs(60);
/// How long a client must have left its answer unread before its place is given to another.
const UNREAD: Duration = Duration::from_secs(1);

/// What an answer needs a place for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Small,
    Large,
    Tail,
}

/// What a port has counted.
#[derive(Default)]
pub struct Counts {
    /// Connections that could not be accepted.
    pub accept_failures: AtomicU64,
    /// Connections that were closed for another's sake, or because their client was too slow.
    pub closed: AtomicU64,
    /// Bytes of metrics that were answered.
    pub scraped_bytes: AtomicU64,
}

/// One of the ports.
pub struct Port {
    name: &'static str,
    /// Connections at once.
    most: usize,
    open: RefCell<Vec<Rc<Connection>>>,
    counts: Arc<Counts>,
    spoken: Box<dyn Fn() -> Spoken>,
}

/// Where connections come in.
pub trait Door {
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// The next one, and who it is.
    async fn next(&self) -> io::Result<(Self::Stream, Peer)>;
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Peer)> {
        let (stream, peer) = self.accept().await?;
        Ok((stream, Peer::At(peer)))
    }
}

impl Door for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Peer)> {
        let (stream, _) = self.accept().await?;
        let user = stream.peer_cred()?.uid();
        Ok((stream, Peer::User(user)))
    }
}

/// What a port speaks to a new connection.
pub enum Spoken {
    ClearText,
    Tls(Arc<ServerConfig>),
    /// TLS is wanted, and nothing is there to speak it by: the connection is closed.
    Nothing,
}

/// A connection, as the port sees it.
struct Connection {
    state: Cell<State>,
    kind: Cell<Kind>,
    /// Since when its client has taken no byte of what is there for it.
    unread: Cell<Option<Instant>>,
    close: Notify,
}

#[derive(Clone, Copy)]
enum State {
    /// It has no whole request, since then.
    Idle(Instant),
    /// The gateway works on its answer.
    Working,
    /// Its answer is on its way, since then; `made` when nothing of it is still to come.
    Answering { since: Instant, made: bool },
}

/// The handle that a request's handler has on its connection.
#[derive(Clone)]
pub struct Place {
    port: Rc<Port>,
    connection: Rc<Connection>,
}

impl Place {
    /// Takes one of the places for such answers, or says that there is none.
    pub fn take(&self, kind: Kind) -> Option<Response<Body>> {
        let most = match kind {
            Kind::Small => return None,
            Kind::Large => LARGE,
            Kind::Tail => TAILS,
        };
        let open = self.port.open.borrow();
        let taken: Vec<_> = open.iter().filter(|other| other.kind.get() == kind).collect();
        if taken.len() >= most && !self.port.make_room(taken.into_iter()) {
            let mut full = text(StatusCode::SERVICE_UNAVAILABLE, "as many such answers are on their way as may be\n");
            full.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return Some(full);
        }
        self.connection.kind.set(kind);
        None
    }
}

impl Port {
    pub fn new(name: &'static str, most: usize, counts: Arc<Counts>) -> Self {
        Self { name, most, open: RefCell::default(), counts, spoken: Box::new(|| Spoken::ClearText) }
    }

    /// That asks `spoken` for each connection.
    pub fn speaking(self, spoken: impl Fn() -> Spoken + 'static) -> Self {
        Self { spoken: Box::new(spoken), ..self }
    }

    /// Serves whoever connects, for as long as it is polled.
    pub async fn serve<F>(self, listener: impl Door, answer: impl Fn(Request<Incoming>, Place) -> F + Clone + 'static)
    where
        F: Future<Output = Response<Body>> + 'static,
    {
        let port = Rc::new(self);
        let local = tokio::task::LocalSet::new();
        local.spawn_local(Rc::clone(&port).sweep());
        local.run_until(port.accept(listener, answer)).await;
    }

    async fn accept<F>(
        self: Rc<Self>,
        listener: impl Door,
        answer: impl Fn(Request<Incoming>, Place) -> F + Clone + 'static,
    ) where
        F: Future<Output = Response<Body>> + 'static,
    {
        let mut failing = false;
        loop {
            let (stream, peer) = match listener.next().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.counts.accept_failures.fetch_add(1, Ordering::Relaxed);
                    // Reported once: this may go on for as long as descriptors are used up.
                    if !std::mem::replace(&mut failing, true) {
                        warn!(%error, port = self.name, "cannot accept a connection");
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            failing = false;
            if self.open.borrow().len() >= self.most && !self.make_room(self.open.borrow().iter()) {
                self.counts.closed.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let connection = Rc::new(Connection::new());
            self.open.borrow_mut().push(Rc::clone(&connection));
            let place = Place { port: Rc::clone(&self), connection };
            tokio::task::spawn_local(serve_one(place, stream, peer, answer.clone()));
        }
    }

    /// Ends the connection among these that has waited longest for its client; `false` where none does.
    fn make_room<'c>(&self, among: impl Iterator<Item = &'c Rc<Connection>>) -> bool {
        let now = Instant::now();
        let waiting = among.filter_map(|connection| Some((connection.waits_since(now)?, connection)));
        let Some((_, longest)) = waiting.min_by_key(|(since, _)| *since) else { return false };
        self.end(longest);
        true
    }

    fn end(&self, connection: &Connection) {
        self.counts.closed.fetch_add(1, Ordering::Relaxed);
        // It counts no more, though its task has yet to end.
        connection.state.set(State::Working);
        connection.kind.set(Kind::Small);
        connection.close.notify_one();
    }

    /// Once a second: ends what has waited too long for its client.
    async fn sweep(self: Rc<Self>) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            let now = Instant::now();
            let open: Vec<_> = self.open.borrow().clone();
            open.iter().filter(|connection| connection.is_too_slow(now)).for_each(|connection| self.end(connection));
        }
    }
}

impl Connection {
    fn new() -> Self {
        let state = Cell::new(State::Idle(Instant::now()));
        Self { state, kind: Cell::new(Kind::Small), unread: Cell::default(), close: Notify::new() }
    }

    /// Since when it waits for its client, where another may have its place for that.
    fn waits_since(&self, now: Instant) -> Option<Instant> {
        match self.state.get() {
            State::Idle(since) => Some(since),
            State::Working => None,
            State::Answering { .. } => self.unread.get().filter(|since| now - *since >= UNREAD),
        }
    }

    fn is_too_slow(&self, now: Instant) -> bool {
        match self.state.get() {
            State::Idle(since) => now - since >= HEAD,
            State::Working => false,
            State::Answering { since, .. } => {
                let stalled = self.unread.get().is_some_and(|unread| now - unread >= STALL);
                stalled || self.kind.get() != Kind::Tail && now - since >= ANSWER
            }
        }
    }

    /// All bytes that were there have gone to the system.
    fn flushed(&self) {
        self.unread.set(None);
        if let State::Answering { made: true, .. } = self.state.get() {
            self.state.set(State::Idle(Instant::now()));
            self.kind.set(Kind::Small);
        }
    }
}

async fn serve_one<F>(
    place: Place,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    peer: Peer,
    answer: impl Fn(Request<Incoming>, Place) -> F + 'static,
) where
    F: Future<Output = Response<Body>> + 'static,
{
    let connection = Rc::clone(&place.connection);
    let port = Rc::clone(&place.port);
    let watched = Watched { stream, connection: Rc::clone(&connection) };
    let spoken = (port.spoken)();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        place.connection.state.set(State::Working);
        let (answered, connection) = (answer(request, place.clone()), Rc::clone(&place.connection));
        async move {
            let response = answered.await;
            connection.state.set(State::Answering { since: Instant::now(), made: false });
            Ok::<_, Infallible>(response.map(|body| Made { body, connection }))
        }
    });
    let builder = || {
        let mut builder = http1::Builder::new();
        builder.header_read_timeout(None).max_buf_size(HEAD_BYTES);
        builder
    };
    // Whoever left in the middle, or shook no hands, is nobody's concern.
    let served = async {
        match spoken {
            Spoken::ClearText => drop(builder().serve_connection(TokioIo::new(watched), service).await),
            Spoken::Tls(config) => {
                if let Ok(stream) = TlsAcceptor::from(config).accept(watched).await {
                    drop(builder().serve_connection(TokioIo::new(stream), service).await);
                }
            }
            Spoken::Nothing => {}
        }
    };
    tokio::select! {
        () = served => {}
        () = connection.close.notified() => {}
    }
    port.open.borrow_mut().retain(|other| !Rc::ptr_eq(other, &connection));
}

/// A body that says when nothing of it is still to come.
struct Made {
    body: Body,
    connection: Rc<Connection>,
}

impl Drop for Made {
    fn drop(&mut self) {
        if let State::Answering { since, .. } = self.connection.state.get() {
            self.connection.state.set(State::Answering { since, made: true });
        }
    }
}

impl hyper::body::Body for Made {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that says whether its client takes what it is sent.
struct Watched<S> {
    stream: S,
    connection: Rc<Connection>,
}

impl<S> Watched<S> {
    fn wrote<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let unread = &self.connection.unread;
        match &written {
            Poll::Pending => unread.set(unread.get().or_else(|| Some(Instant::now()))),
            Poll::Ready(_) => unread.set(None),
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.connection.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_has_a_minute_and_the_tail_as_long_as_it_likes() {
        let began = Instant::now();
        for (kind, too_slow) in [(Kind::Small, true), (Kind::Large, true), (Kind::Tail, false)] {
            let connection = Connection::new();
            connection.kind.set(kind);
            connection.state.set(State::Answering { since: began, made: false });
            assert!(!connection.is_too_slow(began + ANSWER - Duration::from_millis(1)));
            assert_eq!(connection.is_too_slow(began + ANSWER), too_slow);
            // Whoever takes no byte of it is let go earlier.
            connection.unread.set(Some(began));
            assert!(connection.is_too_slow(began + STALL));
        }
    }
}
