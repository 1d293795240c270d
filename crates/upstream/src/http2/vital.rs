//! What a connection, its bytes and its task know of each other.

use std::cell::Cell;
use tokio::time::Instant;

/// Whether anybody is there.
pub(super) struct Vital {
    /// Requests that have a place.
    pub(super) open: Cell<usize>,
    /// When bytes have come last.
    pub(super) heard: Cell<Instant>,
    /// The task has ended.
    pub(super) is_closed: Cell<bool>,
}
