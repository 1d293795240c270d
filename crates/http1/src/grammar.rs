//! The characters of HTTP (RFC 9110 5.5, 5.6): what a token, a field value and a request target are made of.
//!
//! The scans look at eight bytes at once.

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH: u64 = ONES << 7;
/// So far a colon is looked for: all names that are known, and nearly all others. Bytes.
const LONGEST_NAME: usize = 64;

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

/// What most names of hosts and all IPv4 addresses are made of: letters, digits, dash and dot.
static HOST: [bool; 256] = {
    let (mut map, mut byte) = ([false; 256], 0);
    while byte < 256 {
        let char = byte as u8;
        map[byte] = char.is_ascii_alphanumeric() || matches!(char, b'-' | b'.');
        byte += 1;
    }
    map
};

#[inline]
pub(crate) fn is_host_byte(byte: u8) -> bool {
    HOST[usize::from(byte)]
}

/// A blank of RFC 9110 5.6.3.
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `bytes` without blanks at its ends.
#[inline]
pub(crate) fn trimmed(bytes: &[u8]) -> &[u8] {
    match bytes {
        [first, .., last] if !is_blank(*first) && !is_blank(*last) => bytes,
        _ => without_blanks(bytes),
    }
}

#[cold]
fn without_blanks(mut bytes: &[u8]) -> &[u8] {
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

/// Where the first control character is, the tab included.
#[inline]
pub(crate) fn first_control(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        if suspects(word) & HIGH != 0 {
            let marks = controls(word);
            if marks != 0 {
                return Some(at * 8 + first(marks));
            }
        }
    }
    let before = bytes.len() - rest.len();
    rest.iter().position(u8::is_ascii_control).map(|at| before + at)
}

/// Where the first colon is, within [`LONGEST_NAME`], and whether something stands before it that is neither printable ASCII
/// nor a blank.
#[inline]
pub(crate) fn until_colon(bytes: &[u8]) -> Option<(usize, bool)> {
    let mut before = 0;
    let (words, rest) = bytes[..bytes.len().min(LONGEST_NAME)].as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let colons = zeros(word ^ (ONES * u64::from(b':'))) & HIGH;
        if colons != 0 {
            // Of the bytes that come first the lowest bits are.
            before |= suspects(word) & (colons & colons.wrapping_neg()).wrapping_sub(1);
            return Some((at * 8 + first(colons), before & HIGH != 0));
        }
        before |= suspects(word);
    }
    let at = rest.iter().position(|byte| *byte == b':')?;
    Some((words.len() * 8 + at, before & HIGH != 0 || rest[..at].iter().any(|byte| !(b' '..0x7f).contains(byte))))
}

/// Its highest bits mark control characters; the lowest mark is exact.
#[inline(always)]
fn controls(word: u64) -> u64 {
    (less_than(word, 0x20) | zeros(word ^ (ONES * 0x7f))) & HIGH
}

/// Its highest bits mark bytes that are neither printable ASCII nor a blank. Bytes behind the first of those may be marked as
/// well.
#[inline(always)]
fn suspects(word: u64) -> u64 {
    word.wrapping_sub(ONES * 0x20) | word.wrapping_add(ONES)
}

/// Which byte the lowest mark is of.
#[inline(always)]
fn first(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// Whether all of it may be in a field value: [`end_of_value`] without the place, in half the instructions.
#[inline]
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    let suspects = |word: &[u8; 8]| suspects(u64::from_ne_bytes(*word));
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
    fn a_colon_and_a_control_character_are_found_where_they_stand() {
        for len in 1..35 {
            for (colon, other, byte) in (0..len)
                .flat_map(|colon| (0..len).flat_map(move |other| (0..=u8::MAX).map(move |byte| (colon, other, byte))))
            {
                for filler in [b'!', b'9', 0xff] {
                    let mut bytes = vec![filler; len];
                    bytes[colon] = b':';
                    bytes[other] = byte;
                    let control = bytes.iter().position(u8::is_ascii_control);
                    assert_eq!(first_control(&bytes), control);
                    let found = bytes.iter().position(|byte| *byte == b':');
                    let is_strange = |byte: &u8| !(b' '..0x7f).contains(byte);
                    let expected = found.map(|colon| (colon, bytes[..colon].iter().any(is_strange)));
                    assert_eq!(until_colon(&bytes), expected, "{bytes:?}");
                }
            }
        }
        assert_eq!(until_colon(&[b'a'; 100]), None);
    }

    #[test]
    fn tokens_and_blanks() {
        assert!(is_token(b"x-A_1~") && !is_token(b"") && !is_token(b"a b") && !is_token(b"a:") && !is_token(b"\xc3"));
        assert_eq!(trimmed(b" \t a b \t"), b"a b");
        assert_eq!(trimmed(b" \t"), b"");
    }
}
