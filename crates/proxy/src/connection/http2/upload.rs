//! A request's body over HTTP/2, as the pipeline reads it.
//!
//! What `h2` knows is passed on as it is: a stream that the client resets, whatever its code, is a body that broke off
//! (RFC 9113 8.1), never one that is whole. And the connection gets its flow-control window back when nobody will read
//! the rest: [`Handle::close`].

use crate::connection::waker::{remember, wake};
use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT};
use http_body::Frame;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use weir_event::Reason;

/// The body.
pub(super) struct Upload {
    shared: Rc<Shared>,
    /// Bytes that are still to come, where the request says how many.
    left: Option<u64>,
    data_ended: bool,
}

/// What its stream holds of it.
#[derive(Clone)]
pub(super) struct Handle(Rc<Shared>);

struct Shared {
    /// `None` once the stream is over.
    recv: RefCell<Option<RecvStream>>,
    ended: Cell<bool>,
    /// The client waits for a 100 before it sends (RFC 9110 10.1.1).
    expects: Cell<bool>,
    /// Whoever reads the body waits here.
    reader: RefCell<Option<Waker>>,
    /// The stream waits here for the reader's first look.
    stream: RefCell<Option<Waker>>,
}

impl Upload {
    pub(super) fn new(recv: RecvStream, headers: &HeaderMap) -> (Self, Handle) {
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let continues = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        let shared = Rc::new(Shared {
            recv: RefCell::new(Some(recv)),
            ended: Cell::new(false),
            expects: Cell::new(headers.get(EXPECT).is_some_and(continues)),
            reader: RefCell::default(),
            stream: RefCell::default(),
        });
        shared.look_for_end();
        if shared.ended.get() {
            shared.expects.set(false);
        }
        (Self { shared: Rc::clone(&shared), left: length, data_ended: false }, Handle(shared))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let shared = &*self.shared;
        remember(&shared.reader, cx.waker());
        if shared.expects.get() {
            wake(&shared.stream);
        }
        let mut recv = shared.recv.borrow_mut();
        let Some(stream) = recv.as_mut() else {
            let over = if shared.ended.get() { None } else { Some(Err(UploadError::Closed)) };
            return Poll::Ready(over);
        };
        if !self.data_ended {
            match ready!(stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Fails for a stream that was reset meanwhile, which the next poll tells.
                    stream.flow_control().release_capacity(data.len()).unwrap_or_default();
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    drop(recv);
                    shared.look_for_end();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(UploadError::Http2(error)))),
                None => self.data_ended = true,
            }
        }
        match ready!(stream.poll_trailers(cx)) {
            Ok(trailers) => {
                shared.ended.set(true);
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Err(error) => Poll::Ready(Some(Err(UploadError::Http2(error)))),
        }
    }
}

impl crate::upload::Upload for Upload {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Reason>>> {
        self.poll_next(cx).map_err(|error| why_broke(&error))
    }

    fn is_end(&self) -> bool {
        self.shared.ended.get()
    }

    /// Bytes that follow, where the request says how many.
    fn length(&self) -> Option<u64> {
        if self.is_end() { Some(0) } else { self.left }
    }
}

impl Shared {
    /// `h2` takes a stream that was reset for one that has ended; only reading tells them apart, and at an end it
    /// never waits.
    fn look_for_end(&self) {
        let mut recv = self.recv.borrow_mut();
        let Some(stream) = recv.as_mut().filter(|stream| stream.is_end_stream()) else { return };
        let mut cx = Context::from_waker(Waker::noop());
        self.ended.set(matches!(stream.poll_data(&mut cx), Poll::Ready(None)));
    }
}

impl Handle {
    /// Whether the client waits for a 100 and the body is being asked for. Says so once; `waker` is woken when it is.
    pub(super) fn must_continue(&self, waker: &Waker) -> bool {
        if !self.0.expects.get() {
            return false;
        }
        remember(&self.0.stream, waker);
        self.0.reader.borrow().is_some() && self.0.expects.replace(false)
    }

    /// Whether nothing of the request is left that could be read: it is whole, or nobody reads it any more.
    pub(super) fn is_over(&self) -> bool {
        self.0.look_for_end();
        self.0.ended.get() || self.0.recv.borrow().is_none()
    }

    /// Reads what is left of a request whose response is whole, and wastes it: at most `left` bytes. A client that is still
    /// sending would take the reset of its stream for a failure, though it says that there is none (RFC 9113 8.1).
    pub(super) fn poll_waste(&self, left: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
        let mut recv = self.0.recv.borrow_mut();
        let Some(stream) = recv.as_mut() else { return Poll::Ready(()) };
        while let Some(Ok(data)) = ready!(stream.poll_data(cx)) {
            stream.flow_control().release_capacity(data.len()).unwrap_or_default();
            match left.checked_sub(data.len()) {
                Some(rest) => *left = rest,
                None => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    }

    /// Of a stream that was reset, by whom and why. What had come of it is of no use to anybody.
    pub(super) fn why_reset(&self, cx: &mut Context<'_>) -> Option<Reason> {
        let mut recv = self.0.recv.borrow_mut();
        let stream = recv.as_mut()?;
        while let Poll::Ready(Some(next)) = stream.poll_data(cx) {
            if let Err(error) = next {
                return Some(why_broke(&UploadError::Http2(error)));
            }
        }
        None
    }

    /// The stream is over: nobody reads the rest, and whoever would have is reported.
    pub(super) fn close(&self) {
        self.0.recv.take();
        wake(&self.0.reader);
    }
}

/// Why an upload ends before its end.
#[derive(Debug, thiserror::Error)]
enum UploadError {
    #[error(transparent)]
    Http2(#[from] h2::Error),
    /// Its response is over, so that its stream is.
    #[error("the response ended before the request")]
    Closed,
}

/// What the client itself reset or closed it took back; what the library ended broke the protocol, here or elsewhere on
/// the connection.
fn why_broke(error: &UploadError) -> Reason {
    match error {
        // The response is whole by then: nobody is to blame that the rest was not needed.
        UploadError::Closed => Reason::None,
        UploadError::Http2(error) if error.is_io() || error.is_remote() => Reason::ClientClosed,
        UploadError::Http2(error) if error.is_go_away() => Reason::ConnectionBroken,
        UploadError::Http2(_) => Reason::MalformedRequestBody,
    }
}
