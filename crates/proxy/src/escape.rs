//! Bytes that clients send in targets and that no URI has.

use bytes::Bytes;

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// A target, or a part of one, that has only what a URI may have. Clients send queries with `"`, `<`, `>` and bytes beyond ASCII as they are
/// (`curl 'x?query=up{job="a"}'`); other gateways forward them. Here they are escaped, as those of a path are.
pub(crate) fn escaped(target: Bytes) -> Bytes {
    if is_plain(&target) || !target.iter().any(|byte| must_be_escaped(*byte)) {
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

/// Whether nothing of it must be escaped, eight bytes at a time. Where it says no, that is to be found out.
fn is_plain(target: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    // Marks bytes that are zero, and bytes of one behind them.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let suspects = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        // `<` and `>` differ in one bit.
        let angles = zeros((word | (ONES * 2)) ^ (ONES * u64::from(b'>')));
        angles | zeros(word ^ (ONES * u64::from(b'"'))) | word
    };
    // The last word may overlap the one before it.
    let Some(last) = target.last_chunk() else { return false };
    target.as_chunks().0.iter().fold(suspects(last), |all, word| all | suspects(word)) & HIGH == 0
}

fn must_be_escaped(byte: u8) -> bool {
    (byte == b'"') | (byte == b'<') | (byte == b'>') | (byte >= 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::uri::PathAndQuery;

    #[test]
    fn every_byte_is_seen_wherever_it_stands() {
        for len in 1..20 {
            for (at, byte) in (0..len).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
                for filler in [b'a', b'=', b'#', b'!'] {
                    let mut target = vec![filler; len];
                    target[at] = byte;
                    let out = escaped(target.clone().into());
                    let expected = if must_be_escaped(byte) { len + 2 } else { len };
                    assert_eq!(out.len(), expected, "{target:?}");
                    assert!(!out.iter().any(|byte| must_be_escaped(*byte)));
                }
            }
        }
    }

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
