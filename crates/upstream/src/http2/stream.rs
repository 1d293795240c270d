//! A request on its way, and its response: one stream of a connection of HTTP/2.
//!
//! What the client sends is asked for when the upstream has room for it. What the upstream sends is granted anew when
//! the frame before has been passed on: memory is bounded by the stream's window, and the upstream feels a slow client.

use super::head;
use super::session::Place;
use crate::answer::{Head, Incomplete, Unanswered};
use crate::content::Content;
use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Error, Reason, RecvStream, SendStream};
use http::{HeaderMap, Method};
use http_body::Frame;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use weir_http1::{Fields, HeadError, content_only};

/// So much of a request's content is kept until its response begins, so that it can be sent again. Bytes.
const KEPT: usize = 64 * 1024;

/// A request on its way. Dropped before its end, its stream is reset.
pub(crate) struct Http2<C> {
    place: Place,
    /// Until the response begins, for whoever sends it again; and until all of it is handed over.
    content: Option<C>,
    /// What was taken of it; `None` if that is more than is kept.
    taken: Option<Vec<Frame<Bytes>>>,
    /// Bytes of that.
    kept: usize,
    /// `None` when nothing more is sent.
    upload: Option<SendStream<Bytes>>,
    response: Response,
    /// Bytes of the frame that was handed out last.
    held: usize,
    /// Bytes of the response's content, where its head says how many.
    length: Option<u64>,
}

enum Response {
    /// There will be none.
    Failed(Failed),
    Waiting(ResponseFuture),
    Coming(RecvStream),
    Whole,
}

/// Why.
enum Failed {
    Unsent(HeadError),
    Http2(Error),
}

impl<C: Content> Http2<C> {
    /// Sends a request: its head, and `content` behind it.
    pub(crate) fn send(place: Place, request: (&Method, &str, &Fields), content: C) -> Self {
        let ends = content.is_end();
        let head = head::request(request, &place.session().scheme).map_err(Failed::Unsent);
        let sent = head.and_then(|head| place.send(head, ends).map_err(Failed::Http2));
        let (response, upload) = match sent {
            Ok((response, upload)) => (Response::Waiting(response), (!ends).then_some(upload)),
            Err(failed) => (Response::Failed(failed), None),
        };
        let content = (!ends).then_some(content);
        Self { place, content, taken: Some(Vec::new()), kept: 0, upload, response, held: 0, length: None }
    }

    /// Whether the whole content can be given back.
    pub(crate) fn has_content(&self) -> bool {
        self.taken.is_some()
    }

    /// The content, whole.
    pub(crate) fn into_content(self) -> Option<C> {
        let mut content = self.content?;
        self.taken?.into_iter().rev().for_each(|frame| content.unread(frame));
        Some(content)
    }

    /// Hands over what there is of the request. Ready when all of it is, or nothing more can be.
    ///
    /// # Errors
    /// The content broke off.
    pub(crate) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        while let (Some(upload), Some(content)) = (&mut self.upload, &mut self.content) {
            if content.is_end() {
                self.end(None);
                break;
            }
            if upload.capacity() == 0 {
                upload.reserve_capacity(1);
                match ready!(upload.poll_capacity(cx)) {
                    Some(Ok(_)) => continue,
                    // The upstream takes no more of it. It may answer all the same (RFC 9113 8.1).
                    Some(Err(_)) | None => {
                        self.upload = None;
                        break;
                    }
                }
            }
            match ready!(content.poll_frame(cx)).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => {
                    let last = content.is_end();
                    self.keep(data.len(), || Frame::data(data.clone()));
                    self.pass(data, last);
                }
                Some(Err(frame)) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    self.keep(0, || Frame::trailers(trailers.clone()));
                    self.end(Some(trailers));
                }
                None => self.end(None),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn pass(&mut self, data: Bytes, last: bool) {
        if data.is_empty() && !last {
            return;
        }
        let failed = self.upload.as_mut().is_some_and(|upload| upload.send_data(data, last).is_err());
        if failed || last {
            self.upload = None;
            self.let_go();
        }
    }

    /// Nothing more is sent. Before the response has begun, whoever sends the request again may need what was sent.
    fn let_go(&mut self) {
        if matches!(self.response, Response::Coming(_) | Response::Whole) {
            self.content = None;
        }
    }

    /// All of the content is handed over.
    fn end(&mut self, trailers: Option<HeaderMap>) {
        let Some(mut upload) = self.upload.take() else { return };
        upload.reserve_capacity(0);
        // Fails where the stream is over, which its response tells.
        let trailers = trailers.map(content_only).filter(|trailers| !trailers.is_empty());
        let ended = match trailers {
            Some(trailers) => upload.send_trailers(trailers),
            None => upload.send_data(Bytes::new(), true),
        };
        drop(ended);
        self.let_go();
    }

    fn keep(&mut self, len: usize, frame: impl FnOnce() -> Frame<Bytes>) {
        self.kept += len;
        match &mut self.taken {
            Some(taken) if self.kept <= KEPT && matches!(self.response, Response::Waiting(_)) => taken.push(frame()),
            taken => *taken = None,
        }
    }

    /// Waits for the head of the response.
    ///
    /// # Errors
    /// The stream ended without one, what came is none, or the request broke off.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Unanswered<C::Error>>> {
        if let Poll::Ready(Err(error)) = self.poll_request(cx) {
            return Poll::Ready(Err(Unanswered::Content(error)));
        }
        let Response::Waiting(response) = &mut self.response else {
            let failed = match std::mem::replace(&mut self.response, Response::Whole) {
                Response::Failed(failed) => self.unanswered(failed),
                _ => Unanswered::Closed(io::ErrorKind::UnexpectedEof.into()),
            };
            return Poll::Ready(Err(failed));
        };
        if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
            self.place.is_answered = true;
            let head = interim.map_err(|error| self.unanswered(Failed::Http2(error)))?;
            return Poll::Ready(Ok(head::response(&head, self.place.session().fields)?));
        }
        let (parts, content) = match ready!(Pin::new(response).poll(cx)) {
            Ok(response) => response.into_parts(),
            Err(error) => return Poll::Ready(Err(self.unanswered(Failed::Http2(error)))),
        };
        self.place.is_answered = true;
        self.response = Response::Coming(content);
        let head = head::response(&http::Response::from_parts(parts, ()), self.place.session().fields)?;
        self.length = head::length(&head.fields)?;
        self.look_for_end();
        if self.is_end() {
            self.length = Some(0);
        }
        self.taken = None;
        if self.upload.is_none() {
            self.content = None;
        }
        Poll::Ready(Ok(head))
    }

    /// Why there is no response.
    fn unanswered(&mut self, failed: Failed) -> Unanswered<C::Error> {
        let error = match failed {
            Failed::Unsent(error) => return Unanswered::Unsaid(error),
            Failed::Http2(error) => error,
        };
        if error.is_go_away() || error.is_io() {
            self.place.session().retire();
        }
        // A stream above the last that GOAWAY names, or the head of a connection that was told so (RFC 9113 6.8, 8.7).
        let is_left_out = error.is_go_away() && error.is_remote();
        let is_refused = error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM);
        if is_left_out || is_refused {
            return Unanswered::Refused;
        }
        if error.is_library() {
            // What came is not HTTP/2.
            return Unanswered::Head(HeadError::Version);
        }
        let kind = if error.is_io() { io::ErrorKind::ConnectionAborted } else { io::ErrorKind::ConnectionReset };
        Unanswered::Closed(io::Error::new(kind, error))
    }

    /// The next frame of the response's content.
    ///
    /// # Errors
    /// It broke off.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Incomplete>>> {
        let held = std::mem::take(&mut self.held);
        if let Response::Coming(content) = &mut self.response {
            // Fails for a stream that is over, which the next look tells.
            content.flow_control().release_capacity(held).unwrap_or_default();
        }
        if self.is_end() {
            return Poll::Ready(None);
        }
        if matches!(self.poll_request(cx), Poll::Ready(Err(_))) {
            return Poll::Ready(Some(Err(Incomplete::Request)));
        }
        loop {
            let Response::Coming(content) = &mut self.response else { return Poll::Ready(None) };
            match ready!(content.poll_data(cx)) {
                Some(Ok(data)) => {
                    self.look_for_end();
                    if !data.is_empty() {
                        self.held = data.len();
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.broke(error)))),
                None => {
                    let trailers = match ready!(content.poll_trailers(cx)) {
                        Ok(trailers) => trailers,
                        Err(error) => return Poll::Ready(Some(Err(self.broke(error)))),
                    };
                    self.response = Response::Whole;
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(content_only(trailers)))));
                }
            }
        }
    }

    fn broke(&mut self, error: Error) -> Incomplete {
        if error.is_go_away() || error.is_io() {
            self.place.session().retire();
        }
        Incomplete::Closed(io::Error::other(error))
    }

    /// `h2` takes a stream that was reset for one that has ended; only reading tells them apart, and at an end it never
    /// waits.
    fn look_for_end(&mut self) {
        let Response::Coming(content) = &mut self.response else { return };
        if content.is_end_stream() {
            let mut cx = Context::from_waker(Waker::noop());
            let is_whole = matches!(content.poll_data(&mut cx), Poll::Ready(None))
                && matches!(content.poll_trailers(&mut cx), Poll::Ready(Ok(None)));
            if is_whole {
                self.response = Response::Whole;
            }
        }
    }

    /// Whether the whole response has come.
    pub(crate) fn is_end(&self) -> bool {
        matches!(self.response, Response::Whole)
    }

    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }
}
