//! A body out of what was read, without a copy.
//!
//! The decoder says what stands at the beginning of the bytes: so many that are framing, so many that are content. What
//! it has told of counts as consumed. Lines that are not whole stay where they are.

use super::chunk::chunk_line;
use super::trailers::trailers;
use crate::error::BodyError;
use crate::fields::Fields;
use crate::framing::Framing;
use crate::limits::Limits;
use crate::section::Section;
use bytes::{Buf, Bytes, BytesMut};

/// Decodes one body.
#[derive(Clone, Debug)]
pub struct Decoder {
    limits: Limits,
    state: State,
    /// Bytes of all chunk extensions so far.
    extensions: usize,
    section: Section,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    ChunkLine,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    UntilClose,
    Done,
}

/// What stands at the beginning of some bytes.
#[derive(Debug)]
pub struct Step {
    /// So many bytes of framing are done. What `piece` says stands behind them.
    pub skip: usize,
    /// What stands there.
    pub piece: Piece,
}

/// A part of a body.
#[derive(Debug)]
pub enum Piece {
    /// Nothing that is whole: more must be read.
    More,
    /// So many bytes of content.
    Data(usize),
    /// The trailer section; its bytes are in [`Step::skip`]. The body ends with it.
    Trailers(Box<Fields>),
    /// The body has ended. The next message begins there.
    End,
}

/// A part of a body, taken out of a buffer.
#[derive(Debug)]
pub enum Frame {
    /// Content: a slice of the buffer, not a copy.
    Data(Bytes),
    /// The trailer section. The body ends with it.
    Trailers(Box<Fields>),
    /// The body has ended.
    End,
}

impl Decoder {
    /// A decoder of a body with this framing. Of [`Framing::Tunnel`] it makes content of all that comes.
    pub fn new(framing: Framing, limits: Limits) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkLine,
            Framing::UntilClose | Framing::Tunnel => State::UntilClose,
        };
        Self { limits, state, extensions: 0, section: Section::default() }
    }

    /// Whether the body has ended: no [`Self::step`] is needed to know.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// What stands at the beginning of `bytes`. The next call gets the bytes behind it.
    ///
    /// # Errors
    /// The body breaks its own framing. Where the next message begins is not known: the connection ends.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, BodyError> {
        let mut skip = 0;
        loop {
            let rest = &bytes[skip..];
            let piece = match self.state {
                State::Done => Piece::End,
                State::UntilClose if rest.is_empty() => Piece::More,
                State::UntilClose => Piece::Data(rest.len()),
                State::Length(left) => self.data(left, rest, State::Length, State::Done),
                State::ChunkData(left) => self.data(left, rest, State::ChunkData, State::ChunkEnd),
                State::ChunkEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        self.state = State::ChunkLine;
                        skip += 2;
                        continue;
                    }
                    [] | [b'\r'] => Piece::More,
                    _ => return Err(BodyError::ChunkEnd),
                },
                State::ChunkLine => match self.chunk_line(rest)? {
                    Some(len) => {
                        skip += len;
                        continue;
                    }
                    None => Piece::More,
                },
                State::Trailers => {
                    let (len, piece) = self.trailers(rest)?;
                    skip += len;
                    piece
                }
            };
            return Ok(Step { skip, piece });
        }
    }

    /// The next part of the body, taken out of `buffer`; `None`: more must be read into it.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, BodyError> {
        let step = self.step(buffer)?;
        buffer.advance(step.skip);
        Ok(match step.piece {
            Piece::More => None,
            Piece::Data(len) => Some(Frame::Data(buffer.split_to(len).freeze())),
            Piece::Trailers(fields) => Some(Frame::Trailers(fields)),
            Piece::End => Some(Frame::End),
        })
    }

    /// The connection was closed, or its sending half: the body ends with it, or is incomplete.
    ///
    /// # Errors
    /// [`BodyError::Incomplete`] (RFC 9112 8).
    pub fn close(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Done | State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(BodyError::Incomplete),
        }
    }

    #[inline]
    fn data(&mut self, left: u64, bytes: &[u8], stay: fn(u64) -> State, then: State) -> Piece {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        if len == 0 {
            return Piece::More;
        }
        let left = left - len as u64;
        self.state = if left == 0 { then } else { stay(left) };
        Piece::Data(len)
    }

    fn chunk_line(&mut self, bytes: &[u8]) -> Result<Option<usize>, BodyError> {
        let Some(line) = chunk_line(bytes, self.limits.chunk_line)? else { return Ok(None) };
        self.extensions += line.extensions;
        if self.extensions > self.limits.extensions {
            return Err(BodyError::Extensions);
        }
        self.state = if line.size == 0 { State::Trailers } else { State::ChunkData(line.size) };
        Ok(Some(line.len))
    }

    fn trailers(&mut self, bytes: &[u8]) -> Result<(usize, Piece), BodyError> {
        match bytes {
            [b'\r', b'\n', ..] => {
                self.state = State::Done;
                return Ok((2, Piece::End));
            }
            [] | [b'\r'] => return Ok((0, Piece::More)),
            _ => {}
        }
        if self.section.may_be_whole(bytes)
            && let Some((fields, len)) = trailers(bytes, &self.limits)?
        {
            self.state = State::Done;
            return Ok((len, Piece::Trailers(Box::new(fields))));
        }
        if bytes.len() > self.limits.trailers { Err(BodyError::TrailersTooLarge) } else { Ok((0, Piece::More)) }
    }
}
