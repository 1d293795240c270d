//! What all of Weir's programs have in common towards their operator: their own log, what signals tell them and that they
//! end, what is reported to systemd, completions, help whose examples run, output whose reader may leave, and who may change
//! state.
//!
//! The border: nothing of Weir's is known here - no configuration, no events, no HTTP - so that any program may use it,
//! the one that stands alone too. What a program does is its own.

mod completions;
pub mod ending;
mod failure;
pub mod help;
pub mod log;
pub mod open_files;
pub mod operations;
pub mod operator;
mod output;
mod receiver;
pub mod supervisor;

pub use completions::Completions;
pub use failure::parse;
pub use output::say;

/// What mends a port that cannot be opened: a clause for an error that tells the port.
pub fn listen_cure(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => "take a port from 1024 up, grant CAP_NET_BIND_SERVICE",
        std::io::ErrorKind::AddrNotAvailable => "see `ip address` for those of this machine",
        _ => "stop what listens there",
    }
}
