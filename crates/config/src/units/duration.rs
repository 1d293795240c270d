//! Times: `250ms`, `10s`, `5m`, `1h`, `7d`.

use std::time::Duration;

use super::{UnitError, split};

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A whole number with `ms`, `s`, `m`, `h` or `d`. A bare number is refused: nobody could tell its unit.
///
/// # Errors
/// No number, no known unit, or more than 2^64 ms.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text)?;
    let factor = UNITS.iter().find(|(name, _)| *name == unit).ok_or(UnitError::UnknownUnit)?.1;
    number.checked_mul(factor).map(Duration::from_millis).ok_or(UnitError::TooLarge)
}

/// A duration as a configuration writes it: `15s`, `250ms`.
pub fn time(time: Duration) -> String {
    if time.subsec_millis() == 0 { format!("{}s", time.as_secs()) } else { format!("{}ms", time.as_millis()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        let cases = [("250ms", 250), ("10s", 10_000), ("5m", 300_000), ("1h", 3_600_000), ("2 d", 172_800_000)];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses() {
        assert_eq!(parse_duration("10"), Err(UnitError::UnknownUnit));
        assert_eq!(parse_duration("s"), Err(UnitError::NoNumber));
        assert_eq!(parse_duration("18446744073709551615h"), Err(UnitError::TooLarge));
    }
}
