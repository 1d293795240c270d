//! The connections that are open: how many there may be, and which one goes when one more wants to come in.
//!
//! Gateways that send are never closed for anybody else, and others never take the places that are kept for them. What a
//! connection wants is known with its first whole request. Until then it is nobody's, and it has [`HEAD_TIME`] for it.
//! A new connection is always taken: where all places are, the client that has the most of them loses one.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// For the first whole request of a connection, its TLS handshake included.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(5);
/// Open files that are neither a client's nor ClickHouse's.
const OTHER_FILES: u64 = 64;
/// Below this there is nothing to divide.
const FEWEST: usize = 16;

/// How many of what there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections from clients.
    pub connections: usize,
    /// Queries that ClickHouse works on for readers.
    pub queries: usize,
    /// Of these, for one client.
    pub queries_per_client: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: 8192, queries: 8, queries_per_client: 4 }
    }
}

impl Bounds {
    /// Of the connections, those that gateways may have. The others are for readers and probes.
    pub fn senders(&self) -> usize {
        self.connections / 2
    }

    /// Open files that this may take: a gateway's request needs one to its client and one to ClickHouse.
    pub fn files(&self) -> u64 {
        (self.connections + OVER + self.senders() + 2 * self.queries) as u64 + OTHER_FILES
    }

    /// With as many connections as `files` open files allow.
    #[must_use]
    pub fn within(self, files: u64) -> Self {
        let spare = usize::try_from(self.files().saturating_sub(files)).unwrap_or(usize::MAX);
        // A connection counts one and a half.
        let fewer = spare.saturating_mul(2).div_ceil(3) + usize::from(spare > 0);
        Self { connections: self.connections.saturating_sub(fewer).max(FEWEST.min(self.connections)), ..self }
    }
}

/// Connections that have been asked to end and are about to, beyond the bound.
pub(super) const OVER: usize = 32;

/// A client: an address, or the network of a host (RFC 4291 2.5.4), since one host has all addresses of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client(IpAddr);

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(IpAddr::V6((address.to_bits() >> 64 << 64).into())),
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

/// What happened to connections and queries since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Closed because no whole request came in time.
    pub(super) silent: AtomicU64,
    /// Closed because answers were not read.
    pub(super) unread: AtomicU64,
    /// Closed because another connection needed the place.
    pub(super) displaced: AtomicU64,
    /// Gateways' requests that found all of their places taken.
    pub(super) senders_refused: AtomicU64,
}

/// All open connections.
pub(super) struct Places {
    connections: usize,
    senders: usize,
    open: Mutex<Open>,
    pub(super) counts: Counts,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// In the order in which they came.
    places: BTreeMap<u64, Entry>,
    senders: usize,
}

struct Entry {
    client: Client,
    kind: Kind,
    /// A request is being answered.
    busy: bool,
    shared: Arc<Shared>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// No whole request yet.
    New,
    Reader,
    /// A gateway with a known token.
    Sender,
}

/// What a connection's socket and task have in common with its place.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Its client has not yet taken what was written.
    pub(super) behind: AtomicBool,
    /// It was closed for that.
    pub(super) unread: AtomicBool,
    end: Notify,
}

impl Entry {
    /// What goes first, by the number; `None` stays.
    fn rank(&self) -> Option<u8> {
        match self.kind {
            Kind::Sender => None,
            Kind::Reader if self.shared.behind.load(Ordering::Relaxed) => Some(1),
            Kind::Reader if !self.busy => Some(0),
            Kind::New => Some(2),
            Kind::Reader => Some(3),
        }
    }
}

impl Places {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            connections: bounds.connections,
            senders: bounds.senders(),
            open: Mutex::default(),
            counts: Counts::default(),
        })
    }

    /// A place for a connection from `address`, for which another one may have to go.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Place {
        let mut open = self.lock();
        let is_full = open.places.len() >= self.connections;
        let displaced = if is_full { open.dispensable().and_then(|id| open.places.remove(&id)) } else { None };
        let (id, shared) = (open.next, Arc::<Shared>::default());
        open.next += 1;
        let entry = Entry { client: address.into(), kind: Kind::New, busy: false, shared: Arc::clone(&shared) };
        open.places.insert(id, entry);
        drop(open);
        // Beside the lock: a log that nobody reads may block.
        if let Some(entry) = displaced {
            self.counts.displaced.fetch_add(1, Ordering::Relaxed);
            entry.shared.end.notify_one();
            tracing::warn!(client = %entry.client, "all connections are taken: one of this client was closed for another");
        }
        Place { places: Arc::clone(self), id, shared }
    }

    /// How many are open, and how many of these are gateways'.
    pub(super) fn open(&self) -> (usize, usize) {
        let open = self.lock();
        (open.places.len(), open.senders)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Of the client that has the most, the one that is missed the least: the oldest of its rank.
    fn dispensable(&self) -> Option<u64> {
        let mut of: HashMap<Client, usize> = HashMap::new();
        for entry in self.places.values().filter(|entry| entry.rank().is_some()) {
            *of.entry(entry.client).or_default() += 1;
        }
        let most = of.values().copied().max()?;
        let candidates = self.places.iter().filter(|(_, entry)| of.get(&entry.client) == Some(&most));
        candidates.filter_map(|(id, entry)| Some((entry.rank()?, *id))).min().map(|(_, id)| id)
    }
}

/// The place of one connection, given back when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    pub(super) shared: Arc<Shared>,
}

impl Place {
    /// Returns when the place is needed for another connection.
    pub(super) async fn needed(&self) {
        self.shared.end.notified().await;
    }

    /// Returns when the time for the first request is over and none has come.
    pub(super) async fn silent(&self) {
        tokio::time::sleep(HEAD_TIME).await;
        if !self.with(|entry| entry.kind == Kind::New).unwrap_or_default() {
            std::future::pending::<()>().await;
        }
    }

    /// A whole request has come; what is returned stands for its being answered.
    pub(super) fn asked(self: &Arc<Self>) -> Busy {
        self.with(|entry| {
            entry.busy = true;
            if entry.kind == Kind::New {
                entry.kind = Kind::Reader;
            }
        });
        Busy(Arc::clone(self))
    }

    /// From now on it is a gateway's; false where gateways have all that are theirs.
    pub(super) fn sends(&self) -> bool {
        let mut open = self.places.lock();
        let has_room = open.senders < self.places.senders;
        let Some(entry) = open.places.get_mut(&self.id) else { return true };
        match entry.kind {
            Kind::Sender => true,
            _ if has_room => {
                entry.kind = Kind::Sender;
                open.senders += 1;
                true
            }
            _ => {
                drop(open);
                self.places.counts.senders_refused.fetch_add(1, Ordering::Relaxed);
                tracing::warn!("gateways have all connections that are kept for them; raise --connections");
                false
            }
        }
    }

    fn with<T>(&self, what: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.places.lock().places.get_mut(&self.id).map(what)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.lock();
        if open.places.remove(&self.id).is_some_and(|entry| entry.kind == Kind::Sender) {
            open.senders -= 1;
        }
    }
}

/// A request that is being answered.
pub(super) struct Busy(Arc<Place>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.with(|entry| entry.busy = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(connections: usize) -> Arc<Places> {
        Places::new(Bounds { connections, ..Bounds::default() })
    }

    fn from(places: &Arc<Places>, last: u8) -> Arc<Place> {
        Arc::new(places.take([127, 0, 0, last].into()))
    }

    fn is_open(place: &Place) -> bool {
        place.with(|_| ()).is_some()
    }

    #[test]
    fn a_gateway_that_sends_is_closed_for_nobody() {
        let places = places(4);
        let senders = [from(&places, 1), from(&places, 1)];
        for sender in &senders {
            let _asked = sender.asked();
            assert!(sender.sends() && sender.sends());
        }
        let third = from(&places, 1);
        assert!(!third.sends(), "half are kept for readers and probes");
        let others: Vec<_> = (0..20).map(|_| from(&places, 1)).collect();
        assert!(senders.iter().all(|sender| is_open(sender)));
        assert_eq!(places.open(), (4, 2));
        assert_eq!(others.iter().filter(|other| is_open(other)).count(), 2);
        assert!(others.last().is_some_and(|last| is_open(last)), "the newest is always taken");
        assert_eq!(places.counts.displaced.load(Ordering::Relaxed), 19);
        drop(senders);
        assert_eq!(places.open(), (2, 0));
        assert!(others.last().is_some_and(|last| last.sends()));
    }

    #[test]
    fn idle_goes_first_then_unread_then_silent_then_who_is_being_answered() {
        let places = places(4);
        let (answered, silent, unread, idle) = (from(&places, 1), from(&places, 1), from(&places, 1), from(&places, 1));
        let _busy = answered.asked();
        let _unread = unread.asked();
        unread.shared.behind.store(true, Ordering::Relaxed);
        drop(idle.asked());
        for victim in [&idle, &unread, &silent] {
            assert!(is_open(victim));
            let next = from(&places, 2);
            assert!(!is_open(victim), "it was its turn");
            let _busy = next.asked();
            std::mem::forget((_busy, next));
        }
        assert!(is_open(&answered));
    }

    #[test]
    fn the_client_that_has_the_most_loses_one() {
        let places = places(4);
        let modest = from(&places, 1);
        drop(modest.asked());
        let greedy: Vec<_> = (0..10).map(|_| from(&places, 2)).collect();
        assert!(is_open(&modest), "though it is idle and the oldest");
        assert_eq!(greedy.iter().filter(|one| is_open(one)).count(), 3);
    }

    #[test]
    fn a_host_is_one_client_by_all_its_addresses() {
        let client = |text: &str| Client::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:1"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
    }

    #[test]
    fn what_few_open_files_allow_fits_into_them() {
        let bounds = Bounds::default();
        assert_eq!(bounds.within(1 << 20), bounds);
        for files in [200, 1024, bounds.files() - 1] {
            let fewer = bounds.within(files);
            assert!(fewer.files() <= files && fewer.connections < bounds.connections, "{files}: {fewer:?}");
        }
        assert_eq!(bounds.within(8).connections, FEWEST);
    }
}
