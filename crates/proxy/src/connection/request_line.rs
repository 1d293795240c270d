//! Request lines that are good HTTP/1 and that hyper refuses, made ones that it takes.
//!
//! Clients send queries with `"`, `<`, `>` and bytes beyond ASCII as they are (`curl 'x?query=up{job="a"}'`); other
//! gateways forward them. Here they are escaped, as those of a path are. And a minor version above 1 is treated as 1.1
//! (RFC 9112 2.3). Both are seen as the bytes pass, byte for byte, however a line is cut; the line of nearly every
//! request costs one look.

/// What stands before the minor version.
const MAJOR: &[u8] = b"HTTP/1.";

/// The part of the line where the next byte belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Method,
    Target,
    /// So many bytes of [`MAJOR`] have come.
    Version(usize),
    Rest,
}

/// Follows one request line after the other.
#[derive(Debug, Default)]
pub(crate) struct RequestLine {
    part: Part,
    edits: Vec<usize>,
}

impl RequestLine {
    /// Follows `piece`, which comes next of the line; `offset` is where it stands in what was read. `whole`: the line ends
    /// behind it.
    pub(crate) fn pass(&mut self, piece: &[u8], offset: usize, whole: bool) {
        if !(whole && self.part == Part::Method && is_plain(piece)) {
            self.look_at(piece, offset);
        }
        if whole {
            self.part = Part::Method;
        }
    }

    fn look_at(&mut self, piece: &[u8], offset: usize) {
        for (at, byte) in piece.iter().enumerate() {
            self.part = match (self.part, byte) {
                (Part::Method, b' ') => Part::Target,
                (Part::Target, b' ') => Part::Version(0),
                (Part::Target, byte) => {
                    if must_be_escaped(*byte) {
                        self.edits.push(offset + at);
                    }
                    Part::Target
                }
                (Part::Version(have), byte) if MAJOR.get(have) == Some(byte) => Part::Version(have + 1),
                (Part::Version(have), byte) => {
                    if have == MAJOR.len() && matches!(byte, b'2'..=b'9') {
                        self.edits.push(offset + at);
                    }
                    Part::Rest
                }
                (part, _) => part,
            };
        }
    }

    pub(crate) fn has_edits(&self) -> bool {
        !self.edits.is_empty()
    }

    pub(crate) fn take_edits(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.edits)
    }
}

/// A whole line without anything to change. Eight bytes are looked at at once.
fn is_plain(line: &[u8]) -> bool {
    // The version and its blank are longer than a word, so that every byte is in one.
    let Some((&last, _)) = line.split_last_chunk::<8>().map(|(rest, last)| (last, rest)) else { return false };
    let usual = matches!(&last, b"TTP/1.1\r" | b"TTP/1.0\r");
    usual && !has_odd_byte(last) && line.as_chunks().0.iter().all(|word| !has_odd_byte(*word))
}

/// Whether [`must_be_escaped`] holds for one of the bytes.
fn has_odd_byte(word: [u8; 8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let word = u64::from_ne_bytes(word);
    // Bytes that are zero show in their highest bit.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let quotes = zeros(word ^ (ONES * u64::from(b'"')));
    // `<` and `>` differ in one bit.
    let brackets = zeros((word | (ONES * 2)) ^ (ONES * u64::from(b'>')));
    (word | quotes | brackets) & HIGH != 0
}

fn must_be_escaped(byte: u8) -> bool {
    (byte == b'"') | (byte == b'<') | (byte == b'>') | (byte >= 0x80)
}

/// `bytes` with what stands at `edits` written otherwise.
pub(crate) fn edited(bytes: &[u8], edits: &[usize]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(bytes.len() + 2 * edits.len());
    let mut from = 0;
    for at in edits {
        out.extend_from_slice(&bytes[from..*at]);
        match bytes[*at] {
            b'2'..=b'9' => out.push(b'1'),
            byte => out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
        }
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as the parser of heads hands them over, read in pieces of `size`.
    fn pass(wire: &[u8], size: usize) -> Vec<u8> {
        let mut line = RequestLine::default();
        let mut out = Vec::new();
        for piece in wire.chunks(size) {
            let mut offset = 0;
            for part in piece.split_inclusive(|byte| *byte == b'\n') {
                let whole = part.ends_with(b"\n");
                line.pass(part.strip_suffix(b"\n").unwrap_or(part), offset, whole);
                offset += part.len();
            }
            out.extend(edited(piece, &line.take_edits()));
        }
        out
    }

    #[test]
    fn a_word_is_odd_if_one_of_its_bytes_is() {
        for at in 0..8 {
            for byte in 0..=u8::MAX {
                for filler in [b'a', b'!', b'#', b'=', b'?', 0x7f, 1] {
                    let mut word = [filler; 8];
                    word[at] = byte;
                    assert_eq!(has_odd_byte(word), must_be_escaped(byte), "{word:?}");
                }
            }
        }
    }

    #[test]
    fn a_line_is_made_one_that_hyper_takes_however_it_is_cut() {
        let cases: [(&[u8], &[u8]); 8] = [
            (b"GET /?a={\"b\"} HTTP/1.1\r\n", b"GET /?a={%22b%22} HTTP/1.1\r\n"),
            (b"GET /<a>?<b> HTTP/1.0\r\n", b"GET /%3Ca%3E?%3Cb%3E HTTP/1.0\r\n"),
            (b"GET /?\xe9\xc3\xa9 HTTP/1.1\r\n", b"GET /?%E9%C3%A9 HTTP/1.1\r\n"),
            (b"GET / HTTP/1.2\r\nGET /2 HTTP/1.9\r\n", b"GET / HTTP/1.1\r\nGET /2 HTTP/1.1\r\n"),
            (b"GET /2 HTTP/2.0\r\n", b"GET /2 HTTP/2.0\r\n"),
            (b"GET / HTTP/1.1\r\nGET /\" HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nGET /%22 HTTP/1.1\r\n"),
            (b"\r\nG\"T / HTTP/1.1\r\n", b"\r\nG\"T / HTTP/1.1\r\n"),
            (b"GET  \" HTTP/1.12\r\n", b"GET  \" HTTP/1.12\r\n"),
        ];
        for (sent, wanted) in cases {
            for size in 1..=sent.len() {
                let made = pass(sent, size);
                assert_eq!(made.escape_ascii().to_string(), wanted.escape_ascii().to_string(), "in pieces of {size}");
            }
        }
    }
}
