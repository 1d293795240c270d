//! A program's own log: what it does with itself, on standard error. Requests are not in it; they are events.
//!
//! One way for all programs: text for people or one JSON object a line, a level or filter, what is said over and over
//! held back ([`rate_limit`]) and what went wrong of late kept for whoever asks ([`recent`]).

mod copy;
mod options;
mod rate_limit;
pub mod recent;
pub mod repeats;
mod writer;

use crate::operations::Operations;
use copy::Copy;
pub use copy::Take;
pub use options::{Filter, LogFormat, LogOptions};
use rate_limit::RateLimit;
use recent::Recent;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::io::IsTerminal;
use std::time::Duration;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};
use writer::Writer;

pub use writer::dropped;

/// What the last lines get to be read in when the program ends.
const FLUSH: Duration = Duration::from_secs(1);

/// The running log. What is still held back when it goes is reported then.
pub struct Log {
    recent: Recent,
    repeats: RateLimit,
}

impl Log {
    /// Starts it for the whole process, once. `level` counts where the operator asked for none.
    pub fn start(options: &LogOptions, level: &str) -> Self {
        Self::start_with(options, level, None, None)
    }

    /// As [`Log::start`], with all of it handed to `also`, and the program's operations exported.
    pub fn start_with(options: &LogOptions, level: &str, also: Option<Take>, operations: Option<&Operations>) -> Self {
        let (recent, repeats) = (Recent::default(), RateLimit::default());
        let writer = Writer::started();
        note_panics(writer.clone());
        subscriber(options, level, &recent, &repeats, writer, also, operations).init();
        Self { recent, repeats }
    }

    /// What went wrong of late.
    pub fn recent(&self) -> Recent {
        self.recent.clone()
    }
}

/// Writes a line for the operator that is no event of the log, as why the program ends; after all that was logged.
pub fn complain(line: impl Display) {
    writer::complain(&line.to_string());
}

/// Waits until the log is written, for this long at most.
pub fn flush(limit: Duration) {
    writer::flush(limit);
}

/// As the standard library writes them, but without waiting for who reads them.
fn note_panics(writer: Writer) {
    std::panic::set_hook(Box::new(move |panic| {
        let backtrace = Backtrace::capture();
        let thread = std::thread::current();
        let mut text = format!("thread '{}' {panic}\n", thread.name().unwrap_or("<unnamed>"));
        if backtrace.status() == BacktraceStatus::Captured {
            text.push_str(&format!("{backtrace}\n"));
        }
        writer.push(text.as_bytes());
    }));
}

/// The filter is asked for all: what it turns away costs its place of the program one load.
fn subscriber(
    options: &LogOptions,
    level: &str,
    recent: &Recent,
    repeats: &RateLimit,
    writer: Writer,
    also: Option<Take>,
    operations: Option<&Operations>,
) -> impl Subscriber + Send + Sync {
    let filter = options.log.as_ref().map_or_else(|| EnvFilter::new(level), Filter::to_env_filter);
    // Whatever is logged: spans of operations are for the receiver, and without one for nobody.
    let wanted = if operations.is_some() { LevelFilter::INFO } else { LevelFilter::OFF };
    let directive = format!("{}={wanted}", crate::operations::TARGET).parse();
    let filter = directive.into_iter().fold(filter, EnvFilter::add_directive);
    let exported = operations.map(|operations| {
        operations
            .layer()
            .with_filter(filter_fn(|event| event.is_span() && event.target() == crate::operations::TARGET))
    });
    let written = tracing_subscriber::fmt::layer().with_writer(writer);
    let written: Box<dyn Layer<Registry> + Send + Sync> = match options.log_format {
        LogFormat::Text => written.with_ansi(std::io::stderr().is_terminal()).with_target(false).boxed(),
        LogFormat::Json => written.json().boxed(),
    };
    tracing_subscriber::registry()
        .with(written)
        .with(exported)
        .with(also.map(Copy))
        .with(recent.clone())
        .with(filter)
        .with(repeats.clone())
}

impl Drop for Log {
    fn drop(&mut self) {
        self.repeats.tell_all();
        flush(FLUSH);
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

    #[test]
    fn what_nobody_asked_for_is_known_to_be_off_before_it_is_said() {
        let (recent, repeats) = (Recent::default(), RateLimit::default());
        let mut options = LogOptions { log: None, log_format: LogFormat::Text };
        let hint = |options: &LogOptions| {
            subscriber(options, "info", &recent, &repeats, Writer::started(), None, None).max_level_hint()
        };
        assert_eq!(hint(&options), Some(LevelFilter::INFO));
        options.log = "weir_spool=debug,warn".parse().ok();
        assert_eq!(hint(&options), Some(LevelFilter::DEBUG));
    }
}
