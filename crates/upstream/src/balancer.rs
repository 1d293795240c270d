//! Which endpoint a request goes to, and whether a failed attempt may be made once more: what a worker counts for itself.
//!
//! Nothing here is shared between workers, so that no request waits for another core. Each worker balances its own
//! requests, and over many of them that is as good.

use crate::cluster::{Cluster, Member, mix};
use crate::lot;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use weir_config::{Balancing, Retries};
use weir_event::Instant;

/// Retries that a budget allows whatever the traffic: of one request a second, a fifth is none.
const LEAST_PER_SECOND: u32 = 3;
/// Seconds of [`LEAST_PER_SECOND`] that are saved up at most; and as many retries may follow at once.
const SAVED: u32 = 10;

/// One worker's counts of all clusters.
#[derive(Default)]
pub struct Balancer {
    clusters: RefCell<Vec<Option<State>>>,
}

/// Of one cluster.
struct State {
    serial: u64,
    /// Requests that are open, by endpoint.
    open: Vec<Rc<Cell<u32>>>,
    /// Round robin: how much each endpoint is owed.
    owed: Vec<i64>,
    budget: Budget,
}

/// Retries that may still be made, in hundredths.
struct Budget {
    credit: u32,
    refilled: Instant,
}

/// The endpoints that one request has tried.
#[derive(Default)]
pub struct Tried(SmallVec<[u16; 4]>);

impl Tried {
    /// Adds one.
    pub fn add(&mut self, index: usize) {
        // There are 256 endpoints at most.
        self.0.extend(u16::try_from(index));
    }

    fn has(&self, index: usize) -> bool {
        u16::try_from(index).is_ok_and(|index| self.0.contains(&index))
    }
}

/// A request that is open at an endpoint: it is until this is dropped.
pub struct Lease(Rc<Cell<u32>>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Balancer {
    /// The endpoint that a request goes to, and its place among the open ones. `key` is what [`Cluster::hash_key`] asks for,
    /// hashed; those in `tried` come last. Where none is available all are taken for it: better a doubtful server than none.
    pub fn choose(&self, cluster: &Cluster, key: Option<u64>, tried: &Tried, now: Instant) -> (usize, Option<Lease>) {
        if cluster.is_single() {
            return (0, None);
        }
        self.with(cluster, now, |state| {
            let index = state.choose(cluster, key, tried, now);
            let open = &state.open[index];
            open.set(open.get() + 1);
            (index, Some(Lease(Rc::clone(open))))
        })
    }

    /// Counts a request whose failure might be followed by another attempt.
    pub fn earn(&self, cluster: &Cluster, now: Instant) {
        self.with(cluster, now, |state| state.budget.earn(cluster.retries()));
    }

    /// Whether another attempt may be made: it is counted as made then.
    pub fn spend(&self, cluster: &Cluster, now: Instant) -> bool {
        let allowed = self.with(cluster, now, |state| state.budget.spend(now));
        cluster.count_retry(allowed);
        allowed
    }

    fn with<T>(&self, cluster: &Cluster, now: Instant, work: impl FnOnce(&mut State) -> T) -> T {
        let mut clusters = self.clusters.borrow_mut();
        let index = cluster.index();
        if clusters.len() <= index {
            clusters.resize_with(index + 1, || None);
        }
        let state = &mut clusters[index];
        match state {
            Some(state) if state.serial == cluster.serial => work(state),
            // The place is another cluster's now.
            state => work(state.insert(State::new(cluster, now))),
        }
    }
}

impl State {
    fn new(cluster: &Cluster, now: Instant) -> Self {
        let count = cluster.members().len();
        Self {
            serial: cluster.serial,
            open: (0..count).map(|_| Rc::default()).collect(),
            owed: vec![0; count],
            budget: Budget { credit: SAVED * LEAST_PER_SECOND * 100, refilled: now },
        }
    }

    fn choose(&mut self, cluster: &Cluster, key: Option<u64>, tried: &Tried, now: Instant) -> usize {
        let millis = cluster.millis(now);
        let members = cluster.members();
        let is_good = |index: usize| members[index].standing.is_available(millis) && !tried.has(index);
        match (cluster.balancing(), key) {
            (Balancing::RoundRobin, _) => self.next(members, &candidates(members.len(), millis, tried, members)),
            (Balancing::Hash(_), Some(key)) => of_key(members, &candidates(members.len(), millis, tried, members), key),
            // Without a key there is nothing to hash.
            (Balancing::LeastRequests | Balancing::Hash(_), _) => {
                if cluster.is_even {
                    // Usually two that are drawn do.
                    let (one, other) = two_of(members.len());
                    if is_good(one) && is_good(other) {
                        return self.less_busy(members, one, other);
                    }
                }
                let candidates = candidates(members.len(), millis, tried, members);
                let (one, other) = if cluster.is_even {
                    let (one, other) = two_of(candidates.len());
                    (candidates[one], candidates[other])
                } else {
                    let one = by_weight(members, &candidates);
                    let others: SmallVec<[usize; 16]> = candidates.into_iter().filter(|index| *index != one).collect();
                    (one, if others.is_empty() { one } else { by_weight(members, &others) })
                };
                self.less_busy(members, one, other)
            }
        }
    }

    /// Of two endpoints the one with fewer open requests for its weight.
    fn less_busy(&self, members: &[Member], one: usize, other: usize) -> usize {
        let load = |index: usize, by: usize| u64::from(self.open[index].get()) * u64::from(members[by].weight);
        // Held against the weight of the other: a/x < b/y. Where none has any, the first, which was drawn by weight.
        if load(other, one) < load(one, other) { other } else { one }
    }

    /// Smooth weighted round robin, as nginx has it: each is owed its weight a turn, who is owed most is chosen and pays for all.
    fn next(&mut self, members: &[Member], candidates: &[usize]) -> usize {
        let mut total = 0;
        for index in candidates {
            self.owed[*index] += i64::from(members[*index].weight);
            total += i64::from(members[*index].weight);
        }
        // The first of those who are owed most.
        let most = candidates.iter().copied().rev().max_by_key(|index| self.owed[*index]).unwrap_or(0);
        self.owed[most] -= total;
        most
    }
}

/// Those that are available and not tried; without any, those that are available, then those that are not tried, then all.
fn candidates(count: usize, millis: u64, tried: &Tried, members: &[Member]) -> SmallVec<[usize; 16]> {
    let available = |index: &usize| members[*index].standing.is_available(millis);
    let untried = |index: &usize| !tried.has(*index);
    let mut found: SmallVec<[usize; 16]> = (0..count).filter(|index| available(index) && untried(index)).collect();
    if found.is_empty() {
        found = (0..count).filter(untried).collect();
    }
    if found.is_empty() {
        found = (0..count).filter(available).collect();
    }
    if found.is_empty() { (0..count).collect() } else { found }
}

/// Two of `count`, different where there are two.
fn two_of(count: usize) -> (usize, usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let one = lot::below(count);
    let other = if count > 1 { (one + 1 + lot::below(count - 1)) % count } else { one };
    (one as usize, other as usize)
}

fn by_weight(members: &[Member], candidates: &[usize]) -> usize {
    let total: u32 = candidates.iter().map(|index| u32::from(members[*index].weight)).sum();
    let mut drawn = lot::below(total);
    for index in candidates {
        match drawn.checked_sub(u32::from(members[*index].weight)) {
            Some(left) => drawn = left,
            None => return *index,
        }
    }
    candidates[0]
}

/// Weighted rendezvous hashing: where an endpoint comes or goes, only its own keys move.
fn of_key(members: &[Member], candidates: &[usize], key: u64) -> usize {
    let score = |index: &usize| {
        let member = &members[*index];
        // From 0 to 1, neither of them: 53 bits are what a float holds.
        let drawn = ((mix(key ^ member.seed) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -f64::from(member.weight) / drawn.ln()
    };
    candidates.iter().copied().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or(0)
}

impl Budget {
    const MOST: u32 = SAVED * LEAST_PER_SECOND * 100;

    fn earn(&mut self, rule: &Retries) {
        self.credit = (self.credit + u32::from(rule.budget_percent)).min(Self::MOST);
    }

    fn spend(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.refilled).min(Duration::from_secs(u64::from(SAVED)));
        self.refilled = now;
        let earned = u32::try_from(passed.as_millis()).unwrap_or(0) * LEAST_PER_SECOND / 10;
        self.credit = (self.credit + earned).min(Self::MOST);
        let left = self.credit.checked_sub(100);
        self.credit = left.unwrap_or(self.credit);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Clusters, hash};
    use std::sync::Arc;
    use weir_config::{Cluster as Settings, Endpoint, HashKey, OutlierEjection, Scheme, Service, UpstreamAddress};

    fn cluster(balancing: Balancing, weights: &[u16]) -> Arc<Cluster> {
        let endpoint = |(port, weight): (usize, &u16)| {
            let address = UpstreamAddress { scheme: Scheme::Http, host: "127.0.0.1".into(), port: port as u16 + 1 };
            Endpoint { address, weight: *weight }
        };
        let endpoints = weights.iter().enumerate().map(endpoint).collect();
        let ejection = Some(OutlierEjection {
            consecutive_failures: 1,
            ejection_time: Duration::from_secs(10),
            max_ejected_percent: 100,
        });
        let cluster = Settings { balancing, ejection, ..Settings::default() };
        let service = Service { name: "s".into(), endpoints, cluster, tls: None, policies: Vec::new(), is_peer: false };
        Clusters::default().cluster(&service).unwrap()
    }

    fn counted(cluster: &Cluster, requests: usize, key: impl Fn(usize) -> Option<u64>) -> Vec<usize> {
        let (balancer, now) = (Balancer::default(), Instant::now());
        let mut counts = vec![0; cluster.members().len()];
        for request in 0..requests {
            counts[balancer.choose(cluster, key(request), &Tried::default(), now).0] += 1;
        }
        counts
    }

    #[test]
    fn in_turn_by_weight() {
        assert_eq!(counted(&cluster(Balancing::RoundRobin, &[1, 1, 1]), 300, |_| None), [100, 100, 100]);
        assert_eq!(counted(&cluster(Balancing::RoundRobin, &[5, 1, 1]), 700, |_| None), [500, 100, 100]);
    }

    #[test]
    fn the_busy_get_less() {
        for weights in [[1, 1, 1], [2, 1, 1]] {
            let cluster = cluster(Balancing::LeastRequests, &weights);
            let counts = counted(&cluster, 3_000, |_| None);
            assert!(counts.iter().all(|count| *count > 500), "{counts:?}");
            let (balancer, now) = (Balancer::default(), Instant::now());
            // Requests that go to the first stay open.
            let mut open = Vec::new();
            for _ in 0..300 {
                let (index, lease) = balancer.choose(&cluster, None, &Tried::default(), now);
                if index == 0 {
                    open.push(lease);
                }
            }
            assert!((1..30).contains(&open.len()), "{}", open.len());
            drop(open);
            let first = (0..3_000).filter(|_| balancer.choose(&cluster, None, &Tried::default(), now).0 == 0).count();
            assert!(first > 500, "{first}");
        }
    }

    #[test]
    fn a_key_keeps_its_endpoint_and_only_those_of_a_lost_one_move() {
        let cluster = cluster(Balancing::Hash(HashKey::Path), &[1, 1, 2]);
        let key = |number: usize| hash(format!("key-{number}").as_bytes());
        let counts = counted(&cluster, 4_000, |number| Some(key(number)));
        assert!((800..1_200).contains(&counts[0]) && (1_800..2_200).contains(&counts[2]), "{counts:?}");
        let (balancer, now) = (Balancer::default(), Instant::now());
        let all = || (0..1_000).map(|n| balancer.choose(&cluster, Some(key(n)), &Tried::default(), now).0);
        let before: Vec<_> = all().collect();
        cluster.report(1, false, now);
        for (before, after) in before.into_iter().zip(all()) {
            assert!(after != 1 && (before == 1 || before == after), "{before} {after}");
        }
    }

    #[test]
    fn what_is_left_out_or_tried_comes_last() {
        for balancing in [Balancing::RoundRobin, Balancing::LeastRequests, Balancing::Hash(HashKey::Path)] {
            let cluster = cluster(balancing, &[1, 1, 1]);
            let (balancer, now) = (Balancer::default(), Instant::now());
            let mut tried = Tried::default();
            tried.add(0);
            let chosen = |tried: &Tried| balancer.choose(&cluster, Some(7), tried, now).0;
            assert!((0..100).all(|_| chosen(&tried) != 0));
            cluster.report(1, false, now);
            assert!((0..100).all(|_| chosen(&tried) == 2));
            tried.add(2);
            assert!((0..100).all(|_| chosen(&tried) == 1), "not tried, though left out");
            cluster.report(0, false, now);
            cluster.report(2, false, now);
            assert!((0..3).all(|index| !cluster.is_available(index, now)));
            let spread: std::collections::BTreeSet<_> =
                (0..100).map(|key| balancer.choose(&cluster, Some(hash(&[key])), &Tried::default(), now).0).collect();
            assert_eq!(spread.len(), 3, "all, where none is available");
        }
    }

    #[test]
    fn retries_are_a_part_of_the_requests() {
        let (cluster, balancer) = (cluster(Balancing::RoundRobin, &[1, 1]), Balancer::default());
        let now = Instant::now();
        let spent = |now| (0..10_000).take_while(|_| balancer.spend(&cluster, now)).count();
        assert_eq!(spent(now), 30, "what is saved up");
        (0..100).for_each(|_| balancer.earn(&cluster, now));
        assert_eq!(spent(now), 20, "a fifth");
        assert_eq!(spent(now + Duration::from_secs(1)), 3, "and three a second");
        assert_eq!(cluster.retried().0, 53);
        assert_eq!(cluster.retried().1, 3);
    }
}
