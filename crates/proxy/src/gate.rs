//! How many connections a port takes: of all clients, and of one address, over all workers.
//!
//! Counted once a connection, never a request: a short lock of one of sixteen tables. The counts outlive reloads, so
//! that a new limit knows what is open.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use weir_config::Limits;

const SHARDS: usize = 16;

/// The gates of all ports.
#[derive(Default)]
pub struct Gates {
    known: Mutex<HashMap<SocketAddr, Arc<Gate>>>,
}

impl Gates {
    /// The gate of a port; the same one always.
    pub(crate) fn gate(&self, address: SocketAddr) -> Arc<Gate> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(address).or_default())
    }
}

/// The count of one port.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: AtomicU32,
    /// Where an address is counted cannot be guessed, so that nobody crowds one table.
    hasher: RandomState,
    addresses: [Mutex<HashMap<IpAddr, u32>>; SHARDS],
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Port,
    Address,
    /// The process has no descriptor to spare.
    Descriptors,
}

impl Gate {
    /// Lets a connection of `address` in, for as long as the pass lives.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Result<Pass, Full> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= limits.connections {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::Port);
        }
        let mut shard = self.shard(address);
        let count = shard.entry(address).or_default();
        if *count >= limits.connections_per_address {
            drop(shard);
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::Address);
        }
        *count += 1;
        drop(shard);
        Ok(Pass { gate: Arc::clone(self), address })
    }

    fn shard(&self, address: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        let index = self.hasher.hash_one(address) as usize % SHARDS;
        self.addresses[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that was let in.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.open.fetch_sub(1, Ordering::Relaxed);
        if let Entry::Occupied(mut entry) = self.gate.shard(self.address).entry(self.address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn a_port_and_an_address_take_so_many_and_no_more() {
        let gate = Gates::default().gate("127.0.0.1:1".parse().unwrap());
        let limits = Limits { connections: 3, connections_per_address: 2, ..Limits::default() };
        let first = gate.enter(address(1), &limits).unwrap();
        let _second = gate.enter(address(1), &limits).unwrap();
        assert_eq!(gate.enter(address(1), &limits).unwrap_err(), Full::Address);
        let _third = gate.enter(address(2), &limits).unwrap();
        assert_eq!(gate.enter(address(3), &limits).unwrap_err(), Full::Port);
        drop(first);
        assert!(gate.enter(address(1), &limits).is_ok());
    }

    #[test]
    fn nobody_is_remembered_who_has_left() {
        let gate = Arc::<Gate>::default();
        let passes: Vec<_> = (0..200).map(|last| gate.enter(address(last), &Limits::default()).unwrap()).collect();
        drop(passes);
        assert_eq!(gate.open.load(Ordering::Relaxed), 0);
        assert!(gate.addresses.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
