//! A UTC day is written to or rebuilt, never both: a block that arrives between the reading of a day and the swap of
//! its partitions would be lost from the roll-ups.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// The days that somebody has taken, in days since the Unix epoch.
#[derive(Default)]
pub(super) struct Days {
    taken: Mutex<BTreeSet<i64>>,
    freed: Notify,
}

/// A day that nobody else has while this is held.
pub(super) struct Taken<'d> {
    days: &'d Days,
    day: i64,
}

impl Days {
    /// Waits until nobody has `day`.
    pub(super) async fn take(&self, day: i64) -> Taken<'_> {
        loop {
            // Made before the look: what is freed after it is not missed.
            let freed = self.freed.notified();
            if self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(day) {
                return Taken { days: self, day };
            }
            freed.await;
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.days.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.day);
        self.days.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Waker};

    fn is_ready(future: Pin<&mut impl Future>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn a_day_has_one_owner_and_the_others_are_free() {
        let days = Days::default();
        let first = days.take(1).await;
        assert!(is_ready(std::pin::pin!(days.take(2))), "another day is free");
        let mut second = std::pin::pin!(days.take(1));
        assert!(!is_ready(second.as_mut()), "the day is taken");
        drop(first);
        assert!(is_ready(second.as_mut()), "the day was freed");
    }
}
