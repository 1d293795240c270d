//! A program's own log: what it does with itself, on standard error. Requests are not in it; they are events.
//!
//! One way for all programs: text for people or one JSON object a line, a level or filter, what is said over and over
//! held back ([`hold_back`]) and what went wrong of late kept for whoever asks ([`recent`]).

mod hold_back;
mod options;
pub mod recent;
pub mod repeats;

use hold_back::HoldBack;
pub use options::{Filter, LogFormat, LogOptions};
use recent::Recent;
use std::io::IsTerminal;
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// The running log. What is still held back when it goes is told then.
pub struct Log {
    recent: Recent,
    repeats: HoldBack,
}

impl Log {
    /// Starts it for the whole process, once. `level` counts where the operator asked for none.
    pub fn start(options: &LogOptions, level: &str) -> Self {
        let (recent, repeats) = (Recent::default(), HoldBack::default());
        subscriber(options, level, &recent, &repeats).init();
        Self { recent, repeats }
    }

    /// What went wrong of late.
    pub fn recent(&self) -> Recent {
        self.recent.clone()
    }
}

/// The filter is asked for all: what it turns away costs its place of the program one load.
fn subscriber(options: &LogOptions, level: &str, recent: &Recent, repeats: &HoldBack) -> impl Subscriber + Send + Sync {
    let filter = options.log.as_ref().map_or_else(|| EnvFilter::new(level), Filter::to_env_filter);
    let written = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let written: Box<dyn Layer<Registry> + Send + Sync> = match options.log_format {
        LogFormat::Text => written.with_ansi(std::io::stderr().is_terminal()).with_target(false).boxed(),
        LogFormat::Json => written.json().boxed(),
    };
    tracing_subscriber::registry().with(written).with(recent.clone()).with(filter).with(repeats.clone())
}

impl Drop for Log {
    fn drop(&mut self) {
        self.repeats.tell_all();
    }
}

/// The texts of an event's fields, its message apart.
#[derive(Default)]
struct Texts {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Texts {
    fn of(event: &tracing::Event<'_>) -> Self {
        let mut texts = Self::default();
        event.record(&mut texts);
        texts
    }
}

impl tracing::field::Visit for Texts {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            name => self.fields.push((name, text)),
        }
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::level_filters::LevelFilter;

    #[test]
    fn what_nobody_asked_for_is_known_to_be_off_before_it_is_said() {
        let (recent, repeats) = (Recent::default(), HoldBack::default());
        let mut options = LogOptions { log: None, log_format: LogFormat::Text };
        let hint = |options: &LogOptions| subscriber(options, "info", &recent, &repeats).max_level_hint();
        assert_eq!(hint(&options), Some(LevelFilter::INFO));
        options.log = "weir_spool=debug,warn".parse().ok();
        assert_eq!(hint(&options), Some(LevelFilter::DEBUG));
    }
}
