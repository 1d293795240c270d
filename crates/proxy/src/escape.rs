//! Bytes that clients send in targets and that no URI has.

use bytes::Bytes;

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// A target, or a part of one, that has only what a URI may have. Clients send queries with `"`, `<`, `>` and bytes beyond ASCII as they are
/// (`curl 'x?query=up{job="a"}'`); other gateways forward them. Here they are escaped, as those of a path are.
pub(crate) fn escaped(target: Bytes) -> Bytes {
    if !target.iter().any(|byte| must_be_escaped(*byte)) {
        return target;
    }
    let mut out = Vec::with_capacity(target.len() + 16);
    for byte in target {
        if must_be_escaped(byte) {
            out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        } else {
            out.push(byte);
        }
    }
    out.into()
}

fn must_be_escaped(byte: u8) -> bool {
    (byte == b'"') | (byte == b'<') | (byte == b'>') | (byte >= 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::uri::PathAndQuery;

    #[test]
    fn a_target_is_made_one_that_a_uri_can_be() {
        for (sent, wanted) in [
            ("/?a={\"b\"}".as_bytes(), "/?a={%22b%22}"),
            (b"/<a>?<b>", "/%3Ca%3E?%3Cb%3E"),
            (b"/?\xe9\xc3\xa9", "/?%E9%C3%A9"),
            (b"/a?b", "/a?b"),
        ] {
            let escaped = escaped(Bytes::copy_from_slice(sent));
            assert_eq!(escaped, wanted);
            assert!(PathAndQuery::from_maybe_shared(escaped).is_ok());
        }
    }
}
