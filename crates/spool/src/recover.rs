//! What the file of a ring says after its process has died.
//!
//! Read as plain bytes, never mapped: a damaged file is an answer, not a fault. As long as the kernel ran on, all up
//! to `committed` is there, and the first bad CRC is damage. After another start of the kernel any page of the file
//! may be older than the others: then the counters are only a hint, and what is a record is said by its CRC alone.

use crate::format::{
    COMMITTED_AT, HEADER, HeaderError, NEXT_SEQ_AT, RingHeader, SEALED_AT, SEALED_SEQ_AT, Scan, u64_at,
};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use weir_event::{BootId, Schema};

/// Numbers past the last record that a header can plausibly claim: what is more is damage.
const MAX_MISSING: u64 = 1 << 40;

/// The end of a ring that is not in chunk files yet.
pub struct Recovered {
    header: RingHeader,
    start: u64,
    bytes: Vec<u8>,
    sealed_seq: u64,
    next_seq: u64,
    is_sure: bool,
}

/// How a ring ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingEnd {
    /// Every number below this was offered to the ring; if `is_sure`, none above.
    pub next_seq: u64,
    /// Whether all that was committed could be read.
    pub whole: bool,
    /// Whether the ring's counters can be believed.
    pub is_sure: bool,
}

/// What is known of a ring besides its file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) boot: BootId,
    pub(crate) worker: u16,
    /// What its records are of where its header does not say; none where that is a newer version.
    pub(crate) schema: Option<Schema>,
    /// What is noted durably: numbers below `sealed_seq` are in chunk files, records from `position` on are not.
    pub(crate) sealed_seq: u64,
    pub(crate) position: u64,
    /// Whether the kernel has run on since the ring was written.
    pub(crate) same_kernel: bool,
}

/// A ring of a version that this one cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Recovered {
    /// Reads a whole ring file, nothing else known of it; none where its header or its counters are damaged.
    pub fn read(file: &[u8]) -> Option<Self> {
        let header = RingHeader::decode(file, file.len() as u64).ok()?;
        let counters = Counters::read(file, &header)?;
        let data = |at: u64, len: usize| file.get(HEADER + at as usize..)?.get(..len).map(<[u8]>::to_vec);
        let bytes = around(&header, counters.sealed, counters.committed - counters.sealed, data)?;
        Some(Self::of(header, &counters, bytes))
    }

    /// Reads a ring's file as far as it is needed. Damage is an answer; an error is of reading.
    pub(crate) fn open(file: &File, expected: &Expected) -> io::Result<Result<Self, Unreadable>> {
        let len = file.metadata()?.len();
        let page = read_at(file, 0, HEADER.min(len as usize))?;
        let header = match RingHeader::decode(&page, len) {
            Err(HeaderError::Version) => return Ok(Err(Unreadable)),
            Err(HeaderError::Damaged) => None,
            Ok(header) => {
                Some(header).filter(|header| (header.boot, header.worker) == (expected.boot, expected.worker))
            }
        };
        let counters = header.as_ref().and_then(|header| Counters::read(&page, header));
        let data = |header: &RingHeader, at, used| {
            let read = |at: u64, len| read_at(file, HEADER as u64 + at, len);
            let mut failed = None;
            let bytes = around(header, at, used, |at, len| read(at, len).map_err(|error| failed = Some(error)).ok());
            match failed {
                Some(error) => Err(error),
                None => Ok(bytes.unwrap_or_default()),
            }
        };
        if let (Some(header), Some(counters), true) = (header, &counters, expected.same_kernel) {
            let bytes = data(&header, counters.sealed, counters.committed - counters.sealed)?;
            return Ok(Ok(Self::of(header, counters, bytes)));
        }
        let Some(schema) = header.map_or(expected.schema, |header| Some(header.schema)) else {
            return Ok(Err(Unreadable));
        };
        Self::salvage(len, schema, expected, counters.as_ref(), data).map(Ok)
    }

    /// Where the counters cannot be believed: every record from the furthest known position on that its CRC proves.
    fn salvage(
        len: u64,
        schema: Schema,
        expected: &Expected,
        counters: Option<&Counters>,
        data: impl FnOnce(&RingHeader, u64, u64) -> io::Result<Vec<u8>>,
    ) -> io::Result<Self> {
        let size = len.saturating_sub(HEADER as u64);
        let header = RingHeader { boot: expected.boot, worker: expected.worker, schema, size };
        let noted = (expected.position, expected.sealed_seq);
        let (start, sealed_seq) = counters.map_or(noted, |counters| noted.max((counters.sealed, counters.sealed_seq)));
        let next_seq = counters.map_or(0, |counters| counters.next_seq);
        let is_ring = header.is_of_a_file(len) && start.is_multiple_of(8) && start <= u64::MAX - 2 * header.size;
        let bytes = if is_ring { data(&header, start, header.size)? } else { Vec::new() };
        // A header of no size would divide by it; without bytes the size is never looked at again.
        let header = if is_ring { header } else { RingHeader { size: 8, ..header } };
        Ok(Self { header, start, bytes, sealed_seq, next_seq, is_sure: false })
    }

    fn of(header: RingHeader, counters: &Counters, bytes: Vec<u8>) -> Self {
        let Counters { sealed, sealed_seq, next_seq, .. } = *counters;
        Self { header, start: sealed, bytes, sealed_seq, next_seq, is_sure: true }
    }

    pub fn boot(&self) -> BootId {
        self.header.boot
    }

    pub fn worker(&self) -> u16 {
        self.header.worker
    }

    /// What its records are of.
    pub fn schema(&self) -> Schema {
        self.header.schema
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
            // Where the counters are not believed, an older lap may still check out: its numbers go back.
            if !self.is_sure && record.seq < next {
                continue;
            }
            next = next.max(record.seq.saturating_add(1));
            take(record.seq, record.payload);
        }
        let plausible = self.next_seq.saturating_sub(next) <= MAX_MISSING;
        let next_seq = if plausible { next.max(self.next_seq) } else { next };
        RingEnd { next_seq, whole: self.is_sure && scan.is_done(), is_sure: self.is_sure && plausible }
    }
}

/// The counters of a ring's header.
struct Counters {
    committed: u64,
    next_seq: u64,
    sealed: u64,
    sealed_seq: u64,
}

impl Counters {
    /// None where they contradict each other or the ring's size.
    fn read(page: &[u8], header: &RingHeader) -> Option<Self> {
        let counters = Self {
            committed: u64_at(page, COMMITTED_AT)?,
            next_seq: u64_at(page, NEXT_SEQ_AT)?,
            sealed: u64_at(page, SEALED_AT)?,
            sealed_seq: u64_at(page, SEALED_SEQ_AT)?,
        };
        let used = counters.committed.checked_sub(counters.sealed)?;
        let fits = used <= header.size && counters.committed <= u64::MAX - 2 * header.size;
        (fits && counters.sealed.is_multiple_of(8) && counters.sealed_seq <= counters.next_seq).then_some(counters)
    }
}

/// The `used` bytes of the positions from `start` on, by `read` of offsets in the data area.
fn around(
    header: &RingHeader,
    start: u64,
    used: u64,
    mut read: impl FnMut(u64, usize) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let from = start % header.size;
    let to_lap_end = used.min(header.size - from);
    let mut bytes = read(from, to_lap_end as usize)?;
    if used > to_lap_end {
        bytes.extend(read(0, (used - to_lap_end) as usize)?);
    }
    Some(bytes)
}

fn read_at(file: &File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}
