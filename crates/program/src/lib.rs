//! What all of Weir's programs have in common towards their operator: their own log, completions, help whose
//! examples run, and output whose reader may leave.
//!
//! The border: nothing of Weir's is known here - no configuration, no events, no HTTP - so that any program may use it,
//! the one that stands alone too. What a program does is its own.

mod completions;
pub mod help;
pub mod log;
mod output;

pub use completions::Completions;
pub use output::say;
