//! Descriptors of connections, over all workers: how many there may be, so that some are left for what must always work.
//!
//! A connection is refused while there is still a descriptor for probes, scrapes and the spool. Clients get at most half
//! of what connections may have, because a request that was let in needs another one to its upstream. Counted once a
//! connection, never a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The count.
#[derive(Debug)]
pub struct Descriptors {
    most: AtomicUsize,
    clients: AtomicUsize,
    upstreams: AtomicUsize,
}

/// Without a bound until one is set.
impl Default for Descriptors {
    fn default() -> Self {
        Self { most: AtomicUsize::new(usize::MAX), clients: AtomicUsize::default(), upstreams: AtomicUsize::default() }
    }
}

impl Descriptors {
    /// From now on there are so many, for clients and upstreams together.
    pub fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// One for a connection of a client.
    pub fn client(self: &Arc<Self>) -> Option<Descriptor> {
        let most = self.most.load(Ordering::Relaxed);
        self.take(&self.clients, |clients, upstreams| clients < most.div_ceil(2) && clients + upstreams < most, false)
    }

    /// One for a connection to an upstream.
    pub fn upstream(self: &Arc<Self>) -> Option<Descriptor> {
        let most = self.most.load(Ordering::Relaxed);
        self.take(&self.upstreams, |clients, upstreams| clients + upstreams < most, true)
    }

    fn take(
        self: &Arc<Self>,
        count: &AtomicUsize,
        fits: impl Fn(usize, usize) -> bool,
        upstream: bool,
    ) -> Option<Descriptor> {
        // Two that come at the same moment may be one too many; that is what is kept back for.
        if !fits(self.clients.load(Ordering::Relaxed), self.upstreams.load(Ordering::Relaxed)) {
            return None;
        }
        count.fetch_add(1, Ordering::Relaxed);
        Some(Descriptor { of: Arc::clone(self), upstream })
    }
}

/// A descriptor that is counted for as long as this lives.
#[derive(Debug)]
pub struct Descriptor {
    of: Arc<Descriptors>,
    upstream: bool,
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let count = if self.upstream { &self.of.upstreams } else { &self.of.clients };
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_half_to_upstreams() {
        let descriptors = Arc::<Descriptors>::default();
        descriptors.set_most(5);
        let clients: Vec<_> = (0..3).map(|_| descriptors.client().unwrap()).collect();
        assert!(descriptors.client().is_none());
        let upstreams: Vec<_> = (0..2).map(|_| descriptors.upstream().unwrap()).collect();
        assert!(descriptors.upstream().is_none());
        drop(clients);
        let _more: Vec<_> = (0..3).map(|_| descriptors.upstream().unwrap()).collect();
        assert!(descriptors.client().is_none());
        drop(upstreams);
        assert!(descriptors.client().is_some());
    }
}
