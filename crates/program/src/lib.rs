//! What all of Weir's programs have in common towards their operator: their own log, completions, and help whose
//! examples run.
//!
//! The border: nothing of Weir's is known here - no configuration, no events, no HTTP - so that any program may use it,
//! the one that stands alone too. What a program does is its own.

mod completions;
pub mod help;
pub mod log;

pub use completions::Completions;
