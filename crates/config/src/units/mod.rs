//! Values with a meaning: sizes, times, secrets, each with how it is written in YAML.

mod byte_size;
mod duration;
mod secret;

pub use byte_size::ByteSize;
pub use duration::{parse_duration, time};
pub use secret::Secret;

use thiserror::Error;

/// Why a size or a time is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UnitError {
    #[error("begins with no whole number")]
    NoNumber,
    #[error("has no known unit")]
    UnknownUnit,
    #[error("is too large")]
    TooLarge,
}

/// `"64 MiB"` → `(64, "MiB")`.
fn split(text: &str) -> Result<(u64, &str), UnitError> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if digits == 0 {
        return Err(UnitError::NoNumber);
    }
    let number = text[..digits].parse().map_err(|_| UnitError::TooLarge)?;
    Ok((number, text[digits..].trim_start()))
}
