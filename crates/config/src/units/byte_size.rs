//! Sizes in bytes: `64MiB`, `1GB`, `4096`.

use std::fmt;
use std::str::FromStr;

use super::{UnitError, split};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// Largest first, so that `Display` finds the shortest exact form.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

impl ByteSize {
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// A whole number with `B`, `kB`, `KiB`, `MB`, `MiB`, `GB`, `GiB`, `TB`, `TiB` in any case, or none for bytes.
impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(text)?;
        let unit = if unit.is_empty() { "B" } else { unit };
        let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or(UnitError::UnknownUnit)?.1;
        number.checked_mul(factor).map(Self).ok_or(UnitError::TooLarge)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |factor: u64| self.0 >= factor && self.0.is_multiple_of(factor);
        let (name, factor) = UNITS.iter().find(|(_, factor)| exact(*factor)).unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        let cases = [("64MiB", 64 << 20), ("1GB", 1_000_000_000), ("4096", 4096), ("1 gib", 1 << 30), ("0", 0)];
        for (text, bytes) in cases {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
            assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn refuses() {
        assert_eq!("MiB".parse::<ByteSize>(), Err(UnitError::NoNumber));
        assert_eq!("-1".parse::<ByteSize>(), Err(UnitError::NoNumber));
        assert_eq!("1.5GiB".parse::<ByteSize>(), Err(UnitError::UnknownUnit));
        assert_eq!("99999999TiB".parse::<ByteSize>(), Err(UnitError::TooLarge));
        assert_eq!("99999999999999999999".parse::<ByteSize>(), Err(UnitError::TooLarge));
    }
}
