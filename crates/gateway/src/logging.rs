//! The gateway's own log begins at the level that its configuration asks for, unless the operator asks for another.

use weir_config::LogLevel;
use weir_program::log::{Log, LogOptions};

/// Starts the log. `--log` and `WEIR_LOG` win over the configured level.
pub fn start(options: &LogOptions, level: LogLevel) -> Log {
    Log::start(
        options,
        match level {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error | LogLevel::Fatal => "error",
        },
    )
}
