//! Text for people: what a client sent must not be able to end a line or to look like another.

use std::io::Write;

/// Appends `bytes`; what would not stand on one line as text is written as `\xNN`.
pub(crate) fn put_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || matches!(c, '\\' | '\u{2028}' | '\u{2029}') {
                let mut buffer = [0; 4];
                c.encode_utf8(&mut buffer).bytes().for_each(|byte| put_byte(out, byte));
            } else {
                let mut buffer = [0; 4];
                out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            }
        }
        chunk.invalid().iter().for_each(|byte| put_byte(out, *byte));
    }
}

fn put_byte(out: &mut Vec<u8>, byte: u8) {
    // Memory takes everything.
    drop(write!(out, "\\x{byte:02x}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_a_line() {
        for (text, expected) in [
            (&b"GET /a"[..], "GET /a"),
            (b"a\nb\r\x1b[31m", "a\\x0ab\\x0d\\x1b[31m"),
            (b"\xff\xc3\xa9\\", "\\xff\u{e9}\\x5c"),
            ("\u{85}\u{2028}".as_bytes(), "\\xc2\\x85\\xe2\\x80\\xa8"),
        ] {
            let mut out = Vec::new();
            put_escaped(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
