//! One `LowCardinality(String)` column: every distinct text once, and an index a row.
//!
//! What is looked up how: text by a seeded hash, after a glance at the row before; names by their id in the chunk
//! and words of closed lists by their byte, so that those are never hashed per row.

use super::native::put_string;
use std::collections::HashMap;

/// ClickHouse's version of the keys' serialisation, before a column's first part.
pub(super) const STATE: u64 = 1;
/// `HasAdditionalKeys | NeedUpdateDictionary`: the dictionary is this block's own.
const FLAGS: u64 = 0x600;
/// An id or byte that has not been met in this scope.
const UNMET: u32 = u32::MAX;
/// The index of the empty text: key 0 must be the type's default.
const EMPTY: u32 = 0;
/// Name ids are dense from 1: up to here they are looked up in a table, above by hash.
const DENSE: usize = 4096;

pub(super) struct Dictionary {
    keys: Vec<u8>,
    count: u32,
    known: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
    rows: Vec<u32>,
    last: (Box<[u8]>, u32),
    by_id: Vec<u32>,
    by_large_id: HashMap<u32, u32>,
    by_byte: [u32; 256],
}

impl Default for Dictionary {
    fn default() -> Self {
        let mut new = Self {
            keys: Vec::new(),
            count: 0,
            known: HashMap::default(),
            rows: Vec::new(),
            last: (Box::default(), 0),
            by_id: Vec::new(),
            by_large_id: HashMap::new(),
            by_byte: [UNMET; 256],
        };
        new.index_of(b"");
        new
    }
}

impl Dictionary {
    /// The index of `text`, made now if it has none.
    pub(super) fn index_of(&mut self, text: &[u8]) -> u32 {
        if let Some(index) = self.known.get(text) {
            return *index;
        }
        let index = self.count;
        self.count += 1;
        put_string(&mut self.keys, text);
        self.known.insert(text.into(), index);
        index
    }

    #[inline]
    pub(super) fn push_index(&mut self, index: u32) {
        self.rows.push(index);
    }

    #[inline]
    pub(super) fn push(&mut self, text: &[u8]) {
        // Most columns of most rows. Comparing two empty slices reads from where nothing is, which a vectorised
        // memcmp is slow at: it was a quarter of the ingestor's CPU.
        if text.is_empty() {
            return self.rows.push(EMPTY);
        }
        if *self.last.0 != *text {
            let index = self.index_of(text);
            if self.last.0.len() == text.len() {
                self.last.0.copy_from_slice(text);
            } else {
                self.last.0 = text.into();
            }
            self.last.1 = index;
        }
        self.rows.push(self.last.1);
    }

    /// A word of a closed list, by its byte.
    #[inline]
    pub(super) fn push_word(&mut self, byte: u8, word: impl FnOnce() -> &'static str) {
        let mut index = self.by_byte[usize::from(byte)];
        if index == UNMET {
            index = self.index_of(word().as_bytes());
            self.by_byte[usize::from(byte)] = index;
        }
        self.rows.push(index);
    }

    /// A name by its id; ids mean something in one chunk only, see [`Dictionary::next_chunk`].
    #[inline]
    pub(super) fn push_name<'n>(&mut self, id: u32, name: impl FnOnce() -> &'n str) {
        let met = self.by_id.get(id as usize).copied().unwrap_or(UNMET);
        let index = if met == UNMET { self.meet(id, name) } else { met };
        self.rows.push(index);
    }

    fn meet<'n>(&mut self, id: u32, name: impl FnOnce() -> &'n str) -> u32 {
        if let Some(index) = self.by_large_id.get(&id) {
            return *index;
        }
        let index = self.index_of(name().as_bytes());
        let at = id as usize;
        if at < DENSE {
            if self.by_id.len() <= at {
                self.by_id.resize(at + 1, UNMET);
            }
            self.by_id[at] = index;
        } else {
            self.by_large_id.insert(id, index);
        }
        index
    }

    /// Forgets what ids mean.
    pub(super) fn next_chunk(&mut self) {
        self.by_id.clear();
        self.by_large_id.clear();
    }

    /// The part after the state. An inner column without elements is no bytes at all.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if self.rows.is_empty() {
            return;
        }
        let width: u64 = match self.count {
            0..=0x100 => 0,
            0x101..=0x1_0000 => 1,
            _ => 2,
        };
        out.extend_from_slice(&(FLAGS | width).to_le_bytes());
        out.extend_from_slice(&u64::from(self.count).to_le_bytes());
        out.extend_from_slice(&self.keys);
        out.extend_from_slice(&(self.rows.len() as u64).to_le_bytes());
        match width {
            0 => out.extend(self.rows.iter().map(|index| *index as u8)),
            1 => self.rows.iter().for_each(|index| out.extend_from_slice(&(*index as u16).to_le_bytes())),
            _ => self.rows.iter().for_each(|index| out.extend_from_slice(&index.to_le_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_whichever_way_it_comes() {
        let mut column = Dictionary::default();
        column.push(b"orders");
        column.push(b"orders");
        column.push_name(7, || "orders");
        column.push_name(7, || unreachable!("met before"));
        column.push_name(70_000, || "users");
        column.push_name(70_000, || unreachable!("met before"));
        column.next_chunk();
        column.push_name(7, || "users");
        column.push_word(3, || "orders");
        column.push(b"");
        assert_eq!(column.rows, [1, 1, 1, 1, 2, 2, 2, 1, 0]);
        assert_eq!(column.count, 3);
    }

    #[test]
    fn the_width_of_an_index_follows_the_keys() {
        for (keys, width) in [(255, 1), (256, 2), (65_535, 2), (65_536, 4)] {
            let mut column = Dictionary::default();
            (0..keys).for_each(|key: u32| column.push(key.to_string().as_bytes()));
            let mut out = Vec::new();
            column.write(&mut out);
            assert_eq!(out.len(), 24 + column.keys.len() + keys as usize * width, "{keys}");
        }
    }
}
