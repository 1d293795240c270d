//! What one thread writes and any thread reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// An add by the only writer: a load and a store, without the locked instruction that `fetch_add` is.
#[inline]
pub fn add(cell: &AtomicU64, value: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(value), Ordering::Release);
}
