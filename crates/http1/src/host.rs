//! What a host is: the authority of RFC 3986 3.2 without user information (RFC 9110 4.2.4), for a password in it would
//! be recorded and sent on.

use crate::grammar::is_host_byte;
use std::net::Ipv6Addr;

/// Whether `bytes` are a host and a port, or a host alone. A host is a name, an IPv4 address or an IPv6 address in
/// brackets, and not empty (RFC 9110 4.2.1).
pub(crate) fn is_authority(bytes: &[u8]) -> bool {
    is_plain_authority(bytes) || is_other_authority(bytes)
}

/// Whether `bytes` are a name of letters, digits, dashes and dots or an IPv4 address, with or without a port: nearly every
/// authority, and not worth a parser.
pub fn is_plain_authority(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|byte| !is_host_byte(*byte)).unwrap_or(bytes.len());
    let is_port = |port: &[u8]| matches!(port, [b':', digits @ ..] if !digits.is_empty() && is_port(digits));
    end > 0 && (end == bytes.len() || is_port(&bytes[end..]))
}

#[cold]
fn is_other_authority(bytes: &[u8]) -> bool {
    let (host, port) = divided(bytes);
    is_host(host) && port.is_none_or(is_port)
}

/// Whether there is a port that is not empty, as CONNECT must have it (RFC 9112 3.2.3).
pub(crate) fn has_port(bytes: &[u8]) -> bool {
    divided(bytes).1.is_some_and(|port| !port.is_empty())
}

/// `a:80` → `a` and `80`; `[::1]` → `[::1]` and nothing.
fn divided(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    let end_of_literal = if bytes.first() == Some(&b'[') { bytes.iter().position(|byte| *byte == b']') } else { None };
    let from = end_of_literal.unwrap_or(0);
    match bytes[from..].iter().position(|byte| *byte == b':') {
        Some(at) => (&bytes[..from + at], Some(&bytes[from + at + 1..])),
        None => (bytes, None),
    }
}

fn is_host(host: &[u8]) -> bool {
    if let [b'[', address @ .., b']'] = host {
        return std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
    }
    !host.is_empty() && is_name(host)
}

/// `reg-name` of RFC 3986 3.2.2.
fn is_name(host: &[u8]) -> bool {
    let mut rest = host;
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => tail,
            (
                b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=',
                _,
            ) => tail,
            (byte, _) if byte.is_ascii_alphanumeric() => tail,
            _ => return false,
        };
    }
    true
}

/// RFC 3986 3.2.3 allows an empty one.
fn is_port(port: &[u8]) -> bool {
    if port.len() > 5 || !port.iter().all(u8::is_ascii_digit) {
        return false;
    }
    port.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')) <= u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_is() {
        for host in
            ["a", "A.example.com:80", "10.0.0.1", "[::1]", "[2001:db8::1]:8080", "a:", "a_b", "%41", "a!$&'()*+,;=~b:1"]
        {
            assert!(is_authority(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":80",
            "a:x",
            "a:65536",
            "a:123456",
            "a:000080",
            "a:99999999999",
            "a:-1",
            "u:p@a",
            "u@a",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "[::1",
            "[a]",
            "[::1]x",
            "[::1%25eth0]",
            "::1",
            "a:80:80",
            "%4",
            "%zz",
            "a\"b",
            "\u{e9}",
            "[]",
            "a]",
            "[fe80::1]:x",
            "[v1.a]",
        ] {
            assert!(!is_authority(host.as_bytes()), "{host}");
        }
        assert!(has_port(b"a:1") && has_port(b"[::1]:1") && !has_port(b"a:") && !has_port(b"[::1]"));
    }
}
