//! HTTP/2 on one connection (RFC 9113): hyper's, each stream a task of its own on the worker's thread, all of them
//! served by the same pipeline as HTTP/1.1.
//!
//! What is added: every request that the library refuses by itself has its event, a flood of frames ends the
//! connection with one, a stream whose client has stopped taking its response is let go alone, and a connection that
//! is quiet or drains is ended with GOAWAY, so that no request is lost on the way.

use super::frames::Frames;
use super::{Connection, Kind, MAX_HEAD, Order};
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
    /// Requests that came as far as a task of their own.
    served: Cell<u64>,
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
    cancelled: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl State {
    pub(super) fn begin(&self, exchange: WeakExchange) {
        self.open.set(self.open.get() + 1);
        if let Some(stream) = self.polled.borrow().as_ref() {
            *stream.exchange.borrow_mut() = Some(exchange);
        }
    }

    pub(super) fn end(&self) {
        self.open.set(self.open.get().saturating_sub(1));
    }

    pub(super) fn each_exchange(&self, act: impl Fn(&WeakExchange)) {
        for stream in self.streams.borrow().iter() {
            stream.exchange.borrow().iter().for_each(&act);
        }
    }

    /// Lets go of every stream whose client has taken nothing of its response for `limit`.
    fn cancel_stalled(&self, now: Instant, limit: Duration) {
        for stream in self.streams.borrow().iter() {
            if let Some(exchange) = stream.exchange.borrow().as_ref().filter(|open| open.waits_for_client(now, limit)) {
                exchange.blame(Reason::ClientIdleTimeout);
                stream.cancelled.set(true);
                if let Some(waker) = stream.waker.borrow().as_ref() {
                    waker.wake_by_ref();
                }
            }
        }
    }

    fn enter(&self, stream: &Rc<StreamState>) {
        let mut streams = self.streams.borrow_mut();
        stream.index.set(streams.len());
        streams.push(Rc::clone(stream));
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
    /// Tells a connection that was quiet for `idle` that it ends, and lets go of streams that stand still.
    pub(super) fn sweep_http2(&self, now: Instant, idle: Duration, stalled: Duration) {
        self.http2.cancel_stalled(now, stalled);
        if self.http2.open.get() > 0 {
            return;
        }
        match self.http2.told.get() {
            Some(told) if self.has_passed(told, now, GOODBYE) => self.give(Order::Close),
            None if self.has_passed(self.since.get(), now, idle) => self.give(Order::Drain),
            _ => {}
        }
    }

    /// The events of the requests that were begun and never served: refused by the library, or lost in a flood.
    fn http2_ended(&self, requests: u64, error: Option<&hyper::Error>) {
        let reason = match error {
            Some(error) if self.is_flooded(error) => Reason::ClientFlood,
            Some(error) if has_left(error) => Reason::ClientClosed,
            _ => Reason::MalformedRequest,
        };
        // A connection that the gateway ends for cause leaves an event, even if no stream was opened on it.
        let for_cause = u64::from(error.is_some() && reason != Reason::ClientClosed);
        let refused = requests.saturating_sub(self.http2.served.get());
        for _ in 0..refused.max(for_cause) {
            self.record_unparsed(reason, reason.status());
        }
    }

    /// By our own count, or by the library's limit of resets.
    fn is_flooded(&self, error: &hyper::Error) -> bool {
        self.http2.flooded.get() || h2_error(error).and_then(h2::Error::reason) == Some(h2::Reason::ENHANCE_YOUR_CALM)
    }
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    error.source().and_then(|cause| cause.downcast_ref())
}

/// The client's end, orderly or not, is no fault of a request.
fn has_left(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|error| error.is_io() || error.is_remote())
}

/// Serves `stream`, of which `ahead` was read already, until it ends.
pub(super) async fn serve(connection: Rc<Connection>, stream: Stream, ahead: Bytes) {
    connection.kind.set(Kind::Http2);
    let frames = Rc::new(RefCell::new(Frames::new(connection.worker.clock.now())));
    let gathered = BytesMut::new();
    let watched = Watched { stream, ahead, gathered, frames: Rc::clone(&frames), connection: Rc::clone(&connection) };
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
    let requests = frames.borrow().requests();
    connection.http2_ended(requests, error.as_ref());
}

/// Runs the streams of one connection.
#[derive(Clone)]
struct Streams(Rc<Connection>);

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, future: F) {
        let connection = Rc::clone(&self.0);
        connection.http2.served.set(connection.http2.served.get() + 1);
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
        self.connection.http2.leave(&self.stream);
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
                written => self.gathered.advance(written),
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
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
