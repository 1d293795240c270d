//! The cardinality limit: how many label sets traffic may make of one metric, over all routes.
//!
//! Some label values are known by traffic alone: a status, a method, the reason of a failure. A client or a service that
//! makes ever new ones must not make series without end. A label set that has its own series keeps it for as long as its
//! route is configured; those that come after the limit count under `__other__`, so that totals stay right and no counter
//! ever decreases. OpenTelemetry's SDKs have the same limit (Metrics SDK, "Cardinality limits").

use super::chain::Chain;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A metric of which traffic makes series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    Requests,
    Attempts,
    Policies,
}

impl Limited {
    const ALL: [Self; 3] = [Self::Requests, Self::Attempts, Self::Policies];

    fn metric(self) -> &'static weir_metrics::Metric {
        match self {
            Self::Requests => &super::catalogue::SERVER_DURATION,
            Self::Attempts => &super::catalogue::CLIENT_DURATION,
            Self::Policies => &super::catalogue::POLICY_DURATION,
        }
    }
}

/// The label sets of all routes, by metric, and their limit.
#[derive(Debug)]
pub struct Cardinality {
    limit: AtomicU32,
    used: [AtomicUsize; Limited::ALL.len()],
}

impl Cardinality {
    /// At most `limit` label sets for each metric.
    pub fn new(limit: u32) -> Self {
        Self { limit: AtomicU32::new(limit), used: Default::default() }
    }

    /// Sets the limit. Label sets beyond a lower one keep their series.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Label sets that one metric may have.
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Each metric's name, and the label sets that it has.
    pub fn used(&self) -> impl Iterator<Item = (&'static str, usize)> {
        Limited::ALL.into_iter().map(|limited| (limited.metric().name, self.of(limited).load(Ordering::Relaxed)))
    }

    fn of(&self, limited: Limited) -> &AtomicUsize {
        &self.used[limited as usize]
    }

    fn is_used_up(&self, limited: Limited) -> bool {
        self.of(limited).load(Ordering::Relaxed) >= self.limit() as usize
    }

    fn take(&self, limited: Limited) -> bool {
        let more = |used| (used < self.limit() as usize).then_some(used + 1);
        self.of(limited).fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

/// The label sets of one route that have their own series of one metric, in all workers.
#[derive(Debug)]
pub(super) struct Admitted<K> {
    cardinality: Arc<Cardinality>,
    limited: Limited,
    /// Of this route alone: one that is flooded leaves something to the others.
    most: usize,
    keys: Chain<K, ()>,
    appending: Mutex<()>,
}

impl<K: PartialEq + Copy> Admitted<K> {
    pub(super) fn new(cardinality: &Arc<Cardinality>, limited: Limited, most: usize) -> Self {
        let cardinality = Arc::clone(cardinality);
        Self { cardinality, limited, most, keys: Chain::new(), appending: Mutex::new(()) }
    }

    /// Whether this label set may have its own series. Takes no lock for one that has it, and none once there is no
    /// more room: a flood costs each request a walk of the list.
    pub(super) fn admits(&self, key: K) -> bool {
        if self.keys.contains(key) {
            return true;
        }
        if self.keys.len() >= self.most || self.cardinality.is_used_up(self.limited) {
            return false;
        }
        let _only_one_appends = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        self.keys.contains(key) || self.append(key)
    }

    fn append(&self, key: K) -> bool {
        let has_room = self.keys.len() < self.most && self.cardinality.take(self.limited);
        has_room && self.keys.get_or_make(key, || true, || ()).is_some()
    }
}

impl<K> Drop for Admitted<K> {
    fn drop(&mut self) {
        self.cardinality.of(self.limited).fetch_sub(self.keys.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(cardinality: &Cardinality) -> Vec<usize> {
        cardinality.used().map(|(_, used)| used).collect()
    }

    #[test]
    fn what_is_admitted_stays_so_and_a_route_that_goes_makes_room() {
        let cardinality = Arc::new(Cardinality::new(3));
        let of_route = || Admitted::new(&cardinality, Limited::Requests, 2);
        let (one, two) = (of_route(), of_route());
        assert_eq!([1, 2, 3].map(|key| one.admits(key)), [true, true, false], "two of a route");
        assert_eq!([1, 2].map(|key| two.admits(key)), [true, false], "three of all routes");
        assert_eq!(used(&cardinality), [3, 0, 0]);
        assert!(Admitted::new(&cardinality, Limited::Attempts, 2).admits(1), "another metric has its own");
        cardinality.set_limit(1);
        assert_eq!([1, 2, 3].map(|key| one.admits(key)), [true, true, false], "a lower limit takes nothing away");
        cardinality.set_limit(3);
        drop(one);
        assert_eq!(used(&cardinality), [1, 0, 0]);
        assert!(two.admits(2));
    }

    #[test]
    fn workers_that_see_new_label_sets_at_once_agree() {
        const LIMIT: u32 = 50;
        let cardinality = Arc::new(Cardinality::new(LIMIT));
        let admitted = Admitted::new(&cardinality, Limited::Requests, usize::MAX);
        let found = std::thread::scope(|scope| {
            let see = || (0..200_u16).map(|key| admitted.admits(key)).collect::<Vec<_>>();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(see)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(admitted.keys.len(), LIMIT as usize);
        assert_eq!(used(&cardinality)[0], LIMIT as usize);
        // Whoever was admitted to one worker stays so.
        for key in 0..200_u16 {
            let before = found.iter().any(|worker| worker[usize::from(key)]);
            assert!(!before || admitted.admits(key), "{key}");
        }
    }
}
