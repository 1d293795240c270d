//! What a client sends behind its request, whichever protocol brings it.

use bytes::Bytes;
use http_body::Frame;
use std::task::{Context, Poll};
use weir_event::Reason;

/// A client's body as it comes in. A request without one has none.
pub(crate) type Incoming = Box<dyn Upload>;

/// A body of HTTP/1 or of HTTP/2.
pub(crate) trait Upload {
    /// The next frame, or why it broke off.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Reason>>>;

    /// Whether all of it has come and was taken.
    fn is_end(&self) -> bool;

    /// Bytes that follow, where the request says how many.
    fn length(&self) -> Option<u64>;
}
