//! HTTP/1.1 on one connection: hyper's, with what must be known between its requests.
//!
//! One exchange is open at a time. What hyper does not tell - heads that it refuses, clients that stop reading - is
//! heard at the socket, by [`ClientIo`].

use super::heads::{Framing, Heads};
use super::{Connection, Kind, MAX_HEAD, Order};
use crate::answer::problem;
use crate::body::Incoming;
use crate::client_io::ClientIo;
use crate::pipeline;
use crate::record::WeakExchange;
use crate::stream::Stream;
use bytes::Bytes;
use http::{Request, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use weir_event::Reason;
use weir_upstream::HYPERS_FIELDS;

/// How long the end of a client that is still sending is waited for, after its answer.
const LINGER: Duration = Duration::from_secs(2);

/// Where a connection stands between its requests.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// No exchange, and nothing of the next request has come.
    #[default]
    Idle,
    /// No exchange, but bytes of a next head.
    Head,
    /// An exchange is open.
    Busy,
    /// The last exchange is recorded; its bytes may not be flushed yet.
    Flushing,
}

/// What is known between requests.
#[derive(Default)]
pub(super) struct State {
    phase: Cell<Phase>,
    heads: RefCell<Heads>,
    in_doubt: Cell<bool>,
    /// The exchange that is open.
    current: RefCell<Option<WeakExchange>>,
    /// The last request was answered before its body was in: what is read now is the rest of that.
    unread_body: Cell<bool>,
    /// Since when only the end of the client is waited for, after ours.
    lingering: Cell<Option<Instant>>,
    /// A head that hyper refused was answered and recorded.
    refused: Cell<bool>,
    /// hyper has shut the connection down.
    shut: Cell<bool>,
}

impl State {
    pub(super) fn begin(&self, exchange: WeakExchange) {
        self.phase.set(Phase::Busy);
        self.unread_body.set(false);
        *self.current.borrow_mut() = Some(exchange);
    }

    pub(super) fn end(&self, request_done: bool) {
        self.phase.set(Phase::Flushing);
        self.unread_body.set(!request_done);
        // An idle connection keeps nothing of its last request in memory.
        self.current.take();
    }

    fn is_idle(&self) -> bool {
        self.phase.get() == Phase::Idle
    }

    /// Nothing is open and nothing is left to flush: whatever is written now is hyper's own.
    fn is_quiet(&self) -> bool {
        matches!(self.phase.get(), Phase::Idle | Phase::Head)
    }

    pub(super) fn waits_for_response(&self) -> bool {
        self.current.borrow().as_ref().is_some_and(WeakExchange::waits_for_response)
    }

    pub(super) fn blame(&self, reason: Reason) {
        if let Some(exchange) = self.current.borrow().as_ref() {
            exchange.blame(reason);
        }
    }
}

/// What the socket tells, and asks.
impl Connection {
    /// `bytes` are on their way to hyper. Answers whether some of them must be written otherwise for it.
    pub(crate) fn http1_has_read(&self, bytes: &[u8]) -> bool {
        self.http1_has_begun();
        let mut heads = self.http1.heads.borrow_mut();
        if heads.pass(bytes).is_err() {
            self.http1.in_doubt.set(true);
        }
        heads.has_edits()
    }

    /// Where that is.
    pub(crate) fn http1_take_edits(&self) -> Vec<usize> {
        self.http1.heads.borrow_mut().take_edits()
    }

    /// Where the messages of this connection end is not known any more: the request at hand is refused or broken off,
    /// and nothing more is read.
    pub(crate) fn http1_is_in_doubt(&self) -> bool {
        self.http1.in_doubt.get()
    }

    /// What the lines of the head say of which hyper has just made a request.
    pub(crate) fn http1_take_framing(&self) -> Option<Framing> {
        self.http1.heads.borrow_mut().take()
    }

    /// Something of a next head has come, where nothing else is due.
    pub(super) fn http1_has_begun(&self) {
        if self.http1.is_idle() && !self.http1.unread_body.get() {
            self.http1.phase.set(Phase::Head);
            self.since.set(self.worker.clock.now());
        }
    }

    pub(crate) fn http1_has_written(&self, some: bool) {
        self.has_written(some);
    }

    pub(crate) fn http1_has_flushed(&self) {
        if self.http1.phase.get() == Phase::Flushing {
            self.http1.phase.set(Phase::Idle);
        }
    }

    /// Whether closing now, with bytes of the client unread, could destroy the answer on its way to it: the kernel
    /// resets such a connection. Then its end is waited for, for a moment.
    pub(crate) fn http1_must_linger(&self) -> bool {
        self.http1.shut.set(true);
        let must = self.http1.unread_body.get() || self.http1.refused.get();
        if must && self.http1.lingering.get().is_none() {
            self.http1.lingering.set(Some(self.worker.clock.now()));
        }
        must
    }

    /// The answer to a head that hyper refused, in place of hyper's own `head`, and its event. `None` where an
    /// exchange is open or unflushed, and for what does not begin like an answer.
    pub(crate) fn http1_answer_for_hyper(&self, head: &[u8]) -> Option<Bytes> {
        if !self.http1.is_quiet() {
            return None;
        }
        let code = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?.get(..3)?;
        let status = StatusCode::from_bytes(code).ok()?;
        let (reason, detail) = match status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
                Reason::HeadersTooLarge,
                "the head of the request is larger than 60 KiB, or has more fields than limits.headerFields",
            ),
            StatusCode::URI_TOO_LONG => (Reason::HeadersTooLarge, "the target of the request is too long"),
            _ => (Reason::MalformedRequest, "the head of the request is not HTTP/1.1"),
        };
        self.http1.refused.set(true);
        let body = problem(reason, status, detail, self.record_unparsed(reason, Some(status)));
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        Some([head.as_bytes(), &body].concat().into())
    }

    /// Closes a connection on which nothing has happened for `limit`. One that has sent half a head is distinguished:
    /// that was a request, and it gets its event. A request that waits for its response looks at the time.
    pub(super) fn sweep_http1(&self, now: Instant, limit: Duration) {
        if self.http1.waits_for_response() {
            super::wake(&self.waker);
        }
        if self.http1.lingering.get().is_some_and(|since| self.has_passed(since, now, LINGER)) {
            return self.give(Order::Close);
        }
        if !self.http1.is_quiet() || !self.has_passed(self.since.get(), now, limit) {
            return;
        }
        if self.http1.phase.get() == Phase::Head && !self.http1.refused.get() {
            self.record_unparsed(Reason::RequestHeadTimeout, None);
        }
        self.give(Order::Close);
    }

    /// The worker ends before the first head is whole: that was a request.
    pub(super) fn http1_cut_off(&self) {
        if self.http1.phase.get() == Phase::Head && !self.http1.refused.replace(true) {
            self.record_unparsed(Reason::GatewayDraining, None);
        }
    }

    /// hyper ended the connection over a head that it could not answer, or the client ended it within one: a request
    /// all the same.
    fn http1_ended(&self, error: &hyper::Error) {
        if self.http1.refused.get() {
            return;
        }
        if error.is_parse() {
            self.record_unparsed(Reason::MalformedRequest, Some(Reason::MalformedRequest.status()));
        } else if !self.http1.in_doubt.get() && self.http1.heads.borrow().is_within_head() {
            self.record_unparsed(Reason::ClientClosed, None);
        }
    }
}

/// Serves `stream`, of which `ahead` was read already, until it ends.
pub(super) async fn serve(connection: Rc<Connection>, stream: Stream, ahead: Bytes) {
    connection.kind.set(Kind::Http1);
    let io = ClientIo::new(stream, ahead, Rc::clone(&connection));
    let service = {
        let connection = Rc::clone(&connection);
        service_fn(move |request: Request<_>| {
            let (head, body) = request.into_parts();
            pipeline::serve(Rc::clone(&connection), head, Incoming::Http1(body))
        })
    };
    let mut builder = http1::Builder::new();
    // Idle times and slow heads are the worker's sweep: a timer a request costs 0.3 µs.
    builder.max_header_size(MAX_HEAD).max_buf_size(MAX_HEAD + 8192).header_read_timeout(None);
    let fields = connection.worker.snapshot().limits.header_fields as usize;
    if fields != HYPERS_FIELDS {
        builder.max_headers(fields);
    }
    let mut served = builder.serve_connection(TokioIo::new(io), service);
    match connection.obediently(Pin::new(&mut served), hyper::server::conn::http1::Connection::graceful_shutdown).await
    {
        Some(Err(error)) => connection.http1_ended(&error),
        // A request with `Upgrade` leaves the end of its connection to whoever would have upgraded it.
        Some(Ok(())) if !connection.http1.shut.get() => {
            let mut io = served.into_parts().io.into_inner();
            let ending = pin!(async move { io.shutdown().await });
            // Fails for a client that has left already.
            drop(connection.obediently(ending, |_| {}).await);
        }
        _ => {}
    }
}
