//! A request on its way, and its response, over either protocol.
//!
//! There is no task behind it. Whoever waits for the response moves the request by that, so that one task serves a
//! request and polls both of its connections. The upload goes on while the response comes. (A connection of HTTP/2 has a
//! task, which moves the frames of all its streams.)

use crate::answer::{Head, Incomplete, Unanswered};
use crate::connection::{Connection, Either};
use crate::content::Content;
use crate::http1::Http1;
use crate::http2::Http2;
use bytes::Bytes;
use http::Method;
use http_body::Frame;
use std::task::{Context, Poll};
use weir_http1::Fields;

/// A request on its way. Dropped before its end, it closes its connection of HTTP/1.1, or resets its stream of HTTP/2
/// (RFC 9113 7, CANCEL).
pub struct InFlight<C>(Protocol<C>);

enum Protocol<C> {
    Http1(Http1<C>),
    /// Boxed: a request over HTTP/1.1 does not carry room for it.
    Http2(Box<Http2<C>>),
}

macro_rules! either {
    ($this:expr, $inner:ident => $call:expr) => {
        match $this {
            Protocol::Http1($inner) => $call,
            Protocol::Http2($inner) => $call,
        }
    };
}

impl<C: Content> InFlight<C> {
    /// Sends a request: its head, and `content` behind it. The head has the framing of the content, and `Host`; over HTTP/2
    /// both are said in other ways, and so is what belongs to a connection (RFC 9113 8.2.2, 8.3.1).
    pub fn send(connection: Connection, request: (&Method, &str, &Fields), content: C) -> Self {
        Self(match connection.0 {
            Either::Http1(line) => Protocol::Http1(Http1::send(line, request, content)),
            Either::Http2(place) => Protocol::Http2(Box::new(Http2::send(*place, request, content))),
        })
    }

    /// Whether no byte of the request was written. Over HTTP/2 that is not known.
    pub fn is_unsent(&self) -> bool {
        match &self.0 {
            Protocol::Http1(http1) => http1.is_unsent(),
            Protocol::Http2(_) => false,
        }
    }

    /// Whether [`Self::into_content`] has the whole content, as it was given.
    pub fn has_content(&self) -> bool {
        match &self.0 {
            Protocol::Http1(http1) => http1.is_unsent(),
            Protocol::Http2(http2) => http2.has_content(),
        }
    }

    /// The content of a request of which no byte was written, or which the upstream did not take, whole.
    pub fn into_content(self) -> Option<C> {
        either!(self.0, inner => inner.into_content())
    }

    /// Writes what there is of the request. Ready when all of it is written, or nothing more can be.
    ///
    /// # Errors
    /// The content broke off.
    pub fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        either!(&mut self.0, inner => inner.poll_request(cx))
    }

    /// Waits for the head of the response. After one of [`Head::is_interim`] another follows for the same request.
    ///
    /// # Errors
    /// The connection ended without one, what came is none, or the request broke off.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Unanswered<C::Error>>> {
        either!(&mut self.0, inner => inner.poll_head(cx))
    }

    /// The next frame of the response's content. Who asks has passed the one before on.
    ///
    /// # Errors
    /// It broke off.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Incomplete>>> {
        either!(&mut self.0, inner => inner.poll_frame(cx))
    }

    /// The response was 101: the connection is a tunnel from here on, and `content` is all that goes into it. Its end is
    /// told to the upstream, which ends it from its side. There is no 101 over HTTP/2.
    pub fn open_tunnel(&mut self, content: C) {
        if let Protocol::Http1(http1) = &mut self.0 {
            http1.open_tunnel(content);
        }
    }

    /// Whether the whole response has come: known without asking for more.
    pub fn is_end(&self) -> bool {
        either!(&self.0, inner => inner.is_end())
    }

    /// Bytes of the response's content, where its head says how many.
    pub fn length(&self) -> Option<u64> {
        either!(&self.0, inner => inner.length())
    }

    /// The connection, if another request can be sent on it: the request and the response are whole. One of HTTP/2 is
    /// given back by itself.
    pub fn finish(self) -> Option<Connection> {
        match self.0 {
            Protocol::Http1(http1) => http1.finish().map(|line| Connection(Either::Http1(line))),
            Protocol::Http2(_) => None,
        }
    }
}
