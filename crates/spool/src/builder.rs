//! From records to a chunk: every sequence number of a stream once, as a record or as a gap with its reason.

use crate::folder::ChunkName;
use weir_event::Ranges;
use weir_event::chunk::{ChunkWriter, Gap, GapReason};
use weir_event::clock::system_us;
use weir_event::{Event, NameId, Schema, Stream};

/// Collects one stream's records into one chunk after the other. They are all of one ring, and so of one schema.
pub(crate) struct Builder {
    schema: Schema,
    stream: Stream,
    writer: ChunkWriter,
    /// The first number that was neither copied nor given up.
    next: u64,
    gaps: Vec<Gap>,
    first: u64,
}

/// A chunk that is ready to be written.
pub(crate) struct Built {
    pub(crate) name: ChunkName,
    pub(crate) bytes: Vec<u8>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) sealed_us: i64,
}

impl Builder {
    /// Begins at sequence number `next`; the records are of `schema`.
    pub(crate) fn new(schema: Schema, stream: Stream, next: u64) -> Self {
        let writer = ChunkWriter::of(schema, stream.clone());
        Self { schema, writer, stream, next, gaps: Vec::new(), first: next }
    }

    /// The first number that is not in a chunk built so far, nor in the one being built.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn count(&self) -> u32 {
        self.writer.count()
    }

    pub(crate) fn raw_len(&self) -> usize {
        self.writer.raw_len()
    }

    /// About what the chunk takes on the wire if nothing of it can be compressed, in bytes.
    pub(crate) fn wire_len(&self) -> usize {
        self.writer.wire_len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.writer.is_empty()
    }

    /// Takes record `seq`; the numbers before it that never came were shed by a full ring. Answers whether the
    /// event was taken: not if it is below what was taken before, nor if it cannot be read.
    pub(crate) fn record(&mut self, seq: u64, payload: &[u8], name: impl Fn(NameId) -> Option<String>) -> bool {
        if seq < self.next || seq == u64::MAX {
            return false;
        }
        self.give_up_to(seq, GapReason::RingFull);
        let own = Event::decode(self.schema, payload).is_ok_and(|event| event.fixed.seq == seq);
        if !own || self.writer.push(payload, name).is_err() {
            self.give_up_to(seq + 1, GapReason::Unknown);
            return false;
        }
        self.next = seq + 1;
        true
    }

    /// Says that no record comes of the numbers below `end`.
    pub(crate) fn give_up_to(&mut self, end: u64, reason: GapReason) {
        if end <= self.next {
            return;
        }
        let gap = Gap { first: self.next, last: end - 1, reason };
        if self.writer.gap(gap).is_ok() {
            self.gaps.push(gap);
            self.next = end;
        }
    }

    /// Closes the chunk and begins the next; none where nothing was collected.
    pub(crate) fn build(&mut self) -> Option<Built> {
        if self.writer.is_empty() {
            return None;
        }
        let name = ChunkName { worker: self.stream.worker, first: self.first, last: self.next - 1 };
        let writer = std::mem::replace(&mut self.writer, ChunkWriter::of(self.schema, self.stream.clone()));
        let gaps = std::mem::take(&mut self.gaps);
        self.first = self.next;
        let sealed_us = system_us();
        match writer.seal(sealed_us) {
            Ok(bytes) => Some(Built { name, bytes, gaps, sealed_us }),
            // Its header outgrew the format: reported as a gap rather than lost in silence.
            Err(_) => tombstone(&self.stream, name, &[], GapReason::Unknown, sealed_us),
        }
    }
}

/// The chunk that stands for `name`'s range once its records are gone for `reason`; the `gaps` that it had keep theirs.
pub(crate) fn tombstone(
    stream: &Stream,
    name: ChunkName,
    gaps: &[Gap],
    reason: GapReason,
    sealed_us: i64,
) -> Option<Built> {
    let gaps = filled(name, gaps, reason);
    let mut writer = ChunkWriter::new(stream.clone());
    for gap in &gaps {
        writer.gap(*gap).ok()?;
    }
    let bytes = writer.seal(sealed_us).ok()?;
    Some(Built { name, bytes, gaps, sealed_us })
}

/// `gaps`, with what lies between them given up for `reason`; neighbours of one reason become one.
fn filled(name: ChunkName, gaps: &[Gap], reason: GapReason) -> Vec<Gap> {
    let mut out: Vec<Gap> = Vec::new();
    let mut add = |first: u64, last: u64, reason: GapReason| match out.last_mut() {
        _ if first > last => {}
        Some(before) if before.reason == reason => before.last = last,
        _ => out.push(Gap { first, last, reason }),
    };
    let mut next = name.first;
    for gap in gaps {
        if gap.first > next {
            add(next, gap.first - 1, reason);
        }
        add(gap.first, gap.last, gap.reason);
        next = gap.last + 1;
    }
    add(next, name.last, reason);
    out
}

/// The numbers of a chunk that have records.
pub(crate) fn records(name: ChunkName, gaps: &[Gap]) -> Ranges {
    let mut records = Ranges::of(name.first, name.last);
    gaps.iter().for_each(|gap| records.remove(gap.first, gap.last));
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_keeps_older_reasons() {
        let gap = |first, last, reason| Gap { first, last, reason };
        let name = ChunkName { worker: 0, first: 10, last: 20 };
        let before = [gap(12, 13, GapReason::RingFull), gap(14, 14, GapReason::Torn)];
        let built = tombstone(
            &Stream { identity: Default::default(), boot: Default::default(), worker: 0 },
            name,
            &before,
            GapReason::SpoolFull,
            1,
        );
        assert_eq!(
            built.unwrap().gaps,
            [
                gap(10, 11, GapReason::SpoolFull),
                gap(12, 13, GapReason::RingFull),
                gap(14, 14, GapReason::Torn),
                gap(15, 20, GapReason::SpoolFull)
            ]
        );
        assert_eq!(records(name, &before), {
            let mut expected = Ranges::of(10, 11);
            expected.insert(15, 20);
            expected
        });
    }
}
