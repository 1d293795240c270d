//! The gateway's logs: its own, which begins at the level that its configuration asks for unless the operator asks for
//! another, and that of requests.

use crate::error::RunError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::Level;
use weir_config::{LogLevel, Startup, policy};
use weir_event::{Identity, Names};
use weir_logs::{Entry, Logs};
use weir_program::log::{Log, LogOptions, Take};

/// Opens the outputs and starts the log. `--log` and `WEIR_LOG` win over the configured level.
pub fn start(
    options: &LogOptions,
    startup: &Startup,
    identity: &Identity,
    names: &Arc<Names>,
) -> Result<(Log, Arc<Logs>), RunError> {
    let (of_requests, of_program) = (startup.logging.of_requests(), startup.logging.of_program());
    let logs = Logs::start(of_requests.into_iter().chain(of_program.iter().cloned()), identity, names)?;
    let also = (!of_program.is_empty()).then(|| {
        let sender = Mutex::new(logs.sender(&of_program));
        let take: Take = Box::new(move |level, text| {
            let entry = Entry::Program { at_us: now_us(), level: level_of(level), text };
            sender.lock().unwrap_or_else(PoisonError::into_inner).send(&entry);
        });
        take
    });
    let level = match startup.log_level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error | LogLevel::Fatal => "error",
    };
    Ok((Log::start_with(options, level, also), Arc::new(logs)))
}

fn level_of(level: Level) -> policy::LogLevel {
    match level {
        Level::ERROR => policy::LogLevel::Error,
        Level::WARN => policy::LogLevel::Warn,
        Level::INFO => policy::LogLevel::Info,
        _ => policy::LogLevel::Debug,
    }
}

/// Microseconds since the Unix epoch.
pub fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}
