//! A body into a write buffer: what stands between the pieces of its content.
//!
//! The content itself need not be copied: [`Encoder::begin`] and [`Encoder::close`] write what stands in front of and
//! behind a piece. What is written can never disagree with the head: a length is counted.

use super::trailers::are_trailers;
use crate::error::EncodeError;
use crate::fields::Fields;
use crate::framing::Framing;
use bytes::BytesMut;

/// Encodes one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoder {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    Chunked,
    UntilClose,
    Done,
}

impl Encoder {
    /// An encoder for the framing that the head says. In a [`Framing::Tunnel`] all is content.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None => State::Length(0),
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked,
            Framing::UntilClose | Framing::Tunnel => State::UntilClose,
        };
        Self { state }
    }

    /// Writes what stands in front of `len` bytes of content. Those follow, and then [`Self::close`].
    ///
    /// # Errors
    /// The content would be longer than the head says; nothing is written.
    pub fn begin(&mut self, len: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
        match &mut self.state {
            State::Length(left) => *left = left.checked_sub(len as u64).ok_or(EncodeError::TooMuch)?,
            State::Done if len > 0 => return Err(EncodeError::TooMuch),
            // An empty chunk would end the body.
            State::Chunked if len > 0 => size(len, out),
            State::Chunked | State::UntilClose | State::Done => {}
        }
        Ok(())
    }

    /// Writes what stands behind `len` bytes of content.
    pub fn close(&mut self, len: usize, out: &mut BytesMut) {
        if len > 0 {
            out.extend_from_slice(self.tail());
        }
    }

    /// What stands behind each piece of content that is not empty.
    pub fn tail(&self) -> &'static [u8] {
        if self.state == State::Chunked { b"\r\n" } else { b"" }
    }

    /// Writes a piece of content with what stands around it.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn write(&mut self, data: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        self.begin(data.len(), out)?;
        out.extend_from_slice(data);
        self.close(data.len(), out);
        Ok(())
    }

    /// Writes the end of the body. Trailers can be written behind chunks only; otherwise they are left out, as any
    /// recipient may do (RFC 9110 6.5.1).
    ///
    /// # Errors
    /// There was less content than the head says: the connection must end. Or a trailer field is forbidden; then nothing
    /// is written.
    pub fn end(&mut self, trailers: Option<&Fields>, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self.state {
            State::Length(1..) => return Err(EncodeError::TooLittle),
            State::Chunked => {
                if !trailers.is_none_or(are_trailers) {
                    return Err(EncodeError::TrailerForbidden);
                }
                out.extend_from_slice(b"0\r\n");
                if let Some(trailers) = trailers {
                    trailers.write(out);
                }
                out.extend_from_slice(b"\r\n");
            }
            State::Length(0) | State::UntilClose | State::Done => {}
        }
        self.state = State::Done;
        Ok(())
    }

    /// Whether the end was written.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }
}

/// A chunk's line.
fn size(len: usize, out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut line = [0; 18];
    let (mut at, mut rest) = (16, len);
    (line[16], line[17]) = (b'\r', b'\n');
    while rest > 0 {
        at -= 1;
        line[at] = DIGITS[rest & 15];
        rest >>= 4;
    }
    out.extend_from_slice(&line[at..]);
}
