//! A chunk: a run of records of one stream that stands alone - on disk, on the wire, at the ingestor.
//!
//! ```text
//! magic "WEIRCHNK" · header len u32 · header crc32c u32 · header · body
//! header: Head · identity 5 × text16 · names × { id u32, text16 } · gaps × { first u64, last u64, why u8 }
//! body:   zstd( records × { len u32, record } )
//! ```
//!
//! It carries the definitions of the name ids that its records use, and the gaps in its own range of sequence
//! numbers with why they are gaps, so that a reader needs nothing but the bytes. Its range `first..=last` is
//! exactly its records and its gaps. It is immutable from the moment that it is sealed.
//!
//! Decoding trusts nothing: sizes are bounded before anything is allocated, both parts are under a CRC-32C, and
//! the count and the order of sequence numbers are checked; see the fuzz target `chunk`.

use crate::identity::{Identity, Stream};
use crate::ids::{BootId, StreamId};
use crate::names::NameId;
use crate::record::{Event, MAX_RECORD, RecordError, SCHEMA_VERSION};
use crate::wire::{Reader, flat, put_text16};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GapReason {
    /// The worker's ring was full: the event was shed.
    RingFull = 1,
    /// The spool was past its bound: the oldest were shed.
    SpoolFull = 2,
    /// The machine died with records that no sync had covered.
    Torn = 3,
    /// A reason that this reader does not know yet.
    Unknown = 255,
}

impl GapReason {
    /// The word that metrics, the ledger and people see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::SpoolFull => "spool_full",
            Self::Torn => "torn",
            Self::Unknown => "unknown",
        }
    }

    const fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::RingFull,
            2 => Self::SpoolFull,
            3 => Self::Torn,
            _ => Self::Unknown,
        }
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

/// Collects records into a chunk.
pub struct ChunkWriter {
    stream: Stream,
    names: BTreeMap<NameId, String>,
    gaps: Vec<Gap>,
    raw: Vec<u8>,
    first: Option<u64>,
    next: u64,
    count: u32,
    min_start_us: i64,
    max_start_us: i64,
}

impl ChunkWriter {
    /// An empty chunk of `stream`.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            names: BTreeMap::new(),
            gaps: Vec::new(),
            raw: Vec::new(),
            first: None,
            next: 0,
            count: 0,
            min_start_us: i64::MAX,
            max_start_us: i64::MIN,
        }
    }

    /// Appends one record, with `name` to look up the names that it uses. A record whose sequence number is not
    /// above all before it is refused with [`ChunkError::Order`]; numbers left out before it must have been
    /// given to [`ChunkWriter::gap`].
    pub fn push(&mut self, record: &[u8], name: impl Fn(NameId) -> Option<String>) -> Result<(), ChunkError> {
        let event = Event::decode(record)?;
        if self.raw.len() + record.len() + 4 > MAX_BODY {
            return Err(ChunkError::TooLarge);
        }
        for id in event.name_ids() {
            if let Entry::Vacant(vacant) = self.names.entry(id) {
                vacant.insert(name(id).ok_or(ChunkError::Name(id))?);
            }
        }
        self.advance(event.fixed.seq, event.fixed.seq)?;
        self.raw.extend_from_slice(&(record.len() as u32).to_le_bytes());
        self.raw.extend_from_slice(record);
        self.count += 1;
        self.min_start_us = self.min_start_us.min(event.fixed.start_us);
        self.max_start_us = self.max_start_us.max(event.fixed.start_us);
        Ok(())
    }

    /// Says that `first..=last` has no records, and why.
    pub fn gap(&mut self, gap: Gap) -> Result<(), ChunkError> {
        self.advance(gap.first, gap.last)?;
        self.gaps.push(gap);
        Ok(())
    }

    fn advance(&mut self, first: u64, last: u64) -> Result<(), ChunkError> {
        let in_order = first <= last && last < u64::MAX && self.first.is_none_or(|_| first == self.next);
        if !in_order {
            return Err(ChunkError::Order);
        }
        self.first.get_or_insert(first);
        self.next = last + 1;
        Ok(())
    }

    /// How many records it holds.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The bytes of its records before compression.
    pub fn raw_len(&self) -> usize {
        self.raw.len()
    }

    /// Whether it holds neither record nor gap.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Compresses and closes it. `sealed_us` is the wall time, microseconds since the Unix epoch.
    pub fn seal(self, sealed_us: i64) -> Result<Vec<u8>, ChunkError> {
        let first = self.first.ok_or(ChunkError::Empty)?;
        let body = zstd::bulk::compress(&self.raw, LEVEL).map_err(|_| ChunkError::Compression)?;
        let head = Head {
            schema: SCHEMA_VERSION,
            compression: 1,
            sealed_us,
            stream: self.stream.id().0,
            boot: self.stream.boot.0,
            worker: self.stream.worker,
            first,
            last: self.next - 1,
            count: self.count,
            min_start_us: self.min_start_us,
            max_start_us: self.max_start_us,
            body_len: body.len() as u32,
            raw_len: self.raw.len() as u32,
            body_crc: crc32c::crc32c(&body),
            names: self.names.len() as u32,
            gaps: self.gaps.len() as u32,
        };
        let header = self.header(&head);
        if header.len() > MAX_HEADER {
            return Err(ChunkError::TooLarge);
        }
        let mut out = Vec::with_capacity(PREFIX + header.len() + body.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&(header.len() as u32).to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(&body);
        Ok(out)
    }

    fn header(&self, head: &Head) -> Vec<u8> {
        let mut out = vec![0; Head::SIZE];
        head.put(out.first_chunk_mut().expect("the header was made Head::SIZE long"));
        let identity = &self.stream.identity;
        for part in
            [&identity.organization, &identity.environment, &identity.site, &identity.gateway, &identity.replica]
        {
            put_text16(&mut out, part.as_bytes());
        }
        for (id, name) in &self.names {
            out.extend_from_slice(&id.0.to_le_bytes());
            put_text16(&mut out, name.as_bytes());
        }
        for gap in &self.gaps {
            out.extend_from_slice(&gap.first.to_le_bytes());
            out.extend_from_slice(&gap.last.to_le_bytes());
            out.push(gap.reason as u8);
        }
        out
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
    #[error("the chunk has schema version {0}, and this version of weir reads {SCHEMA_VERSION}")]
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

/// What a chunk says of itself, read without touching its body.
#[derive(Clone, Debug)]
pub struct ChunkHeader {
    pub stream: Stream,
    pub stream_id: StreamId,
    pub first: u64,
    pub last: u64,
    /// Records in the body.
    pub count: u32,
    pub sealed_us: i64,
    pub min_start_us: i64,
    pub max_start_us: i64,
    pub gaps: Vec<Gap>,
    names: BTreeMap<NameId, String>,
    raw_len: usize,
    body_crc: u32,
    body: std::ops::Range<usize>,
}

impl ChunkHeader {
    /// Reads and checks everything but the body.
    pub fn decode(bytes: &[u8]) -> Result<Self, ChunkError> {
        let mut reader = Reader::new(bytes);
        if reader.bytes(8) != Some(MAGIC) {
            return Err(ChunkError::Magic);
        }
        let len = reader.get::<u32>().ok_or(ChunkError::Short)? as usize;
        let crc = reader.get::<u32>().ok_or(ChunkError::Short)?;
        if len > MAX_HEADER {
            return Err(ChunkError::TooLarge);
        }
        let header = reader.bytes(len).ok_or(ChunkError::Short)?;
        if crc32c::crc32c(header) != crc {
            return Err(ChunkError::Checksum("header"));
        }
        let mut reader = Reader::new(header);
        // The version stands first and is read alone: what follows it may have another shape in another version.
        let schema = reader.get::<u16>().ok_or(ChunkError::Short)?;
        if schema != SCHEMA_VERSION {
            return Err(ChunkError::Version(schema));
        }
        Self::parts(header, PREFIX + len, bytes.len())
    }

    fn parts(header: &[u8], body_at: usize, total: usize) -> Result<Self, ChunkError> {
        let mut reader = Reader::new(header);
        let head = Head::get(reader.array().ok_or(ChunkError::Short)?);
        let identity = Identity {
            organization: text(&mut reader)?,
            environment: text(&mut reader)?,
            site: text(&mut reader)?,
            gateway: text(&mut reader)?,
            replica: text(&mut reader)?,
        };
        let mut names = BTreeMap::new();
        for _ in 0..head.names {
            let id = reader.get::<u32>().ok_or(ChunkError::Short)?;
            names.insert(NameId(id), text(&mut reader)?);
        }
        let gaps = read_gaps(&mut reader, head.gaps)?;
        if !reader.is_empty() || head.body_len as usize != total - body_at {
            return Err(ChunkError::Short);
        }
        if head.raw_len as usize > MAX_BODY || head.compression != 1 {
            return Err(ChunkError::TooLarge);
        }
        let stream = Stream { identity, boot: BootId(head.boot), worker: head.worker };
        if stream.id().0 != head.stream {
            return Err(ChunkError::Stream);
        }
        let header = Self {
            stream_id: StreamId(head.stream),
            stream,
            first: head.first,
            last: head.last,
            count: head.count,
            sealed_us: head.sealed_us,
            min_start_us: head.min_start_us,
            max_start_us: head.max_start_us,
            gaps,
            names,
            raw_len: head.raw_len as usize,
            body_crc: head.body_crc,
            body: body_at..total,
        };
        header.check_range()?;
        Ok(header)
    }

    /// The range must be exactly as long as records and gaps together, and every gap within it and in order.
    fn check_range(&self) -> Result<(), ChunkError> {
        if self.first > self.last || self.last == u64::MAX {
            return Err(ChunkError::Order);
        }
        let mut covered = u64::from(self.count);
        let mut after = self.first;
        for gap in &self.gaps {
            if gap.first < after || gap.last < gap.first || gap.last > self.last {
                return Err(ChunkError::Order);
            }
            after = gap.last + 1;
            covered = covered.saturating_add(gap.count());
        }
        if covered == self.last - self.first + 1 { Ok(()) } else { Err(ChunkError::Order) }
    }

    /// The name behind an id that a record of this chunk uses; the empty one for 0.
    pub fn name(&self, id: NameId) -> Option<&str> {
        if id == NameId::NONE { Some("") } else { self.names.get(&id).map(String::as_str) }
    }

    /// All names that this chunk defines.
    pub fn names(&self) -> impl Iterator<Item = (NameId, &str)> {
        self.names.iter().map(|(id, name)| (*id, name.as_str()))
    }
}

fn text(reader: &mut Reader<'_>) -> Result<String, ChunkError> {
    let bytes = reader.text16().ok_or(ChunkError::Short)?;
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| ChunkError::Text)
}

fn read_gaps(reader: &mut Reader<'_>, count: u32) -> Result<Vec<Gap>, ChunkError> {
    let mut gaps = Vec::new();
    for _ in 0..count {
        let first = reader.get::<u64>().ok_or(ChunkError::Short)?;
        let last = reader.get::<u64>().ok_or(ChunkError::Short)?;
        let reason = GapReason::from_byte(reader.get::<u8>().ok_or(ChunkError::Short)?);
        gaps.push(Gap { first, last, reason });
    }
    Ok(gaps)
}

/// A chunk with its body decompressed and every record of it checked.
pub struct Chunk {
    pub header: ChunkHeader,
    raw: Vec<u8>,
}

impl Chunk {
    /// Decodes everything. Memory is bounded by [`MAX_BODY`] whatever the bytes claim.
    pub fn decode(bytes: &[u8]) -> Result<Self, ChunkError> {
        let header = ChunkHeader::decode(bytes)?;
        let body = &bytes[header.body.clone()];
        if crc32c::crc32c(body) != header.body_crc {
            return Err(ChunkError::Checksum("body"));
        }
        let raw = zstd::bulk::decompress(body, header.raw_len).map_err(|_| ChunkError::Compression)?;
        if raw.len() != header.raw_len {
            return Err(ChunkError::Compression);
        }
        let chunk = Self { header, raw };
        chunk.check()?;
        Ok(chunk)
    }

    fn check(&self) -> Result<(), ChunkError> {
        let mut reader = Reader::new(&self.raw);
        let mut gaps = self.header.gaps.iter().peekable();
        let mut next = self.header.first;
        let mut count = 0;
        while !reader.is_empty() {
            let event = read_event(&mut reader)?;
            while let Some(gap) = gaps.next_if(|gap| gap.first == next) {
                next = gap.last + 1;
            }
            if event.fixed.seq != next {
                return Err(ChunkError::Order);
            }
            if let Some(id) = event.name_ids().find(|id| self.header.name(*id).is_none()) {
                return Err(ChunkError::Name(id));
            }
            next += 1;
            count += 1;
        }
        if count == self.header.count { Ok(()) } else { Err(ChunkError::Order) }
    }

    /// The records, in the order of their sequence numbers.
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        let mut reader = Reader::new(&self.raw);
        std::iter::from_fn(move || read_event(&mut reader).ok())
    }
}

fn read_event<'a>(reader: &mut Reader<'a>) -> Result<Event<'a>, ChunkError> {
    let len = reader.get::<u32>().ok_or(ChunkError::Short)? as usize;
    if len > MAX_RECORD {
        return Err(ChunkError::Record(RecordError::TooLarge));
    }
    Ok(Event::decode(reader.bytes(len).ok_or(ChunkError::Short)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Exchange;
    use crate::reason::Outcome;
    use std::time::Instant;

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
    fn another_schema_version_is_told_apart_from_damage() {
        let mut bytes = sealed();
        bytes[PREFIX] = 9;
        let len = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
        let crc = crc32c::crc32c(&bytes[PREFIX..PREFIX + len]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(ChunkHeader::decode(&bytes).err(), Some(ChunkError::Version(9)));
    }
}
