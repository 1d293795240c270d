//! A response on its way to an HTTP/1 client.

use super::wire::Wire;
use crate::body::ResponseBody;
use crate::reply::Reply;
use crate::worker::Worker;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use http_body::Body;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use weir_http1::{EncodeError, Encoder, Fields, Framing, Known, ReasonPhrase, content_only, write_status};

/// So much of a response is collected before it is written. Bytes.
const COLLECTED: usize = 16 * 1024;

/// Room for the status line. Bytes.
const MOST_ADDED: usize = 64;
pub(super) const CLOSE: HeaderValue = HeaderValue::from_static("close");
const KEEP_ALIVE: HeaderValue = HeaderValue::from_static("keep-alive");

/// What of its request a response depends on.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    pub(super) version: Version,
    pub(super) is_head: bool,
    /// The client keeps the connection for another request.
    pub(super) persists: bool,
}

/// Why a response is not written to its end.
pub(super) enum Stop {
    /// The client has left, or takes nothing any more.
    Gone,
    /// The response itself broke off: the client must see that it did.
    Broken,
}

/// Writes the response. Answers whether another request may follow, as far as the response knows.
pub(super) async fn write(
    wire: &Wire,
    worker: &Worker,
    asker: Asker,
    reply: Reply<ResponseBody>,
) -> Result<bool, Stop> {
    let Reply { status, phrase, mut fields, content: mut body } = reply;
    let framing = framing(status, &body, asker);
    let keeps = asker.persists && !matches!(framing, Framing::UntilClose | Framing::Tunnel) && !fields.options().close;
    wire.expects_no_more();
    dress(&mut fields, status, framing, asker, keeps, worker);
    wire.with_output(|io| write_head(status, phrase.as_ref(), &fields, io.output()));
    // With it the memory in which it came.
    drop(fields);
    let ended = body.is_end_stream();
    let mut sending = Sending {
        wire,
        body: Pin::new(&mut body),
        encoder: Encoder::new(framing),
        ended,
        is_tunnel: framing == Framing::Tunnel,
    };
    let written = poll_fn(|cx| sending.poll(cx)).await;
    if matches!(written, Err(Stop::Gone)) {
        return Err(Stop::Gone);
    }
    // Also what came of one that broke off.
    poll_fn(|cx| wire.poll_flush(cx)).await.map_err(|_| Stop::Gone)?;
    written.map(|()| keeps)
}

fn framing(status: StatusCode, body: &ResponseBody, asker: Asker) -> Framing {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Framing::Tunnel;
    }
    let has_none = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if asker.is_head || has_none || status.is_informational() {
        return Framing::None;
    }
    match body.size_hint().exact() {
        Some(length) => Framing::Length(length),
        None if asker.version == Version::HTTP_10 => Framing::UntilClose,
        None => Framing::Chunked,
    }
}

/// What the response says of this connection.
fn dress(fields: &mut Fields, status: StatusCode, framing: Framing, asker: Asker, keeps: bool, worker: &Worker) {
    let framed = match framing {
        // Where it has no content, its length is true of another message (RFC 9110 8.6); 204 has none.
        Framing::None if status != StatusCode::NO_CONTENT => {
            fields.remove(Known::TransferEncoding);
            Ok(())
        }
        framing => fields.set_framing(framing),
    };
    debug_assert!(framed.is_ok(), "a head of 4 GiB");
    if !fields.has(Known::Date) {
        fields.put(Known::Date, &worker.date());
    }
    if !keeps && framing != Framing::Tunnel && !fields.options().close {
        fields.add(Known::Connection, &CLOSE);
    } else if keeps && asker.version == Version::HTTP_10 {
        fields.add(Known::Connection, &KEEP_ALIVE);
    }
}

pub(super) fn write_head(status: StatusCode, phrase: Option<&ReasonPhrase>, fields: &Fields, out: &mut BytesMut) {
    out.reserve(fields.room() + MOST_ADDED);
    write_status(status, phrase, out);
    fields.write(out);
    out.extend_from_slice(b"\r\n");
}

/// A body on its way into the socket.
struct Sending<'w> {
    wire: &'w Wire,
    body: Pin<&'w mut ResponseBody>,
    encoder: Encoder,
    /// No frame follows.
    ended: bool,
    /// Each side ends by itself.
    is_tunnel: bool,
}

impl Sending<'_> {
    /// Ready when all of it is handed over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        loop {
            if self.wire.with_output(|io| io.has_content() || io.unwritten() >= COLLECTED) {
                let flushed = self.wire.poll_flush(cx);
                if flushed.is_pending() {
                    // The request goes on though its client takes nothing of the response.
                    self.body.poll_upload(cx);
                }
                ready!(flushed).map_err(|_| Stop::Gone)?;
            }
            if self.ended {
                return Poll::Ready(self.end(None));
            }
            match self.body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.push(data)?,
                    Err(frame) => return Poll::Ready(self.end(frame.into_trailers().ok())),
                },
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Stop::Broken)),
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => {
                    if let Poll::Ready(Err(_)) = self.wire.poll_flush(cx) {
                        return Poll::Ready(Err(Stop::Gone));
                    }
                    return if !self.is_tunnel && self.wire.has_left(cx) {
                        Poll::Ready(Err(Stop::Gone))
                    } else {
                        Poll::Pending
                    };
                }
            }
        }
    }

    fn push(&mut self, data: Bytes) -> Result<(), Stop> {
        self.ended = self.body.is_end_stream();
        if data.is_empty() {
            return Ok(());
        }
        self.wire
            .with_output(|io| {
                self.encoder.begin(data.len(), io.output())?;
                io.push(data, self.encoder.tail());
                Ok(())
            })
            .map_err(|_: EncodeError| Stop::Broken)
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Stop> {
        let trailers = trailers.and_then(|map| Fields::of_map(&content_only(map)).ok());
        self.wire.with_output(|io| self.encoder.end(trailers.as_ref(), io.output())).map_err(|_| Stop::Broken)
    }
}
