//! The ingestor's side: bytes that nobody vouches for in, checked records out.

use super::{ChunkError, Gap, GapReason, Head, MAGIC, MAX_BODY, MAX_HEADER, PREFIX};
use crate::identity::{Identity, Stream};
use crate::ids::{BootId, StreamId};
use crate::names::NameId;
use crate::record::{Event, MAX_RECORD, RecordError, Schema};
use crate::wire::Reader;
use std::collections::BTreeMap;

/// What a chunk says of itself, read without touching its body.
#[derive(Clone, Debug)]
pub struct ChunkHeader {
    /// Of its records.
    pub schema: Schema,
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
    /// How many bytes from the start of a chunk hold its header; `bytes` are at least the first 12 of it.
    pub fn length(bytes: &[u8]) -> Result<usize, ChunkError> {
        let mut reader = Reader::new(bytes);
        if reader.bytes(8) != Some(MAGIC) {
            return Err(ChunkError::Magic);
        }
        let len = reader.get::<u32>().ok_or(ChunkError::Short)? as usize;
        if len > MAX_HEADER { Err(ChunkError::TooLarge) } else { Ok(PREFIX + len) }
    }

    /// Reads and checks everything but the body.
    pub fn decode(bytes: &[u8]) -> Result<Self, ChunkError> {
        Self::decode_prefix(bytes, bytes.len())
    }

    /// The same, of the first bytes of a chunk that is `total` bytes long.
    pub fn decode_prefix(bytes: &[u8], total: usize) -> Result<Self, ChunkError> {
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
        let schema = Schema::from_number(schema).ok_or(ChunkError::Version(schema))?;
        Self::parts(schema, header, PREFIX + len, total)
    }

    fn parts(schema: Schema, header: &[u8], body_at: usize, total: usize) -> Result<Self, ChunkError> {
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
        if !reader.is_empty() || Some(head.body_len as usize) != total.checked_sub(body_at) {
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
            schema,
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

    /// Bytes of the records, decompressed.
    pub fn body_bytes(&self) -> usize {
        self.raw_len
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
    pub(super) raw: Vec<u8>,
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
            let event = read_event(self.header.schema, &mut reader)?;
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
        std::iter::from_fn(move || read_event(self.header.schema, &mut reader).ok())
    }
}

fn read_event<'a>(schema: Schema, reader: &mut Reader<'a>) -> Result<Event<'a>, ChunkError> {
    let len = reader.get::<u32>().ok_or(ChunkError::Short)? as usize;
    if len > MAX_RECORD {
        return Err(ChunkError::Record(RecordError::TooLarge));
    }
    Ok(Event::decode(schema, reader.bytes(len).ok_or(ChunkError::Short)?)?)
}
