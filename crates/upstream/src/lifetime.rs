//! How long a connection is used for new requests, whatever its protocol.

use crate::lot;
use crate::origin::Origin;
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use weir_event::Instant;

/// Where a connection leads, and until when that is believed. Its origin's number is no other's while this is there.
pub(crate) struct Lifetime {
    pub(crate) origin: Arc<Origin>,
    pub(crate) address: Option<SocketAddr>,
    /// The answer of the resolver by which it leads to its origin.
    addresses: Cell<u32>,
    expires: Instant,
}

impl Lifetime {
    /// Of a connection that is open from now on.
    pub(crate) fn begin(origin: &Arc<Origin>, address: Option<SocketAddr>) -> Self {
        let (addresses, expires) = (origin.addresses.version(), Instant::now() + spread(origin.max_age));
        Self { origin: Arc::clone(origin), address, addresses: Cell::new(addresses), expires }
    }

    /// Whether no other request is to be sent on it: it is too old, or leads to where the name no longer is.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        if now >= self.expires {
            return true;
        }
        let mut version = self.addresses.get();
        let leads = self.origin.addresses.has(self.address, &mut version);
        if leads {
            self.addresses.set(version);
        }
        !leads
    }
}

/// `age`, less up to a tenth by lot: connections that were opened together do not end together.
fn spread(age: Duration) -> Duration {
    age - age.mul_f64(lot::fraction() / 10.0)
}
