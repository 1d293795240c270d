//! The bytes of the Native format over HTTP: varints, strings, fixed-width columns and offsets. Layouts as read
//! from the engine's own output.

/// LEB128.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// The head of one column.
pub(super) fn put_header(out: &mut Vec<u8>, name: &str, kind: &str) {
    put_string(out, name.as_bytes());
    put_string(out, kind.as_bytes());
}

/// A column of values of one width, as its little-endian bytes.
#[derive(Default)]
pub(super) struct Plain {
    bytes: Vec<u8>,
}

impl Plain {
    #[inline]
    pub(super) fn push<const N: usize>(&mut self, value: [u8; N]) {
        self.bytes.extend_from_slice(&value);
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }
}

/// A column of `String`.
#[derive(Default)]
pub(super) struct Strings {
    bytes: Vec<u8>,
}

impl Strings {
    #[inline]
    pub(super) fn push(&mut self, text: &[u8]) {
        put_string(&mut self.bytes, text);
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }
}

/// Where each row's elements end: the first part of an array or a map.
#[derive(Default)]
pub(super) struct Offsets {
    bytes: Vec<u8>,
    end: u64,
}

impl Offsets {
    #[inline]
    pub(super) fn push(&mut self, elements: usize) {
        self.end += elements as u64;
        self.bytes.extend_from_slice(&self.end.to_le_bytes());
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_leb128() {
        let mut out = Vec::new();
        put_varint(&mut out, 300);
        put_string(&mut out, b"ab");
        assert_eq!(out, [0xac, 0x02, 2, b'a', b'b']);
    }
}
