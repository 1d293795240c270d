//! HTTP/1 messages without I/O (RFC 9110, RFC 9112): what a gateway must know of them, and nothing that it decides.
//!
//! A gateway's HTTP/1 is another one than a server's or a client's. It decides itself where a message ends, and refuses
//! what two readers could read in two ways. It passes on what it does not understand, in its order and spelling. And it
//! must be able to say what was wrong with a message.
//!
//! - [`Reader`] takes heads out of a read buffer: a [`Request`] or a [`Response`], with [`Fields`] that are a flat list over
//!   the bytes in which they came, and the [`Framing`] of the body behind it.
//! - [`Decoder`] takes the body out of the same buffer; [`Encoder`] writes one.
//! - Heads are changed as lists and written once. What would make another message of them is refused by the editor.
//!
//! One task serves a connection: it reads into a buffer and asks [`Reader::request`] until that has a head. The head is
//! edited ([`Fields::end_hop`], [`Fields::set`], [`Fields::set_framing`]) and written for the other side. Then it asks
//! [`Decoder::step`] what of the same buffer is content, which goes out between [`Encoder::begin`] and [`Encoder::close`];
//! where the content must outlive the buffer, [`Decoder::next`] hands it out as a slice of its own. When the body has
//! ended, the buffer begins with the next head.
//!
//! Sockets, times, pools, routing and policies do not belong here. The crate knows nothing of Weir.

mod body;
mod connection;
mod error;
mod fields;
mod framing;
mod grammar;
mod host;
mod known;
mod legible;
mod limits;
mod line;
mod map;
mod message;
mod reader;
mod section;
mod target;

pub use body::{Decoder, Encoder, Frame, Piece, Step, content_only};
pub use connection::{Expectation, Options, Upgrade};
pub use error::{BodyError, EditError, EncodeError, HeadError};
pub use fields::{Field, Fields, Lines, Name, SoundValue};
pub use framing::{Asked, Framing};
pub use host::is_plain_authority;
pub use known::{Known, KnownSet};
pub use legible::{Legible, legible};
pub use limits::Limits;
pub use line::Version;
pub use map::{ReasonPhrase, write_request, write_status};
pub use message::{Request, Response};
pub use reader::Reader;
pub use target::Form;
