//! Bodies of messages: `decode` takes one out of what was read, `encode` writes one.

mod chunk;
mod decode;
mod encode;
mod trailers;

pub use decode::{Decoder, Frame, Piece, Step};
pub use encode::Encoder;
pub use trailers::content_only;
