//! What the spool counts, and the snapshot that metrics are made from.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use weir_event::chunk::GapReason;

/// The spool's figures at one moment. Counts are since the start of this process.
#[derive(Clone, Debug, Default)]
pub struct SpoolStats {
    /// Events copied out of rings.
    pub events_written: u64,
    /// Events that are gone, by why.
    pub shed: ShedCounts,
    pub chunks_sealed: u64,
    /// Requests that carried a chunk, resends among them.
    pub chunks_sent: u64,
    pub chunks_acked: u64,
    pub chunks_set_aside: u64,
    /// Chunks that were set aside and had to go to keep that folder within its bound.
    pub set_aside_dropped: u64,
    pub tombstones: u64,
    /// Chunks that could not be written at the first try.
    pub write_failures: u64,
    /// Times that the ingestor or the network made the shipper wait.
    pub pauses: u64,
    /// Lives of earlier processes that were taken over.
    pub adopted: u64,
    /// Chunk files that wait for an acknowledgement.
    pub chunks_on_disk: u64,
    pub bytes_on_disk: u64,
    /// Of the oldest of them.
    pub oldest_age: Option<Duration>,
    /// One for each worker.
    pub rings: Vec<RingFill>,
    /// The last thing that went wrong with disk or shipping, for people.
    pub last_error: Option<String>,
}

/// Events lost to each reason of a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShedCounts {
    pub ring_full: u64,
    pub spool_full: u64,
    pub torn: u64,
    /// Records that could not be read back.
    pub unknown: u64,
}

/// How full one ring is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingFill {
    pub used: u64,
    pub size: u64,
}

/// The living counters: written by the spool's own threads, read by anyone.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) events_written: AtomicU64,
    pub(crate) ring_full: AtomicU64,
    pub(crate) spool_full: AtomicU64,
    pub(crate) torn: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) chunks_sealed: AtomicU64,
    pub(crate) chunks_sent: AtomicU64,
    pub(crate) chunks_acked: AtomicU64,
    pub(crate) chunks_set_aside: AtomicU64,
    pub(crate) set_aside_dropped: AtomicU64,
    pub(crate) tombstones: AtomicU64,
    pub(crate) write_failures: AtomicU64,
    pub(crate) pauses: AtomicU64,
    pub(crate) adopted: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn shed(&self, reason: GapReason, events: u64) {
        let counter = match reason {
            GapReason::RingFull => &self.ring_full,
            GapReason::SpoolFull => &self.spool_full,
            GapReason::Torn => &self.torn,
            GapReason::Unknown => &self.unknown,
        };
        Self::add(counter, events);
    }

    pub(crate) fn failed(&self, sentence: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(sentence);
    }

    /// The counts; what is on disk and in the rings is filled in by those who know it.
    pub(crate) fn snapshot(&self) -> SpoolStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SpoolStats {
            events_written: get(&self.events_written),
            shed: ShedCounts {
                ring_full: get(&self.ring_full),
                spool_full: get(&self.spool_full),
                torn: get(&self.torn),
                unknown: get(&self.unknown),
            },
            chunks_sealed: get(&self.chunks_sealed),
            chunks_sent: get(&self.chunks_sent),
            chunks_acked: get(&self.chunks_acked),
            chunks_set_aside: get(&self.chunks_set_aside),
            set_aside_dropped: get(&self.set_aside_dropped),
            tombstones: get(&self.tombstones),
            write_failures: get(&self.write_failures),
            pauses: get(&self.pauses),
            adopted: get(&self.adopted),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ..SpoolStats::default()
        }
    }
}
