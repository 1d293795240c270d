//! Rows of the small tables as ClickHouse's RowBinary: times are plain integers in it, and no text can break out.

/// Rows, one value after the other.
#[derive(Default)]
pub struct Rows {
    bytes: Vec<u8>,
}

impl Rows {
    /// A number, or an id of a fixed width.
    pub fn fixed<const N: usize>(&mut self, value: [u8; N]) -> &mut Self {
        self.bytes.extend_from_slice(&value);
        self
    }

    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// A `String`, which in ClickHouse may hold any bytes.
    pub fn bytes(&mut self, text: &[u8]) -> &mut Self {
        self.length(text.len());
        self.bytes.extend_from_slice(text);
        self
    }

    /// How many elements of an array follow.
    pub fn length(&mut self, mut length: usize) -> &mut Self {
        while length >= 0x80 {
            self.bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        self.bytes.push(length as u8);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn into_bytes(self) -> bytes::Bytes {
        self.bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_its_values() {
        let mut rows = Rows::default();
        rows.fixed(7_u16.to_le_bytes()).text("ab");
        assert_eq!(rows.into_bytes(), [7, 0, 2, b'a', b'b'][..]);
        let mut rows = Rows::default();
        rows.text(&"x".repeat(300));
        assert_eq!(rows.into_bytes()[..2], [0xac, 0x02]);
    }
}
