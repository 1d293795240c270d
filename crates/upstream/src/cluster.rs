//! Clusters: the endpoints of a service, and what is decided for all of them together.
//!
//! A cluster is made at load and read by every worker. What changes while it runs - whether an endpoint works - is in its
//! [`Standing`]s, a few atomics that are seldom written; what a worker counts for itself is in its
//! [`Balancer`](crate::Balancer).

use crate::origin::{Origin, Origins};
use crate::slots::{Slot, Slots};
use crate::standing::Standing;
use crate::tls::{TlsError, TlsRoots};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tracing::warn;
use weir_config::policy::TlsOutbound;
use weir_config::{Balancing, Cluster as Settings, Endpoint, HashKey, Retries, Service};
use weir_event::Instant;

/// The endpoints of one service.
#[derive(Debug)]
pub struct Cluster {
    /// Its place in every worker's balancer.
    slot: Slot,
    /// Of all clusters that ever had that place, which.
    pub(crate) serial: u64,
    service: String,
    members: Box<[Member]>,
    /// Whether all have the same weight.
    pub(crate) is_even: bool,
    settings: Settings,
    epoch: Instant,
    /// Held where one is left out, so that not too many are.
    ejecting: Mutex<()>,
    retries: AtomicU64,
    retries_refused: AtomicU64,
}

/// One endpoint of a cluster.
#[derive(Debug)]
pub struct Member {
    pub origin: Arc<Origin>,
    pub standing: Arc<Standing>,
    pub(crate) weight: u16,
    /// What its address hashes to: the same in every gateway.
    pub(crate) seed: u64,
}

impl Cluster {
    /// Its endpoints; at least one.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// One of them.
    #[inline]
    pub fn origin(&self, index: usize) -> &Arc<Origin> {
        &self.members[index].origin
    }

    /// Whether there is one endpoint, and nothing to choose.
    #[inline]
    pub fn is_single(&self) -> bool {
        self.members.len() == 1
    }

    /// Whether its endpoints are asked now and then whether they work.
    pub fn is_checked(&self) -> bool {
        self.settings.health.is_some()
    }

    /// The service's name.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Which failed attempts are made once more.
    #[inline]
    pub fn retries(&self) -> &Retries {
        &self.settings.retries
    }

    /// What requests are told apart by, where that decides which endpoint they go to.
    pub fn hash_key(&self) -> Option<&HashKey> {
        match &self.settings.balancing {
            Balancing::Hash(key) if !self.is_single() => Some(key),
            _ => None,
        }
    }

    pub(crate) fn balancing(&self) -> &Balancing {
        &self.settings.balancing
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn index(&self) -> usize {
        self.slot.index()
    }

    /// Attempts that were made once more, and those that the budget did not allow.
    pub fn retried(&self) -> (u64, u64) {
        (self.retries.load(Ordering::Relaxed), self.retries_refused.load(Ordering::Relaxed))
    }

    pub(crate) fn count_retry(&self, allowed: bool) {
        let count = if allowed { &self.retries } else { &self.retries_refused };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether an endpoint gets requests at `now`.
    pub fn is_available(&self, index: usize, now: Instant) -> bool {
        self.members[index].standing.is_available(self.millis(now))
    }

    pub(crate) fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }

    /// Reports what a request met at an endpoint: whether the server works, as far as that shows.
    #[inline]
    pub fn report(&self, index: usize, works: bool, now: Instant) {
        if self.settings.ejection.is_some() {
            self.judge(index, works, now);
        }
    }

    fn judge(&self, index: usize, works: bool, now: Instant) {
        let (Some(rule), Some(member)) = (&self.settings.ejection, self.members.get(index)) else { return };
        if works {
            member.standing.succeeded();
        } else if member.standing.failed(rule) && !self.is_single() {
            let _alone = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
            let at = self.millis(now);
            let ejected = self.members.iter().filter(|member| member.standing.is_ejected(at)).count();
            let most = (self.members.len() * usize::from(rule.max_ejected_percent) / 100).max(1);
            if ejected < most && !member.standing.is_ejected(at) {
                let time = member.standing.eject(rule, at);
                let (service, endpoint) = (&self.service, &member.origin.address);
                warn!(%service, %endpoint, ?time, "an endpoint is left out: its requests fail");
            }
        }
    }
}

/// What tells two clusters of one name apart.
#[derive(Debug, PartialEq)]
struct Shape {
    endpoints: Vec<Endpoint>,
    settings: Settings,
    tls: Option<Arc<TlsOutbound>>,
}

/// One cluster of a name, which may have gone.
type Known = (Shape, Weak<Cluster>);

/// The process-wide table of clusters and of their origins. Clusters are looked up at load only.
#[derive(Debug)]
pub struct Clusters {
    origins: Origins,
    slots: Arc<Slots>,
    known: Mutex<HashMap<String, Vec<Known>>>,
    made: AtomicU64,
    epoch: Instant,
}

impl Default for Clusters {
    fn default() -> Self {
        Self::new(TlsRoots::default())
    }
}

impl Clusters {
    /// An empty table, whose `https` origins are verified against `roots`.
    pub fn new(roots: TlsRoots) -> Self {
        Self {
            origins: Origins::new(roots),
            slots: Arc::default(),
            known: Mutex::default(),
            made: AtomicU64::new(0),
            epoch: Instant::now(),
        }
    }

    /// The cluster of `service`: the same one for as long as nothing of it changes, and where something does, what is
    /// known of its endpoints goes on.
    ///
    /// # Errors
    /// No TLS can be spoken with one of its endpoints.
    pub fn cluster(&self, service: &Service) -> Result<Arc<Cluster>, TlsError> {
        let Service { name, endpoints, cluster: settings, tls, policies: _, is_peer: _ } = service;
        let shape = Shape { endpoints: endpoints.clone(), settings: settings.clone(), tls: tls.clone() };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let there = known.entry(name.clone()).or_default();
        there.retain(|(_, cluster)| cluster.strong_count() > 0);
        if let Some(same) = there.iter().find(|(other, _)| *other == shape).and_then(|(_, cluster)| cluster.upgrade()) {
            return Ok(same);
        }
        let before = there.last().and_then(|(_, cluster)| cluster.upgrade());
        let members = endpoints.iter().map(|endpoint| self.member(endpoint, &shape, before.as_deref()));
        let members = members.collect::<Result<Box<[_]>, _>>()?;
        let is_even = members.iter().all(|member| member.weight == members[0].weight);
        let cluster = Arc::new(Cluster {
            slot: self.slots.take(),
            serial: self.made.fetch_add(1, Ordering::Relaxed),
            service: name.clone(),
            members,
            is_even,
            settings: settings.clone(),
            epoch: self.epoch,
            ejecting: Mutex::default(),
            retries: AtomicU64::new(before.as_ref().map_or(0, |before| before.retried().0)),
            retries_refused: AtomicU64::new(before.as_ref().map_or(0, |before| before.retried().1)),
        });
        there.push((shape, Arc::downgrade(&cluster)));
        Ok(cluster)
    }

    /// One endpoint. Its standing is that of the cluster before, where it is judged by the same rules.
    fn member(&self, endpoint: &Endpoint, shape: &Shape, before: Option<&Cluster>) -> Result<Member, TlsError> {
        let Endpoint { address, weight } = endpoint;
        let origin = self.origins.origin(address, shape.tls.as_ref(), &shape.settings)?;
        let same_rules = before.filter(|before| {
            before.settings.health == shape.settings.health && before.settings.ejection == shape.settings.ejection
        });
        let there = same_rules.and_then(|before| before.members.iter().find(|m| Arc::ptr_eq(&m.origin, &origin)));
        let standing = there.map_or_else(Arc::default, |member| Arc::clone(&member.standing));
        let seed = hash(address.to_string().as_bytes());
        Ok(Member { origin, standing, weight: *weight, seed })
    }

    /// Those that live, the newest of each name.
    pub fn all(&self) -> Vec<Arc<Cluster>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, there| {
            there.retain(|(_, cluster)| cluster.strong_count() > 0);
            !there.is_empty()
        });
        let newest = |there: &Vec<Known>| there.last().and_then(|(_, cluster)| cluster.upgrade());
        known.values().filter_map(newest).collect()
    }

    pub(crate) fn origins(&self) -> &Origins {
        &self.origins
    }
}

/// A key as a number that is spread evenly: FNV-1a, and the finalizer of splitmix64. It is the same in every gateway, so
/// that all send one key to one endpoint.
pub fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    mix(fnv)
}

/// The finalizer of splitmix64.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use weir_config::{OutlierEjection, Scheme, UpstreamAddress};

    fn service(ports: &[u16], failures: u16) -> Service {
        let address = |port: &u16| UpstreamAddress { scheme: Scheme::Http, host: "127.0.0.1".into(), port: *port };
        let endpoints = ports.iter().map(|port| Endpoint { address: address(port), weight: 1 }).collect();
        let ejection = OutlierEjection {
            consecutive_failures: failures,
            ejection_time: Duration::from_secs(10),
            max_ejected_percent: 50,
        };
        let cluster = Settings { ejection: Some(ejection), ..Settings::default() };
        Service { name: "s".into(), endpoints, cluster, tls: None, policies: Vec::new(), is_peer: false }
    }

    #[test]
    fn a_cluster_is_the_same_until_it_changes_and_what_is_known_goes_on() {
        let clusters = Clusters::default();
        let first = clusters.cluster(&service(&[1, 2, 3], 1)).unwrap();
        assert!(Arc::ptr_eq(&first, &clusters.cluster(&service(&[1, 2, 3], 1)).unwrap()));
        let now = Instant::now();
        first.report(0, false, now);
        assert!(!first.is_available(0, now) && first.is_available(1, now));
        let changed = clusters.cluster(&service(&[3, 1], 1)).unwrap();
        assert!(changed.is_available(0, now) && !changed.is_available(1, now));
        let judged_otherwise = clusters.cluster(&service(&[3, 1], 2)).unwrap();
        assert!(judged_otherwise.is_available(1, now));
        drop((first, changed));
        assert_eq!(clusters.all().len(), 1);
        drop(judged_otherwise);
        assert!(clusters.all().is_empty());
    }

    #[test]
    fn not_all_are_left_out() {
        let clusters = Clusters::default();
        let now = Instant::now();
        let four = clusters.cluster(&service(&[1, 2, 3, 4], 2)).unwrap();
        for index in [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3] {
            four.report(index, false, now);
        }
        assert_eq!((0..4).filter(|index| four.is_available(*index, now)).count(), 2, "half of them");
        let later = now + Duration::from_secs(11);
        assert!((0..4).all(|index| four.is_available(index, later)));
        let one = clusters.cluster(&service(&[1], 1)).unwrap();
        one.report(0, false, now);
        assert!(one.is_available(0, now), "there is no other");
    }
}
