//! What the spool counts, and the snapshot that metrics are made from.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use weir_event::chunk::GapReason;
use weir_event::{BootId, Identity};

/// The spool's figures at one moment. Counts are since the start of this process.
#[derive(Clone, Debug, Default)]
pub struct SpoolStats {
    /// Events copied out of rings.
    pub events_written: u64,
    /// Events that are gone, by why.
    pub shed: ShedCounts,
    /// Chunk files that could not be read or unlinked at the first try.
    pub file_failures: u64,
    /// Answers that weir-analytics did not give: of a proxy, a portal, a wrong port.
    pub not_understood: u64,
    /// Chunks that were halved, for they were too large for the way to the ingestor.
    pub chunks_split: u64,
    /// Chunks that lie set aside now, and their bytes.
    pub set_aside_chunks: u64,
    pub set_aside_bytes: u64,
    /// Lives whose chunks wait, each with why.
    pub held: Vec<HeldLife>,
    /// Why nothing at all is shipped now.
    pub blocked: Option<&'static str>,
    pub chunks_sealed: u64,
    /// Bytes of the chunk files that were written.
    pub bytes_sealed: u64,
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
    /// What the spool may hold: past it the oldest chunks are shed.
    pub limit_bytes: u64,
    /// Of the oldest of them.
    pub oldest_age: Option<Duration>,
    /// One for each worker.
    pub rings: Vec<RingFill>,
    /// The last thing that went wrong with disk or shipping, for people.
    pub last_error: Option<String>,
}

/// A life whose chunks wait while those of others are shipped.
#[derive(Clone, Debug)]
pub struct HeldLife {
    pub boot: BootId,
    pub identity: Identity,
    /// The word of the protocol: `identity`, `version`.
    pub reason: &'static str,
    /// What the ingestor said.
    pub error: String,
    /// Wall time, microseconds since the Unix epoch.
    pub since_us: i64,
    pub chunks: u64,
}

/// Events lost to each reason of a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShedCounts([u64; GapReason::ALL.len()]);

impl ShedCounts {
    pub fn of(&self, reason: GapReason) -> u64 {
        self.0[reason.index()]
    }

    /// Every reason with its count, the many that are zero among them.
    pub fn iter(&self) -> impl Iterator<Item = (GapReason, u64)> + '_ {
        GapReason::ALL.into_iter().zip(self.0)
    }
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
    lost: [AtomicU64; GapReason::ALL.len()],
    pub(crate) file_failures: AtomicU64,
    pub(crate) not_understood: AtomicU64,
    pub(crate) chunks_split: AtomicU64,
    blocked: Mutex<Option<&'static str>>,
    chunks_sealed: AtomicU64,
    bytes_sealed: AtomicU64,
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
    /// A chunk file of so many bytes was written.
    pub(crate) fn sealed(&self, bytes: usize) {
        Self::add(&self.chunks_sealed, 1);
        Self::add(&self.bytes_sealed, bytes as u64);
    }

    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn lost(&self, reason: GapReason, events: u64) {
        Self::add(&self.lost[reason.index()], events);
    }

    /// Why nothing at all is shipped, or that something is.
    pub(crate) fn blocked(&self, reason: Option<&'static str>) {
        *self.blocked.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    pub(crate) fn failed(&self, sentence: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(sentence);
    }

    /// The counts; what is on disk and in the rings is filled in by those who know it.
    pub(crate) fn snapshot(&self) -> SpoolStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SpoolStats {
            events_written: get(&self.events_written),
            shed: ShedCounts(std::array::from_fn(|index| get(&self.lost[index]))),
            file_failures: get(&self.file_failures),
            not_understood: get(&self.not_understood),
            chunks_split: get(&self.chunks_split),
            blocked: *self.blocked.lock().unwrap_or_else(PoisonError::into_inner),
            chunks_sealed: get(&self.chunks_sealed),
            bytes_sealed: get(&self.bytes_sealed),
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
