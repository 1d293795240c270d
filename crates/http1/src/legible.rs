//! What can be read of a head that is refused: an event says of it what there is, not that nobody asked for nothing.
//!
//! Nothing here decides anything. It is called once, for a connection that ends.

use crate::grammar::{is_token, is_token_byte, trimmed};

/// So much of a target or host is of use to whoever reads the event. Bytes.
const MOST: usize = 8 * 1024;

/// Parts of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Legible<'a> {
    /// A token at the beginning, with a blank behind it.
    pub method: Option<&'a [u8]>,
    /// What stands behind it, up to the version or the end of the line. It may have any bytes.
    pub target: Option<&'a [u8]>,
    /// The value of the first line that begins with `Host:`. It may have any bytes.
    pub host: Option<&'a [u8]>,
}

/// What can be read of the head at the beginning of `bytes`, whole or not.
pub fn legible(bytes: &[u8]) -> Legible<'_> {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    let mut lines = bytes[start..].split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().unwrap_or_default();
    let name = first.iter().take_while(|byte| is_token_byte(**byte)).count();
    let Some(rest) = first[name..].strip_prefix(b" ").filter(|_| is_token(&first[..name])) else {
        return Legible::default();
    };
    let rest = trimmed(rest);
    let target = match rest.windows(6).rposition(|window| window == b" HTTP/") {
        Some(at) => trimmed(&rest[..at]),
        None => rest,
    };
    let is_host = |line: &&[u8]| line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"host:"));
    let host = lines.take_while(|line| !line.is_empty()).find(is_host).map(|line| trimmed(&line[5..]));
    Legible { method: shortened(&first[..name]), target: shortened(target), host: host.and_then(shortened) }
}

fn shortened(text: &[u8]) -> Option<&[u8]> {
    (!text.is_empty()).then(|| &text[..text.len().min(MOST)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_said() {
        let cases: [(&str, [Option<&str>; 3]); 8] = [
            ("GET /?q=<b> HTTP/1.1\r\nX y: z\r\nhost:  a \r\n\r\n", [Some("GET"), Some("/?q=<b>"), Some("a")]),
            ("\r\nPOST /a b HTTP/3.0\nHost: a\n", [Some("POST"), Some("/a b"), Some("a")]),
            ("GET /\r\n", [Some("GET"), Some("/"), None]),
            ("GET /a", [Some("GET"), Some("/a"), None]),
            ("GET  HTTP/1.1\r\n\r\nHost: b", [Some("GET"), Some("HTTP/1.1"), None]),
            ("\x16\x03\x01\r\nHost: a\r\n", [None, None, None]),
            ("GET", [None, None, None]),
            ("", [None, None, None]),
        ];
        for (head, [method, target, host]) in cases {
            let wanted = Legible {
                method: method.map(str::as_bytes),
                target: target.map(str::as_bytes),
                host: host.map(str::as_bytes),
            };
            assert_eq!(legible(head.as_bytes()), wanted, "{head:?}");
        }
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(2 * MOST));
        assert_eq!(legible(long.as_bytes()).target.map(<[u8]>::len), Some(MOST));
    }
}
