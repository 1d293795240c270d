//! One worker's ring: where an event is safe the moment that `append` returns, at the price of a copy.
//!
//! The worker holds the [`RingWriter`]: it never waits, allocates, creates or syncs; where there is no room the
//! event is shed, and the gap in the sequence numbers tells the reader. The spool's thread holds the
//! [`RingReader`]. What a process that died left in its file is read by [`crate::recover`].

use crate::format::{HEADER, MIN_SIZE, RingHeader, Scan, record_head, record_len, seed, wrap_marker};
use crate::map::{Consumer, Producer, share};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use weir_event::record::MAX_RECORD;
use weir_event::{BootId, Schema};

/// How much of a ring is copied out at once, in bytes: bounds the reader's memory.
const STRETCH: u64 = 1024 * 1024;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// It is in the ring, and outlives this process.
    Written,
    /// There was no room: it is gone, and will be reported as a gap.
    Shed,
}

/// The worker's end.
pub struct RingWriter {
    producer: Producer,
    boot: BootId,
    lap: u64,
    seed: u32,
}

/// The spool's end.
pub(crate) struct RingReader {
    consumer: Consumer,
    header: RingHeader,
    scratch: Vec<u8>,
}

/// Makes the file of a ring at `path`, zero-written and populated, with at least `bytes` of data area.
pub(crate) fn create(path: &Path, boot: BootId, worker: u16, bytes: u64) -> io::Result<(RingWriter, RingReader)> {
    let size = bytes.max(MIN_SIZE as u64).next_multiple_of(4096);
    let header = RingHeader { boot, worker, schema: Schema::NEWEST, size };
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    let mut page = vec![0; HEADER];
    page[..header.encode().len()].copy_from_slice(&header.encode());
    file.write_all(&page)?;
    // Written, not `set_len`: a hole in the file would be a SIGBUS in the worker on the day that the disk is full.
    let zeros = vec![0; 64 * 1024];
    let mut left = size as usize;
    while left > 0 {
        let piece = left.min(zeros.len());
        file.write_all(&zeros[..piece])?;
        left -= piece;
    }
    file.sync_all()?;
    let (producer, consumer) = share(&file, size)?;
    let writer = RingWriter { producer, boot, lap: 0, seed: seed(&boot, 0) };
    Ok((writer, RingReader { consumer, header, scratch: Vec::new() }))
}

impl RingWriter {
    /// Appends the record of event `seq`. Wait-free; numbers must be offered in order, each once.
    #[inline]
    pub fn append(&mut self, seq: u64, payload: &[u8]) -> Appended {
        let appended = self.write(seq, payload);
        if appended == Appended::Shed {
            self.producer.shed();
        }
        // After the commit: a reader that sees this number sees every record below it.
        self.producer.offered(seq + 1);
        appended
    }

    #[inline]
    fn write(&mut self, seq: u64, payload: &[u8]) -> Appended {
        if payload.len() > MAX_RECORD {
            return Appended::Shed;
        }
        let start = self.producer.committed();
        let need = record_len(payload.len()) as u64;
        let to_end = self.producer.size() - start % self.producer.size();
        let at = if need > to_end { start + to_end } else { start };
        if !self.producer.has_room(at + need) {
            return Appended::Shed;
        }
        self.enter_lap(start);
        if at != start {
            self.producer.put(start, &wrap_marker(self.seed));
            self.enter_lap(at);
        }
        self.producer.put(at, &record_head(self.seed, seq, payload));
        self.producer.put(at + crate::format::RECORD_HEAD as u64, payload);
        self.producer.commit(at + need);
        Appended::Written
    }

    #[inline]
    fn enter_lap(&mut self, position: u64) {
        let lap = position / self.producer.size();
        if lap != self.lap {
            self.lap = lap;
            self.seed = seed(&self.boot, lap);
        }
    }
}

/// Where reading a stretch ended.
pub(crate) struct ReadRange {
    /// Read on from here.
    pub(crate) position: u64,
    /// There is more that is already committed.
    pub(crate) more: bool,
    /// What stands at `position` is not a record, though it was committed.
    pub(crate) torn: bool,
}

impl RingReader {
    pub(crate) fn offered(&self) -> u64 {
        self.consumer.offered()
    }

    pub(crate) fn committed(&self) -> u64 {
        self.consumer.committed()
    }

    /// How many events have found no room so far.
    pub(crate) fn shed(&self) -> u64 {
        self.consumer.shed()
    }

    pub(crate) fn size(&self) -> u64 {
        self.consumer.size()
    }

    /// Bytes that are not released yet.
    pub(crate) fn used(&self) -> u64 {
        self.consumer.committed() - self.consumer.sealed()
    }

    /// Gives records from `from` on to `take` until it answers false; at most [`STRETCH`] bytes of them.
    pub(crate) fn read(&mut self, from: u64, mut take: impl FnMut(u64, &[u8]) -> bool) -> ReadRange {
        let committed = self.consumer.committed();
        let to = committed.min(from.saturating_add(STRETCH));
        self.scratch.clear();
        self.consumer.copy(from, to, &mut self.scratch);
        let mut scan = Scan::new(&self.header, from, &self.scratch);
        while let Some(record) = scan.next() {
            if !take(record.seq, record.payload) {
                return ReadRange { position: scan.position(), more: true, torn: false };
            }
        }
        let cut = to < committed && scan.position() > from;
        ReadRange { position: scan.position(), more: to < committed, torn: !scan.is_done() && !cut }
    }

    /// Gives everything up to `position` back to the writer: the numbers below `next` are settled.
    pub(crate) fn release(&mut self, position: u64, next: u64) {
        self.consumer.release(position, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{COMMITTED_AT, SEALED_AT};
    use crate::recover::{Recovered, RingEnd};
    use std::fs;
    use std::path::PathBuf;
    use tempfile::TempDir;

    const BOOT: BootId = BootId([5; 16]);

    fn ring() -> (TempDir, PathBuf, RingWriter, RingReader) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ring-0");
        let (writer, reader) = create(&path, BOOT, 3, 0).unwrap();
        (folder, path, writer, reader)
    }

    /// A payload whose length and bytes follow from its number.
    fn payload(seq: u64) -> Vec<u8> {
        (0..17 + seq * 37 % 1900).map(|index| (seq + index) as u8).collect()
    }

    fn fill(writer: &mut RingWriter, from: u64) -> u64 {
        let mut seq = from;
        while writer.append(seq, &payload(seq)) == Appended::Written {
            seq += 1;
        }
        seq
    }

    fn read_all(reader: &mut RingReader, from: u64, expect: u64) -> (u64, u64) {
        let (mut position, mut next) = (from, expect);
        loop {
            let stretch = reader.read(position, |seq, bytes| {
                assert_eq!((seq, bytes), (next, &payload(seq)[..]));
                next += 1;
                true
            });
            assert!(!stretch.torn);
            position = stretch.position;
            if !stretch.more {
                return (position, next);
            }
        }
    }

    #[test]
    fn many_laps_come_out_as_they_went_in() {
        let (_folder, _path, mut writer, mut reader) = ring();
        let (mut position, mut seq) = (0, 0);
        for _ in 0..20 {
            for _ in 0..70 {
                assert_eq!(writer.append(seq, &payload(seq)), Appended::Written);
                seq += 1;
            }
            let next;
            (position, next) = read_all(&mut reader, position, seq - 70);
            assert_eq!(next, seq);
            reader.release(position, next);
        }
        assert!(position > 5 * reader.size(), "{position}");
        assert_eq!(reader.used(), 0);
    }

    #[test]
    fn a_full_ring_sheds_and_goes_on_when_there_is_room() {
        let (_folder, _path, mut writer, mut reader) = ring();
        let shed = fill(&mut writer, 0);
        assert_eq!(writer.append(shed + 1, &[0; MAX_RECORD]), Appended::Shed);
        assert_eq!(reader.offered(), shed + 2);
        let (position, next) = read_all(&mut reader, 0, 0);
        assert_eq!(next, shed);
        reader.release(position, next);
        assert_eq!(writer.append(shed + 2, &payload(shed + 2)), Appended::Written);
        let (_, next) = read_all(&mut reader, position, shed + 2);
        assert_eq!(next, shed + 3);
    }

    #[test]
    fn a_payload_above_the_largest_record_is_shed() {
        let (_folder, _path, mut writer, reader) = ring();
        assert_eq!(writer.append(0, &[1; MAX_RECORD + 1]), Appended::Shed);
        assert_eq!(writer.append(1, &[1; MAX_RECORD]), Appended::Written);
        assert_eq!(reader.offered(), 2);
    }

    fn recover(file: &[u8]) -> (Vec<u64>, RingEnd) {
        let ring = Recovered::read(file).unwrap();
        let mut seqs = Vec::new();
        let end = ring.records(|seq, bytes| {
            assert_eq!(bytes, payload(seq));
            seqs.push(seq);
        });
        (seqs, end)
    }

    #[test]
    fn another_process_reads_what_was_committed_and_not_sealed() {
        let (_folder, path, mut writer, mut reader) = ring();
        let shed = fill(&mut writer, 0);
        let mut kept = 0;
        let stretch = reader.read(0, |seq, _| {
            kept = seq;
            seq < 40
        });
        reader.release(stretch.position, kept + 1);
        // The end of the ring now lies on the second lap.
        let last = fill(&mut writer, shed + 1);
        drop((writer, reader));
        let (seqs, end) = recover(&fs::read(&path).unwrap());
        let expected: Vec<u64> = (kept + 1..shed).chain(shed + 1..last).collect();
        assert_eq!(seqs, expected);
        assert_eq!(end, RingEnd { next_seq: last + 1, whole: true, is_sure: true });
    }

    #[test]
    fn the_first_bad_byte_ends_the_ring() {
        let (_folder, path, mut writer, _reader) = ring();
        (0..30).for_each(|seq| assert_eq!(writer.append(seq, &payload(seq)), Appended::Written));
        let good = fs::read(&path).unwrap();
        let ends: Vec<usize> = (0..30)
            .scan(HEADER, |at, seq| {
                *at += record_len(payload(seq).len());
                Some(*at)
            })
            .collect();
        for (seq, end) in ends.iter().enumerate().skip(1) {
            let start = ends[seq - 1];
            let payload_end = start + 16 + payload(seq as u64).len();
            for at in [start, start + 3, start + 4, start + 8, start + 15, start + 16, payload_end - 1] {
                let mut bad = good.clone();
                bad[at] ^= 0x40;
                let (seqs, torn) = recover(&bad);
                assert_eq!(seqs, (0..seq as u64).collect::<Vec<_>>(), "byte {at} of {end}");
                assert_eq!(torn, RingEnd { next_seq: 30, whole: false, is_sure: true });
            }
        }
    }

    #[test]
    fn what_another_lap_or_life_left_is_no_record() {
        let (_folder, path, mut writer, _reader) = ring();
        (0..3).for_each(|seq| assert_eq!(writer.append(seq, &payload(seq)), Appended::Written));
        let file = fs::read(&path).unwrap();
        let size = (file.len() - HEADER) as u64;
        // The same bytes, one lap later.
        let mut later = file.clone();
        let committed = u64::from_le_bytes(*file[COMMITTED_AT..].first_chunk().unwrap());
        later[COMMITTED_AT..COMMITTED_AT + 8].copy_from_slice(&(committed + size).to_le_bytes());
        later[SEALED_AT..SEALED_AT + 8].copy_from_slice(&size.to_le_bytes());
        assert!(recover(&later).0.is_empty());
        // The same bytes, of another boot.
        let mut foreign = file;
        let header = RingHeader { boot: BootId([6; 16]), worker: 3, schema: Schema::NEWEST, size };
        foreign[..44].copy_from_slice(&header.encode());
        assert!(recover(&foreign).0.is_empty());
    }

    #[test]
    fn a_header_that_lies_is_refused() {
        let (_folder, path, mut writer, _reader) = ring();
        assert_eq!(writer.append(0, &payload(0)), Appended::Written);
        let good = fs::read(&path).unwrap();
        assert!(Recovered::read(&good[..good.len() - 1]).is_none());
        for (at, value) in
            [(COMMITTED_AT, u64::MAX - 7), (COMMITTED_AT, good.len() as u64), (SEALED_AT, 3), (SEALED_AT, u64::MAX)]
        {
            let mut bad = good.clone();
            bad[at..at + 8].copy_from_slice(&value.to_le_bytes());
            assert!(Recovered::read(&bad).is_none(), "{value} at {at}");
        }
        for at in 0..44 {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(Recovered::read(&bad).is_none(), "byte {at}");
        }
    }
}
