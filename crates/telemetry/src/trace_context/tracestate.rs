//! The `tracestate` header (W3C Trace Context Level 2, section 3.3): other systems' words, carried on unread.
//!
//! It is either a valid list, which goes on in its order as one line, or it is dropped whole; it never has an
//! effect on `traceparent`. Weir adds no member of its own.

use bytes::{BufMut, Bytes, BytesMut};

const MAX_MEMBERS: usize = 32;
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 256;

/// A valid list with at least one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceState {
    text: BytesMut,
}

impl TraceState {
    /// Joins the header's lines in order. `None` for a list that breaks the grammar, has more than 32 members, or
    /// has none. Of a key that comes twice the first member is kept: the left-most is the newest.
    pub fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut members: Vec<(&[u8], &[u8])> = Vec::new();
        let mut count = 0;
        for member in lines.flat_map(|line| line.split(|byte| *byte == b',')) {
            let member = strip(member);
            if member.is_empty() {
                continue;
            }
            count += 1;
            let (key, value) = split_member(member)?;
            if count > MAX_MEMBERS {
                return None;
            }
            if !members.iter().any(|(known, _)| *known == key) {
                members.push((key, value));
            }
        }
        if members.is_empty() { None } else { Some(Self { text: join(&members) }) }
    }

    /// The one line to send.
    pub fn into_header(self) -> Bytes {
        self.text.freeze()
    }
}

fn join(members: &[(&[u8], &[u8])]) -> BytesMut {
    let mut text = BytesMut::with_capacity(members.iter().map(|(key, value)| key.len() + value.len() + 2).sum());
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            text.put_u8(b',');
        }
        text.put_slice(key);
        text.put_u8(b'=');
        text.put_slice(value);
    }
    text
}

fn split_member(member: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = member.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    (is_key(key) && is_value(value)).then_some((key, value))
}

/// `key = ( lcalpha / DIGIT ) 0*255( lcalpha / DIGIT / "_" / "-" / "*" / "/" / "@" )`
fn is_key(key: &[u8]) -> bool {
    let small = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.len() <= MAX_KEY
        && key.first().is_some_and(small)
        && key.iter().all(|byte| small(byte) || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@'))
}

/// `value = 0*255(chr) nblk-chr`: printable ASCII without `,` and `=`, not ending in a space.
fn is_value(value: &[u8]) -> bool {
    (1..=MAX_VALUE).contains(&value.len())
        && value.last() != Some(&b' ')
        && value.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'='))
}

/// White space round a member; that after `=` belongs to the value and stays.
fn strip(member: &[u8]) -> &[u8] {
    let white = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = member.iter().position(|byte| !white(byte)).unwrap_or(member.len());
    let end = member.iter().rposition(|byte| !white(byte)).map_or(start, |last| last + 1);
    &member[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Option<String> {
        let state = TraceState::read(lines.iter().map(|line| line.as_bytes()))?;
        Some(String::from_utf8(state.into_header().to_vec()).unwrap())
    }

    fn list(count: usize) -> String {
        (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn members_go_on_in_their_order() {
        assert_eq!(read(&["foo=1,bar=2"]).unwrap(), "foo=1,bar=2");
        assert_eq!(read(&["foo=1", "bar=2,baz=3"]).unwrap(), "foo=1,bar=2,baz=3");
    }

    #[test]
    fn white_space_and_empty_members_are_accepted_and_not_sent() {
        assert_eq!(read(&["foo=1 \t, \tbar=2,,", "", ", baz=3"]).unwrap(), "foo=1,bar=2,baz=3");
        assert_eq!(read(&["", " , ,"]), None);
    }

    #[test]
    fn thirty_two_members_are_the_most() {
        assert!(read(&[&list(32)]).is_some());
        assert_eq!(read(&[&list(33)]), None);
    }

    #[test]
    fn a_key_that_comes_twice_is_kept_once() {
        assert_eq!(read(&["foo=1,bar=2,foo=3"]).unwrap(), "foo=1,bar=2");
    }

    #[test]
    fn the_grammar_of_keys_is_level_2s() {
        for key in ["a", "0a", "foo@", "foo@@bar", "foo@bar@baz", "a_-*/b", &"z".repeat(256)] {
            assert!(read(&[&format!("{key}=1")]).is_some(), "{key}");
        }
        for key in ["", "@foo", "_a", "FOO", "foo ", "fo o", "f=", "föö", &"z".repeat(257)] {
            assert_eq!(read(&[&format!("ok=1,{key}=1")]), None, "{key}");
        }
    }

    #[test]
    fn the_grammar_of_values() {
        for value in ["1", " leading", "!~#", &"v".repeat(256)] {
            assert_eq!(read(&[&format!("k={value}")]).unwrap(), format!("k={value}"));
        }
        assert_eq!(read(&["k=trailing  ,l=1"]).unwrap(), "k=trailing,l=1");
        for value in ["", "a=b", "\u{7f}", "é", &"v".repeat(257)] {
            assert_eq!(read(&[&format!("k={value}")]), None, "{value:?}");
        }
        assert_eq!(read(&["k=\u{1}"]), None);
    }

    #[test]
    fn a_member_without_equals_is_invalid() {
        assert_eq!(read(&["foo=1,bar"]), None);
    }

    #[test]
    fn at_least_512_characters_are_carried() {
        let long = format!("a={},b={}", "x".repeat(256), "y".repeat(256));
        assert_eq!(read(&[&long]).unwrap(), long);
    }
}
