//! A list that one thread appends to and any thread walks, without a lock: the label values that only traffic can
//! tell (status, method, reason) get their cells here when they are first seen.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cells by key. Lookup is a walk: a route sees a handful of statuses, and the most frequent came first.
#[derive(Debug)]
pub(crate) struct Chain<K, V> {
    head: OnceLock<Box<Node<K, V>>>,
    len: AtomicUsize,
}

#[derive(Debug)]
struct Node<K, V> {
    key: K,
    value: V,
    next: OnceLock<Box<Self>>,
}

impl<K: PartialEq + Copy, V> Chain<K, V> {
    pub(crate) fn new() -> Self {
        Self { head: OnceLock::new(), len: AtomicUsize::new(0) }
    }

    /// The value of `key`; made by `make` if there is none yet. `None` where there is none and `may` says no.
    /// Only ever called by the one thread that owns the chain, or by one at a time.
    pub(crate) fn get_or_make(&self, key: K, may: impl FnOnce() -> bool, make: impl FnOnce() -> V) -> Option<&V> {
        let mut slot = &self.head;
        while let Some(node) = slot.get() {
            if node.key == key {
                return Some(&node.value);
            }
            slot = &node.next;
        }
        if !may() {
            return None;
        }
        self.len.fetch_add(1, Ordering::Relaxed);
        Some(&slot.get_or_init(|| Box::new(Node { key, value: make(), next: OnceLock::new() })).value)
    }

    pub(crate) fn contains(&self, key: K) -> bool {
        self.iter().any(|(own, _)| own == key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        let mut slot = self.head.get();
        std::iter::from_fn(move || {
            let node = slot?;
            slot = node.next.get();
            Some((node.key, &node.value))
        })
    }
}

impl<K, V> Chain<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }
}

/// Without recursion: a long chain must not overflow the stack when it is dropped.
impl<K, V> Drop for Chain<K, V> {
    fn drop(&mut self) {
        let mut next = self.head.take();
        while let Some(mut node) = next {
            next = node.next.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_again_and_made_where_they_may() {
        let chain = Chain::new();
        assert_eq!(chain.get_or_make(1, || true, || "one"), Some(&"one"));
        assert_eq!(chain.get_or_make(2, || true, || "two"), Some(&"two"));
        assert_eq!(chain.get_or_make(1, || false, || "other"), Some(&"one"));
        assert_eq!(chain.get_or_make(3, || false, || "three"), None);
        assert_eq!(chain.iter().collect::<Vec<_>>(), [(1, &"one"), (2, &"two")]);
        assert_eq!((chain.len(), chain.contains(2), chain.contains(3)), (2, true, false));
    }

    #[test]
    fn a_long_chain_is_dropped_without_recursion() {
        let chain = Chain::new();
        let mut slot = &chain.head;
        for number in 0..200_000 {
            slot = &slot.get_or_init(|| Box::new(Node { key: number, value: (), next: OnceLock::new() })).next;
        }
        drop(chain);
    }
}
