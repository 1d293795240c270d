//! The content of a request that a policy wants whole: read before anything is sent, up to a bound, and sent on as it came.

use crate::answer::Refusal;
use crate::body::RequestBody;
use crate::exchange::ExchangeRef;
use crate::patience::patiently;
use crate::upload::{Incoming, Upload};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use weir_event::{Reason, Turn};

/// What was read.
struct Gathered {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
    /// The request says how long it is.
    is_sized: bool,
}

impl Upload for Gathered {
    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Reason>>> {
        let data = self.data.take().map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn length(&self) -> Option<u64> {
        self.is_sized.then(|| self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}

/// Reads all of `body`, at most `most` bytes, for as long as the client may take. The time is the client's.
pub(crate) async fn gather(exchange: &ExchangeRef, body: &mut RequestBody, most: usize) -> Result<Bytes, Refusal> {
    let Some(mut incoming) = body.take_incoming() else { return Ok(body.gathered().unwrap_or_default()) };
    let is_sized = incoming.length().is_some();
    if incoming.length().is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let read = {
        let reading = pin!(read(exchange, &mut incoming, most));
        let timeouts = exchange.snapshot().timeouts;
        patiently(exchange, &timeouts, exchange.progress(), reading).await
    };
    let now = exchange.hand_to(Turn::Gateway);
    let (data, trailers) = match read {
        Ok(Ok(whole)) => whole,
        Ok(Err(Some(reason))) | Err(reason) => {
            return Err(Refusal::new(reason, "the content of the request did not come whole"));
        }
        Ok(Err(None)) => return Err(too_large()),
    };
    exchange.request_is_whole(now);
    let gathered = Gathered { data: (!data.is_empty()).then(|| data.clone()), trailers, is_sized };
    body.has_gathered(data.clone(), Box::new(gathered));
    Ok(data)
}

fn too_large() -> Refusal {
    Refusal::new(Reason::RequestTooLarge, "the content of the request is larger than its policies take")
}

/// The data and the trailers; why they do not come, or nothing where they are too large.
async fn read(
    exchange: &ExchangeRef,
    incoming: &mut Incoming,
    most: usize,
) -> Result<(Bytes, Option<HeaderMap>), Option<Reason>> {
    let (mut first, mut more) = (Bytes::new(), BytesMut::new());
    loop {
        let next = poll_fn(|cx| {
            let next = incoming.poll_frame(cx);
            let turn = if next.is_pending() { Turn::Client } else { Turn::Gateway };
            exchange.progressed_in(turn, next.is_ready());
            next
        });
        let whole = |first: Bytes, more: BytesMut| if more.is_empty() { first } else { more.freeze() };
        match next.await.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => {
                exchange.borrow_mut().bytes_in += data.len() as u64;
                if first.len().max(more.len()) + data.len() > most {
                    return Err(None);
                }
                // Usually it is one piece, which is passed on as it lies.
                if first.is_empty() && more.is_empty() {
                    first = data;
                } else {
                    if more.is_empty() {
                        more.extend_from_slice(&first);
                    }
                    more.extend_from_slice(&data);
                }
                if incoming.is_end() {
                    return Ok((whole(first, more), None));
                }
            }
            Some(Ok(Err(frame))) => return Ok((whole(first, more), frame.into_trailers().ok())),
            Some(Err(reason)) => return Err(Some(reason)),
            None => return Ok((whole(first, more), None)),
        }
    }
}
