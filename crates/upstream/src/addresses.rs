//! The addresses of an origin's name, for as long as they hold.
//!
//! Without a time to live each new connection asks the resolver. With one, the answer is shared by all workers, asked for
//! again when it has run out, and tells which connections lead to where the name no longer is.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use weir_event::Instant;

/// The addresses of one name.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// `None`: nothing is kept.
    ttl: Option<Duration>,
    state: Mutex<State>,
    /// Counts the answers that differ from the one before.
    version: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    addresses: Vec<SocketAddr>,
    until: Option<Instant>,
}

impl Addresses {
    pub(crate) fn new(ttl: Option<Duration>) -> Self {
        Self { ttl, state: Mutex::default(), version: AtomicU32::new(0) }
    }

    /// The addresses, where they still hold.
    pub(crate) fn fresh(&self, now: Instant) -> Option<Vec<SocketAddr>> {
        self.ttl?;
        let state = self.lock();
        state.until.is_some_and(|until| now < until).then(|| state.addresses.clone())
    }

    /// An answer of the resolver. One without any address says nothing.
    pub(crate) fn learn(&self, answer: &[SocketAddr], now: Instant) {
        let Some(ttl) = self.ttl else { return };
        if answer.is_empty() {
            return;
        }
        let mut state = self.lock();
        let mut sorted = answer.to_vec();
        sorted.sort_unstable();
        let mut before = state.addresses.clone();
        before.sort_unstable();
        if sorted != before {
            self.version.fetch_add(1, Ordering::Relaxed);
        }
        // In the resolver's order, which is that of preference.
        state.addresses = answer.to_vec();
        state.until = Some(now + ttl);
    }

    /// Whether it was asked for and has run out.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.ttl.is_some() && self.lock().until.is_some_and(|until| until <= now)
    }

    /// It could not be asked for: the old answer holds a while longer.
    pub(crate) fn postpone(&self, now: Instant) {
        if let Some(ttl) = self.ttl {
            self.lock().until = Some(now + ttl.min(Duration::from_secs(5)));
        }
    }

    /// Whether a connection to `address` that was good at `version`, which is brought up to date, still leads to the name.
    #[inline]
    pub(crate) fn has(&self, address: Option<SocketAddr>, version: &mut u32) -> bool {
        let newest = self.version.load(Ordering::Relaxed);
        *version == newest || self.still_has(address, version, newest)
    }

    #[cold]
    fn still_has(&self, address: Option<SocketAddr>, version: &mut u32, newest: u32) -> bool {
        *version = newest;
        address.is_none_or(|address| self.lock().addresses.contains(&address))
    }

    /// That of the newest answer.
    pub(crate) fn version(&self) -> u32 {
        self.version.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn an_answer_holds_for_its_time_and_tells_who_has_gone() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let addresses = Addresses::new(Some(second));
        assert_eq!(addresses.fresh(now), None);
        assert!(!addresses.is_due(now), "nobody has asked");
        addresses.learn(&[address(1), address(2)], now);
        assert_eq!(addresses.fresh(now), Some(vec![address(1), address(2)]));
        let mut version = addresses.version();
        assert_eq!(addresses.fresh(now + second), None);
        assert!(addresses.is_due(now + second));
        addresses.learn(&[address(2), address(1)], now + second);
        assert_eq!(addresses.version(), version, "another order is no other answer");
        addresses.learn(&[address(2), address(3)], now + second);
        let mut other = version;
        assert!(!addresses.has(Some(address(1)), &mut version), "it has gone");
        assert!(addresses.has(Some(address(2)), &mut other));
        assert_eq!(other, addresses.version());
        addresses.learn(&[], now + second);
        assert!(addresses.has(Some(address(2)), &mut other), "an empty answer says nothing");
    }

    #[test]
    fn without_a_time_nothing_is_kept() {
        let (now, addresses) = (Instant::now(), Addresses::new(None));
        addresses.learn(&[address(1)], now);
        assert_eq!((addresses.fresh(now), addresses.is_due(now)), (None, false));
        assert!(addresses.has(Some(address(9)), &mut 0));
    }
}
