//! The name of a block: a UUID of version 7 (RFC 9562 5.7), so that blocks sort by when they were made.

use std::fmt;

/// 128 bits; the deduplication token of the block's insert, and the `block` of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockId(pub [u8; 16]);

impl BlockId {
    /// A new one. `now_us` is the wall time, microseconds since the Unix epoch.
    pub fn new(now_us: i64) -> Self {
        let millis = (now_us.max(0) / 1000) as u64;
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        // Two draws of generators seeded apart: 74 random bits in each millisecond.
        bytes[6..8].copy_from_slice(&fastrand::Rng::new().u16(..).to_be_bytes());
        bytes[8..].copy_from_slice(&fastrand::u64(..).to_be_bytes());
        bytes[6] = bytes[6] & 0x0f | 0x70;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// Reads `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
    pub fn parse(text: &str) -> Option<Self> {
        let hex: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        (text.len() == 36).then(|| weir_event::ids::hex_from(&hex).map(Self))?
    }

    /// As ClickHouse lays a UUID out: two little-endian halves.
    pub fn native(&self) -> [u8; 16] {
        let mut bytes = self.0;
        bytes[..8].reverse();
        bytes[8..].reverse();
        bytes
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_it_is_written() {
        let id = BlockId::new(1_795_416_085_000_000);
        assert_eq!(BlockId::parse(&id.to_string()), Some(id));
        assert_eq!(id.to_string().as_bytes()[14], b'7');
        assert_ne!(id, BlockId::new(1_795_416_085_000_000));
        assert_eq!(BlockId::parse("7"), None);
    }
}
