//! How many requests were let pass: the memory of all rate limits, shared by all workers and kept over reloads.
//!
//! No lock is on the request path, and no memory grows there. Nothing is known here of requests, headers or answers.

mod table;
mod window;

use crate::Services;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use table::{Counted, Table};
use weir_config::policy::LimitKey;
use weir_event::Instant;
use window::{Taken, Window};

/// What the windows of a limit are known by over reloads. What is counted and for how long is part of it: under another
/// key or length, what was counted before says nothing. How much is let pass is not: a limit that is changed holds for
/// the window that is open.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LimitId {
    pub policy: String,
    pub key: LimitKey,
    pub window: Duration,
}

impl Services {
    /// The windows of a limit: those that are in use by this id, so that a reload lets nobody begin anew, or new ones.
    pub(crate) fn windows(&self, id: LimitId) -> Arc<Windows> {
        self.kept.get_or_make(id, |id| Windows::new(self.epoch, id.window, id.key != LimitKey::All))
    }
}

/// The windows of one limit.
#[derive(Debug)]
pub(crate) struct Windows {
    epoch: Instant,
    length: u64,
    /// A secret of the process: nobody can choose keys that collide.
    seed: RandomState,
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    One(AtomicU64),
    Keyed(Table),
}

/// A request that was counted.
pub(crate) struct Place<'a> {
    window: Window<'a>,
    taken: Taken,
    shared: bool,
}

impl Windows {
    fn new(epoch: Instant, length: Duration, keyed: bool) -> Self {
        let length = millis(length);
        let memory = if keyed { Memory::Keyed(Table::new(length)) } else { Memory::One(AtomicU64::new(0)) };
        Self { epoch, length, seed: RandomState::new(), memory }
    }

    /// Counts a request of `key` against a limit of `most`. `None` is a key of its own.
    pub(crate) fn take(&self, key: Option<&[u8]>, now: Instant, most: u32) -> Place<'_> {
        let now = millis(now.saturating_duration_since(self.epoch));
        match &self.memory {
            Memory::One(word) => {
                let window = Window(word);
                Place { window, taken: window.take(now, self.length, most), shared: false }
            }
            Memory::Keyed(table) => {
                let Counted { window, taken, shared } = table.take(self.seed.hash_one(key), now, most);
                Place { window, taken, shared }
            }
        }
    }
}

impl Place<'_> {
    pub fn is_within(&self) -> bool {
        self.taken.within
    }

    /// Whether it was counted with other keys, because there was no room for its own.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// How many more requests the window lets pass.
    pub fn remaining(&self) -> u32 {
        self.taken.remaining
    }

    /// To the end of the window, in milliseconds.
    pub fn reset(&self) -> u64 {
        self.taken.reset
    }

    /// The request does not go on after all.
    pub fn give_back(self) {
        if self.taken.within {
            self.window.give_back(&self.taken);
        }
    }
}

fn millis(time: Duration) -> u64 {
    // In 64 bits, where `Duration::as_millis` counts in 128.
    time.as_secs().saturating_mul(1000).saturating_add(u64::from(time.subsec_millis()))
}

#[cfg(test)]
mod tests;
