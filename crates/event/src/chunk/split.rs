//! One chunk as two of half its size, for a way to the ingestor that is too narrow for it.

use super::{Chunk, ChunkError, ChunkWriter, Gap};
use crate::names::NameId;
use crate::record::Event;
use crate::wire::Reader;

/// What a chunk's range is made of, in order.
enum Item<'a> {
    Record(&'a [u8]),
    Gap(Gap),
}

impl Item<'_> {
    fn size(&self) -> usize {
        match self {
            Self::Record(bytes) => bytes.len() + 4,
            Self::Gap(_) => 17,
        }
    }
}

impl Chunk {
    /// Two chunks, sealed, with half of the bytes of this one each: the same schema, stream, records, gaps
    /// and time of sealing. `None` where it holds a single record or gap, which cannot be halved.
    pub fn split(&self) -> Result<Option<[Vec<u8>; 2]>, ChunkError> {
        let items = self.items()?;
        if items.len() < 2 {
            return Ok(None);
        }
        let total: usize = items.iter().map(Item::size).sum();
        let mut before = 0;
        let middle = items.iter().take_while(|item| {
            before += item.size();
            before <= total / 2
        });
        let (left, right) = items.split_at(middle.count().clamp(1, items.len() - 1));
        Ok(Some([self.sealed(left)?, self.sealed(right)?]))
    }

    fn items(&self) -> Result<Vec<Item<'_>>, ChunkError> {
        let mut reader = Reader::new(&self.raw);
        let mut gaps = self.header.gaps.iter().copied().peekable();
        let mut items = Vec::new();
        while !reader.is_empty() {
            let len = reader.get::<u32>().ok_or(ChunkError::Short)? as usize;
            let record = reader.bytes(len).ok_or(ChunkError::Short)?;
            let seq = Event::decode(self.header.schema, record)?.fixed.seq;
            while let Some(gap) = gaps.next_if(|gap| gap.first < seq) {
                items.push(Item::Gap(gap));
            }
            items.push(Item::Record(record));
        }
        items.extend(gaps.map(Item::Gap));
        Ok(items)
    }

    fn sealed(&self, items: &[Item<'_>]) -> Result<Vec<u8>, ChunkError> {
        let mut writer = ChunkWriter::of(self.header.schema, self.header.stream.clone());
        for item in items {
            match item {
                Item::Record(bytes) => writer.push(bytes, |id: NameId| self.header.name(id).map(str::to_owned))?,
                Item::Gap(gap) => writer.gap(*gap)?,
            }
        }
        writer.seal(self.header.sealed_us)
    }
}
