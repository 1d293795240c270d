//! Whether an endpoint gets requests: what its health checks say, and what its requests met.
//!
//! One for each endpoint and process, written by whoever knows something and read by every worker. It outlives a reload
//! that leaves the endpoint and the rules as they are.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use weir_config::OutlierEjection;

/// An ejection is at most so many times as long as the first.
const LONGEST: u32 = 10;

/// What is known of one endpoint.
#[derive(Debug)]
pub struct Standing {
    healthy: AtomicBool,
    /// Requests that failed in a row.
    failures: AtomicU32,
    /// Until when it is left out: milliseconds of the cluster's clock; 0: it is not.
    ejected_until: AtomicU64,
    /// How often in a row it was left out.
    strikes: AtomicU32,
    ejections: AtomicU64,
    checks_passed: AtomicU64,
    checks_failed: AtomicU64,
    /// Health checks in a row that differ from what it is taken for.
    dissent: AtomicU32,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            healthy: AtomicBool::new(true),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            strikes: AtomicU32::new(0),
            ejections: AtomicU64::new(0),
            checks_passed: AtomicU64::new(0),
            checks_failed: AtomicU64::new(0),
            dissent: AtomicU32::new(0),
        }
    }
}

impl Standing {
    /// Whether its checks pass, or there are none.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Times that it was left out for what its requests met.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Health checks, passed and failed.
    pub fn checks(&self) -> (u64, u64) {
        (self.checks_passed.load(Ordering::Relaxed), self.checks_failed.load(Ordering::Relaxed))
    }

    /// Whether it is left out at `now`, in milliseconds of the cluster's clock.
    pub(crate) fn is_ejected(&self, now: u64) -> bool {
        self.ejected_until.load(Ordering::Relaxed) > now
    }

    pub(crate) fn is_available(&self, now: u64) -> bool {
        self.is_healthy() && !self.is_ejected(now)
    }

    /// A request met a response that is none of a broken server.
    #[inline]
    pub(crate) fn succeeded(&self) {
        // Read first: what is written is fetched anew by every other core.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A request failed; whether that is one too many.
    pub(crate) fn failed(&self, rule: &OutlierEjection) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= u32::from(rule.consecutive_failures)
    }

    /// Leaves it out from `now` on; answers for how long.
    pub(crate) fn eject(&self, rule: &OutlierEjection, now: u64) -> Duration {
        let base = rule.ejection_time;
        let before = self.ejected_until.load(Ordering::Relaxed);
        let well = u64::try_from(base.as_millis()).unwrap_or(u64::MAX);
        // It has worked for as long as an ejection takes: what was before is forgotten.
        let forgotten = before == 0 || now.saturating_sub(before) > well;
        let strikes = if forgotten { 1 } else { (self.strikes.load(Ordering::Relaxed) + 1).min(LONGEST) };
        let time = base * strikes;
        self.strikes.store(strikes, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.ejections.fetch_add(1, Ordering::Relaxed);
        let until = now.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self.ejected_until.store(until.max(1), Ordering::Relaxed);
        time
    }

    /// A check has ended; answers whether that changes what it is taken for.
    pub(crate) fn checked(&self, passed: bool, threshold: u8) -> bool {
        let count = if passed { &self.checks_passed } else { &self.checks_failed };
        count.fetch_add(1, Ordering::Relaxed);
        if passed == self.is_healthy() {
            self.dissent.store(0, Ordering::Relaxed);
            return false;
        }
        if self.dissent.fetch_add(1, Ordering::Relaxed) + 1 < u32::from(threshold) {
            return false;
        }
        self.dissent.store(0, Ordering::Relaxed);
        self.healthy.store(passed, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: OutlierEjection =
        OutlierEjection { consecutive_failures: 3, ejection_time: Duration::from_secs(10), max_ejected_percent: 50 };

    #[test]
    fn failures_count_in_a_row() {
        let standing = Standing::default();
        assert!(!standing.failed(&RULE) && !standing.failed(&RULE));
        standing.succeeded();
        assert!(!standing.failed(&RULE) && !standing.failed(&RULE) && standing.failed(&RULE));
    }

    #[test]
    fn an_ejection_ends_and_the_next_is_longer() {
        let standing = Standing::default();
        assert_eq!(standing.eject(&RULE, 1_000), Duration::from_secs(10));
        assert!(standing.is_ejected(10_999) && !standing.is_ejected(11_000));
        assert_eq!(standing.eject(&RULE, 12_000), Duration::from_secs(20), "soon after the first");
        assert_eq!(standing.eject(&RULE, 100_000), Duration::from_secs(10), "it had worked for long");
        assert_eq!(standing.ejections(), 3);
    }

    #[test]
    fn checks_change_their_mind_after_so_many() {
        let standing = Standing::default();
        assert!(!standing.checked(false, 2) && standing.is_healthy());
        assert!(!standing.checked(true, 2), "in a row");
        assert!(!standing.checked(false, 2) && standing.checked(false, 2) && !standing.is_healthy());
        assert!(standing.checked(true, 1) && standing.is_healthy());
        assert_eq!(standing.checks(), (2, 3));
    }
}
