//! One worker's way to disk: ring → chunk → file → ring released, in this order, so that an event is always in
//! one of two places that outlive the process.

use crate::builder::{Builder, Built};
use crate::config::Seal;
use crate::counters::{Counters, RingFill};
use crate::entry::Entry;
use crate::folder::BootFolder;
use crate::ring::RingReader;
use crate::shared::Shared;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::warn;
use weir_event::Ranges;
use weir_event::chunk::{Gap, GapReason};
use weir_event::json::to_json;
use weir_event::record::MAX_RECORD;
use weir_event::{Event, NameId, Schema, Stream, StreamId};

/// A failed write is tried again after this long.
const RETRY: Duration = Duration::from_millis(500);
const CHUNKS_A_STEP: u32 = 4;
const MAX_SEAL_BYTES: usize = 8 * 1024 * 1024;
/// Bounds the header of a chunk in which records and gaps alternate.
const MAX_SEAL_COUNT: u32 = 100_000;
/// What one more record may add to a chunk, with the names that it uses.
const ONE_MORE: usize = MAX_RECORD + 2048;

pub(crate) struct StreamWriter {
    ring: RingReader,
    stream: Stream,
    id: StreamId,
    folder: Arc<BootFolder>,
    builder: Builder,
    /// Up to here the ring was copied.
    read: u64,
    /// When the oldest of what is collected was seen.
    since: Option<Instant>,
    /// Built, and not on disk yet; while it waits, nothing more is copied, and the ring fills.
    unsaved: Option<Built>,
    retry_at: Option<Instant>,
    /// Why the ring is full, as long as that is because of the disk.
    blocked: Option<GapReason>,
    /// Events without room that are counted.
    shed: u64,
}

impl StreamWriter {
    pub(crate) fn new(ring: RingReader, stream: Stream, folder: Arc<BootFolder>) -> Self {
        let (id, builder) = (stream.id(), Builder::new(Schema::NEWEST, stream.clone(), 0));
        Self {
            ring,
            stream,
            id,
            folder,
            builder,
            read: 0,
            since: None,
            unsaved: None,
            retry_at: None,
            blocked: None,
            shed: 0,
        }
    }

    pub(crate) fn fill(&self) -> RingFill {
        RingFill { used: self.ring.used(), size: self.ring.size() }
    }

    /// Whether a chunk waits for the disk.
    pub(crate) fn is_stuck(&self) -> bool {
        self.unsaved.is_some()
    }

    /// Copies what is there, and writes a chunk when one is due; with `all` whatever was offered by now. Answers
    /// whether there is more to do at once: a ring that fills as fast as it is emptied must not keep the spool from
    /// all else.
    pub(crate) fn step(&mut self, shared: &Shared, all: bool) -> io::Result<bool> {
        let offered = self.ring.offered();
        shared.index.offered(self.id, offered);
        self.count_shed(shared);
        let mut chunks = 0;
        while all || chunks < CHUNKS_A_STEP {
            self.save(shared, all)?;
            let more = self.copy(shared);
            if !more && all {
                self.give_up_to(shared, offered, self.full());
            }
            if !self.is_due(&shared.config.seal, offered, all) {
                return Ok(false);
            }
            self.seal(shared, if more { 0 } else { offered })?;
            chunks += 1;
            if !more {
                // All that found no room while the disk was in the way has its gap.
                self.blocked = None;
            }
            if !more || (all && self.builder.next() >= offered) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Closes the chunk, in which the numbers below `offered` have their place, and writes it.
    fn seal(&mut self, shared: &Shared, offered: u64) -> io::Result<()> {
        self.give_up_to(shared, offered, self.full());
        weir_event::failpoint::pass("spool.before_seal");
        self.unsaved = self.builder.build();
        self.since = None;
        self.save(shared, true)
    }

    /// Copies records until there are no more, or a chunk is full. Answers whether there are more.
    fn copy(&mut self, shared: &Shared) -> bool {
        let full_ring = self.full();
        let (seal, listening) = (shared.config.seal, shared.listeners.any());
        let (mut copied, mut gaps) = (Ranges::new(), Vec::new());
        let mut more = true;
        while more && !full(&self.builder, &seal) {
            let (builder, stream) = (&mut self.builder, &self.stream);
            let stretch = self.ring.read(self.read, |seq, payload| {
                let before = builder.next();
                if seq != u64::MAX {
                    builder.give_up_to(seq, full_ring);
                }
                let taken = builder.record(seq, payload, |id| name(shared, id));
                book(&mut copied, &mut gaps, (before, full_ring), seq, taken);
                if taken && listening {
                    publish(shared, stream, payload);
                }
                !full(builder, &seal)
            });
            self.read = stretch.position;
            more = stretch.more;
            if stretch.torn {
                more = self.skip_torn(&mut gaps);
            }
        }
        Counters::add(&shared.counters.events_written, copied.count());
        self.booked(shared, &copied, &gaps);
        more
    }

    /// Why an event finds no room now.
    fn full(&self) -> GapReason {
        self.blocked.unwrap_or(GapReason::RingFull)
    }

    /// Counts what found no room, when it happens: which numbers those were is known when the ring is read.
    fn count_shed(&mut self, shared: &Shared) {
        let shed = self.ring.shed();
        if shed > self.shed {
            shared.counters.lost(self.full(), shed - self.shed);
            self.shed = shed;
        }
    }

    /// Something wrote over this process's memory: what was committed is given up, and what comes after it is read.
    fn skip_torn(&mut self, gaps: &mut Vec<Gap>) -> bool {
        let offered = self.ring.offered();
        self.read = self.ring.committed();
        if offered > self.builder.next() {
            gaps.push(Gap { first: self.builder.next(), last: offered - 1, reason: GapReason::Torn });
            self.builder.give_up_to(offered, GapReason::Torn);
        }
        false
    }

    fn give_up_to(&mut self, shared: &Shared, end: u64, reason: GapReason) {
        if end > self.builder.next() {
            let gap = Gap { first: self.builder.next(), last: end - 1, reason };
            self.builder.give_up_to(end, reason);
            self.booked(shared, &Ranges::new(), &[gap]);
        }
    }

    fn booked(&self, shared: &Shared, copied: &Ranges, gaps: &[Gap]) {
        if !copied.is_empty() || !gaps.is_empty() {
            // Those without room are counted when they happen.
            let others = gaps.iter().filter(|gap| matches!(gap.reason, GapReason::Torn | GapReason::Unknown));
            others.for_each(|gap| shared.counters.lost(gap.reason, gap.count()));
            shared.index.book(self.id, copied, gaps);
        }
    }

    fn is_due(&mut self, seal: &Seal, offered: u64, all: bool) -> bool {
        if self.builder.is_empty() && offered <= self.builder.next() {
            return false;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        all || since.elapsed() >= seal.age || full(&self.builder, seal) || self.ring.used() >= self.ring.size() / 2
    }

    /// Writes what waits, and releases the ring up to it; not before the time of a retry unless `now`.
    fn save(&mut self, shared: &Shared, now: bool) -> io::Result<()> {
        let Some(built) = &self.unsaved else { return Ok(()) };
        if !now && self.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if let Err(error) = self.write(built) {
            self.retry_at = Some(Instant::now() + RETRY);
            let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            self.blocked = Some(if is_full { GapReason::DiskFull } else { GapReason::WriteFailed });
            return Err(error);
        }
        weir_event::failpoint::pass("spool.after_rename");
        self.ring.release(self.read, built.name.last + 1);
        shared.sealed(self.stream.worker, self.read);
        shared.counters.sealed(built.bytes.len());
        let entry = Entry::sealed(built.name, built.bytes.len() as u64, built.sealed_us, built.gaps.clone());
        (self.unsaved, self.retry_at) = (None, None);
        shared.index.put(self.id, [entry]);
        Ok(())
    }

    /// Writes the chunk; into a folder made again where somebody has removed it.
    fn write(&self, built: &Built) -> io::Result<()> {
        match self.folder.write_chunk(built.name, &built.bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.folder.restore()?;
                warn!(path = %self.folder.path.display(), "the spool's folder was removed under the running gateway; it is made again");
                self.folder.write_chunk(built.name, &built.bytes)
            }
            written => written,
        }
    }
}

/// Whether a chunk is as large as it may be.
pub(crate) fn full(builder: &Builder, seal: &Seal) -> bool {
    builder.count() >= seal.count.min(MAX_SEAL_COUNT)
        || builder.raw_len() >= seal.bytes.min(MAX_SEAL_BYTES)
        || builder.wire_len() + ONE_MORE >= seal.wire
}

/// What taking record `seq` did to numbers from `before` on, where what is missing found no room because of `full`.
fn book(copied: &mut Ranges, gaps: &mut Vec<Gap>, (before, full): (u64, GapReason), seq: u64, taken: bool) {
    if seq < before || seq == u64::MAX {
        return;
    }
    if seq > before {
        gaps.push(Gap { first: before, last: seq - 1, reason: full });
    }
    match taken {
        true => copied.insert(seq, seq),
        false => gaps.push(Gap { first: seq, last: seq, reason: GapReason::Unknown }),
    }
}

fn name(shared: &Shared, id: NameId) -> Option<String> {
    Some(shared.names.name(id).map_or_else(|| format!("?{}", id.0), |name| name.to_string()))
}

fn publish(shared: &Shared, stream: &Stream, payload: &[u8]) {
    if let Ok(event) = Event::decode(Schema::NEWEST, payload) {
        shared.listeners.publish(|| to_json(&event, stream, |id| name(shared, id)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SpoolConfig;
    use crate::ring::{self, Appended};
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;
    use weir_event::{BootId, Exchange, Identity, Names, Outcome};

    fn record(seq: u64) -> Vec<u8> {
        let mut exchange = Exchange::new(weir_event::Instant::now(), 0);
        exchange.finish(Outcome::Completed, weir_event::Instant::now());
        let mut bytes = Vec::new();
        weir_event::record::encode(&exchange, seq, &mut bytes);
        bytes
    }

    /// Memory that something else wrote over costs what it held, reported as torn, and nothing that comes after it.
    #[test]
    fn a_living_ring_that_is_damaged_is_reported_and_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let boot = BootId([1; 16]);
        let folder = Arc::new(BootFolder::create(root.path(), boot, Identity::default(), 1).unwrap());
        let shared = Shared::new(SpoolConfig::at(root.path()), Arc::clone(&folder), Arc::new(Names::new()));
        let (mut writer, reader) = ring::create(&folder.ring(0), boot, 0, 0).unwrap();
        shared.index.open(folder.stream(0), &folder, false);
        let mut stream_writer = StreamWriter::new(reader, folder.stream(0), Arc::clone(&folder));
        let mut append = |seqs: std::ops::Range<u64>| {
            seqs.for_each(|seq| assert_eq!(writer.append(seq, &record(seq)), Appended::Written));
        };
        append(0..10);
        let third = 2 * crate::format::record_len(record(0).len()) + crate::format::HEADER;
        let file = OpenOptions::new().write(true).open(folder.ring(0)).unwrap();
        file.write_all_at(&[0xff], third as u64 + 20).unwrap();
        stream_writer.step(&shared, true).unwrap();
        append(10..12);
        stream_writer.step(&shared, true).unwrap();
        let ledger = shared.ledgers().pop().unwrap();
        let mut spooled = Ranges::of(0, 1);
        spooled.insert(10, 11);
        assert_eq!((&ledger.spooled, &*ledger.shed), (&spooled, &[(GapReason::Torn, Ranges::of(2, 9))][..]));
        assert!(ledger.open().is_empty());
    }
}
