//! HTTP/1.1's framing as it passes on its way in: where each head begins and ends, and what its lines say of the body.
//!
//! hyper repairs in silence what must not be repaired (RFC 9112 6.1, 6.3): a length beside `Transfer-Encoding` is
//! dropped, two equal lengths become one, a bare line feed ends a line. Each of them is a way to make two gateways
//! disagree about where a request ends. This follows the same bytes, line by line and without a copy, so that
//! `accept` can refuse them. What hyper refuses by itself is of no interest here: then the connection ends.
//!
//! It costs about 5 ns a line of the head; bodies are passed over by their length.

use memchr::memchr;
use std::collections::VecDeque;

/// So much of a line that came in pieces is kept: the longest name that matters, and a number.
const KEPT: usize = 64;

/// What the lines of one head say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Framing {
    pub(crate) lengths: u8,
    pub(crate) codings: u8,
    /// The last coding line says `chunked` and nothing else.
    pub(crate) chunked: bool,
    /// A line ended with a line feed alone.
    pub(crate) bare_lf: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first line of a head; empty lines here are nobody's (RFC 9112 2.2).
    Start,
    Fields,
    /// So many bytes of a body, or of a chunk and its end.
    Body(u64),
    Chunk(u64),
    ChunkSize,
    Trailers,
    /// Nothing that can be followed: hyper refuses it as well.
    Lost,
}

/// Follows one connection.
pub(crate) struct Heads {
    state: State,
    framing: Framing,
    length: Option<u64>,
    /// The beginning of a line whose end has not come.
    line: [u8; KEPT],
    have: usize,
    /// The last byte of that line.
    last: u8,
    done: VecDeque<Framing>,
}

impl Default for Heads {
    fn default() -> Self {
        let (framing, done) = (Framing::default(), VecDeque::new());
        Self { state: State::Start, framing, length: None, line: [0; KEPT], have: 0, last: 0, done }
    }
}

impl Heads {
    /// The framing of the next request, in the order in which they came.
    pub(crate) fn take(&mut self) -> Option<Framing> {
        self.done.pop_front()
    }

    /// Follows `bytes`, which come next on the connection.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.state {
                State::Lost => return,
                State::Body(left) => bytes = self.skip(left, bytes, State::Body, State::Start),
                State::Chunk(left) => bytes = self.skip(left, bytes, State::Chunk, State::ChunkSize),
                _ => match memchr(b'\n', bytes) {
                    Some(end) => {
                        self.end_line(&bytes[..end]);
                        bytes = &bytes[end + 1..];
                    }
                    None => return self.keep(bytes),
                },
            }
        }
    }

    fn skip<'a>(&mut self, left: u64, bytes: &'a [u8], stay: fn(u64) -> State, then: State) -> &'a [u8] {
        let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - skipped as u64;
        self.state = if left == 0 { then } else { stay(left) };
        &bytes[skipped..]
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = (KEPT - self.have).min(bytes.len());
        self.line[self.have..self.have + room].copy_from_slice(&bytes[..room]);
        self.have += room;
        self.last = bytes.last().copied().unwrap_or(self.last);
    }

    /// A line is whole: `rest` is what came of it last.
    fn end_line(&mut self, rest: &[u8]) {
        if self.have == 0 {
            let (line, cr) = strip(rest, rest.last().copied());
            return self.line(line, cr);
        }
        self.keep(rest);
        let (whole, have) = (self.line, self.have);
        let (line, cr) = strip(&whole[..have], Some(self.last));
        self.have = 0;
        self.line(line, cr);
    }

    fn line(&mut self, line: &[u8], cr: bool) {
        match self.state {
            State::Start if line.is_empty() => {}
            State::Start => {
                (self.framing, self.length, self.state) = (Framing::default(), None, State::Fields);
                self.framing.bare_lf = !cr;
            }
            State::Fields if line.is_empty() => {
                self.framing.bare_lf |= !cr;
                self.end_head();
            }
            State::Fields => {
                self.framing.bare_lf |= !cr;
                self.field(line);
            }
            State::ChunkSize => self.state = chunk(line),
            State::Trailers if line.is_empty() => self.state = State::Start,
            _ => {}
        }
    }

    fn field(&mut self, line: &[u8]) {
        if let Some(value) = value_of(line, b"content-length") {
            self.framing.lengths = self.framing.lengths.saturating_add(1);
            self.length = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
        } else if let Some(value) = value_of(line, b"transfer-encoding") {
            self.framing.codings = self.framing.codings.saturating_add(1);
            self.framing.chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
        }
    }

    fn end_head(&mut self) {
        self.done.push_back(self.framing);
        self.state = match (self.framing.codings, self.framing.lengths, self.length) {
            (0, 0, _) | (0, _, Some(0)) => State::Start,
            (0, _, Some(length)) => State::Body(length),
            (1, _, _) if self.framing.chunked => State::ChunkSize,
            _ => State::Lost,
        };
    }
}

/// A line without its carriage return, and whether it had one.
fn strip(line: &[u8], last: Option<u8>) -> (&[u8], bool) {
    (line.strip_suffix(b"\r").unwrap_or(line), last == Some(b'\r'))
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    head.eq_ignore_ascii_case(name).then_some(value)
}

/// `1a;name=value` → the chunk and the line end behind it.
fn chunk(line: &[u8]) -> State {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let size = std::str::from_utf8(&line[..digits]).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
    match size {
        Some(0) => State::Trailers,
        Some(size) => size.checked_add(2).map_or(State::Lost, State::Chunk),
        None => State::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same answer however the bytes are cut.
    fn framings(wire: &str) -> Vec<Framing> {
        let whole = follow(wire.as_bytes(), wire.len());
        for piece in 1..wire.len() {
            assert_eq!(follow(wire.as_bytes(), piece), whole, "in pieces of {piece}");
        }
        whole
    }

    fn follow(wire: &[u8], piece: usize) -> Vec<Framing> {
        let mut heads = Heads::default();
        wire.chunks(piece).for_each(|bytes| heads.pass(bytes));
        std::iter::from_fn(|| heads.take()).collect()
    }

    const PLAIN: Framing = Framing { lengths: 0, codings: 0, chunked: false, bare_lf: false };

    #[test]
    fn requests_follow_each_other_whatever_their_bodies() {
        let wire = "\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 21\r\n\r\ncontent-length: 99\r\n\r\n\
            POST / HTTP/1.1\r\ntransfer-Encoding:\tCHUNKED \r\n\r\n\
            1a;x=\"y\"\r\nContent-Length: 7\r\n\r\nabcde\r\n0\r\nContent-Length: 5\r\n\r\n\
            GET / HTTP/1.1\r\nhost: a\r\n\r\nPUT / HTTP/1.1\r\ncontent-length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        let length = Framing { lengths: 1, ..PLAIN };
        assert_eq!(framings(wire), [length, Framing { codings: 1, chunked: true, ..PLAIN }, PLAIN, length, PLAIN]);
    }

    #[test]
    fn what_hyper_repairs_is_seen() {
        let head = |lines: &str| framings(&format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))[0];
        let both = Framing { lengths: 1, codings: 1, chunked: true, ..PLAIN };
        assert_eq!(head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), both);
        assert_eq!(head("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), both);
        assert_eq!(head("content-length: 5\r\ncontent-length: 5\r\n").lengths, 2);
        assert!(!head("Transfer-Encoding: gzip, chunked\r\n").chunked);
        assert_eq!(head("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n").codings, 2);
        assert!(head("x: 1\nContent-Length: 5\r\n").bare_lf);
        assert_eq!(head("x-content-length: 5\r\ncontent-lengths: 5\r\ncontent: 5\r\n"), PLAIN);
        assert!(framings("GET / HTTP/1.1\nHost: a\n\n")[0].bare_lf);
    }

    #[test]
    fn a_long_line_in_pieces_is_a_line() {
        let wire = format!(
            "GET /{0} HTTP/1.1\r\nx: {0}\r\ncontent-length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n",
            "y".repeat(500)
        );
        assert_eq!(follow(wire.as_bytes(), 7), [Framing { lengths: 1, ..PLAIN }, PLAIN]);
    }
}
