//! What the thread of an output does with entries.

use crate::entry::Entry;

/// Makes of entries what the output takes, and passes it on. Both may take their time: nobody else waits for it.
pub(crate) trait Sink: Send {
    /// Adds an entry, and passes on what is enough for that.
    fn put(&mut self, entry: &Entry<'_>);

    /// Adds what the output says of itself: how many lines are not there, and why.
    fn put_loss(&mut self, at_us: i64, count: u64, why: &str);

    /// Passes on what is due; all of it where the output `ends`.
    fn flush(&mut self, ends: bool);

    /// Whether something waits to be due.
    fn has_some(&self) -> bool;
}
