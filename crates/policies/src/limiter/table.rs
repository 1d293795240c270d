//! A window for each key, in memory that never grows, without a lock.
//!
//! Attackers choose keys, so the table is bounded, keys are known by a hash with a secret seed, and a key for which there
//! is no room is counted with the others of its group for which there is none: it is limited too, sooner than it should
//! be, and says so. When room comes back, with the next generation, it begins a window of its own: at worst it had
//! its limit twice.
//!
//! How no two threads can give one key two windows: time is cut into generations of at least a window's length, each
//! with its half of the table. A key is in the half of the generation in which its window began - this one or the one
//! before, for none lasts longer. Within a group of a half, slots are claimed in order, by one compare-and-swap of a word
//! that names generation and key: two threads with one new key want the same slot. Before a window begins in this
//! generation, the key's place in the one before is closed, by the same word that a slow thread would begin a window in.
//! Nothing is ever cleared: a slot of an older generation is a free one.

use std::sync::atomic::{AtomicU64, Ordering};

use super::window::{CLOSED, State, Taken, Window, state};

/// How many slots a key may have: two cache lines.
const GROUP: usize = 16;
/// Twice so many slots of 16 bytes, of which the system gives the pages that are touched: at most 2 MiB. With half of the
/// slots in use, four groups of a thousand are full.
const GROUPS: usize = 1 << 12;
/// A generation is never shorter, so that its number does not come round: 136 years.
const SHORTEST_GENERATION: u64 = 1_000;

/// The windows of all keys, of one length.
#[derive(Debug)]
pub(super) struct Table {
    /// Milliseconds.
    length: u64,
    generation: u64,
    halves: [Half; 2],
    /// One a group, for the keys without a slot.
    shared: Box<[AtomicU64]>,
}

#[derive(Debug)]
struct Half {
    /// The generation, and the key's hash.
    keys: Box<[AtomicU64]>,
    windows: Box<[AtomicU64]>,
}

/// Where a request was counted.
pub(super) struct Counted<'a> {
    pub window: Window<'a>,
    pub taken: Taken,
    /// Together with other keys, because there was no room for its own.
    pub shared: bool,
}

/// What looking for a key came to.
enum Found {
    Slot(usize),
    /// The group is full of other keys, and stays so for this generation.
    Full,
    /// The group is used by a later generation: this thread's clock is behind.
    Later(u64),
}

impl Table {
    pub(super) fn new(length: u64) -> Self {
        // Memory that nobody has touched costs nothing.
        let words = |count| bytemuck::zeroed_slice_box::<AtomicU64>(count);
        let half = || Half { keys: words(GROUP * GROUPS), windows: words(GROUP * GROUPS) };
        let generation = length.max(SHORTEST_GENERATION);
        Self { length, generation, halves: [half(), half()], shared: words(GROUPS) }
    }

    /// Counts a request of the key with this hash, which must be one that nobody can guess.
    pub(super) fn take(&self, hash: u64, now: u64, most: u32) -> Counted<'_> {
        // From 2, so that there is one before the first and 0 is none.
        let (mut now, mut generation) = (now, now / self.generation + 2);
        loop {
            match self.try_take(hash, now, generation, most) {
                Ok(counted) => return counted,
                Err(later) if later > generation => {
                    generation = later;
                    now = now.max((generation - 2) * self.generation);
                }
                Err(_) => {}
            }
        }
    }

    /// `Err`: try again, in this generation.
    fn try_take(&self, hash: u64, now: u64, generation: u64, most: u32) -> Result<Counted<'_>, u64> {
        if let Some((window, taken)) = self.in_earlier(hash, now, generation, most)? {
            return Ok(Counted { window, taken, shared: false });
        }
        match self.find(hash, generation) {
            Found::Later(later) => Err(later),
            Found::Full => {
                let window = Window(&self.shared[group(hash)]);
                Ok(Counted { window, taken: window.take(now, self.length, most), shared: true })
            }
            Found::Slot(slot) => {
                let half = self.half(generation);
                let window = Window(&half.windows[slot]);
                loop {
                    let word = window.load();
                    half.still(slot, hash, generation)?;
                    if word == closed(generation) {
                        return Err(generation + 1);
                    }
                    if let Some(taken) = window.try_take(word, now, self.length, most) {
                        return Ok(Counted { window, taken, shared: false });
                    }
                }
            }
        }
    }

    /// Takes from the window that began in the generation before, if it is still open; otherwise no window can begin
    /// there any more.
    fn in_earlier(&self, hash: u64, now: u64, generation: u64, most: u32) -> Result<Option<(Window<'_>, Taken)>, u64> {
        let earlier = generation - 1;
        let slot = match self.find(hash, earlier) {
            Found::Slot(slot) => slot,
            Found::Full => return Ok(None),
            Found::Later(later) => return Err(later),
        };
        let half = self.half(earlier);
        let window = Window(&half.windows[slot]);
        loop {
            let word = window.load();
            half.still(slot, hash, earlier)?;
            if word == closed(earlier) {
                return Ok(None);
            }
            if state(word, now, self.length) != State::Over {
                if let Some(taken) = window.try_take(word, now, self.length, most) {
                    return Ok(Some((window, taken)));
                }
            } else if window.replace(word, closed(earlier)) {
                return Ok(None);
            }
        }
    }

    fn half(&self, generation: u64) -> &Half {
        &self.halves[(generation & 1) as usize]
    }

    /// Finds the key's slot, or claims the first free one.
    fn find(&self, hash: u64, generation: u64) -> Found {
        let half = self.half(generation);
        let mine = name(hash, generation);
        let first = group(hash) * GROUP;
        for slot in first..first + GROUP {
            let mut seen = half.keys[slot].load(Ordering::Acquire);
            while seen >> 32 < generation {
                match half.keys[slot].compare_exchange(seen, mine, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return Found::Slot(slot),
                    Err(other) => seen = other,
                }
            }
            if seen == mine {
                return Found::Slot(slot);
            }
            if seen >> 32 > generation {
                return Found::Later(seen >> 32);
            }
        }
        Found::Full
    }
}

impl Half {
    /// `Err` once the slot is another key's, by then of a later generation. Asked after the window is read and before it
    /// is changed: what was read is this key's, or older than it.
    fn still(&self, slot: usize, hash: u64, generation: u64) -> Result<(), u64> {
        let key = self.keys[slot].load(Ordering::Acquire);
        if key == name(hash, generation) { Ok(()) } else { Err(key >> 32) }
    }
}

fn group(hash: u64) -> usize {
    (hash >> 32) as usize % GROUPS
}

/// Two keys of one group are taken for one with a chance of 2^-32.
fn name(hash: u64, generation: u64) -> u64 {
    (generation << 32) | (hash & 0xffff_ffff)
}

/// The word of a slot in which no window may begin any more in this generation.
fn closed(generation: u64) -> u64 {
    (generation << 28) | CLOSED
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two keys of one group, and the slot of the first, which the second has two generations later.
    #[test]
    fn a_slot_that_is_another_keys_by_now_is_left_alone() {
        let (table, first, second) = (Table::new(1_000), 1, 2);
        table.take(first, 0, 9);
        let generation = 2;
        let Found::Slot(slot) = table.find(first, generation) else { panic!("it is there") };
        assert_eq!(table.half(generation).still(slot, first, generation), Ok(()));
        assert_eq!(table.take(second, 2_500, 2).taken.remaining, 1);
        assert_eq!(table.half(generation).still(slot, first, generation), Err(generation + 2));
        assert!(table.take(first, 500, 9).taken.within, "counted, in the window that is open now");
        assert_eq!(table.take(second, 2_500, 2).taken.remaining, 0, "and not in the other's");
    }
}
