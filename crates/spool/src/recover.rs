//! What the file of a ring says after its process has died.
//!
//! Read as plain bytes, never mapped: a damaged file is an answer, not a fault. Everything up to `committed` is
//! there unless the machine itself went down; the first bad CRC ends the ring.

use crate::format::{COMMITTED_AT, HEADER, NEXT_SEQ_AT, RingHeader, SEALED_AT, SEALED_SEQ_AT, Scan, u64_at};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use weir_event::BootId;

/// Numbers past the last record that a header can plausibly claim: what is more is damage.
const MAX_MISSING: u64 = 1 << 40;

/// The end of a ring that is not in chunk files yet.
pub struct Recovered {
    header: RingHeader,
    start: u64,
    bytes: Vec<u8>,
    sealed_seq: u64,
    next_seq: u64,
}

/// How a ring ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingEnd {
    /// Every number below this was offered to the ring.
    pub next_seq: u64,
    /// Whether all that was committed could be read.
    pub whole: bool,
}

impl Recovered {
    /// Reads a ring file; none where its header is damaged.
    pub fn read(file: &[u8]) -> Option<Self> {
        let header = RingHeader::decode(file)?;
        let (committed, sealed) = (u64_at(file, COMMITTED_AT)?, u64_at(file, SEALED_AT)?);
        let used = committed.checked_sub(sealed)?;
        if used > header.size || !sealed.is_multiple_of(8) || committed > u64::MAX - 2 * header.size {
            return None;
        }
        let data = file.get(HEADER..)?;
        let from = (sealed % header.size) as usize;
        let to_lap_end = used.min(header.size - sealed % header.size) as usize;
        let mut bytes = data.get(from..from + to_lap_end)?.to_vec();
        bytes.extend_from_slice(data.get(..used as usize - to_lap_end)?);
        let (sealed_seq, next_seq) = (u64_at(file, SEALED_SEQ_AT)?, u64_at(file, NEXT_SEQ_AT)?);
        Some(Self { header, start: sealed, bytes, sealed_seq, next_seq })
    }

    pub fn boot(&self) -> BootId {
        self.header.boot
    }

    pub fn worker(&self) -> u16 {
        self.header.worker
    }

    /// The numbers below this are in chunk files, or were.
    pub fn sealed_seq(&self) -> u64 {
        self.sealed_seq
    }

    /// Gives every record to `take`, in order, and says how the ring ended.
    pub fn records(&self, mut take: impl FnMut(u64, &[u8])) -> RingEnd {
        let mut scan = Scan::new(&self.header, self.start, &self.bytes);
        let mut next = self.sealed_seq;
        while let Some(record) = scan.next() {
            next = next.max(record.seq.saturating_add(1));
            take(record.seq, record.payload);
        }
        let plausible = self.next_seq.saturating_sub(next) <= MAX_MISSING;
        RingEnd { next_seq: if plausible { next.max(self.next_seq) } else { next }, whole: scan.is_done() }
    }
}

/// Writes to the file of a ring that has been emptied that nothing is left in it, and that numbers below `next` were
/// offered. In an order in which a crash in between leaves records that are known to be settled.
pub(crate) fn mark_empty(path: &Path, ring: &Recovered, next: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let committed = ring.start + ring.bytes.len() as u64;
    for (at, value) in [(NEXT_SEQ_AT, next), (SEALED_SEQ_AT, next), (SEALED_AT, committed)] {
        file.write_all_at(&value.to_le_bytes(), at as u64)?;
    }
    file.sync_data()
}
