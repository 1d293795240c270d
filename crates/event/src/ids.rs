//! Identifiers, in the width in which they travel: bytes in memory and on the wire, lower-case hex for people.

use std::fmt;

/// 128 bits that name a trace (W3C Trace Context 3.2.2.3). All zero means "none".
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

/// 64 bits that name a span (W3C Trace Context 3.2.2.4). All zero means "none".
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub [u8; 8]);

/// 128 random bits drawn at every start of a gateway process: two lives of one gateway are two streams.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BootId(pub [u8; 16]);

/// A 64-bit hash of everything that makes a stream of events one: see [`crate::identity::Stream`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// Writes `bytes` as lower-case hex into `out`, which is twice as long: four bytes at a time.
#[inline]
pub fn hex_into(bytes: &[u8], out: &mut [u8]) {
    let (words, rest) = bytes.as_chunks::<4>();
    let (digits, rest_digits) = out.split_at_mut(words.len() * 8);
    for (word, digits) in words.iter().zip(digits.as_chunks_mut().0) {
        *digits = eight_digits(*word);
    }
    for (byte, pair) in rest.iter().zip(rest_digits.as_chunks_mut().0) {
        let [.., high, low] = eight_digits([0, 0, 0, *byte]);
        *pair = [high, low];
    }
}

/// Each nibble is spread to a byte of its own; those above nine are letters.
#[inline]
fn eight_digits(bytes: [u8; 4]) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TO_LETTERS: u8 = b'a' - b'9' - 1;
    let word = u64::from(u32::from_be_bytes(bytes));
    let pairs = (word | word << 16) & 0x0000_ffff_0000_ffff;
    let bytes = (pairs | pairs << 8) & 0x00ff_00ff_00ff_00ff;
    let nibbles = (bytes | bytes << 4) & (ONES * 15);
    let letters = (nibbles + ONES * 6) >> 4 & ONES;
    (nibbles + ONES * u64::from(b'0') + letters * u64::from(TO_LETTERS)).to_be_bytes()
}

/// Reads lower-case hex (upper case is refused, as W3C Trace Context asks) of exactly `2 * N` digits.
pub fn hex_from<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(out)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

macro_rules! hex_id {
    ($name:ident, $bytes:literal) => {
        impl $name {
            /// Whether this is the all-zero id, which names nothing.
            pub fn is_none(&self) -> bool {
                self.0 == [0; $bytes]
            }

            /// Reads exactly the lower-case hex form.
            pub fn from_hex(text: &[u8]) -> Option<Self> {
                hex_from(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut out = [0; $bytes * 2];
                hex_into(&self.0, &mut out);
                f.write_str(std::str::from_utf8(&out).expect("hex digits are ASCII"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

hex_id!(TraceId, 16);
hex_id!(SpanId, 8);
hex_id!(BootId, 16);

impl SpanId {
    /// Of a server span, the id of its `attempt`-th upstream attempt (from 1): its low four bits, which of a server span are
    /// 0. Attempts past the 15th share one.
    #[must_use]
    pub fn of_attempt(self, attempt: usize) -> Self {
        let mut id = self.0;
        id[7] = (id[7] & 0xf0) | attempt.clamp(1, 15) as u8;
        Self(id)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_goes_there_and_back() {
        let id = TraceId::from_hex(b"4bf92f3577b34da6a3ce929d0e0e4736").unwrap();
        assert_eq!(id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(!id.is_none());
        assert!(TraceId::default().is_none());
    }

    #[test]
    fn each_byte_is_two_digits_at_each_place() {
        for len in 0..12 {
            for byte in 0..=u8::MAX {
                for at in 0..len {
                    let mut bytes = vec![0x5a; len];
                    bytes[at] = byte;
                    let mut text = vec![b' '; 2 * len];
                    hex_into(&bytes, &mut text);
                    let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    assert_eq!(String::from_utf8(text).unwrap(), expected);
                }
            }
        }
    }

    #[test]
    fn hex_of_the_wrong_case_or_length_is_refused() {
        assert_eq!(SpanId::from_hex(b"00F067AA0BA902B7"), None);
        assert_eq!(SpanId::from_hex(b"00f067aa0ba902b"), None);
        assert_eq!(SpanId::from_hex(b"00f067aa0ba902b7a"), None);
        assert_eq!(SpanId::from_hex(b"00f067aa0ba902bg"), None);
    }
}
