//! A request on its way, and its response: HTTP/1.1 on one connection.

use crate::answer::{Head, Incomplete, Unanswered};
use crate::content::Content;
use crate::line::{Line, State};
use crate::progress::Progress;
use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body::Frame;
use std::io;
use std::task::{Context, Poll, ready};
use weir_http1::{Asked, Decoder, Encoder, Fields, Frame as Piece, Framing, HeadError, content_only, write_request};

/// So much of a request is collected before it is written. Bytes.
const COLLECTED: usize = 16 * 1024;

/// A request on its way. Dropped before its end, it closes its connection.
pub(crate) struct Http1<C> {
    connection: Line,
    /// Until all of it is handed over.
    content: Option<C>,
}

impl<C: Content> Http1<C> {
    /// Sends a request: its head, and `content` behind it. The head has the framing of the content.
    pub(crate) fn send(mut connection: Line, (method, target, fields): (&Method, &str, &Fields), content: C) -> Self {
        let State { io, progress, .. } = &mut *connection.0;
        let taken = io.taken();
        write_request(method, target, fields, io.output());
        let framing = match content.length() {
            _ if content.is_end() => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        *progress = Progress::new(framing, Asked::by(method.as_str().as_bytes()), taken);
        Self { content: (!content.is_end()).then_some(content), connection }
    }

    /// Whether no byte of the request was written.
    pub(crate) fn is_unsent(&self) -> bool {
        self.connection.0.io.taken() == self.connection.0.progress.taken
    }

    /// The content of a request of which no byte was written, whole.
    pub(crate) fn into_content(mut self) -> Option<C> {
        let mut content = self.content.take()?;
        if let Some(frame) = self.connection.0.progress.last.take() {
            content.unread(frame);
        }
        Some(content)
    }

    /// Writes what there is of the request. Ready when all of it is written, or nothing more can be.
    ///
    /// # Errors
    /// The content broke off.
    pub(crate) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        if self.connection.0.progress.broken.is_some() {
            return Poll::Ready(Ok(()));
        }
        match self.poll_write(cx) {
            Poll::Ready(Err(Stop::Content(error))) => Poll::Ready(Err(error)),
            Poll::Ready(Err(Stop::Io(error))) => {
                self.connection.0.progress.broken = Some(error);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop<C::Error>>> {
        loop {
            let State { io, progress, .. } = &mut *self.connection.0;
            // The frame that was taken first is kept until some of it is written.
            if io.has_content() || io.unwritten() >= COLLECTED || progress.last.is_some() {
                ready!(io.poll_flush(cx))?;
                progress.last = None;
            }
            let Some(content) = &mut self.content else { break };
            if content.is_end() {
                self.end(None)?;
                continue;
            }
            let next = match content.poll_frame(cx) {
                Poll::Ready(next) => next.transpose().map_err(Stop::Content)?,
                Poll::Pending => {
                    ready!(io.poll_flush(cx))?;
                    return Poll::Pending;
                }
            };
            self.write_frame(next)?;
        }
        let State { io, progress, .. } = &mut *self.connection.0;
        ready!(io.poll_flush(cx))?;
        if progress.is_tunnel {
            ready!(io.poll_shutdown(cx))?;
            progress.is_tunnel = false;
        }
        Poll::Ready(Ok(()))
    }

    fn write_frame(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), Stop<C::Error>> {
        let State { io, progress, .. } = &mut *self.connection.0;
        match frame.map(Frame::into_data) {
            Some(Ok(data)) if data.is_empty() => {}
            Some(Ok(data)) => {
                progress.encoder.begin(data.len(), io.output()).map_err(disagrees)?;
                if io.taken() == progress.taken {
                    progress.last = Some(Frame::data(data.clone()));
                }
                io.push(data, progress.encoder.tail());
            }
            Some(Err(frame)) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                self.end(Some(trailers))?;
            }
            None => self.end(None)?,
        }
        Ok(())
    }

    /// All of the content is handed over.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Stop<C::Error>> {
        let State { io, progress: Progress { encoder, .. }, .. } = &mut *self.connection.0;
        let trailers = trailers.and_then(|map| Fields::of_map(&content_only(map)).ok());
        encoder.end(trailers.as_ref(), io.output()).map_err(disagrees)?;
        self.content = None;
        Ok(())
    }

    /// Waits for the head of the response. After one of [`Head::is_interim`] another follows for the same request.
    ///
    /// # Errors
    /// The connection ended without one, what came is none, or the request broke off.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Unanswered<C::Error>>> {
        if let Poll::Ready(Err(error)) = self.poll_request(cx) {
            return Poll::Ready(Err(Unanswered::Content(error)));
        }
        let State { io, reader, head, limits, progress, .. } = &mut *self.connection.0;
        loop {
            match reader.response(io.input(), head, progress.asked)? {
                Some(_) if head.is_interim() => {
                    let interim = Head::of(head);
                    head.clear();
                    return Poll::Ready(interim.ok_or(Unanswered::Head(HeadError::Line)));
                }
                Some(framing) => {
                    progress.persists = head.persists() && !matches!(framing, Framing::UntilClose | Framing::Tunnel);
                    progress.decoder = Decoder::new(framing, *limits);
                    progress.length = match framing {
                        Framing::None => Some(0),
                        Framing::Length(length) => Some(length),
                        _ => None,
                    };
                    let answered = Head::of(head);
                    head.clear();
                    return Poll::Ready(answered.ok_or(Unanswered::Head(HeadError::Line)));
                }
                None => {}
            }
            let closed = match ready!(io.poll_fill(cx)) {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => continue,
                Err(error) => error,
            };
            return Poll::Ready(Err(progress.broken.take().unwrap_or(closed).into()));
        }
    }

    /// The next frame of the response's content.
    ///
    /// # Errors
    /// It broke off.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Incomplete>>> {
        if self.connection.0.progress.decoder.is_done() {
            return Poll::Ready(None);
        }
        let State { io, progress, .. } = &*self.connection.0;
        let is_sent = self.content.is_none() && io.is_flushed() && !progress.is_tunnel;
        if !is_sent && matches!(self.poll_request(cx), Poll::Ready(Err(_))) {
            return Poll::Ready(Some(Err(Incomplete::Request)));
        }
        let State { io, progress: Progress { decoder, .. }, .. } = &mut *self.connection.0;
        loop {
            match decoder.next(io.input())? {
                Some(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Piece::Trailers(fields)) => {
                    return Poll::Ready(fields.to_map().map(|map| Ok(Frame::trailers(map))));
                }
                Some(Piece::End) => return Poll::Ready(None),
                None => {}
            }
            if ready!(io.poll_fill(cx))? == 0 {
                decoder.close()?;
                return Poll::Ready(None);
            }
        }
    }

    /// The response was 101: the connection is a tunnel from here on, and `content` is all that goes into it. Its end is
    /// told to the upstream, which ends it from its side.
    pub(crate) fn open_tunnel(&mut self, content: C) {
        self.connection.0.progress.encoder = Encoder::new(Framing::Tunnel);
        self.connection.0.progress.is_tunnel = true;
        self.content = Some(content);
    }

    /// Whether the whole response has come: known without asking for more.
    pub(crate) fn is_end(&self) -> bool {
        self.connection.0.progress.decoder.is_done()
    }

    /// Bytes of the response's content, where its head says how many.
    pub(crate) fn length(&self) -> Option<u64> {
        self.connection.0.progress.length
    }

    /// The connection, if another request can be sent on it: the request and the response are whole.
    pub(crate) fn finish(self) -> Option<Line> {
        let State { io, progress, .. } = &*self.connection.0;
        let is_whole = self.content.is_none() && progress.broken.is_none() && io.is_flushed();
        let is_next = progress.decoder.is_done() && progress.persists && io.is_input_empty();
        (is_whole && is_next).then_some(self.connection)
    }
}

/// Why no more of a request is written.
enum Stop<E> {
    Content(E),
    Io(io::Error),
}

impl<E> From<io::Error> for Stop<E> {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The content is longer or shorter than it said: the connection must end.
fn disagrees<E>(error: weir_http1::EncodeError) -> Stop<E> {
    Stop::Io(io::Error::new(io::ErrorKind::InvalidData, error))
}
