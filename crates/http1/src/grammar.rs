//! The characters of HTTP (RFC 9110 5.5, 5.6): what a token, a field value and a request target are made of.
//!
//! The scans look at eight bytes at once.

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH: u64 = ONES << 7;

/// `tchar` of RFC 9110 5.6.2.
static TOKEN: [bool; 256] = {
    let (mut map, mut byte) = ([false; 256], 0);
    while byte < 256 {
        let char = byte as u8;
        map[byte] = char.is_ascii_alphanumeric()
            || matches!(
                char,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        byte += 1;
    }
    map
};

/// Whether `byte` may be in a token.
#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Whether all of it is one token, of one byte at least.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// A blank of RFC 9110 5.6.3.
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `bytes` without blanks at its ends.
pub(crate) fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

/// Where the first byte is that a request target cannot have: a control character or a blank.
#[inline]
pub(crate) fn end_of_target(bytes: &[u8]) -> usize {
    scan(bytes, |word| less_than(word, 0x21), |byte| byte <= b' ' || byte == 0x7f)
}

/// Where the first byte is that a field value cannot have: a control character other than the tab.
#[inline]
pub(crate) fn end_of_value(bytes: &[u8]) -> usize {
    scan(bytes, |word| less_than(word, 0x20), |byte| byte < b' ' && byte != b'\t' || byte == 0x7f)
}

/// Whether all of it may be in a field value: [`end_of_value`] without the place, in half the instructions.
#[inline]
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    let suspects = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        less_than(word, 0x20) | zeros(word ^ (ONES * 0x7f))
    };
    // The last word may overlap the one before it.
    let Some(last) = bytes.last_chunk() else { return end_of_value(bytes) == bytes.len() };
    let words = bytes.as_chunks().0.iter();
    words.fold(suspects(last), |all, word| all | suspects(word)) & HIGH == 0 || end_of_value(bytes) == bytes.len()
}

/// `coarse` marks words that may have such a byte, DEL aside; `is_end` decides.
#[inline(always)]
fn scan(bytes: &[u8], coarse: impl Fn(u64) -> u64, is_end: impl Fn(u8) -> bool) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let number = u64::from_ne_bytes(*word);
        if (coarse(number) | zeros(number ^ (ONES * 0x7f))) & HIGH != 0
            && let Some(within) = word.iter().position(|byte| is_end(*byte))
        {
            return at * 8 + within;
        }
    }
    let before = bytes.len() - rest.len();
    before + rest.iter().position(|byte| is_end(*byte)).unwrap_or(rest.len())
}

/// Its highest bits say whether a byte of `word` is less than `limit`, which is 128 at most.
#[inline(always)]
fn less_than(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(limit)) & !word
}

#[inline(always)]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_stop_at_the_same_byte_wherever_it_stands() {
        for len in 0..35 {
            for at in 0..len {
                for byte in 0..=u8::MAX {
                    for filler in [b'!', 0xff] {
                        let mut bytes = vec![filler; len];
                        bytes[at] = byte;
                        let wanted = |is_end: bool| if is_end { at } else { len };
                        assert_eq!(end_of_target(&bytes), wanted(byte <= 0x20 || byte == 0x7f), "{byte} at {at}");
                        let ends_value = byte < 0x20 && byte != 9 || byte == 0x7f;
                        assert_eq!(end_of_value(&bytes), wanted(ends_value), "{byte} at {at}");
                        assert_eq!(is_value(&bytes), !ends_value, "{byte} at {at}");
                    }
                }
            }
        }
        assert_eq!(end_of_value(b"a\tbcdefg\tijk\x7f"), 12);
    }

    #[test]
    fn tokens_and_blanks() {
        assert!(is_token(b"x-A_1~") && !is_token(b"") && !is_token(b"a b") && !is_token(b"a:") && !is_token(b"\xc3"));
        assert_eq!(trimmed(b" \t a b \t"), b"a b");
        assert_eq!(trimmed(b" \t"), b"");
    }
}
