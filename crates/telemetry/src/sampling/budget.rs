//! So many a second, over all workers.

use std::sync::atomic::{AtomicU64, Ordering};

/// A second, and how many were taken in it.
#[derive(Debug, Default)]
pub struct Budget(AtomicU64);

impl Budget {
    /// Takes one of the `most` of the second `now`, if there is one left. Clocks of workers may differ by a second at its
    /// turn: one that is behind takes of the later second.
    pub fn take(&self, now: u32, most: u32) -> bool {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let (second, taken) = ((seen >> 32) as u32, seen as u32);
            let (second, taken) = if now > second { (now, 0) } else { (second, taken) };
            if taken >= most {
                return false;
            }
            let next = u64::from(second) << 32 | u64::from(taken + 1);
            match self.0.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => seen = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own() {
        let budget = Budget::default();
        let taken = |now| (0..10).filter(|_| budget.take(now, 3)).count();
        assert_eq!([taken(5), taken(5), taken(6), taken(5)], [3, 0, 3, 0]);
        assert!(!budget.take(7, 0));
    }
}
