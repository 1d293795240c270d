//! Small numbers for what comes and goes with configurations: each is used again once its holder has gone.
//!
//! A worker finds what it keeps of an origin or of a cluster by such a number, without hashing a name on the request
//! path; and certificates that are rotated, or addresses that change, do not make its tables grow for ever.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The numbers that are not used.
#[derive(Debug, Default)]
pub(crate) struct Slots(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    free: Vec<usize>,
    next: usize,
}

impl Slots {
    /// The lowest number that nobody has, or nearly so.
    pub(crate) fn take(self: &Arc<Self>) -> Slot {
        let mut state = self.lock();
        let index = state.free.pop().unwrap_or_else(|| {
            state.next += 1;
            state.next - 1
        });
        drop(state);
        Slot { index, of: Arc::clone(self) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    index: usize,
    of: Arc<Slots>,
}

impl Slot {
    pub(crate) fn index(&self) -> usize {
        self.index
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.of.lock().free.push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_used_again_and_by_one_at_a_time() {
        let slots = Arc::new(Slots::default());
        let (first, second) = (slots.take(), slots.take());
        assert_ne!(first.index(), second.index());
        let freed = first.index();
        drop(first);
        assert_eq!(slots.take().index(), freed);
    }
}
