//! The bytes of a ring file: one header page, then the data area, in which positions run on for ever and a lap is
//! one time around.
//!
//! ```text
//! header: magic "WEIRRING" · version u32 · worker u16 · schema u16 · boot 16 · size u64 · crc32c u32 of all before
//!         at 64: committed u64, next_seq u64, shed u64 (the worker's line) · at 128: sealed u64, sealed_seq u64 (the
//!         spool's)
//! record: len u32 · crc32c u32 · seq u64 · payload, padded to 8      where len is the payload's
//! wrap:   u32::MAX · crc32c u32                                      the rest of this lap is empty
//! ```
//!
//! `schema` is that of the records ([`Schema`]); 0, which the first version wrote, is 1.
//! Every CRC is seeded with boot and lap, so that what an earlier lap or life left behind never reads as a record.
//! [`Scan`] trusts nothing: any bytes give records that were really written, and then an end; see the fuzz target
//! `ring`.

use weir_event::record::MAX_RECORD;
use weir_event::{BootId, Schema};

pub(crate) const HEADER: usize = 4096;
pub(crate) const COMMITTED_AT: usize = 64;
pub(crate) const NEXT_SEQ_AT: usize = 72;
pub(crate) const SHED_AT: usize = 80;
pub(crate) const SEALED_AT: usize = 128;
pub(crate) const SEALED_SEQ_AT: usize = 136;
pub(crate) const RECORD_HEAD: usize = 16;
pub(crate) const WRAP_LEN: usize = 8;
/// A ring holds some records of the largest size whatever is configured.
pub(crate) const MIN_SIZE: usize = 8 * MAX_RECORD;

const MAGIC: &[u8; 8] = b"WEIRRING";
/// 2 is 1 under another number: the first readers of 1 did not look at `schema`, and would take records of a later
/// schema for damaged ones.
const VERSION: u32 = 2;
const WRAP: u32 = u32::MAX;
const FIXED: usize = 40;

/// What of a ring's header never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingHeader {
    pub boot: BootId,
    pub worker: u16,
    /// Of its records.
    pub schema: Schema,
    /// The data area, in bytes; a multiple of 4096.
    pub size: u64,
}

impl RingHeader {
    pub(crate) fn encode(&self) -> [u8; FIXED + 4] {
        let mut out = [0; FIXED + 4];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..14].copy_from_slice(&self.worker.to_le_bytes());
        out[14..16].copy_from_slice(&self.schema.number().to_le_bytes());
        out[16..32].copy_from_slice(&self.boot.0);
        out[32..40].copy_from_slice(&self.size.to_le_bytes());
        let crc = crc32c::crc32c(&out[..FIXED]);
        out[FIXED..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the first page of a ring file that is `len` bytes long.
    pub(crate) fn decode(page: &[u8], len: u64) -> Result<Self, HeaderError> {
        let fixed = page.get(..FIXED).ok_or(HeaderError::Damaged)?;
        if fixed[..8] != *MAGIC || u32_at(page, FIXED) != Some(crc32c::crc32c(fixed)) {
            return Err(HeaderError::Damaged);
        }
        let schema = u16_at(page, 14).and_then(|number| Schema::from_number(number.max(1)));
        let (Some(1..=VERSION), Some(schema)) = (u32_at(page, 8), schema) else { return Err(HeaderError::Version) };
        let header = || {
            let (boot, worker) = (BootId(*page.get(16..)?.first_chunk()?), u16_at(page, 12)?);
            Some(Self { boot, worker, schema, size: u64_at(page, 32)? })
        };
        let header = header().ok_or(HeaderError::Damaged)?;
        if header.is_of_a_file(len) { Ok(header) } else { Err(HeaderError::Damaged) }
    }

    /// Whether a file of so many bytes can have it.
    pub(crate) fn is_of_a_file(&self, len: u64) -> bool {
        len.checked_sub(HEADER as u64) == Some(self.size) && self.size >= MIN_SIZE as u64 && self.size.is_multiple_of(8)
    }
}

/// Why a ring's header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    Damaged,
    /// It is whole, and of a version of the ring or of its records that is newer than this one.
    Version,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// What the CRCs of one lap start from.
pub(crate) fn seed(boot: &BootId, lap: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&boot.0), &lap.to_le_bytes())
}

/// Bytes that a payload takes in the ring.
#[inline]
pub(crate) fn record_len(payload: usize) -> usize {
    (RECORD_HEAD + payload).next_multiple_of(8)
}

/// The head of a record: it and the payload are under the CRC.
#[inline]
pub(crate) fn record_head(seed: u32, seq: u64, payload: &[u8]) -> [u8; RECORD_HEAD] {
    let mut head = [0; RECORD_HEAD];
    head[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    head[4..8].copy_from_slice(&record_crc(seed, seq, payload).to_le_bytes());
    head[8..].copy_from_slice(&seq.to_le_bytes());
    head
}

#[inline]
fn record_crc(seed: u32, seq: u64, payload: &[u8]) -> u32 {
    let mut covered = [0; 12];
    covered[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    covered[4..].copy_from_slice(&seq.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &covered), payload)
}

pub(crate) fn wrap_marker(seed: u32) -> [u8; WRAP_LEN] {
    let mut marker = [0; WRAP_LEN];
    marker[..4].copy_from_slice(&WRAP.to_le_bytes());
    marker[4..].copy_from_slice(&crc32c::crc32c_append(seed, &WRAP.to_le_bytes()).to_le_bytes());
    marker
}

/// Records of a stretch of a ring, one after the other.
pub(crate) struct Scan<'a> {
    /// The bytes from `start` on, laps laid end to end.
    bytes: &'a [u8],
    start: u64,
    header: &'a RingHeader,
    at: u64,
    lap: u64,
    seed: u32,
}

/// One record as it stands in the ring.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RingRecord<'a> {
    pub(crate) seq: u64,
    pub(crate) payload: &'a [u8],
}

impl<'a> Scan<'a> {
    /// `bytes` are those of the positions from `start` on.
    pub(crate) fn new(header: &'a RingHeader, start: u64, bytes: &'a [u8]) -> Self {
        let lap = start / header.size;
        Self { bytes, start, header, at: start, lap, seed: seed(&header.boot, lap) }
    }

    /// The position after the last record given: where to read on, or where the ring is torn.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// Whether every byte was understood.
    pub(crate) fn is_done(&self) -> bool {
        self.at - self.start == self.bytes.len() as u64
    }

    /// The next record; none at the end, and none for ever at the first bytes that are not a record.
    pub(crate) fn next(&mut self) -> Option<RingRecord<'a>> {
        self.enter_lap();
        if u32_at(self.rest(), 0)? == WRAP {
            self.skip_wrap()?;
        }
        let rest = self.rest();
        let (len, crc, seq) = (u32_at(rest, 0)? as usize, u32_at(rest, 4)?, u64_at(rest, 8)?);
        if len > MAX_RECORD || record_len(len) as u64 > self.to_lap_end() || record_len(len) > rest.len() {
            return None;
        }
        let payload = rest.get(RECORD_HEAD..RECORD_HEAD + len)?;
        if record_crc(self.seed, seq, payload) != crc {
            return None;
        }
        self.at += record_len(len) as u64;
        Some(RingRecord { seq, payload })
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get((self.at - self.start) as usize..).unwrap_or_default()
    }

    fn to_lap_end(&self) -> u64 {
        self.header.size - self.at % self.header.size
    }

    fn enter_lap(&mut self) {
        let lap = self.at / self.header.size;
        if lap != self.lap {
            self.lap = lap;
            self.seed = seed(&self.header.boot, lap);
        }
    }

    fn skip_wrap(&mut self) -> Option<()> {
        if self.rest().get(..WRAP_LEN)? != wrap_marker(self.seed) {
            return None;
        }
        let next = self.at.checked_add(self.to_lap_end())?;
        if next - self.start > self.bytes.len() as u64 {
            return None;
        }
        self.at = next;
        self.enter_lap();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(version: u32, schema: u16) -> Vec<u8> {
        let header = RingHeader { boot: BootId([7; 16]), worker: 1, schema: Schema::NEWEST, size: MIN_SIZE as u64 };
        let mut page = header.encode()[..FIXED].to_vec();
        page[8..12].copy_from_slice(&version.to_le_bytes());
        page[14..16].copy_from_slice(&schema.to_le_bytes());
        page.extend(crc32c::crc32c(&page).to_le_bytes());
        page
    }

    fn schema(version: u32, schema: u16) -> Result<Schema, HeaderError> {
        RingHeader::decode(&page(version, schema), (HEADER + MIN_SIZE) as u64).map(|header| header.schema)
    }

    #[test]
    fn every_ring_that_was_ever_written_is_read_and_no_later_one() {
        assert_eq!((schema(1, 0), schema(1, 1)), (Ok(Schema::V1), Ok(Schema::V1)));
        assert_eq!((schema(2, 2), schema(2, 3)), (Ok(Schema::V2), Ok(Schema::V3)));
        for (version, number) in [(2, Schema::NEWEST.number() + 1), (3, 2), (0, 1)] {
            assert_eq!(schema(version, number), Err(HeaderError::Version), "{version} {number}");
        }
    }

    /// The first readers know the number 1 alone, and nothing of schemas.
    #[test]
    fn a_ring_of_this_version_is_none_to_the_first_readers() {
        let header = RingHeader { boot: BootId([7; 16]), worker: 1, schema: Schema::NEWEST, size: MIN_SIZE as u64 };
        assert_ne!(u32_at(&header.encode(), 8), Some(1));
    }
}
