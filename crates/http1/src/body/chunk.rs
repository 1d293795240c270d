//! The line in front of a chunk (RFC 9112 7.1): a size, and extensions that nobody uses.
//!
//! Extensions are read to the letter all the same. Readers that skip them in different ways are a known way to smuggle a
//! request.

use crate::error::BodyError;
use crate::grammar::{is_blank, is_token_byte};
use memchr::memchr;

/// Digits of a size: 64 bits.
const MOST_DIGITS: usize = 16;

/// A chunk's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkLine {
    /// Bytes of data behind it; 0 is the last chunk.
    pub(crate) size: u64,
    /// Bytes of the extensions.
    pub(crate) extensions: usize,
    /// Bytes of the line with its CR LF.
    pub(crate) len: usize,
}

/// The line at the beginning of `bytes`, of `most` bytes at most, or `None` while it is not whole.
pub(crate) fn chunk_line(bytes: &[u8], most: usize) -> Result<Option<ChunkLine>, BodyError> {
    let (mut size, mut digits) = (0, 0);
    while let Some(digit) = bytes.get(digits).and_then(|byte| hexadecimal(*byte)) {
        if digits == MOST_DIGITS {
            return Err(BodyError::ChunkSize);
        }
        size = size << 4 | u64::from(digit);
        digits += 1;
    }
    let rest = &bytes[digits..];
    match rest {
        [] | [b'\r'] if digits > 0 || rest.is_empty() => Ok(None),
        _ if digits == 0 => Err(BodyError::ChunkSize),
        [b'\r', b'\n', ..] => Ok(Some(ChunkLine { size, extensions: 0, len: digits + 2 })),
        [b'\r' | b'\n', ..] => Err(BodyError::ChunkLine),
        [b';' | b' ' | b'\t', ..] => {
            let Some(end) = memchr(b'\n', rest) else {
                return if bytes.len() > most { Err(BodyError::Extensions) } else { Ok(None) };
            };
            let len = digits + end + 1;
            if len > most {
                return Err(BodyError::Extensions);
            }
            let extensions = rest[..end].strip_suffix(b"\r").filter(|text| are_extensions(text));
            let extensions = extensions.ok_or(BodyError::ChunkLine)?.len();
            Ok(Some(ChunkLine { size, extensions, len }))
        }
        _ => Err(BodyError::ChunkSize),
    }
}

fn hexadecimal(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// `chunk-ext` of RFC 9112 7.1.1, of one extension at least: `*( BWS ";" BWS name [ BWS "=" BWS value ] )`.
fn are_extensions(text: &[u8]) -> bool {
    let mut rest = text;
    loop {
        let Some(behind) = blanks(rest).strip_prefix(b";") else { return false };
        let Some(behind) = token(blanks(behind)) else { return false };
        rest = behind;
        if let Some(value) = blanks(behind).strip_prefix(b"=") {
            let value = blanks(value);
            let behind = if value.first() == Some(&b'"') { quoted(value) } else { token(value) };
            let Some(behind) = behind else { return false };
            rest = behind;
        }
        if rest.is_empty() {
            return true;
        }
    }
}

fn blanks(text: &[u8]) -> &[u8] {
    let count = text.iter().take_while(|byte| is_blank(**byte)).count();
    &text[count..]
}

/// What stands behind a token.
fn token(text: &[u8]) -> Option<&[u8]> {
    let count = text.iter().take_while(|byte| is_token_byte(**byte)).count();
    (count > 0).then(|| &text[count..])
}

/// What stands behind a quoted string (RFC 9110 5.6.4).
fn quoted(text: &[u8]) -> Option<&[u8]> {
    let is_text = |byte: u8| byte == b'\t' || byte >= b' ' && byte != 0x7f;
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        rest = match rest {
            [b'"', behind @ ..] => return Some(behind),
            [b'\\', escaped, behind @ ..] if is_text(*escaped) => behind,
            [byte, behind @ ..] if is_text(*byte) && *byte != b'\\' => behind,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Option<ChunkLine>, BodyError> {
        chunk_line(text.as_bytes(), 256)
    }

    #[test]
    fn sizes_and_extensions() {
        for (text, size, extensions) in [
            ("5\r\n", 5, 0),
            ("1aF\r\n", 0x1af, 0),
            ("0000000000000000\r\n", 0, 0),
            ("ffffffffffffffff\r\n", u64::MAX, 0),
            ("5;a\r\n", 5, 2),
            ("5;a=b;c=\"d;\\\"e\"\r\n", 5, 14),
            ("5 ; a = b\t;c\r\n", 5, 11),
            ("5;a=\"\u{e9}\t \"\r\n", 5, 9),
        ] {
            assert_eq!(line(text), Ok(Some(ChunkLine { size, extensions, len: text.len() })), "{text:?}");
            for at in 0..text.len() {
                assert_eq!(chunk_line(&text.as_bytes()[..at], 256), Ok(None), "{at} of {text:?}");
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_line() {
        for text in ["zz\r\n", "+5\r\n", "-5\r\n", " 5\r\n", "0x5\r\n", "\r\n", ";a\r\n", "5,\r\n", "5=\r\n", "5\0\r\n"]
        {
            assert_eq!(line(text), Err(BodyError::ChunkSize), "{text:?}");
        }
        for digits in [17, 70] {
            assert_eq!(line(&"0".repeat(digits)), Err(BodyError::ChunkSize));
        }
        for text in [
            "5\n",
            "5\rx",
            "5;a\n",
            "5;\r\n",
            "5; \r\n",
            "5 \r\n",
            "5\t\r\n",
            "5;[\r\n",
            "5;a=\r\n",
            "5;a=\"b\r\n",
            "5;a=\"b\"c\r\n",
            "5;a b\r\n",
            "5;a=b \r\n",
            "5;a\rb\r\n",
            "5;a\0\r\n",
            "5;a=\"\0\"\r\n",
            "5;a=\"\\\r\n",
            "5;;a\r\n",
            "5;=b\r\n",
            "5 a\r\n",
            "5;a=\u{e9}\r\n",
        ] {
            assert_eq!(line(text), Err(BodyError::ChunkLine), "{text:?}");
        }
        let long = format!("5;{}", "x".repeat(300));
        assert_eq!(line(&long), Err(BodyError::Extensions));
        assert_eq!(line(&format!("{long}\r\n")), Err(BodyError::Extensions));
    }
}
