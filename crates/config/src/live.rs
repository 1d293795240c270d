//! The value that everybody reads and a reload replaces.
//!
//! Two verbs, each with its price (one thread of an AMD EPYC, uncontended, `examples/live_prices.rs`):
//!
//! | verb | price | what it holds |
//! |---|---|---|
//! | [`Live::cached`], then [`Cached::load`] | 0.5 ns: a load and a comparison | the last value loaded, until the next `load` |
//! | [`Live::snapshot`] | 12 ns: the counter of the `Arc` is written | the value, for as long as one likes |
//!
//! A counter that all workers write travels between their caches, which costs more the more workers there are: for a
//! request's snapshot, clone the `Arc` of a `Cached` only where the request outlives the look.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

/// A value that is replaced as a whole. Clones show the same value.
#[derive(Debug)]
pub struct Live<T> {
    current: Arc<ArcSwap<T>>,
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self { current: Arc::clone(&self.current) }
    }
}

impl<T> Live<T> {
    pub fn new(value: T) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(value)) }
    }

    /// A handle for one thread, which notices a new value on its next `load`. Until then it keeps the old one alive.
    pub fn cached(&self) -> Cached<T> {
        Cached { cache: Cache::new(Arc::clone(&self.current)) }
    }

    /// The value of this moment, for one request: held to its end, whatever is published meanwhile.
    pub fn snapshot(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Replaces the value and gives back the old one, which readers may still hold: whoever publishes keeps it until
    /// it is its only holder, so that no worker has to free it.
    pub fn publish(&self, value: T) -> Arc<T> {
        self.current.swap(Arc::new(value))
    }
}

/// See [`Live::cached`].
#[derive(Debug, Clone)]
pub struct Cached<T> {
    cache: Cache<Arc<ArcSwap<T>>, Arc<T>>,
}

impl<T> Cached<T> {
    /// The current value. Clone the `Arc` to hold it longer than until the next call.
    pub fn load(&mut self) -> &Arc<T> {
        self.cache.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_value_is_seen_by_all_and_the_old_one_lives_with_its_holders() {
        let live = Live::new(1);
        let mut cached = live.cached();
        let held = live.snapshot();
        assert_eq!(**cached.load(), 1);
        let old = live.clone().publish(2);
        assert_eq!((**cached.load(), *live.snapshot()), (2, 2));
        assert_eq!((*held, *old), (1, 1));
        drop(held);
        assert_eq!(Arc::try_unwrap(old), Ok(1), "the publisher is the only holder in the end");
    }
}
