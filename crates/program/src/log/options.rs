//! How the operator asks for the log.

use clap::ValueEnum;
use std::str::FromStr;
use tracing_subscriber::EnvFilter;

/// The options of every program's log.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Its own log, on standard error")]
pub struct LogOptions {
    /// The least severe level that is written: error, warn, info, debug or trace; or several, each for a part of the
    /// program, as in `info,weir_spool=debug`.
    #[arg(long, value_name = "LEVEL", env = "WEIR_LOG")]
    pub log: Option<Filter>,
    /// How it is written. What one place of the program says more than 10 times in 30 s is held back and counted.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "WEIR_LOG_FORMAT")]
    pub log_format: LogFormat,
}

/// The form of the program's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line an event, for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which events are written, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(String);

impl Filter {
    pub(super) fn to_env_filter(&self) -> EnvFilter {
        EnvFilter::new(&self.0)
    }
}

impl FromStr for Filter {
    type Err = String;

    /// A bare word is a level: `tracing-subscriber` would take a misspelt one for a target, and be silent.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        let is_level = |part: &str| levels.iter().any(|level| level.eq_ignore_ascii_case(part));
        for part in text.split(',').map(str::trim).filter(|part| !part.contains('[')) {
            let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
            if !is_level(level) {
                return Err(format!("`{level}` is no level; write {}, or TARGET=LEVEL", levels.join(", ")));
            }
        }
        EnvFilter::try_new(text).map(|_| Self(text.to_owned())).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_reported() {
        for right in ["info", "WARN", "off", "info,weir_spool=debug", "weir_proxy=trace, warn"] {
            assert!(Filter::from_str(right).is_ok(), "{right}");
        }
        for wrong in ["debgu", "", "info,", "weir_spool=loud", "a b"] {
            assert!(Filter::from_str(wrong).is_err(), "{wrong}");
        }
    }
}
