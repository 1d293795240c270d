//! Phase `body`: the request's body on its way up and the response's on its way down, streamed, counted, timed.
//!
//! Both pass frames (data and trailers) on as they are; nothing is collected. Each
//! poll says whose turn it is: a body that has no frame is waiting for its source, one that handed a frame over is
//! waiting for its sink.

use crate::exchange::ExchangeRef;
use crate::flow::Flow;
use crate::grpc;
use crate::headers::only_content;
use crate::patience::{IdleTimer, is_late};
use crate::record::Closer;
use crate::reply::Reply;
use crate::upload::Incoming;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use weir_event::Instant;
use weir_event::{NameId, Outcome, Reason, Turn};
use weir_policies::ContentReader;
use weir_upstream::{Content, InFlight, Lease};

/// Why a body ends before its end: it closes the connection that it is written to.
#[derive(Debug)]
pub(crate) struct Broken(Reason);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body broke off: {}", self.0)
    }
}

impl Error for Broken {}

/// The client's body, on its way to the upstream.
pub(crate) struct RequestBody {
    /// `None` of a request without a body.
    inner: Option<Incoming>,
    /// Boxed: a request that is sent once, as it comes, does not carry room for it.
    kept: Option<Box<Kept>>,
    exchange: ExchangeRef,
}

/// What is kept of a request's body beside what comes in.
#[derive(Default)]
struct Kept {
    /// What was given back because it was not sent, or not taken: the first frame last.
    unread: Vec<Frame<Bytes>>,
    /// All of its data, where a policy wanted to see that: it is counted as received.
    gathered: Option<Bytes>,
    /// What looks at the data as it passes, with the policy that it is of.
    readers: Vec<(NameId, Box<dyn ContentReader>)>,
}

impl RequestBody {
    /// Of a request whose head is in: its exchange has only just begun.
    pub(crate) fn new(inner: Option<Incoming>, exchange: ExchangeRef) -> Self {
        let Some(inner) = inner.filter(|inner| !inner.is_end()) else {
            exchange.request_is_whole(exchange.progress());
            return Self::empty(exchange);
        };
        if inner.length().is_some() {
            exchange.has_size();
        }
        Self { inner: Some(inner), kept: None, exchange }
    }

    /// All that the client sends into a tunnel.
    pub(crate) fn tunnel(inner: Incoming, exchange: ExchangeRef) -> Self {
        Self { inner: Some(inner), kept: None, exchange }
    }

    /// Of a request that is whole without one.
    pub(crate) fn empty(exchange: ExchangeRef) -> Self {
        Self { inner: None, kept: None, exchange }
    }

    /// What comes in of it, for whoever reads it whole and gives it back by [`Self::has_gathered`].
    pub(crate) fn take_incoming(&mut self) -> Option<Incoming> {
        if self.gathered().is_some() { None } else { self.inner.take() }
    }

    /// It was read whole: `data`, which `incoming` has once more.
    pub(crate) fn has_gathered(&mut self, data: Bytes, incoming: Incoming) {
        self.inner = Some(incoming);
        self.kept.get_or_insert_default().gathered = Some(data);
    }

    /// Its data is looked at as it passes.
    pub(crate) fn watch(&mut self, policy: NameId, reader: Box<dyn ContentReader>) {
        self.kept.get_or_insert_default().readers.push((policy, reader));
    }

    /// Shows data to whoever looks at it; why the request ends here.
    fn show(&mut self, frame: &Frame<Bytes>) -> Result<(), Reason> {
        let (Some(kept), Some(data)) = (&mut self.kept, frame.data_ref()) else { return Ok(()) };
        for (policy, reader) in &mut kept.readers {
            if let Err(reason) = reader.data(data) {
                self.exchange.borrow_mut().answered_by = *policy;
                return Err(reason);
            }
        }
        Ok(())
    }

    /// All of its data, if it was read whole.
    pub(crate) fn gathered(&self) -> Option<Bytes> {
        self.kept.as_ref().and_then(|kept| kept.gathered.clone())
    }

    fn handed_over(&self, frame: &Frame<Bytes>, now: Instant) {
        let len = frame.data_ref().map_or(0, Bytes::len) as u64;
        let mut exchange = self.exchange.borrow_mut();
        if self.kept.as_ref().is_none_or(|kept| kept.gathered.is_none()) {
            exchange.bytes_in += len;
        }
        exchange.bytes_to_upstream += len;
        drop(exchange);
        // Behind trailers, or an end that is known, nobody asks again.
        if frame.is_trailers() || self.is_end() {
            self.exchange.tunnel_ends(Turn::Client);
            self.exchange.request_is_whole(now);
        } else {
            self.exchange.progressed(now);
        }
    }

    fn broke(&self, reason: Reason) -> Broken {
        self.exchange.blame(reason);
        Broken(reason)
    }
}

/// An upstream that needs no more of it lets go of it: then the request is as done as it gets, and the wait for
/// its response begins.
impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.exchange.request_done().is_none() {
            self.exchange.request_is_done(self.exchange.worker().clock.now());
        }
    }
}

impl Content for RequestBody {
    type Error = Broken;

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(frame) = self.kept.as_mut().and_then(|kept| kept.unread.pop()) {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        match inner.poll_frame(cx) {
            Poll::Pending => {
                self.exchange.hand_to(Turn::Client);
                Poll::Pending
            }
            Poll::Ready(next) => {
                let now = self.exchange.hand_to(Turn::Upstream);
                match next {
                    Some(Ok(mut frame)) => {
                        if let Err(reason) = self.show(&frame) {
                            self.exchange.borrow_mut().bytes_in += frame.data_ref().map_or(0, Bytes::len) as u64;
                            return Poll::Ready(Some(Err(self.broke(reason))));
                        }
                        self.handed_over(&frame, now);
                        if let Some(trailers) = frame.trailers_mut() {
                            only_content(trailers);
                        }
                        Poll::Ready(Some(Ok(frame)))
                    }
                    Some(Err(reason)) => Poll::Ready(Some(Err(self.broke(reason)))),
                    None => {
                        self.exchange.tunnel_ends(Turn::Client);
                        self.exchange.request_is_whole(now);
                        Poll::Ready(None)
                    }
                }
            }
        }
    }

    fn is_end(&self) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.unread.is_empty())
            && self.inner.as_ref().is_none_or(|inner| inner.is_end())
    }

    fn length(&self) -> Option<u64> {
        let Some(inner) = &self.inner else { return Some(0) };
        let Some(Kept { unread, .. }) = self.kept.as_deref().filter(|kept| !kept.unread.is_empty()) else {
            return inner.length();
        };
        // The head that goes out once more says of the whole content how long it is, or that it does not say so.
        let unread = unread.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum::<u64>();
        inner.length().filter(|_| self.exchange.is_sized()).map(|left| left + unread)
    }

    fn unread(&mut self, frame: Frame<Bytes>) {
        self.kept.get_or_insert_default().unread.push(frame);
    }
}

/// What an answer's bytes come from.
pub(crate) enum Source {
    /// The gateway's own.
    Fixed(Option<Bytes>),
    /// The upstream's, with the connection that it comes on.
    Upstream(InFlight<RequestBody>),
}

impl Source {
    pub(crate) fn fixed(bytes: Bytes) -> Self {
        Self::Fixed(Some(bytes))
    }
}

/// Turns the reply into what is written. A response without a body is closed here: nobody asks for it.
pub(crate) fn body(flow: Flow, reply: Reply<Source>) -> Reply<ResponseBody> {
    let Flow { exchange, closer, method, lease, .. } = flow;
    let status = reply.status;
    exchange.borrow_mut().status = status.as_u16();
    let idle = IdleTimer::new(exchange.snapshot().timeouts.stream_idle, exchange.progress());
    let bodiless = method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    // A response of gRPC ends with its status: in trailers, unless its head has it.
    let awaits_status = exchange.is_grpc()
        && matches!(reply.content, Source::Upstream(_))
        && status == StatusCode::OK
        && grpc::is_grpc(&reply.fields)
        && grpc::status_of_head(&reply.fields).is_none();
    reply.map(|source| {
        let mut body = ResponseBody {
            source: Some(source),
            exchange,
            closer: Some(closer),
            lease,
            idle,
            waits: false,
            awaits_status,
        };
        if bodiless || body.is_end_stream() {
            if body.awaits_status {
                grpc::ended(&mut body.exchange.borrow_mut(), None);
            }
            body.complete(Outcome::Completed);
            if bodiless {
                body.source = None;
            }
        }
        body
    })
}

/// The answer's body, on its way to the client.
pub(crate) struct ResponseBody {
    source: Option<Source>,
    exchange: ExchangeRef,
    closer: Option<Closer>,
    lease: Option<Lease>,
    idle: IdleTimer,
    /// The next frame was asked for and has not come.
    waits: bool,
    /// The status of gRPC comes in trailers.
    awaits_status: bool,
}

impl ResponseBody {
    /// Closes the exchange and, where the response is whole, keeps its connection for the next.
    fn complete(&mut self, outcome: Outcome) {
        let now = self.exchange.worker().clock.now();
        self.complete_at(outcome, now);
    }

    fn complete_at(&mut self, outcome: Outcome, now: Instant) {
        let Some(closer) = self.closer.take() else { return };
        closer.close(outcome, now);
        self.lease = None;
        let whole = outcome == Outcome::Completed && matches!(self.source, Some(Source::Upstream(_)));
        if whole
            && let Some(Source::Upstream(in_flight)) = self.source.take()
            && let Some(connection) = in_flight.finish()
        {
            self.exchange.worker().pool.give_back(connection, now);
        }
    }

    /// Moves the request on, which may not be whole yet, where the response cannot be.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if let Some(Source::Upstream(in_flight)) = &mut self.source {
            // What breaks there shows when the response is read on.
            drop(in_flight.poll_request(cx));
        }
    }

    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(Source::Upstream(in_flight)) = &mut self.source else { return Poll::Ready(None) };
        if is_late(&self.exchange) {
            return Poll::Ready(Some(Ok(self.end_by_deadline())));
        }
        match in_flight.poll_frame(cx) {
            Poll::Pending => {
                let now = self.exchange.hand_to(Turn::Upstream);
                if !std::mem::replace(&mut self.waits, true) {
                    self.idle.begin(now);
                }
                match ready!(self.idle.poll_expired(cx, &self.exchange)) {
                    Reason::DeadlineExceeded => Poll::Ready(Some(Ok(self.end_by_deadline()))),
                    reason => Poll::Ready(Some(Err(self.broke(reason)))),
                }
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.handed_over(&frame);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(self.broke(Reason::ResponseIncomplete)))),
            Poll::Ready(None) => {
                self.exchange.tunnel_ends(Turn::Upstream);
                let now = self.exchange.worker().clock.now();
                self.upstream_ended(None, now);
                Poll::Ready(None)
            }
        }
    }

    fn handed_over(&mut self, frame: &Frame<Bytes>) {
        self.waits = false;
        let len = frame.data_ref().map_or(0, Bytes::len) as u64;
        let now = self.exchange.hand_to(Turn::Client);
        self.exchange.progressed(now);
        let mut exchange = self.exchange.borrow_mut();
        exchange.bytes_from_upstream += len;
        exchange.bytes_out += len;
        drop(exchange);
        // Behind trailers nobody asks again, and they are the end.
        let ended = matches!(&self.source, Some(Source::Upstream(in_flight)) if in_flight.is_end());
        if ended || frame.is_trailers() {
            self.upstream_ended(frame.trailers_ref(), now);
        }
    }

    /// The response is whole.
    fn upstream_ended(&mut self, trailers: Option<&HeaderMap>, now: Instant) {
        if std::mem::take(&mut self.awaits_status) {
            grpc::ended(&mut self.exchange.borrow_mut(), trailers.and_then(grpc::status_of_trailers));
        }
        self.complete_at(Outcome::Completed, now);
    }

    /// The deadline of the client is over: the upstream is left, and the client has the status that says so.
    #[cold]
    fn end_by_deadline(&mut self) -> Frame<Bytes> {
        self.exchange.hand_to(Turn::Gateway);
        self.exchange.blame(Reason::DeadlineExceeded);
        grpc::note(&mut self.exchange.borrow_mut(), grpc::DEADLINE_EXCEEDED);
        self.complete(Outcome::Truncated);
        self.source = None;
        Frame::trailers(grpc::trailers(grpc::DEADLINE_EXCEEDED, "the deadline of the request is over"))
    }

    fn broke(&mut self, reason: Reason) -> Broken {
        self.exchange.blame(reason);
        self.complete(Outcome::Truncated);
        Broken(reason)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        match &mut this.source {
            None => Poll::Ready(None),
            Some(Source::Fixed(bytes)) => {
                let bytes = bytes.take();
                if let Some(bytes) = &bytes {
                    this.exchange.borrow_mut().bytes_out += bytes.len() as u64;
                }
                this.complete(Outcome::Completed);
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Some(Source::Upstream(_)) => this.poll_upstream(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            None | Some(Source::Fixed(None)) => true,
            Some(Source::Fixed(Some(bytes))) => bytes.is_empty(),
            Some(Source::Upstream(in_flight)) => in_flight.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            None | Some(Source::Fixed(None)) => SizeHint::with_exact(0),
            Some(Source::Fixed(Some(bytes))) => SizeHint::with_exact(bytes.len() as u64),
            Some(Source::Upstream(in_flight)) => in_flight.length().map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}
