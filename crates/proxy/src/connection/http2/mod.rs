//! HTTP/2 on one connection (RFC 9113): `h2`'s, each stream a task of its own on the worker's thread, all of them
//! served by the same pipeline as HTTP/1.1.
//!
//! What is added: every request that the library refuses by itself has its event, a flood of frames ends the
//! connection with one, a stream whose client has stopped taking its response is let go alone, and a connection that
//! is quiet or drains is ended with GOAWAY, so that no request is lost on the way.

mod frames;
mod io;
mod stream;
mod upload;

pub(crate) use upload::{Upload, UploadError};

use super::{Connection, Kind, MAX_HEAD, Order};
use crate::record::WeakExchange;
use bytes::{Bytes, BytesMut};
use frames::Frames;
use h2::server;
use io::Watched;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};
use weir_event::Reason;
use weir_transport::Stream;

/// Streams that a client may have open at once.
const MAX_STREAMS: u32 = 128;
/// What a client may send on one stream before it is asked for more. Bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// What it may send on all of them: uploads that an upstream does not take must not keep others from being sent (RFC 9113
/// 5.2.2), so there is room for every stream. Bytes.
const CONNECTION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW;
/// What is kept of one response that the client does not take. Bytes.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// How long a connection whose client was informed that it ends may still be open.
const GOODBYE: Duration = Duration::from_secs(5);

/// What is known of its streams.
#[derive(Default)]
pub(super) struct State {
    streams: RefCell<Vec<Rc<StreamState>>>,
    /// The stream that is polled now: exchanges begin inside.
    polled: RefCell<Option<Rc<StreamState>>>,
    /// Exchanges that are open.
    open: Cell<usize>,
    /// Requests that became streams, and those whose refusal is booked.
    begun: Cell<u64>,
    booked: Cell<u64>,
    /// Requests without an exchange, at the last look.
    missing: Cell<u64>,
    frames: RefCell<Option<Rc<RefCell<Frames>>>>,
    /// As many streams were open as may be: more were turned away.
    crowded: Cell<bool>,
    /// The client sent frames that move nothing, too many and too fast.
    flooded: Cell<bool>,
    /// When the client was informed that the connection ends.
    reported: Cell<Option<Instant>>,
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

    /// Requests that the client has begun and that are neither streams nor booked.
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
        self.begun.set(self.begun.get() + 1);
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
        match self.http2.reported.get() {
            Some(reported) if self.has_passed(reported.max(quiet_since), now, GOODBYE) => self.give(Order::Close),
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
            self.record_unparsed(reason, None, &[]);
        }
    }

    fn why_refused(&self) -> Reason {
        if self.http2.reported.get().is_some() || self.worker.is_ending() {
            // Behind a GOAWAY a request is not looked at, and safe to send elsewhere (RFC 9113 6.8).
            Reason::GatewayDraining
        } else if self.http2.crowded.get() {
            Reason::Overloaded
        } else {
            Reason::MalformedRequest
        }
    }

    /// The events of the requests that were begun and never served. Those that are open break off with their connection
    /// for what another of them did.
    fn http2_ended(&self, error: Option<&h2::Error>) {
        let reason = match error {
            Some(error) if self.is_flooded(error) => Reason::ClientFlood,
            Some(error) if has_left(error) => Reason::ClientClosed,
            _ => self.why_refused(),
        };
        match reason {
            Reason::ClientFlood => self.blame_open(Reason::ClientFlood),
            Reason::MalformedRequest if error.is_some() => self.blame_open(Reason::ConnectionBroken),
            _ => {}
        }
        // A connection that the gateway ends for cause leaves an event, even if no stream was opened on it.
        let for_cause = error.is_some() && matches!(reason, Reason::ClientFlood | Reason::MalformedRequest);
        let missing = self.http2.missing();
        self.book(missing.max(u64::from(for_cause && self.http2.booked.get() == 0)), reason);
    }

    /// By our own count, or by the library's limit of resets.
    fn is_flooded(&self, error: &h2::Error) -> bool {
        self.http2.flooded.get() || !error.is_remote() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
    }
}

/// The client's end, orderly or not, is no fault of a request.
fn has_left(error: &h2::Error) -> bool {
    error.is_io() || error.is_remote()
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

/// Serves `stream`, of which `ahead` was read already, until it ends.
pub(super) async fn serve(connection: Rc<Connection>, stream: Stream, ahead: BytesMut) {
    connection.kind.set(Kind::Http2);
    let frames = Rc::new(RefCell::new(Frames::new(connection.worker.clock.now())));
    *connection.http2.frames.borrow_mut() = Some(Rc::clone(&frames));
    let mut account = Account { connection: Rc::clone(&connection), settled: false };
    let watched = Watched::new(stream, ahead.freeze(), Rc::clone(&frames), Rc::clone(&connection));
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(MAX_SEND_BUFFER)
        // Twice of what `accept` takes: up to there the refusal is the pipeline's, with its problem body.
        .max_header_list_size(2 * MAX_HEAD as u32);
    let state = Serving::Greeting(builder.handshake(watched));
    let served = pin!(Served { connection: Rc::clone(&connection), frames, state, drains: false });
    let ended = connection
        .obediently(served, |served| {
            connection.http2.reported.set(Some(connection.worker.clock.now()));
            served.get_mut().drain();
        })
        .await;
    connection.http2_ended(ended.and_then(Result::err).as_ref());
    account.settled = true;
}

/// A connection until it has ended.
struct Served {
    connection: Rc<Connection>,
    frames: Rc<RefCell<Frames>>,
    state: Serving,
    drains: bool,
}

enum Serving {
    Greeting(server::Handshake<Watched, Bytes>),
    Streams(server::Connection<Watched, Bytes>),
}

impl Served {
    /// Tells the client that the connection ends, at the latest when it has begun.
    fn drain(&mut self) {
        self.drains = true;
        if let Serving::Streams(streams) = &mut self.state {
            streams.graceful_shutdown();
        }
    }
}

impl Future for Served {
    type Output = Result<(), h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                Serving::Greeting(greeting) => {
                    let mut streams = ready!(Pin::new(greeting).poll(cx))?;
                    if this.drains {
                        streams.graceful_shutdown();
                    }
                    this.state = Serving::Streams(streams);
                }
                Serving::Streams(streams) => match ready!(streams.poll_accept(cx)) {
                    Some(accepted) => {
                        let (request, respond) = accepted?;
                        stream::spawn(&this.connection, &this.frames, request, respond);
                    }
                    None => return Poll::Ready(Ok(())),
                },
            }
        }
    }
}
