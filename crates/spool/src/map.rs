//! The memory under a ring, and the only unsafe code of this crate.
//!
//! One [`Producer`] (the worker) and one [`Consumer`] (the spool's thread) share a mapping of the ring's file and
//! split its data area between them without a lock. What makes this sound, and is checked here on every call:
//!
//! - Positions from `sealed` to `committed` are the consumer's: it reads them, and the producer does not write
//!   them. All others are the producer's: it writes them, and the consumer does not read them.
//! - Only the producer moves `committed` (release, after the bytes), only the consumer moves `sealed` (release,
//!   after it is done with the bytes); each side reads the other's with acquire, and keeps its own in a field that
//!   nothing outside can change.
//! - Neither half can be cloned. The counters are only ever touched as atomics.
//!
//! Another process that writes to the file would break this, as it would any shared mapping: the folder's lock is
//! there so that none does.

#![expect(unsafe_code, reason = "a ring is memory that a file backs")]

use crate::format::{COMMITTED_AT, HEADER, NEXT_SEQ_AT, SEALED_AT, SEALED_SEQ_AT, SHED_AT};
use memmap2::{MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

struct Map {
    raw: MmapRaw,
    size: u64,
}

/// The writing half.
pub(crate) struct Producer {
    map: Arc<Map>,
    committed: u64,
    sealed: u64,
    shed: u64,
}

/// The reading half.
pub(crate) struct Consumer {
    map: Arc<Map>,
    sealed: u64,
}

/// Maps the fresh file of a ring whose data area has `size` bytes, and touches every page, so that the worker
/// never takes the first fault of one.
pub(crate) fn share(file: &File, size: u64) -> io::Result<(Producer, Consumer)> {
    let len = usize::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)? + HEADER;
    if file.metadata()?.len() != len as u64 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let raw = MmapOptions::new().len(len).map_raw(file)?;
    for page in (HEADER..len).step_by(4096) {
        // SAFETY: `page` is below `len`, the mapping's length, and nobody else has the mapping yet.
        unsafe { raw.as_mut_ptr().add(page).write_volatile(0) };
    }
    let map = Arc::new(Map { raw, size });
    Ok((Producer { map: Arc::clone(&map), committed: 0, sealed: 0, shed: 0 }, Consumer { map, sealed: 0 }))
}

impl Map {
    fn counter(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at + 8 <= HEADER && at.is_multiple_of(8));
        // SAFETY: `at` is one of the five offsets of the header page, within the mapping and aligned to 8 (the
        // mapping is aligned to a page); these words are only ever accessed as atomics, and live as long as `self`.
        unsafe { AtomicU64::from_ptr(self.raw.as_mut_ptr().add(at).cast()) }
    }

    /// Where in the mapping a position lies.
    fn offset(&self, position: u64) -> usize {
        HEADER + (position % self.size) as usize
    }
}

impl Producer {
    pub(crate) fn size(&self) -> u64 {
        self.map.size
    }

    pub(crate) fn committed(&self) -> u64 {
        self.committed
    }

    /// Whether positions up to `end` are free to write; looks at the consumer's counter only when they seem not.
    #[inline]
    pub(crate) fn has_room(&mut self, end: u64) -> bool {
        if end - self.sealed <= self.map.size {
            return true;
        }
        let sealed = self.map.counter(SEALED_AT).load(Ordering::Acquire);
        if (self.sealed..=self.committed).contains(&sealed) {
            self.sealed = sealed;
        }
        end - self.sealed <= self.map.size
    }

    /// Copies `bytes` to `position`, which with them must be free and must not cross the end of a lap.
    #[inline]
    pub(crate) fn put(&mut self, position: u64, bytes: &[u8]) {
        let end = position + bytes.len() as u64;
        let at = self.map.offset(position);
        let free = position >= self.committed && end - self.sealed <= self.map.size;
        assert!(free && at + bytes.len() <= HEADER + self.map.size as usize, "the ring writes only where it may");
        // SAFETY: the assertion: within the mapping, and at positions that are the producer's. `&mut self` makes
        // this the only writer.
        unsafe { self.map.raw.as_mut_ptr().add(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// Hands everything up to `end` to the consumer.
    #[inline]
    pub(crate) fn commit(&mut self, end: u64) {
        assert!(end >= self.committed && end - self.sealed <= self.map.size, "the ring hands over what it wrote");
        self.committed = end;
        self.map.counter(COMMITTED_AT).store(end, Ordering::Release);
    }

    /// Says that every sequence number below `next_seq` was offered. After the commit of what was written of them.
    #[inline]
    pub(crate) fn offered(&mut self, next_seq: u64) {
        self.map.counter(NEXT_SEQ_AT).store(next_seq, Ordering::Release);
    }
}

impl Producer {
    /// Counts an event that found no room, before its number is offered.
    #[cold]
    pub(crate) fn shed(&mut self) {
        self.shed += 1;
        self.map.counter(SHED_AT).store(self.shed, Ordering::Release);
    }
}

impl Consumer {
    /// How many events have found no room so far.
    pub(crate) fn shed(&self) -> u64 {
        self.map.counter(SHED_AT).load(Ordering::Acquire)
    }

    pub(crate) fn size(&self) -> u64 {
        self.map.size
    }

    pub(crate) fn sealed(&self) -> u64 {
        self.sealed
    }

    /// Every number below this was offered; those that were written are below a `committed` that is read later.
    pub(crate) fn offered(&self) -> u64 {
        self.map.counter(NEXT_SEQ_AT).load(Ordering::Acquire)
    }

    pub(crate) fn committed(&self) -> u64 {
        let committed = self.map.counter(COMMITTED_AT).load(Ordering::Acquire);
        committed.clamp(self.sealed, self.sealed.saturating_add(self.map.size))
    }

    /// Appends the bytes of `from..to`, cut to what is the consumer's.
    pub(crate) fn copy(&self, from: u64, to: u64, out: &mut Vec<u8>) {
        let (mut from, to) = (from.max(self.sealed), to.min(self.committed()));
        while from < to {
            let piece = (to - from).min(self.map.size - from % self.map.size) as usize;
            // SAFETY: within the mapping: `piece` ends at the end of the lap at the latest. From `sealed` to
            // `committed`, where the producer does not write while `&self` is held, for only `release` moves `sealed`.
            let bytes = unsafe { std::slice::from_raw_parts(self.map.raw.as_ptr().add(self.map.offset(from)), piece) };
            out.extend_from_slice(bytes);
            from += piece as u64;
        }
    }

    /// Gives everything up to `position` back to the producer; the sequence numbers below `next` are settled.
    pub(crate) fn release(&mut self, position: u64, next: u64) {
        let position = position.clamp(self.sealed, self.committed());
        self.sealed = position;
        self.map.counter(SEALED_SEQ_AT).store(next, Ordering::Release);
        self.map.counter(SEALED_AT).store(position, Ordering::Release);
    }
}
