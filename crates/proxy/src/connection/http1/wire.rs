//! The socket of an HTTP/1 client: shared by its connection, which reads heads and writes responses, and by the body of
//! the request at hand. Both are polled by the connection's task.

use crate::connection::Connection;
use crate::upload::Upload;
use bytes::{Bytes, BytesMut};
use http_body::Frame;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use weir_event::Reason;
use weir_http1::{Decoder, Framing, HeadError, Limits, Reader, Request};
use weir_transport::{Buffered, Stream};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Bytes of a request that was refused which are read before its connection is closed.
const MOST_WASTE: usize = 256 * 1024;
/// Bytes behind a request that are read before its response is written. Of a client that has sent more it is not noticed
/// that it leaves.
const MOST_AHEAD: usize = 16 * 1024;
/// A buffer that is larger is given back behind its response.
const KEPT_OUTPUT: usize = 8 * 1024;

/// The socket, and where in a message it stands.
pub(super) struct Wire {
    inner: RefCell<Inner>,
    connection: Rc<Connection>,
}

struct Inner {
    io: Buffered,
    reader: Reader,
    limits: Limits,
    /// Of the request at hand.
    decoder: Decoder,
    /// Its client waits for a 100 before it sends (RFC 9110 10.1.1).
    expects: bool,
    /// A 100 is being written.
    continues: bool,
    /// It broke its own framing, or its client left.
    is_broken: bool,
}

/// What comes next on a connection.
pub(super) enum Next {
    /// A request, which may have a fault of its host or its framing.
    Request(Framing, Option<HeadError>),
    /// What can be read as no request.
    Fault(HeadError),
    /// Nothing more; a part of a head may have come.
    End,
}

impl Wire {
    pub(super) fn new(stream: Stream, ahead: BytesMut, limits: Limits, connection: Rc<Connection>) -> Self {
        let inner = Inner {
            io: Buffered::new(stream, ahead),
            reader: Reader::new(limits),
            limits,
            decoder: Decoder::new(Framing::None, limits),
            expects: false,
            continues: false,
            is_broken: false,
        };
        Self { inner: RefCell::new(inner), connection }
    }

    /// Waits for the next head. `begun` is called when something of it has come.
    pub(super) fn poll_head(&self, request: &mut Request, begun: impl Fn(), cx: &mut Context<'_>) -> Poll<Next> {
        let Inner { io, reader, .. } = &mut *self.inner.borrow_mut();
        loop {
            if Reader::has_begun(io.input()) {
                begun();
            }
            match reader.request(io.input(), request) {
                Ok(Some(framing)) => return Poll::Ready(Next::Request(framing, None)),
                Ok(None) => {}
                Err(fault) if request.method().is_empty() => return Poll::Ready(Next::Fault(fault)),
                Err(fault) => return Poll::Ready(Next::Request(Framing::None, Some(fault))),
            }
            match ready!(io.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Next::End),
                Ok(_) => {}
            }
        }
    }

    /// What has come and is no request yet.
    pub(super) fn unread(&self) -> Bytes {
        Bytes::copy_from_slice(self.inner.borrow_mut().io.input())
    }

    /// The body behind a head, if there is one.
    pub(super) fn begin(self: &Rc<Self>, framing: Framing, expects: bool) -> Option<Body> {
        let mut inner = self.inner.borrow_mut();
        inner.decoder = Decoder::new(framing, inner.limits);
        if inner.decoder.is_done() {
            return None;
        }
        inner.expects = expects;
        let length = if let Framing::Length(length) = framing { Some(length) } else { None };
        Some(Body { wire: Rc::clone(self), length, opens: false })
    }

    /// All that comes behind a request that is whole, should its connection become a tunnel. Nothing is read before it is
    /// asked for.
    pub(super) fn tunnel(self: &Rc<Self>) -> Body {
        Body { wire: Rc::clone(self), length: None, opens: true }
    }

    /// Whether the client has left in the middle of its exchange, or has shut its half down. It is looked for behind the
    /// request: what stands there - the empty line of old clients, the next request - is read ahead, up to a bound.
    pub(super) fn has_left(&self, cx: &mut Context<'_>) -> bool {
        let Inner { io, decoder, .. } = &mut *self.inner.borrow_mut();
        while decoder.is_done() && io.input().len() < MOST_AHEAD {
            match io.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        false
    }

    pub(super) fn with_output<T>(&self, write: impl FnOnce(&mut Buffered) -> T) -> T {
        let mut inner = self.inner.borrow_mut();
        write(&mut inner.io)
    }

    /// The response is next: no 100 is sent any more.
    pub(super) fn expects_no_more(&self) {
        self.inner.borrow_mut().expects = false;
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.borrow_mut().poll_flush(&self.connection, cx)
    }

    /// Whether all of the request has come. Its rest is passed over, if it is here already.
    pub(super) fn is_request_over(&self) -> bool {
        let Inner { io, decoder, is_broken, .. } = &mut *self.inner.borrow_mut();
        while !*is_broken && !decoder.is_done() {
            if !matches!(decoder.next(io.input()), Ok(Some(_))) {
                return false;
            }
        }
        !*is_broken
    }

    /// Behind a response.
    pub(super) fn trim(&self) {
        let io = &mut self.inner.borrow_mut().io;
        if io.output_capacity() > KEPT_OUTPUT {
            io.rest();
        }
    }

    /// The connection has been at rest for a while.
    pub(super) fn rest(&self) {
        self.inner.borrow_mut().io.rest();
    }

    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.borrow_mut().io.poll_shutdown(cx)
    }

    /// Whether closing now could destroy the answer on its way to the client: the kernel resets a connection of which not
    /// everything was read.
    pub(super) fn has_unread(&self) -> bool {
        !self.inner.borrow_mut().io.is_quiet()
    }

    /// Reads what the client still sends and throws it away, up to its end or a bound; the worker's sweep bounds the
    /// time.
    pub(super) fn poll_waste(&self, wasted: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
        let io = &mut self.inner.borrow_mut().io;
        loop {
            *wasted += io.input().len();
            io.input().clear();
            if *wasted >= MOST_WASTE {
                return Poll::Ready(());
            }
            match ready!(io.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
    }
}

impl Inner {
    fn poll_flush(&mut self, connection: &Connection, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.io.poll_flush(cx);
        if self.io.take_progress() {
            connection.has_written(true);
        }
        if flushed.is_pending() {
            connection.has_written(false);
        }
        flushed
    }
}

/// The body of a request, as it comes in.
pub(super) struct Body {
    wire: Rc<Wire>,
    length: Option<u64>,
    /// It is a tunnel that is not open yet.
    opens: bool,
}

impl Upload for Body {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Reason>>> {
        let inner = &mut *self.wire.inner.borrow_mut();
        if std::mem::take(&mut self.opens) {
            inner.decoder = Decoder::new(Framing::Tunnel, inner.limits);
        }
        if inner.decoder.is_done() {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut inner.expects) && inner.io.is_input_empty() {
            inner.io.output().extend_from_slice(CONTINUE);
            inner.continues = true;
        }
        if inner.continues {
            // What is not taken goes out in front of the response.
            inner.continues = inner.poll_flush(&self.wire.connection, cx).is_pending();
        }
        let broke = loop {
            match inner.decoder.next(inner.io.input()) {
                Ok(Some(weir_http1::Frame::Data(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Some(weir_http1::Frame::Trailers(fields))) => {
                    return Poll::Ready(fields.to_map().map(|map| Ok(Frame::trailers(map))));
                }
                Ok(Some(weir_http1::Frame::End)) => return Poll::Ready(None),
                Ok(None) => {}
                Err(_) => break Reason::MalformedRequestBody,
            }
            match ready!(inner.io.poll_fill(cx)) {
                Ok(0) if inner.decoder.close().is_ok() => return Poll::Ready(None),
                Ok(0) | Err(_) => break Reason::ClientClosed,
                Ok(_) => {}
            }
        };
        inner.is_broken = true;
        Poll::Ready(Some(Err(broke)))
    }

    fn is_end(&self) -> bool {
        !self.opens && self.wire.inner.borrow().decoder.is_done()
    }

    fn length(&self) -> Option<u64> {
        self.length
    }
}
