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
use weir_event::BootId;
use weir_event::record::MAX_RECORD;

/// How much of a ring is copied out at once, in bytes: bounds the reader's memory.
const STRETCH: u64 = 1024 * 1024;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// It is in the ring, and outlives this process.
    Written,
    /// There was no room: it is gone, and will be told as a gap.
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
    let header = RingHeader { boot, worker, size };
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
pub(crate) struct Stretch {
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

    pub(crate) fn size(&self) -> u64 {
        self.consumer.size()
    }

    /// Bytes that are not released yet.
    pub(crate) fn used(&self) -> u64 {
        self.consumer.committed() - self.consumer.sealed()
    }

    /// Gives records from `from` on to `take` until it answers false; at most [`STRETCH`] bytes of them.
    pub(crate) fn read(&mut self, from: u64, mut take: impl FnMut(u64, &[u8]) -> bool) -> Stretch {
        let committed = self.consumer.committed();
        let to = committed.min(from.saturating_add(STRETCH));
        self.scratch.clear();
        self.consumer.copy(from, to, &mut self.scratch);
        let mut scan = Scan::new(&self.header, from, &self.scratch);
        while let Some(record) = scan.next() {
            if !take(record.seq, record.payload) {
                return Stretch { position: scan.position(), more: true, torn: false };
            }
        }
        let cut = to < committed && scan.position() > from;
        Stretch { position: scan.position(), more: to < committed, torn: !scan.is_done() && !cut }
    }

    /// Gives everything up to `position` back to the writer: the numbers below `next` are settled.
    pub(crate) fn release(&mut self, position: u64, next: u64) {
        self.consumer.release(position, next);
    }
}
