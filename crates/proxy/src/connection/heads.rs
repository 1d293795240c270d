//! HTTP/1.1's framing as it passes on its way in: where each head begins and ends, and what its lines say of the body.
//!
//! hyper repairs in silence what must not be repaired (RFC 9112 6.1, 6.3): a length beside `Transfer-Encoding` is
//! dropped, two equal lengths become one, a bare line feed ends a line. Each of them is a way to make two gateways
//! disagree about where a request ends. This follows the same bytes, line by line and without a copy, so that
//! `accept` can refuse them. What hyper refuses by itself is of no interest here: then the connection ends.
//!
//! Where it cannot be sure itself - a chunk's size of absurd length, a line of chunks or trailers that ends with a line
//! feed alone - the connection ends ([`Doubt`]): it must never go on without knowing. It costs about 5 ns a line of the
//! head; bodies are passed over by their length.

use super::request_line::RequestLine;
use memchr::memchr;
use std::collections::VecDeque;

/// So much of a line that came in pieces is kept: the longest name that matters, and a number. Lines of framing that
/// are longer say nothing that an honest client says.
const KEPT: usize = 64;
/// Heads that have come and that hyper has not made requests of: more than fit into what it reads at once.
const MOST_HEADS: usize = 4096;
/// Digits of a chunk's size: 64 bits.
const MOST_DIGITS: usize = 16;

/// Where the messages of this connection end cannot be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the framing of the connection cannot be followed")]
pub(crate) struct Doubt;

/// What the lines of one head say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Framing {
    pub(crate) lengths: u8,
    pub(crate) codings: u8,
    /// The last coding line says `chunked` and nothing else.
    pub(crate) chunked: bool,
    /// A line ended with a line feed alone.
    pub(crate) bare_lf: bool,
    /// A line of framing is longer than any that means well.
    pub(crate) padded: bool,
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
    /// Behind a head that is refused: the connection ends with its answer.
    Refused,
}

/// Follows one connection.
pub(crate) struct Heads {
    state: State,
    framing: Framing,
    length: Option<u64>,
    /// The beginning of a line whose end has not come.
    line: [u8; KEPT],
    have: usize,
    /// Its length so far, and its last byte.
    len: usize,
    last: u8,
    done: VecDeque<Framing>,
    request_line: RequestLine,
}

impl Default for Heads {
    fn default() -> Self {
        let (framing, done) = (Framing::default(), VecDeque::new());
        let request_line = RequestLine::default();
        Self {
            state: State::Start,
            framing,
            length: None,
            line: [0; KEPT],
            have: 0,
            len: 0,
            last: 0,
            done,
            request_line,
        }
    }
}

impl Heads {
    /// The framing of the next request, in the order in which they came.
    pub(crate) fn take(&mut self) -> Option<Framing> {
        self.done.pop_front()
    }

    /// Whether a part of a head has come whose end has not: more than the empty lines that may stand before it.
    pub(crate) fn is_within_head(&self) -> bool {
        match self.state {
            State::Fields => true,
            State::Start => self.len > 1 || self.len == 1 && self.last != b'\r',
            _ => false,
        }
    }

    pub(crate) fn has_edits(&self) -> bool {
        self.request_line.has_edits()
    }

    /// Where in the bytes that were followed last a request line must be written otherwise for hyper.
    pub(crate) fn take_edits(&mut self) -> Vec<usize> {
        self.request_line.take_edits()
    }

    /// Follows `bytes`, which come next on the connection.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> Result<(), Doubt> {
        let all = bytes.len();
        while !bytes.is_empty() {
            match self.state {
                State::Refused => return Ok(()),
                State::Body(left) => bytes = self.skip(left, bytes, State::Body, State::Start),
                State::Chunk(left) => bytes = self.skip(left, bytes, State::Chunk, State::ChunkSize),
                _ => {
                    let end = memchr(b'\n', bytes);
                    let piece = &bytes[..end.unwrap_or(bytes.len())];
                    if self.state == State::Start {
                        self.request_line.pass(piece, all - bytes.len(), end.is_some());
                    }
                    let Some(end) = end else {
                        self.keep(piece);
                        return Ok(());
                    };
                    self.end_line(piece)?;
                    bytes = &bytes[end + 1..];
                }
            }
        }
        Ok(())
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
        self.len += bytes.len();
        self.last = bytes.last().copied().unwrap_or(self.last);
    }

    /// A line is whole: `rest` is what came of it last.
    fn end_line(&mut self, rest: &[u8]) -> Result<(), Doubt> {
        if self.len == 0 {
            let (line, cr) = strip(rest, rest.last().copied());
            return self.line(line, rest.len(), cr);
        }
        self.keep(rest);
        let (whole, have, len) = (self.line, self.have, self.len);
        let (line, cr) = strip(&whole[..have], Some(self.last));
        (self.have, self.len) = (0, 0);
        self.line(line, len, cr)
    }

    /// `line` may be the beginning of one that is `len` bytes long.
    fn line(&mut self, line: &[u8], len: usize, cr: bool) -> Result<(), Doubt> {
        match self.state {
            State::Start if line.is_empty() => {}
            State::Start => {
                (self.framing, self.length, self.state) = (Framing::default(), None, State::Fields);
                self.framing.bare_lf = !cr;
            }
            State::Fields if line.is_empty() => {
                self.framing.bare_lf |= !cr;
                return self.end_head();
            }
            State::Fields => {
                self.framing.bare_lf |= !cr;
                self.field(line, len);
            }
            // hyper takes a line feed alone for the end of trailers.
            State::ChunkSize | State::Trailers if !cr => return Err(Doubt),
            State::ChunkSize => self.state = chunk(line)?,
            State::Trailers if line.is_empty() => self.state = State::Start,
            _ => {}
        }
        Ok(())
    }

    fn field(&mut self, line: &[u8], len: usize) {
        if let Some(value) = value_of(line, b"content-length") {
            self.framing.lengths = self.framing.lengths.saturating_add(1);
            self.framing.padded |= len > KEPT;
            self.length = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
        } else if let Some(value) = value_of(line, b"transfer-encoding") {
            self.framing.codings = self.framing.codings.saturating_add(1);
            self.framing.padded |= len > KEPT;
            self.framing.chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
        }
    }

    fn end_head(&mut self) -> Result<(), Doubt> {
        if self.done.len() >= MOST_HEADS {
            return Err(Doubt);
        }
        self.done.push_back(self.framing);
        self.state = match self.framing {
            framing if framing.is_doubtful() => State::Refused,
            Framing { codings: 1, .. } => State::ChunkSize,
            _ => match self.length {
                None if self.framing.lengths > 0 => State::Refused,
                None | Some(0) => State::Start,
                Some(length) => State::Body(length),
            },
        };
        Ok(())
    }
}

impl Framing {
    /// Whether it could be read in two ways.
    pub(crate) fn is_doubtful(&self) -> bool {
        let coded = self.codings > 0;
        self.bare_lf
            || self.padded
            || self.lengths > 1
            || self.codings > 1
            || coded && (self.lengths > 0 || !self.chunked)
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
fn chunk(line: &[u8]) -> Result<State, Doubt> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits > MOST_DIGITS {
        return Err(Doubt);
    }
    let size = std::str::from_utf8(&line[..digits]).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
    match size.ok_or(Doubt)? {
        0 => Ok(State::Trailers),
        size => size.checked_add(2).map(State::Chunk).ok_or(Doubt),
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
        wire.chunks(piece).for_each(|bytes| heads.pass(bytes).unwrap());
        std::iter::from_fn(|| heads.take()).collect()
    }

    /// However the bytes are cut.
    fn is_in_doubt(wire: &str) -> bool {
        let doubt = |piece| {
            let mut heads = Heads::default();
            wire.as_bytes().chunks(piece).any(|bytes| heads.pass(bytes).is_err())
        };
        let whole = doubt(wire.len());
        (1..wire.len()).for_each(|piece| assert_eq!(doubt(piece), whole, "in pieces of {piece}"));
        whole
    }

    const PLAIN: Framing = Framing { lengths: 0, codings: 0, chunked: false, bare_lf: false, padded: false };

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
    fn a_part_of_a_head_is_one() {
        let is_within_head = |wire: &str| {
            let mut heads = Heads::default();
            wire.as_bytes().chunks(1).for_each(|bytes| heads.pass(bytes).unwrap());
            heads.is_within_head()
        };
        let whole = "POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nok";
        for between in ["", "\r", "\r\n", "\r\n\r"] {
            assert!(!is_within_head(between) && !is_within_head(&format!("{whole}{between}")), "{between:?}");
        }
        for (at, _) in whole.char_indices().skip(1) {
            assert_eq!(is_within_head(&whole[..at]), at < whole.len() - 2, "{:?}", &whole[..at]);
        }
    }

    #[test]
    fn a_long_line_in_pieces_is_a_line() {
        let wire = format!(
            "GET /{0} HTTP/1.1\r\nx: {0}\r\ncontent-length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n",
            "y".repeat(500)
        );
        assert_eq!(follow(wire.as_bytes(), 7), [Framing { lengths: 1, ..PLAIN }, PLAIN]);
    }

    #[test]
    fn padding_hides_nothing_however_it_is_cut() {
        for pad in [" ".repeat(60), "0".repeat(60)] {
            let wire = format!("POST / HTTP/1.1\r\nContent-Length:{pad}5\r\n\r\nhello");
            assert!(framings(&wire)[0].padded, "{pad:?}");
        }
        let chunked = |rest: &str| format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{rest}");
        assert!(is_in_doubt(&chunked(&format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(70)))));
        assert!(is_in_doubt(&chunked("5\nhello\r\n0\r\n\r\n")));
        assert!(is_in_doubt(&chunked("0\r\nX: a\n\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n")));
        assert!(!is_in_doubt(&chunked(&format!("5;{}\r\nhello\r\n0\r\nX: a\r\n\r\n", "x".repeat(200)))));
    }

    #[test]
    fn heads_that_nobody_takes_are_bounded() {
        let mut heads = Heads::default();
        let wire = "GET / HTTP/1.1\r\n\r\n".repeat(MOST_HEADS);
        heads.pass(wire.as_bytes()).unwrap();
        assert_eq!(heads.pass(b"GET / HTTP/1.1\r\n\r\n"), Err(Doubt));
    }
}
