//! HTTP/2 on one connection (RFC 9113): `h2`'s, each stream a task of its own on the worker's thread, all of them
//! served by the same pipeline as HTTP/1.1.
//!
//! What is added: every request that the library refuses by itself has its event, a flood of frames ends the
//! connection with one, a stream whose client has stopped taking its response is let go alone, and a connection that
//! is quiet or drains is ended with GOAWAY, so that no request is lost on the way.

mod account;
mod frames;
mod io;
pub(super) mod state;
mod stream;
mod upload;

use super::{Connection, Kind};
use crate::accept::MAX_HEAD;
use bytes::{Bytes, BytesMut};
use frames::Frames;
use h2::server;
use io::Watched;
use state::MAX_STREAMS;
use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use weir_transport::Stream;

/// What a client may send on one stream before it is asked for more. Bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// What it may send on all of them: uploads that an upstream does not take must not keep others from being sent (RFC 9113
/// 5.2.2), so there is room for every stream. Bytes.
const CONNECTION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW;
/// What is kept of one response that the client does not take. Bytes.
const MAX_SEND_BUFFER: usize = 64 * 1024;

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
    let frames = Rc::new(RefCell::new(Frames::new(connection.now())));
    *connection.http2.frames.borrow_mut() = Some(Rc::clone(&frames));
    let mut account = Account { connection: Rc::clone(&connection), settled: false };
    let watched = Watched::new(stream, ahead.freeze(), Rc::clone(&frames), Rc::clone(&connection));
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(MAX_SEND_BUFFER)
        // WebSockets (RFC 8441 3).
        .enable_connect_protocol()
        // Twice of what `accept` takes: up to there the refusal is the pipeline's, with its problem body.
        .max_header_list_size(2 * MAX_HEAD as u32);
    let state = Serving::Greeting(builder.handshake(watched));
    let served = pin!(Served { connection: Rc::clone(&connection), frames, state, drains: false });
    let ended = connection
        .obediently(served, |served| {
            connection.http2.reported.set(Some(connection.now()));
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
                Serving::Streams(streams) => match streams.poll_accept(cx) {
                    Poll::Ready(Some(accepted)) => {
                        let (request, respond) = accepted?;
                        stream::spawn(&this.connection, &this.frames, request, respond);
                    }
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Pending => {
                        this.connection.http2.has_accepted_all();
                        return Poll::Pending;
                    }
                },
            }
        }
    }
}
