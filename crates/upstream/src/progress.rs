//! Where a request and its response stand on their connection.

use bytes::Bytes;
use http_body::Frame;
use std::io;
use weir_http1::{Asked, Decoder, Encoder, Framing, Limits};

/// One exchange. Kept with the connection, because a request in flight changes hands.
pub(crate) struct Progress {
    pub(crate) encoder: Encoder,
    /// The frame that was taken last, until something is written.
    pub(crate) last: Option<Frame<Bytes>>,
    /// What the stream had taken before.
    pub(crate) taken: u64,
    /// Writing failed. The response may have come all the same.
    pub(crate) broken: Option<io::Error>,
    pub(crate) asked: Asked,
    pub(crate) decoder: Decoder,
    /// Bytes of the response's content, where it says how many.
    pub(crate) length: Option<u64>,
    /// The upstream keeps the connection behind this response.
    pub(crate) persists: bool,
    /// It is a tunnel whose end the upstream has not been told.
    pub(crate) is_tunnel: bool,
}

impl Progress {
    pub(crate) fn new(framing: Framing, asked: Asked, taken: u64) -> Self {
        Self {
            encoder: Encoder::new(framing),
            last: None,
            taken,
            broken: None,
            asked,
            decoder: Decoder::new(Framing::None, Limits::default()),
            length: None,
            persists: false,
            is_tunnel: false,
        }
    }
}
