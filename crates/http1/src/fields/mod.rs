//! The fields of a message: a flat list over the bytes in which they came.
//!
//! `list` has the list and its look-ups, `read` fills it, `edit` changes it, `lines` are lines that are made once for many
//! lists, `write` writes it, `spare` keeps its memory.

mod edit;
mod lines;
mod list;
mod read;
mod spare;
mod write;

pub use edit::SoundValue;
pub use lines::Lines;
pub use list::{Field, Fields, Name};
pub(crate) use list::{Place, Span};
pub(crate) use read::mend_names;
