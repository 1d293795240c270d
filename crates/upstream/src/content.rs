//! What is sent behind a request's head, as whoever sends it provides it.

use bytes::Bytes;
use http_body::Frame;
use std::task::{Context, Poll};

/// The content of one request.
pub trait Content {
    /// Why it ends before its end.
    type Error;

    /// The next data, or the trailers, which are its end.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>>;

    /// Whether nothing more follows: known without asking for it.
    fn is_end(&self) -> bool;

    /// How many bytes follow, if that is known.
    fn length(&self) -> Option<u64>;

    /// Takes back the frame that it gave last: it will be asked for it once more. Of several the last comes back first.
    fn unread(&mut self, frame: Frame<Bytes>);
}
