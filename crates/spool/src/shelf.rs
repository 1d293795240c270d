//! The index of what is on disk, and the ledger of every stream: shared by the spool's thread, which alone adds and
//! removes, and the shipper's, which takes and puts back.
//!
//! A mutex guards it: no worker ever comes here. Sizes are bytes of files, times are microseconds since the epoch.

use crate::builder::records;
use crate::counters::SpoolStats;
use crate::folder::{BootFolder, ChunkName};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use weir_event::Ranges;
use weir_event::chunk::{Gap, GapReason};
use weir_event::clock::system_us;
use weir_event::{BootId, Stream, StreamId};

/// Where every sequence number of one stream is, as far as this process knows.
#[derive(Clone, Debug)]
pub struct StreamLedger {
    pub stream: Stream,
    /// Numbers below this were given out: from the request counter for this life, from the ring for earlier ones.
    pub accepted: u64,
    /// Copied out of the ring, and neither acknowledged nor given up.
    pub spooled: Ranges,
    /// Acknowledged to this process. What was acknowledged to an earlier one is open here; the ingestor knows.
    pub acked: Ranges,
    pub shed: Vec<(GapReason, Ranges)>,
    pub set_aside: Ranges,
    /// Whether its process has ended.
    pub closed: bool,
    /// Whether the ingestor has heard that it has.
    pub end_told: bool,
}

impl StreamLedger {
    /// The numbers that were accepted and are in none of the sets.
    pub fn open(&self) -> Ranges {
        let mut open = match self.accepted.checked_sub(1) {
            Some(last) => Ranges::of(0, last),
            None => Ranges::new(),
        };
        let sets = [&self.spooled, &self.acked, &self.set_aside].into_iter();
        sets.chain(self.shed.iter().map(|(_, set)| set)).for_each(|set| open.subtract(set));
        open
    }

    fn shed_to(&mut self, reason: GapReason, numbers: &Ranges) {
        match self.shed.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, set)) => set.union(numbers),
            None => self.shed.push((reason, numbers.clone())),
        }
    }
}

/// One chunk file.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: ChunkName,
    pub(crate) bytes: u64,
    pub(crate) sealed_us: i64,
    pub(crate) gaps: Vec<Gap>,
    /// The shipper has it: it is neither offered twice nor shed meanwhile.
    pub(crate) in_flight: bool,
}

impl Entry {
    pub(crate) fn records(&self) -> Ranges {
        records(self.name, &self.gaps)
    }

    /// How many records it has; a tombstone has none.
    pub(crate) fn events(&self) -> u64 {
        let gaps = self.gaps.iter().fold(0, |sum: u64, gap| sum.saturating_add(gap.count()));
        (self.name.last - self.name.first + 1).saturating_sub(gaps)
    }
}

/// A chunk on its way to the ingestor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(crate) stream: StreamId,
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
}

/// How the journey of a parcel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Stored,
    Refused,
}

struct Shelved {
    folder: Arc<BootFolder>,
    chunks: BTreeMap<u64, Entry>,
    ledger: StreamLedger,
}

#[derive(Default)]
pub(crate) struct Shelf {
    streams: Mutex<BTreeMap<StreamId, Shelved>>,
    /// Something new to ship.
    pub(crate) ready: Notify,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, Shelved>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the account of a stream.
    pub(crate) fn open(&self, stream: Stream, folder: Arc<BootFolder>) {
        let id = stream.id();
        let ledger = StreamLedger {
            stream,
            accepted: 0,
            spooled: Ranges::new(),
            acked: Ranges::new(),
            shed: Vec::new(),
            set_aside: Ranges::new(),
            closed: false,
            end_told: false,
        };
        self.lock().insert(id, Shelved { folder, chunks: BTreeMap::new(), ledger });
    }

    /// A stream has ended: `accepted` numbers were given out.
    pub(crate) fn close(&self, stream: StreamId, accepted: u64) {
        if let Some(shelved) = self.lock().get_mut(&stream) {
            shelved.ledger.accepted = accepted;
            shelved.ledger.closed = true;
        }
    }

    /// Books numbers whose chunk could not be read and was set aside.
    pub(crate) fn book_set_aside(&self, stream: StreamId, numbers: &Ranges) {
        if let Some(shelved) = self.lock().get_mut(&stream) {
            shelved.ledger.set_aside.union(numbers);
        }
    }

    /// Books records that were copied, and the gaps between them.
    pub(crate) fn book(&self, stream: StreamId, copied: &Ranges, gaps: &[Gap]) {
        if let Some(shelved) = self.lock().get_mut(&stream) {
            shelved.ledger.spooled.union(copied);
            for gap in gaps {
                shelved.ledger.shed_to(gap.reason, &Ranges::of(gap.first, gap.last));
            }
        }
    }

    /// A chunk file is there, its records booked. One that it covers gives way.
    pub(crate) fn put(&self, stream: StreamId, entry: Entry) {
        if let Some(shelved) = self.lock().get_mut(&stream) {
            shelved.chunks.insert(entry.name.first, entry);
        }
        self.ready.notify_one();
    }

    /// The oldest chunk that is not on its way. Several of one stream may be: the ingestor knows events by their
    /// numbers, not by their order, and takes the chunks that come at the same time as one block.
    pub(crate) fn take(&self) -> Option<Parcel> {
        let mut streams = self.lock();
        let waiting = |shelved: &Shelved| Some(shelved.chunks.values().find(|entry| !entry.in_flight)?.sealed_us);
        let (_, stream) = streams.iter().filter_map(|(id, shelved)| Some((waiting(shelved)?, *id))).min()?;
        let shelved = streams.get_mut(&stream)?;
        let entry = shelved.chunks.values_mut().find(|entry| !entry.in_flight)?;
        let folder = &shelved.folder;
        entry.in_flight = true;
        Some(Parcel { stream, first: entry.name.first, path: folder.chunk(entry.name) })
    }

    /// Nothing came of it: it may be offered again.
    pub(crate) fn put_back(&self, parcel: &Parcel) {
        let mut streams = self.lock();
        let Some(shelved) = streams.get_mut(&parcel.stream) else { return };
        if let Some(entry) = shelved.chunks.get_mut(&parcel.first) {
            entry.in_flight = false;
        }
    }

    /// Where the chunk behind a parcel is.
    pub(crate) fn find(&self, parcel: &Parcel) -> Option<(Arc<BootFolder>, Entry)> {
        let streams = self.lock();
        let shelved = streams.get(&parcel.stream)?;
        Some((Arc::clone(&shelved.folder), shelved.chunks.get(&parcel.first)?.clone()))
    }

    /// Its file is gone from where it was: books what became of its records.
    pub(crate) fn settle(&self, parcel: &Parcel, verdict: Verdict) {
        let mut streams = self.lock();
        let Some(shelved) = streams.get_mut(&parcel.stream) else { return };
        let Some(entry) = shelved.chunks.remove(&parcel.first) else { return };
        let records = entry.records();
        shelved.ledger.spooled.subtract(&records);
        match verdict {
            Verdict::Stored => shelved.ledger.acked.union(&records),
            Verdict::Refused => shelved.ledger.set_aside.union(&records),
        }
        self.ready.notify_one();
    }

    /// The records of `gone` were given up for `reason`, and `tombstone` stands where they were.
    pub(crate) fn bury(&self, stream: StreamId, gone: &[Entry], reason: GapReason, tombstone: Option<Entry>) {
        let mut streams = self.lock();
        let Some(shelved) = streams.get_mut(&stream) else { return };
        for entry in gone {
            shelved.chunks.remove(&entry.name.first);
            let records = entry.records();
            shelved.ledger.spooled.subtract(&records);
            if !records.is_empty() {
                shelved.ledger.shed_to(reason, &records);
            }
        }
        if let Some(entry) = tombstone {
            shelved.chunks.insert(entry.name.first, entry);
        }
    }

    /// The oldest chunk with records that is not on its way, with the tombstone right before it and the one right
    /// after it, as they stand.
    pub(crate) fn oldest(&self) -> Option<Oldest> {
        let streams = self.lock();
        let candidates = streams.iter().flat_map(|(id, shelved)| {
            shelved
                .chunks
                .values()
                .filter(|entry| !entry.in_flight && entry.events() > 0)
                .map(move |entry| (id, shelved, entry))
        });
        let (id, shelved, entry) = candidates.min_by_key(|(id, _, entry)| (entry.sealed_us, **id, entry.name.first))?;
        let is_tombstone = |other: &&Entry| !other.in_flight && other.events() == 0;
        let before = shelved.chunks.range(..entry.name.first).next_back().map(|(_, other)| other);
        let after = shelved.chunks.range(entry.name.first + 1..).next().map(|(_, other)| other);
        let before = before.filter(is_tombstone).filter(|other| other.name.last + 1 == entry.name.first);
        let after = after.filter(is_tombstone).filter(|other| entry.name.last + 1 == other.name.first);
        Some(Oldest {
            stream: *id,
            of: shelved.ledger.stream.clone(),
            folder: Arc::clone(&shelved.folder),
            sealed_us: entry.sealed_us,
            run: before.into_iter().chain([entry]).chain(after).cloned().collect(),
        })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.lock().values().flat_map(|shelved| shelved.chunks.values()).map(|entry| entry.bytes).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().values().all(|shelved| shelved.chunks.is_empty())
    }

    /// Fills in what is on disk.
    pub(crate) fn describe(&self, stats: &mut SpoolStats) {
        let streams = self.lock();
        let entries = || streams.values().flat_map(|shelved| shelved.chunks.values());
        stats.chunks_on_disk = entries().count() as u64;
        stats.bytes_on_disk = entries().map(|entry| entry.bytes).sum();
        let oldest = entries().map(|entry| entry.sealed_us).min();
        stats.oldest_age = oldest.map(|at| Duration::from_micros(system_us().saturating_sub(at).max(0) as u64));
    }

    /// The ledgers of all streams; `accepted` counts the requests of the workers of life `own`.
    pub(crate) fn ledgers(&self, own: BootId, accepted: impl Fn(u16) -> Option<u64>) -> Vec<StreamLedger> {
        let streams = self.lock();
        let ledgers = streams.values().map(|shelved| shelved.ledger.clone());
        let counted = ledgers.map(|mut ledger| {
            if ledger.stream.boot == own {
                ledger.accepted = accepted(ledger.stream.worker).unwrap_or(ledger.accepted);
            }
            ledger
        });
        counted.collect()
    }

    /// The ring of an own stream says that numbers below `next` were offered.
    pub(crate) fn offered(&self, stream: StreamId, next: u64) {
        if let Some(shelved) = self.lock().get_mut(&stream) {
            shelved.ledger.accepted = shelved.ledger.accepted.max(next);
        }
    }

    /// The ingestor has heard that these streams have ended.
    pub(crate) fn end_told(&self, ended: &[StreamId]) {
        let mut streams = self.lock();
        for id in ended {
            if let Some(shelved) = streams.get_mut(id) {
                shelved.ledger.end_told = true;
            }
        }
    }

    /// Takes the accounts of lives of which nothing is left to do, and their folders.
    pub(crate) fn take_done(&self) -> Vec<Arc<BootFolder>> {
        let mut streams = self.lock();
        let busy = |shelved: &Shelved| !shelved.ledger.end_told || !shelved.chunks.is_empty();
        let open: Vec<_> =
            streams.values().filter(|shelved| busy(shelved)).map(|shelved| shelved.folder.boot).collect();
        let done = streams.extract_if(.., |_, shelved| !open.contains(&shelved.folder.boot));
        let mut folders: Vec<_> = done.map(|(_, shelved)| shelved.folder).collect();
        folders.dedup_by_key(|folder| folder.boot);
        folders.sort_by_key(|folder| folder.boot);
        folders.dedup_by_key(|folder| folder.boot);
        folders
    }
}

/// What is to be given up next.
pub(crate) struct Oldest {
    pub(crate) stream: StreamId,
    pub(crate) of: Stream,
    pub(crate) folder: Arc<BootFolder>,
    pub(crate) sealed_us: i64,
    /// The chunk with its neighbouring tombstones, in order.
    pub(crate) run: Vec<Entry>,
}
