//! What was left out of the telemetry of a request, because telemetry cost more than its budget. Never the event.

use crate::exchange::Exchange;
use bytes::Bytes;

/// The event's attribute that says what was left out.
pub const DEGRADED: Bytes = Bytes::from_static(b"telemetry.degraded");

/// What is left out; each level with those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    #[default]
    Nothing,
    /// Labels of `tracing.labels` and `tracing-flex`.
    Attributes,
    /// Spans of attempts.
    ClientSpans,
    /// Spans of requests that are kept because they were sampled: failed, slow and asked-for ones stay.
    SampledSpans,
}

impl Level {
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Attributes, Self::ClientSpans, Self::SampledSpans];

    /// As the event has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Attributes => "attributes",
            Self::ClientSpans => "client_spans",
            Self::SampledSpans => "sampled_spans",
        }
    }

    /// Of an exchange, by what was noted in it.
    pub fn of(exchange: &Exchange) -> Self {
        let noted = exchange.attrs.iter().find(|(name, _)| *name == DEGRADED);
        noted.map_or_else(Self::default, |(_, word)| Self::named(word))
    }

    /// From its word.
    pub fn named(word: &[u8]) -> Self {
        Self::ALL.into_iter().find(|level| level.as_str().as_bytes() == word).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_has_its_word() {
        for level in Level::ALL {
            assert_eq!(Level::named(level.as_str().as_bytes()), level);
        }
        assert_eq!(Level::named(b"rubbish"), Level::Nothing);
    }
}
