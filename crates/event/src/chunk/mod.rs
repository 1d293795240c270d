//! A chunk: a run of records of one stream that stands alone - on disk, on the wire, at the ingestor.
//!
//! ```text
//! magic "WEIRCHNK" · header len u32 · header crc32c u32 · header · body
//! header: Head · identity 5 × text16 · names × { id u32, text16 } · gaps × { first u64, last u64, why u8 }
//! body:   zstd( records × { len u32, record } )
//! ```
//!
//! It carries the definitions of the name ids that its records use, and the gaps in its own range of sequence
//! numbers with why they are gaps, so that a reader needs nothing but the bytes. All its records are of one
//! [`Schema`], which it names: they are as their ring had them, never converted, so that an ingestor of the version
//! that wrote the ring can read them too. Its range `first..=last` is
//! exactly its records and its gaps. It is immutable from the moment that it is sealed.
//!
//! Decoding trusts nothing: sizes are bounded before anything is allocated, both parts are under a CRC-32C, and
//! the count and the order of sequence numbers are checked; see the fuzz target `chunk`.

mod reader;
mod split;
mod writer;

pub use reader::{Chunk, ChunkHeader};
pub use writer::ChunkWriter;

use crate::names::NameId;
use crate::record::{RecordError, Schema};
use crate::wire::flat;

const MAGIC: &[u8; 8] = b"WEIRCHNK";
const PREFIX: usize = 16;
/// A chunk's body before compression, in bytes, at most.
pub const MAX_BODY: usize = 16 * 1024 * 1024;
/// A chunk's header, in bytes, at most.
pub const MAX_HEADER: usize = 4 * 1024 * 1024;
/// A whole chunk as it travels, in bytes, at most: what an ingestor need accept.
pub const MAX_CHUNK: usize = PREFIX + MAX_HEADER + MAX_BODY + MAX_BODY / 128 + 1024;
/// zstd's level 1: 3.6 times smaller at about 0.15 µs an event.
const LEVEL: i32 = 1;

flat! {
    struct Head {
        schema: u16, compression: u8, sealed_us: i64, stream: u64, boot: [u8; 16], worker: u16,
        first: u64, last: u64, count: u32, min_start_us: i64, max_start_us: i64,
        body_len: u32, raw_len: u32, body_crc: u32, names: u32, gaps: u32,
    }
}

/// Why sequence numbers of a chunk's range have no record in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum GapReason {
    /// The worker's ring was full: the event was shed.
    RingFull = 1,
    /// The spool was past its bound in bytes: the oldest were shed.
    SpoolFull = 2,
    /// The machine died with records that no sync had covered, or something wrote over the ring.
    Torn = 3,
    /// The spool was past its bound in age: the oldest were shed.
    TooOld = 4,
    /// The ring was full because the disk was.
    DiskFull = 5,
    /// The ring was full because chunk files could not be written, for another reason than a full disk.
    WriteFailed = 6,
    /// An operator dropped them.
    Dropped = 7,
    /// Chunks that were set aside were past their bound: the oldest were given up.
    SetAsideFull = 8,
    /// Their chunk file was removed by somebody else.
    Removed = 9,
    /// The record could not be read back, or this reader does not know the reason yet.
    Unknown = 255,
}

impl GapReason {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; 10] = [
        Self::RingFull,
        Self::SpoolFull,
        Self::Torn,
        Self::TooOld,
        Self::DiskFull,
        Self::WriteFailed,
        Self::Dropped,
        Self::SetAsideFull,
        Self::Removed,
        Self::Unknown,
    ];

    /// The word that metrics, the ledger and people see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::SpoolFull => "spool_full",
            Self::Torn => "torn",
            Self::TooOld => "too_old",
            Self::DiskFull => "disk_full",
            Self::WriteFailed => "write_failed",
            Self::Dropped => "dropped",
            Self::SetAsideFull => "set_aside_full",
            Self::Removed => "removed",
            Self::Unknown => "unknown",
        }
    }

    /// Its place in [`GapReason::ALL`].
    pub fn index(self) -> usize {
        Self::ALL.iter().position(|reason| *reason == self).expect("every reason is in the list of all")
    }

    fn from_byte(byte: u8) -> Self {
        Self::ALL.into_iter().find(|reason| *reason as u8 == byte).unwrap_or(Self::Unknown)
    }
}

/// A run of sequence numbers without records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub first: u64,
    pub last: u64,
    pub reason: GapReason,
}

impl Gap {
    /// How many sequence numbers it spans.
    pub fn count(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

/// Why bytes are not a chunk, or records do not make one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("this is not a chunk: it does not begin with `WEIRCHNK`")]
    Magic,
    #[error("the chunk ends before its own lengths do")]
    Short,
    #[error("the chunk is larger than the format allows")]
    TooLarge,
    #[error("the chunk's {0} does not match its checksum")]
    Checksum(&'static str),
    #[error("the chunk has schema version {0}, and this version of weir reads up to {newest}", newest = Schema::NEWEST.number())]
    Version(u16),
    #[error("the chunk's stream id does not follow from its identity")]
    Stream,
    #[error("the chunk's text is not UTF-8")]
    Text,
    #[error("the chunk's sequence numbers are not in order, or not those of its range")]
    Order,
    #[error("the chunk's body does not decompress to the length that it claims")]
    Compression,
    #[error("the chunk has neither records nor gaps")]
    Empty,
    #[error("name {} is not defined", .0.0)]
    Name(NameId),
    #[error(transparent)]
    Record(#[from] RecordError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instant;
    use crate::exchange::Exchange;
    use crate::identity::{Identity, Stream};
    use crate::ids::BootId;
    use crate::reason::Outcome;

    fn stream() -> Stream {
        let identity = Identity { site: "on-prem".into(), gateway: "edge".into(), ..Identity::default() };
        Stream { identity, boot: BootId([1; 16]), worker: 3 }
    }

    fn record(seq: u64) -> Vec<u8> {
        let now = Instant::now();
        let mut exchange = Exchange::new(now, 1_000 + seq as i64);
        exchange.api = NameId(2);
        exchange.finish(Outcome::Completed, now);
        let mut bytes = Vec::new();
        crate::record::encode(&exchange, seq, &mut bytes);
        bytes
    }

    fn name(id: NameId) -> Option<String> {
        (id == NameId(2)).then(|| "orders".to_owned())
    }

    fn sealed() -> Vec<u8> {
        let mut writer = ChunkWriter::new(stream());
        writer.push(&record(10), name).unwrap();
        writer.gap(Gap { first: 11, last: 13, reason: GapReason::RingFull }).unwrap();
        writer.push(&record(14), name).unwrap();
        writer.seal(77).unwrap()
    }

    #[test]
    fn a_chunk_stands_alone() {
        let chunk = Chunk::decode(&sealed()).unwrap();
        assert_eq!(chunk.header.stream, stream());
        assert_eq!((chunk.header.first, chunk.header.last, chunk.header.count), (10, 14, 2));
        assert_eq!(chunk.header.gaps, [Gap { first: 11, last: 13, reason: GapReason::RingFull }]);
        assert_eq!(chunk.header.name(NameId(2)), Some("orders"));
        assert_eq!(chunk.events().map(|event| event.fixed.seq).collect::<Vec<_>>(), [10, 14]);
        assert_eq!((chunk.header.min_start_us, chunk.header.max_start_us), (1010, 1014));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let good = sealed();
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 0x10;
            assert!(Chunk::decode(&bad).is_err(), "byte {index}");
            assert!(Chunk::decode(&good[..index]).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn a_hole_that_nobody_explained_is_refused() {
        let mut writer = ChunkWriter::new(stream());
        writer.push(&record(10), name).unwrap();
        assert_eq!(writer.push(&record(12), name), Err(ChunkError::Order));
        assert_eq!(writer.push(&record(10), name), Err(ChunkError::Order));
        assert_eq!(writer.gap(Gap { first: 9, last: 9, reason: GapReason::Torn }), Err(ChunkError::Order));
    }

    #[test]
    fn a_record_with_an_unknown_name_is_refused() {
        let mut writer = ChunkWriter::new(stream());
        assert_eq!(writer.push(&record(0), |_| None), Err(ChunkError::Name(NameId(2))));
    }

    #[test]
    fn a_chunk_of_gaps_only_is_a_tombstone() {
        let mut writer = ChunkWriter::new(stream());
        writer.gap(Gap { first: 0, last: 99, reason: GapReason::SpoolFull }).unwrap();
        let chunk = Chunk::decode(&writer.seal(1).unwrap()).unwrap();
        assert_eq!((chunk.header.count, chunk.header.gaps[0].count()), (0, 100));
        assert_eq!(ChunkWriter::new(stream()).seal(1), Err(ChunkError::Empty));
    }

    #[test]
    fn every_gap_reason_reads_as_it_was_written() {
        for (place, reason) in GapReason::ALL.into_iter().enumerate() {
            assert_eq!((GapReason::from_byte(reason as u8), reason.index()), (reason, place));
        }
        assert_eq!(GapReason::from_byte(200), GapReason::Unknown, "a reason of a later version");
    }

    #[test]
    fn a_prefix_that_holds_the_header_is_enough_to_read_it() {
        let chunk = sealed();
        let whole = ChunkHeader::decode(&chunk).unwrap();
        let length = ChunkHeader::length(&chunk).unwrap();
        let header = ChunkHeader::decode_prefix(&chunk[..length], chunk.len()).unwrap();
        assert_eq!((header.first, header.last, &header.gaps), (whole.first, whole.last, &whole.gaps));
        assert!(ChunkHeader::decode_prefix(&chunk[..length], chunk.len() + 1).is_err(), "a file of another length");
        assert!(ChunkHeader::decode_prefix(&chunk[..length - 1], chunk.len()).is_err());
    }

    #[test]
    fn a_chunk_is_halved_down_to_single_items() {
        let mut pieces = vec![sealed()];
        let (mut seqs, mut gaps) = (Vec::new(), Vec::new());
        while let Some(piece) = pieces.pop() {
            let chunk = Chunk::decode(&piece).unwrap();
            assert_eq!((&chunk.header.stream, chunk.header.sealed_us), (&stream(), 77));
            match chunk.split().unwrap() {
                Some([left, right]) => pieces.extend([right, left]),
                None => {
                    seqs.extend(chunk.events().map(|event| event.fixed.seq));
                    gaps.extend(chunk.header.gaps);
                }
            }
        }
        assert_eq!(seqs, [10, 14]);
        assert_eq!(gaps, [Gap { first: 11, last: 13, reason: GapReason::RingFull }]);
    }

    #[test]
    fn another_schema_version_is_distinguished_from_damage() {
        let mut bytes = sealed();
        bytes[PREFIX] = 9;
        let len = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
        let crc = crc32c::crc32c(&bytes[PREFIX..PREFIX + len]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(ChunkHeader::decode(&bytes).err(), Some(ChunkError::Version(9)));
    }
}
