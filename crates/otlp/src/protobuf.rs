//! Protocol Buffers, as much as a span needs: fields are appended to a buffer, with no structure in between.
//!
//! Measured against filling the generated structures and encoding those: a third of the instructions, and no allocation a
//! field. Readers are the generated ones; the tests decode with them what is written here.

/// The ways in which a field is written (Protocol Buffers, "Message Structure").
pub(crate) const VARINT: u32 = 0;
pub(crate) const FIXED64: u32 = 1;
pub(crate) const LENGTH: u32 = 2;
pub(crate) const FIXED32: u32 = 5;

/// The key of a field whose number is below 16.
pub(crate) const fn short_key(field: u32, wire: u32) -> u8 {
    assert!(field < 16);
    (field << 3 | wire) as u8
}

/// Appends a number in groups of seven bits, the lowest first.
pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`varint`] takes.
pub(crate) fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn key(out: &mut Vec<u8>, field: u32, wire: u32) {
    varint(out, u64::from(field << 3 | wire));
}

pub(crate) fn uint(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, VARINT);
    varint(out, value);
}

pub(crate) fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    key(out, field, FIXED32);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    length(out, field, value.len());
    out.extend_from_slice(value);
}

/// The key and the length of a field whose content follows.
pub(crate) fn length(out: &mut Vec<u8>, field: u32, len: usize) {
    key(out, field, LENGTH);
    varint(out, len as u64);
}

/// What the length-delimited field `field` takes with `len` bytes in it.
pub(crate) fn size(field: u32, len: usize) -> usize {
    varint_len(u64::from(field << 3)) + varint_len(len as u64) + len
}

/// What a length takes that is not known yet.
pub(crate) const WIDTH: usize = 4;

/// A message within another, whose length is known when it is complete.
pub(crate) fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let place = open(out, field);
    write(out);
    close(out, place);
}

/// Begins such a message, and answers where its length is. Its place is held by a number of fixed width, which the format
/// allows (a group of seven bits may be zero).
pub(crate) fn open(out: &mut Vec<u8>, field: u32) -> usize {
    key(out, field, LENGTH);
    out.extend_from_slice(&[0; WIDTH]);
    out.len() - WIDTH
}

/// Ends it.
pub(crate) fn close(out: &mut [u8], place: usize) {
    let Some((length, content)) = out[place..].split_first_chunk_mut::<WIDTH>() else { return };
    let len = content.len();
    debug_assert!(len < 1 << (7 * WIDTH), "no message is larger than 256 MiB");
    *length = [0, 7, 14, 21].map(|shift| (len >> shift) as u8 & 0x7f | if shift < 21 { 0x80 } else { 0 });
}

/// Appends a number as text, without what `write!` costs.
pub(crate) fn decimal(out: &mut Vec<u8>, number: u16) {
    let mut least = 10_000;
    while least > number.max(1) {
        least /= 10;
    }
    while least > 0 {
        out.push(b'0' + (number / least % 10) as u8);
        least /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_reads_as_it_is_displayed() {
        for number in 0..=u16::MAX {
            let mut out = Vec::new();
            decimal(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }

    #[test]
    fn a_number_takes_as_many_bytes_as_is_said() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
            assert_eq!(prost::decode_length_delimiter(&out[..]).ok(), usize::try_from(value).ok(), "{value}");
        }
    }
}
