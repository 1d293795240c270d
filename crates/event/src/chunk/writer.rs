//! The gateway's side: records and gaps in, one sealed chunk out.

use super::{ChunkError, Gap, Head, LEVEL, MAGIC, MAX_BODY, MAX_HEADER, PREFIX};
use crate::identity::Stream;
use crate::names::NameId;
use crate::record::{Event, Schema};
use crate::wire::put_text16;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Collects records into a chunk.
pub struct ChunkWriter {
    schema: Schema,
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
    /// An empty chunk of `stream`, for records that this version of Weir wrote.
    pub fn new(stream: Stream) -> Self {
        Self::of(Schema::NEWEST, stream)
    }

    /// An empty chunk of `stream`, for records of `schema`.
    pub fn of(schema: Schema, stream: Stream) -> Self {
        Self {
            schema,
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
        let event = Event::decode(self.schema, record)?;
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

    /// About what it takes on the wire when nothing of it can be compressed, in bytes.
    pub fn wire_len(&self) -> usize {
        let names: usize = self.names.values().map(|name| name.len() + 6).sum();
        PREFIX + 1024 + names + self.gaps.len() * 17 + self.raw.len() + self.raw.len() / 128
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
            schema: self.schema.number(),
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
