//! The fields of a message: a flat list over the bytes in which they came.
//!
//! `list` has the list and its look-ups, `read` fills it, `edit` changes it, `write` writes it, `spare` keeps its memory.

mod edit;
mod list;
mod read;
mod spare;
mod write;

pub use list::{Field, Fields, Name};
pub(crate) use list::{Place, Span};
pub(crate) use read::mend_names;
