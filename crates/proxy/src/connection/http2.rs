//! HTTP/2 on one connection (RFC 9113): hyper's, each stream a task of its own on the worker's thread, all of them
//! served by the same pipeline as HTTP/1.1.
//!
//! What is added: every request that the library refuses by itself has its event, a flood of frames ends the
//! connection with one, a stream whose client has stopped taking its response is let go alone, and a connection that
//! is quiet or drains is ended with GOAWAY, so that no request is lost on the way.

use super::frames::Frames;
use super::{Connection, Kind, MAX_HEAD, Order};
use crate::body::is_disconnect;
use crate::client_io::take_ahead;
use crate::pipeline;
use crate::record::WeakExchange;
use crate::stream::Stream;
use bytes::{Buf, Bytes, BytesMut};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use weir_event::Reason;

/// Streams that a client may have open at once.
const MAX_STREAMS: u32 = 128;
/// What a client may send on one stream, and on all of a connection, before it is asked for more. Bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What is kept of one response that the client does not take. Bytes.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// Frames that wait for the end of a turn, to be written together: as much as one TLS record takes. Bytes.
const GATHERED: usize = 16 * 1024;
/// How long a connection whose client was told that it ends may still be open.
const GOODBYE: Duration = Duration::from_secs(5);

/// What is known of its streams.
#[derive(Default)]
pub(super) struct State {
    streams: RefCell<Vec<Rc<StreamState>>>,
    /// The stream that is polled now: exchanges begin inside.
    polled: RefCell<Option<Rc<StreamState>>>,
    /// Exchanges that are open.
    open: Cell<usize>,
    /// Requests that became exchanges, and those whose refusal is booked.
    begun: Cell<u64>,
    booked: Cell<u64>,
    /// Requests without an exchange, at the last look.
    missing: Cell<u64>,
    frames: RefCell<Option<Rc<RefCell<Frames>>>>,
    /// As many streams were open as may be: more were turned away.
    crowded: Cell<bool>,
    /// The client sent frames that move nothing, too many and too fast.
    flooded: Cell<bool>,
    /// When the client was told that the connection ends.
    told: Cell<Option<Instant>>,
}

#[derive(Default)]
struct StreamState {
    /// Its place in the list.
    index: Cell<usize>,
    exchange: RefCell<Option<WeakExchange>>,
    /// When its exchange ended; what is still held of its response waits for the client.
    ended: Cell<Option<Instant>>,
    cancelled: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl State {
    pub(super) fn begin(&self, exchange: WeakExchange) {
        self.open.set(self.open.get() + 1);
        self.begun.set(self.begun.get() + 1);
        if let Some(stream) = self.polled.borrow().as_ref() {
            *stream.exchange.borrow_mut() = Some(exchange);
        }
    }

    pub(super) fn end(&self, now: Instant) {
        self.open.set(self.open.get().saturating_sub(1));
        if let Some(stream) = self.polled.borrow().as_ref() {
            stream.ended.set(Some(now));
        }
    }

    /// Requests that the client has begun and that are neither exchanges nor booked.
    fn missing(&self) -> u64 {
        let requests = self.frames.borrow().as_ref().map_or(0, |frames| frames.borrow().requests());
        requests.saturating_sub(self.begun.get() + self.booked.get())
    }

    pub(super) fn each_exchange(&self, act: impl Fn(&WeakExchange)) {
        for stream in self.streams.borrow().iter() {
            stream.exchange.borrow().iter().for_each(&act);
        }
    }

    /// Every stream that waits for an upstream looks at the time.
    pub(super) fn remind(&self) {
        for stream in self.streams.borrow().iter() {
            if stream.exchange.borrow().as_ref().is_some_and(WeakExchange::waits_for_response) {
                super::wake(&stream.waker);
            }
        }
    }

    /// Lets go of every stream whose client has taken nothing of its response for `limit`.
    fn cancel_stalled(&self, now: Instant, limit: Duration) {
        for stream in self.streams.borrow().iter() {
            let held = stream.ended.get().is_some_and(|ended| now.saturating_duration_since(ended) >= limit);
            let exchange = stream.exchange.borrow();
            let stalled = exchange.as_ref().filter(|open| open.waits_for_client(now, limit));
            if let Some(exchange) = stalled {
                exchange.blame(Reason::ClientIdleTimeout);
            }
            if held || stalled.is_some() {
                stream.cancelled.set(true);
                super::wake(&stream.waker);
            }
        }
    }

    fn enter(&self, stream: &Rc<StreamState>) {
        let mut streams = self.streams.borrow_mut();
        stream.index.set(streams.len());
        streams.push(Rc::clone(stream));
        if streams.len() >= MAX_STREAMS as usize {
            self.crowded.set(true);
        }
    }

    fn leave(&self, stream: &StreamState) {
        let mut streams = self.streams.borrow_mut();
        let index = stream.index.get();
        streams.swap_remove(index);
        if let Some(moved) = streams.get(index) {
            moved.index.set(index);
        }
    }
}

impl Connection {
    /// Tells a connection that was quiet for `idle` that it ends, and lets go of streams that stand still; those that wait
    /// for a response look at the time.
    pub(super) fn sweep_http2(&self, now: Instant, idle: Duration, stalled: Duration) {
        self.http2.cancel_stalled(now, stalled);
        self.http2.remind();
        // A stream may have an end that the client has not taken yet.
        if !self.http2.streams.borrow().is_empty() {
            return;
        }
        self.book_refused();
        let quiet_since = self.since.get();
        match self.http2.told.get() {
            Some(told) if self.has_passed(told.max(quiet_since), now, GOODBYE) => self.give(Order::Close),
            None if self.has_passed(quiet_since, now, idle) => self.give(Order::Drain),
            _ => {}
        }
    }

    /// The events of requests that the library refuses by itself: those that are missing at two looks of a connection
    /// without a stream.
    fn book_refused(&self) {
        let missing = self.http2.missing();
        if missing > 0 && self.http2.missing.replace(missing) == missing {
            self.book(missing, self.why_refused());
        }
    }

    fn book(&self, count: u64, reason: Reason) {
        self.http2.booked.set(self.http2.booked.get() + count);
        // Nobody knows when they came: now, rather than when the connection last was quiet.
        self.since.set(self.since.get().max(self.worker.clock.now()));
        for _ in 0..count {
            self.record_unparsed(reason, reason.status());
        }
    }

    fn why_refused(&self) -> Reason {
        if self.http2.told.get().is_some() || self.worker.is_ending() {
            // Behind a GOAWAY a request is not looked at, and safe to send elsewhere (RFC 9113 6.8).
            Reason::GatewayDraining
        } else if self.http2.crowded.get() {
            Reason::Overloaded
        } else {
            Reason::MalformedRequest
        }
    }

    /// The events of the requests that were begun and never served.
    fn http2_ended(&self, error: Option<&hyper::Error>) {
        let reason = match error {
            Some(error) if self.is_flooded(error) => Reason::ClientFlood,
            Some(error) if has_left(error) => Reason::ClientClosed,
            _ => self.why_refused(),
        };
        // A connection that the gateway ends for cause leaves an event, even if no stream was opened on it.
        let for_cause = error.is_some() && matches!(reason, Reason::ClientFlood | Reason::MalformedRequest);
        let missing = self.http2.missing();
        self.book(missing.max(u64::from(for_cause && self.http2.booked.get() == 0)), reason);
    }

    /// By our own count, or by the library's limit of resets.
    fn is_flooded(&self, error: &hyper::Error) -> bool {
        let calm = |error: &&h2::Error| !error.is_remote() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
        self.http2.flooded.get() || h2_error(error).filter(calm).is_some()
    }
}

/// Whatever way a connection ends - its future may be dropped where it stands - its requests are accounted for.
struct Account {
    connection: Rc<Connection>,
    settled: bool,
}

impl Drop for Account {
    fn drop(&mut self) {
        if !self.settled {
            self.connection.http2_ended(None);
        }
    }
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    error.source().and_then(|cause| cause.downcast_ref())
}

/// The client's end, orderly or not, is no fault of a request. What the socket says comes without the library's own
/// error around it.
fn has_left(error: &hyper::Error) -> bool {
    is_disconnect(error) || h2_error(error).is_some_and(|error| error.is_io() || error.is_remote())
}

/// Serves `stream`, of which `ahead` was read already, until it ends.
pub(super) async fn serve(connection: Rc<Connection>, stream: Stream, ahead: Bytes) {
    connection.kind.set(Kind::Http2);
    let frames = Rc::new(RefCell::new(Frames::new(connection.worker.clock.now())));
    *connection.http2.frames.borrow_mut() = Some(Rc::clone(&frames));
    let mut account = Account { connection: Rc::clone(&connection), settled: false };
    let gathered = BytesMut::new();
    let watched = Watched { stream, ahead, gathered, frames, connection: Rc::clone(&connection) };
    let service = {
        let connection = Rc::clone(&connection);
        // Boxed: five kilobytes that would be moved half a dozen times on their way into a task.
        service_fn(move |request| Box::pin(pipeline::serve(Rc::clone(&connection), request)))
    };
    let mut builder = http2::Builder::new(Streams(Rc::clone(&connection)));
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_SEND_BUFFER)
        // Twice of what `accept` takes: up to there the refusal is the pipeline's, with its problem body.
        .max_header_list_size(2 * MAX_HEAD as u32);
    let served = pin!(builder.serve_connection(TokioIo::new(watched), service));
    let ended = connection
        .obediently(served, |served| {
            connection.http2.told.set(Some(connection.worker.clock.now()));
            served.graceful_shutdown();
        })
        .await;
    let error = ended.and_then(Result::err);
    if error.as_ref().is_some_and(|error| connection.is_flooded(error)) {
        connection.blame_open(Reason::ClientFlood);
    }
    connection.http2_ended(error.as_ref());
    account.settled = true;
}

/// Runs the streams of one connection.
#[derive(Clone)]
struct Streams(Rc<Connection>);

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, future: F) {
        let connection = Rc::clone(&self.0);
        let entry = Entered::new(connection);
        tokio::task::spawn_local(StreamTask { future, entry });
    }
}

/// A stream's place in its connection's list.
struct Entered {
    connection: Rc<Connection>,
    stream: Rc<StreamState>,
}

impl Entered {
    fn new(connection: Rc<Connection>) -> Self {
        let stream = Rc::default();
        connection.http2.enter(&stream);
        Self { connection, stream }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.http2.leave(&self.stream);
        connection.since.set(connection.since.get().max(connection.worker.clock.now()));
    }
}

pin_project! {
    /// One stream, which can be told to stop.
    struct StreamTask<F> {
        #[pin]
        future: F,
        entry: Entered,
    }
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let Entered { connection, stream } = this.entry;
        if stream.cancelled.get() {
            // Dropped with its end unsaid: the library resets it (RFC 9113 8.1, CANCEL).
            return Poll::Ready(());
        }
        super::remember(&stream.waker, cx.waker());
        *connection.http2.polled.borrow_mut() = Some(Rc::clone(stream));
        let polled = this.future.poll(cx);
        connection.http2.polled.take();
        polled
    }
}

/// The bytes of an HTTP/2 client: on their way in, what was read ahead first, and an eye on the frames; on their way
/// out, the small frames of several streams gathered into one write, which is one TLS record and one system call.
struct Watched {
    stream: Stream,
    ahead: Bytes,
    /// Frames that wait for a flush.
    gathered: BytesMut,
    frames: Rc<RefCell<Frames>>,
    connection: Rc<Connection>,
}

impl Watched {
    /// Writes what is gathered.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.gathered);
            self.connection.has_written(written.is_ready());
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => {
                    self.gathered.advance(written);
                    self.frames.borrow_mut().sent(written);
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.ahead.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        } else {
            buf.put_slice(&take_ahead(&mut this.ahead, buf.remaining()));
        }
        let clock = &this.connection.worker.clock;
        let passed = this.frames.borrow_mut().pass(&buf.filled()[before..], || clock.now());
        this.connection.http2.flooded.set(passed.is_err());
        Poll::Ready(passed.map_err(io::Error::other))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        if len <= GATHERED - this.gathered.len().min(GATHERED) {
            bufs.iter().for_each(|buf| this.gathered.extend_from_slice(buf));
            return Poll::Ready(Ok(len));
        }
        ready!(this.poll_drain(cx))?;
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.connection.has_written(written.is_ready());
        if let Poll::Ready(Ok(written)) = written {
            this.frames.borrow_mut().sent(written);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        // Over TLS a write is done when it is encrypted; it is here that the client's socket is full.
        this.connection.has_written(flushed.is_ready());
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
