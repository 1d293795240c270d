//! One connection to an upstream, in the hand of whoever has a request for it.

use crate::hush::Hush;
use crate::origin::OriginId;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A connection in somebody's hand. Boxed, because it changes hands half a dozen times a request.
pub struct Connection<B>(pub(crate) Box<State<B>>);

pub(crate) struct State<B> {
    pub(crate) origin: OriginId,
    pub(crate) sender: SendRequest<B>,
    address: Option<SocketAddr>,
    pub(crate) idle_since: Option<Instant>,
    hush: Arc<Hush>,
}

impl<B> Connection<B> {
    pub(crate) fn new(origin: OriginId, sender: SendRequest<B>, address: Option<SocketAddr>, hush: Arc<Hush>) -> Self {
        Self(Box::new(State { origin, sender, address, idle_since: None, hush }))
    }

    /// The peer.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.address
    }

    /// The next frame of `body`, which is that of a response on this connection.
    pub fn poll_frame(
        &self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.0.hush.during(|| {
            let polled = Pin::new(&mut *body).poll_frame(cx);
            let last = matches!(polled, Poll::Ready(Some(Ok(_)))) && body.is_end_stream();
            (polled, last)
        })
    }

    /// How long it lay unused before it was checked out; `None` for a fresh one. A connection that lay for a
    /// while may have been closed by the upstream at this very moment.
    pub fn idle_for(&self, now: Instant) -> Option<Duration> {
        self.0.idle_since.map(|since| now.saturating_duration_since(since))
    }
}

impl<B: Body + 'static> Connection<B> {
    /// Sends one request: it is on its way when this returns. On an error the request comes back if no byte of it was
    /// written.
    pub fn send(
        &mut self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<B>>>> + use<B> {
        self.0.sender.try_send_request(request)
    }
}
