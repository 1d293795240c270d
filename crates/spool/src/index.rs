//! The index of the chunk files on disk, and the ledger of every stream.
//!
//! The spool's thread and the housekeeper add and remove, the shipper takes and puts back. A mutex guards it: no
//! worker ever comes here. Each life of a gateway process has a queue of its own, served in turn: what is refused to
//! one identity, or waits for one life, delays no other.

use crate::counters::{HeldLife, SpoolStats};
use crate::ends::End;
use crate::entry::{Entry, State, age};
use crate::folder::{BootFolder, ChunkName};
use crate::ledger::StreamLedger;
use crate::life::Life;
use crate::machine::boottime;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use weir_event::chunk::{Gap, GapReason};
use weir_event::clock::system_us;
use weir_event::{BootId, Ranges, Stream, StreamId};

/// A chunk that is taken: on its way to the ingestor, or being worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChunkRef {
    pub(crate) stream: StreamId,
    pub(crate) boot: BootId,
    pub(crate) name: ChunkName,
}

pub(crate) struct Indexed {
    pub(crate) boot: BootId,
    pub(crate) chunks: BTreeMap<u64, Entry>,
    pub(crate) ledger: StreamLedger,
    /// Every number below this is in a chunk file, or was; and what of that is noted durably.
    pub(crate) sealed_to: u64,
    pub(crate) noted_to: u64,
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) streams: BTreeMap<StreamId, Indexed>,
    pub(crate) lives: BTreeMap<BootId, Life>,
    pub(crate) bytes: u64,
    pub(crate) chunks: u64,
    pub(crate) takings: u64,
    /// The last time that offering anything failed.
    pub(crate) failed_at: Option<Duration>,
    /// Whether chunks are shipped at all.
    pub(crate) ships: bool,
}

#[derive(Default)]
pub(crate) struct ChunkIndex {
    inner: Mutex<Inner>,
    /// Something new to ship.
    pub(crate) ready: Notify,
}

impl ChunkIndex {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the account of a stream of the life in `folder`.
    pub(crate) fn open(&self, stream: Stream, folder: &Arc<BootFolder>, is_copy: bool) {
        let (id, boot) = (stream.id(), stream.boot);
        let mut inner = self.lock();
        let served = inner.takings;
        let life = inner.lives.entry(boot).or_insert_with(|| Life {
            folder: Arc::clone(folder),
            streams: Vec::new(),
            hold: None,
            served,
            failed_at: None,
            is_copy,
            stays: false,
        });
        if !life.streams.contains(&id) {
            life.streams.push(id);
        }
        inner.streams.entry(id).or_insert_with(|| Indexed::new(StreamLedger::new(stream)));
    }

    /// A stream has ended.
    pub(crate) fn close(&self, stream: StreamId, end: End) {
        let mut inner = self.lock();
        let Inner { streams, lives, .. } = &mut *inner;
        let Some(indexed) = streams.get_mut(&stream) else { return };
        indexed.ledger.accepted = indexed.ledger.accepted.max(end.accepted);
        indexed.ledger.open_end = end.open_end;
        indexed.ledger.closed = lives.get(&indexed.boot).is_none_or(|life| !life.is_copy);
        indexed.ledger.is_over = true;
    }

    /// Books records that were copied, and the gaps between them.
    pub(crate) fn book(&self, stream: StreamId, copied: &Ranges, gaps: &[Gap]) {
        if let Some(indexed) = self.lock().streams.get_mut(&stream) {
            indexed.ledger.spooled.union(copied);
            indexed.ledger.lose(gaps);
        }
    }

    /// The ring of an own stream says that numbers below `next` were offered.
    pub(crate) fn offered(&self, stream: StreamId, next: u64) {
        if let Some(indexed) = self.lock().streams.get_mut(&stream) {
            indexed.ledger.accepted = indexed.ledger.accepted.max(next);
        }
    }

    /// Chunk files are there, their records booked.
    pub(crate) fn put(&self, stream: StreamId, entries: impl IntoIterator<Item = Entry>) {
        let mut inner = self.lock();
        for entry in entries {
            inner.insert(stream, entry);
        }
        drop(inner);
        self.ready.notify_one();
    }

    /// The chunk to offer next: of the life that was served longest ago, the oldest that may be offered now. Several
    /// of one stream may be on their way: the ingestor knows events by their numbers, not by their order, and takes
    /// the chunks that come at the same time as one block.
    pub(crate) fn take(&self, now: Instant) -> Option<ChunkRef> {
        let mut inner = self.lock();
        let (stream, first) = inner.next(now)?;
        inner.takings += 1;
        let takings = inner.takings;
        let indexed = inner.streams.get_mut(&stream)?;
        let (boot, entry) = (indexed.boot, indexed.chunks.get_mut(&first)?);
        let failures = if let State::Later(_, failures) = entry.state { failures } else { 0 };
        entry.state = State::Taken(failures);
        let taken = ChunkRef { stream, boot, name: entry.name };
        inner.lives.get_mut(&boot)?.served = takings;
        Some(taken)
    }

    /// Takes one chunk, as [`ChunkIndex::take`] would; none if it is not waiting.
    pub(crate) fn take_this(&self, stream: StreamId, first: u64) -> bool {
        let mut inner = self.lock();
        let entry = inner.streams.get_mut(&stream).and_then(|indexed| indexed.chunks.get_mut(&first));
        let Some(entry) = entry.filter(|entry| entry.is_waiting()) else { return false };
        entry.state = State::Taken(0);
        true
    }

    /// Nothing came of it, through no fault of its own: it may be offered again.
    pub(crate) fn put_back(&self, chunk: &ChunkRef) {
        self.with(chunk, |entry| entry.state = State::Waiting);
        self.ready.notify_one();
    }

    /// Nothing came of it: it alone may be offered again after `wait` makes of the number of its failures before.
    pub(crate) fn put_back_later(&self, chunk: &ChunkRef, wait: impl FnOnce(u32) -> Duration) {
        self.with(chunk, |entry| {
            let failures = if let State::Taken(failures) = entry.state { failures } else { 0 };
            entry.state = State::Later(Instant::now() + wait(failures), failures.saturating_add(1));
        });
        self.ready.notify_one();
    }

    /// It is acknowledged: never offered again, whatever becomes of its file.
    pub(crate) fn acknowledged(&self, chunk: &ChunkRef) {
        let mut inner = self.lock();
        let Some(indexed) = inner.streams.get_mut(&chunk.stream) else { return };
        let Some(entry) = indexed.chunks.get_mut(&chunk.name.first) else { return };
        entry.state = State::Stored;
        let records = entry.records();
        indexed.ledger.spooled.subtract(&records);
        indexed.ledger.acked.union(&records);
        if let Some(life) = inner.lives.get_mut(&chunk.boot) {
            life.hold = None;
        }
    }

    fn with(&self, chunk: &ChunkRef, change: impl FnOnce(&mut Entry)) {
        let mut inner = self.lock();
        let indexed = inner.streams.get_mut(&chunk.stream);
        if let Some(entry) = indexed.and_then(|indexed| indexed.chunks.get_mut(&chunk.name.first)) {
            change(entry);
        }
    }

    /// Offering failed for all.
    pub(crate) fn failed(&self) {
        self.lock().failed_at = Some(boottime());
    }

    pub(crate) fn ships(&self) {
        self.lock().ships = true;
    }

    /// When something that waits may be offered, if nothing may now.
    pub(crate) fn next_turn(&self, now: Instant) -> Option<Instant> {
        let inner = self.lock();
        let of_life = |life: &Life| {
            let waiting = |id: &StreamId| inner.streams.get(id)?.earliest(now);
            let entry = life.streams.iter().filter_map(waiting).min()?;
            Some(life.hold.as_ref().map_or(entry, |hold| entry.max(hold.until)))
        };
        inner.lives.values().filter_map(of_life).min()
    }

    /// Where the chunk is, and what is known of it.
    pub(crate) fn find(&self, chunk: &ChunkRef) -> Option<(Arc<BootFolder>, Entry)> {
        let inner = self.lock();
        let entry = inner.streams.get(&chunk.stream)?.chunks.get(&chunk.name.first)?.clone();
        Some((Arc::clone(&inner.lives.get(&chunk.boot)?.folder), entry))
    }

    /// Its file is gone, its records are accounted for elsewhere.
    pub(crate) fn remove(&self, chunk: &ChunkRef) {
        let mut inner = self.lock();
        if let Some(entry) = inner.take_out(chunk.stream, chunk.name.first)
            && let Some(indexed) = inner.streams.get_mut(&chunk.stream)
        {
            indexed.ledger.spooled.subtract(&entry.records());
        }
        drop(inner);
        self.ready.notify_one();
    }

    /// The records of `gone` were given up for `reason`, and `tombstone` is in their place.
    pub(crate) fn replace(&self, stream: StreamId, gone: &[Entry], reason: GapReason, tombstone: Entry) {
        let mut inner = self.lock();
        for entry in gone {
            inner.take_out(stream, entry.name.first);
            let records = entry.records();
            if let Some(indexed) = inner.streams.get_mut(&stream) {
                // All of its range: what its header says is missing may have been learned only now.
                indexed.ledger.spooled.remove(entry.name.first, entry.name.last);
                indexed.ledger.lose(entry.gaps.as_deref().unwrap_or_default());
                let lost = records.iter().map(|(first, last)| Gap { first, last, reason });
                indexed.ledger.lose(&lost.collect::<Vec<_>>());
            }
        }
        inner.insert(stream, tombstone);
        drop(inner);
        self.ready.notify_one();
    }

    /// Others are in its place, with the same records and gaps.
    pub(crate) fn exchange(&self, chunk: &ChunkRef, others: Vec<Entry>) {
        let mut inner = self.lock();
        inner.take_out(chunk.stream, chunk.name.first);
        others.into_iter().for_each(|entry| inner.insert(chunk.stream, entry));
        drop(inner);
        self.ready.notify_one();
    }

    /// Opens the account of one more stream of a life that is in the index: one that is over.
    pub(crate) fn join(&self, stream: Stream) {
        let id = stream.id();
        let mut inner = self.lock();
        let Inner { streams, lives, .. } = &mut *inner;
        let Some(life) = lives.get_mut(&stream.boot).filter(|life| !life.streams.contains(&id)) else { return };
        life.streams.push(id);
        let ledger = StreamLedger { closed: !life.is_copy, is_over: true, ..StreamLedger::new(stream) };
        streams.insert(id, Indexed::new(ledger));
    }

    /// Chunks whose header nobody has read, a few of them.
    pub(crate) fn unread(&self, most: usize) -> Vec<(ChunkRef, Arc<BootFolder>)> {
        let inner = self.lock();
        let mut found = Vec::new();
        for (id, indexed) in &inner.streams {
            let Some(life) = inner.lives.get(&indexed.boot) else { continue };
            let unread = indexed.chunks.values().filter(|entry| entry.gaps.is_none());
            let chunk = |entry: &Entry| ChunkRef { stream: *id, boot: indexed.boot, name: entry.name };
            found.extend(unread.take(most - found.len()).map(|entry| (chunk(entry), Arc::clone(&life.folder))));
            if found.len() >= most {
                break;
            }
        }
        found
    }

    /// What a chunk's header says.
    pub(crate) fn learn(&self, chunk: &ChunkRef, gaps: Vec<Gap>) {
        let mut inner = self.lock();
        let Some(indexed) = inner.streams.get_mut(&chunk.stream) else { return };
        let Some(entry) = indexed.chunks.get_mut(&chunk.name.first).filter(|entry| entry.gaps.is_none()) else {
            return;
        };
        gaps.iter().for_each(|gap| indexed.ledger.spooled.remove(gap.first, gap.last));
        indexed.ledger.lose(&gaps);
        entry.gaps = Some(gaps);
    }

    /// What must be noted durably before a chunk of `boot` is unlinked: worker and the number below which everything
    /// is in chunk files, or was.
    pub(crate) fn to_note(&self, boot: BootId) -> Vec<(u16, StreamId, u64)> {
        let inner = self.lock();
        let streams = inner.streams.iter().filter(|(_, indexed)| indexed.boot == boot);
        let ahead = streams.filter(|(_, indexed)| indexed.sealed_to > indexed.noted_to);
        ahead.map(|(id, indexed)| (indexed.ledger.stream.worker, *id, indexed.sealed_to)).collect()
    }

    /// Every number below this is in a chunk file, or was.
    pub(crate) fn sealed_to(&self, stream: StreamId) -> u64 {
        self.lock().streams.get(&stream).map_or(0, |indexed| indexed.sealed_to.max(indexed.ledger.accepted))
    }

    pub(crate) fn noted(&self, stream: StreamId, to: u64) {
        if let Some(indexed) = self.lock().streams.get_mut(&stream) {
            indexed.noted_to = indexed.noted_to.max(to);
        }
    }

    /// Whether the chunk may be unlinked: its range is below what is noted.
    pub(crate) fn is_noted(&self, chunk: &ChunkRef) -> bool {
        self.lock().streams.get(&chunk.stream).is_none_or(|indexed| indexed.noted_to > chunk.name.last)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// The oldest chunk with records that may be given up, with those behind it that may be too, at most `most`; and
    /// with the tombstones right before and after them. `may` says whether a chunk may be given up, of its age.
    pub(crate) fn oldest(&self, most: usize, may: impl Fn(&Entry, Duration, bool) -> bool) -> Option<Oldest> {
        let inner = self.lock();
        let now = (boottime(), system_us());
        let may = |indexed: &Indexed, entry: &Entry| {
            let life = inner.lives.get(&indexed.boot);
            let failed_at = inner.failed_at.max(life.and_then(|life| life.failed_at));
            // Offered first, or nobody to offer it to.
            let was_offered = !inner.ships || failed_at.is_some_and(|at| at >= entry.since);
            let began = life.and_then(|life| life.folder.place.as_ref()?.began());
            entry.is_waiting() && entry.events() > 0 && may(entry, age(entry, began, now), was_offered)
        };
        let first_of = |indexed: &Indexed| {
            let waiting = indexed.chunks.values().find(|entry| entry.is_waiting() && entry.events() > 0)?;
            may(indexed, waiting).then_some((waiting.sealed_us, waiting.name.first))
        };
        let candidates = inner.streams.iter().filter_map(|(id, indexed)| Some((first_of(indexed)?, *id)));
        let ((_, first), stream) = candidates.min()?;
        let indexed = &inner.streams[&stream];
        let mut run = Vec::new();
        if let Some((_, before)) = indexed.chunks.range(..first).next_back()
            && before.is_waiting()
            && before.events() == 0
            && before.name.last + 1 == first
        {
            run.push(before.clone());
        }
        let mut next = first;
        for (_, entry) in indexed.chunks.range(first..) {
            let joins = entry.is_waiting() && (entry.events() == 0 || may(indexed, entry));
            if entry.name.first != next || !joins || run.len() > most {
                break;
            }
            next = entry.name.last + 1;
            run.push(entry.clone());
        }
        let folder = Arc::clone(&inner.lives.get(&indexed.boot)?.folder);
        Some(Oldest { stream, of: indexed.ledger.stream.clone(), folder, run })
    }

    /// Whether nothing is left that could be offered.
    pub(crate) fn is_empty(&self) -> bool {
        let (inner, now) = (self.lock(), Instant::now());
        inner.next(now).is_none()
    }

    /// Fills in what is on disk, and which lives are held.
    pub(crate) fn describe(&self, stats: &mut SpoolStats) {
        let inner = self.lock();
        stats.chunks_on_disk = inner.chunks;
        stats.bytes_on_disk = inner.bytes;
        let now = (boottime(), system_us());
        let oldest = inner.streams.values().filter_map(|indexed| {
            let began = inner.lives.get(&indexed.boot).and_then(|life| life.folder.place.as_ref()?.began());
            Some(age(indexed.chunks.first_key_value()?.1, began, now))
        });
        stats.oldest_age = oldest.max();
        let held = inner.lives.values().filter_map(|life| {
            let hold = life.hold.as_ref()?;
            let chunks = life.streams.iter().filter_map(|id| inner.streams.get(id)).map(|indexed| indexed.chunks.len());
            Some(HeldLife {
                boot: life.folder.boot,
                identity: life.folder.identity.clone(),
                reason: hold.reason,
                error: hold.error.clone(),
                since_us: hold.since_us,
                chunks: chunks.sum::<usize>() as u64,
            })
        });
        stats.held = held.collect();
    }

    /// The ledgers of all streams; `accepted` counts the requests of the workers of life `own`.
    pub(crate) fn ledgers(&self, own: BootId, accepted: impl Fn(u16) -> Option<u64>) -> Vec<StreamLedger> {
        let inner = self.lock();
        let counted = inner.streams.values().map(|indexed| {
            let mut ledger = indexed.ledger.clone();
            ledger.is_own = indexed.boot == own;
            if ledger.is_own {
                ledger.accepted = accepted(ledger.stream.worker).unwrap_or(ledger.accepted).max(ledger.accepted);
            }
            let hold = inner.lives.get(&indexed.boot).and_then(|life| life.hold.as_ref());
            ledger.held = hold.map(|hold| (hold.reason, hold.since_us));
            ledger
        });
        counted.collect()
    }

    /// The ingestor has heard that these streams have ended.
    pub(crate) fn end_reported(&self, ended: &[StreamId]) {
        let mut inner = self.lock();
        for id in ended {
            if let Some(indexed) = inner.streams.get_mut(id) {
                indexed.ledger.end_reported = true;
            }
        }
    }
}

impl Inner {
    fn insert(&mut self, stream: StreamId, entry: Entry) {
        self.take_out(stream, entry.name.first);
        let Some(indexed) = self.streams.get_mut(&stream) else { return };
        indexed.sealed_to = indexed.sealed_to.max(entry.name.last + 1);
        self.bytes += entry.bytes;
        self.chunks += 1;
        indexed.chunks.insert(entry.name.first, entry);
    }

    fn take_out(&mut self, stream: StreamId, first: u64) -> Option<Entry> {
        let entry = self.streams.get_mut(&stream)?.chunks.remove(&first)?;
        self.bytes -= entry.bytes;
        self.chunks -= 1;
        Some(entry)
    }

    fn next(&self, now: Instant) -> Option<(StreamId, u64)> {
        let of_life = |life: &Life| {
            let offer = |id: &StreamId| {
                let entry = self.streams.get(id)?.chunks.values().find(|entry| entry.can_be_offered(now))?;
                Some((entry.sealed_us, *id, entry.name.first))
            };
            life.streams.iter().filter_map(offer).min()
        };
        let free = self.lives.values().filter(|life| life.hold.as_ref().is_none_or(|hold| hold.until <= now));
        let mut free: Vec<_> = free.collect();
        free.sort_unstable_by_key(|life| life.served);
        free.into_iter().find_map(of_life).map(|(_, stream, first)| (stream, first))
    }
}

impl Indexed {
    fn new(ledger: StreamLedger) -> Self {
        Self { boot: ledger.stream.boot, chunks: BTreeMap::new(), ledger, sealed_to: 0, noted_to: 0 }
    }

    /// When the first of its chunks may be offered.
    fn earliest(&self, now: Instant) -> Option<Instant> {
        let at = |entry: &Entry| match entry.state {
            State::Waiting => Some(now),
            State::Later(at, _) => Some(at),
            State::Taken(_) | State::Stored => None,
        };
        self.chunks
            .values()
            .find_map(|entry| at(entry).filter(|at| *at <= now))
            .or_else(|| self.chunks.values().filter_map(at).min())
    }
}

/// What is to be given up next.
pub(crate) struct Oldest {
    pub(crate) stream: StreamId,
    pub(crate) of: Stream,
    pub(crate) folder: Arc<BootFolder>,
    /// Neighbours, in order.
    pub(crate) run: Vec<Entry>,
}
