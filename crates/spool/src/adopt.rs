//! Taking over the folder of a life that is over: its chunk files are indexed and can be shipped, its rings are
//! read to chunk files, all under its own streams, identity and names.
//!
//! Safe to repeat: a crash in the middle leaves a folder that the next life takes over in the same way. What is
//! damaged is set aside and told; it never stops what comes after it.

use crate::builder::{Builder, Built};
use crate::counters::Counters;
use crate::folder::{BootFolder, ChunkName};
use crate::names::read_names;
use crate::recover::{Recovered, mark_empty};
use crate::shared::Shared;
use crate::shelf::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use tracing::warn;
use weir_event::NameId;
use weir_event::Ranges;
use weir_event::chunk::{ChunkError, ChunkHeader, GapReason};

/// Chunks made of a ring are about as large as those of a living one.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
const CHUNK_COUNT: u32 = 20_000;

/// What was found in a folder.
pub(crate) struct Taken {
    pub(crate) streams: usize,
    /// Still to be emptied.
    pub(crate) rings: Vec<LeftRing>,
}

/// The ring of a life that is over.
pub(crate) struct LeftRing {
    folder: Arc<BootFolder>,
    worker: u16,
    path: PathBuf,
}

/// The chunk files of one worker.
#[derive(Default)]
struct Found {
    chunks: Vec<Entry>,
    set_aside: Ranges,
    /// Every number below this is in a chunk file, or was.
    covered: u64,
}

/// Takes over `folder`: its chunks are on the shelf from here on.
pub(crate) fn take_over(folder: BootFolder, shared: &Shared) -> io::Result<Taken> {
    let rings = rings(&folder)?;
    let mut found = index_chunks(&folder, shared)?;
    for worker in rings.keys() {
        found.entry(*worker).or_default();
    }
    let (folder, streams) = (Arc::new(folder), found.len());
    for (worker, found) in found {
        let stream = folder.stream(worker);
        let id = stream.id();
        shared.shelf.open(stream, Arc::clone(&folder));
        shared.shelf.book_set_aside(id, &found.set_aside);
        for entry in found.chunks {
            shared.shelf.book(id, &entry.records(), &entry.gaps);
            shared.shelf.put(id, entry);
        }
        shared.shelf.offered(id, found.covered);
        if !rings.contains_key(&worker) {
            shared.shelf.close(id, found.covered);
        }
    }
    // A life without a single stream has nothing to tell.
    if streams == 0 {
        folder.remove()?;
    }
    let rings = rings.into_iter().map(|(worker, path)| LeftRing { folder: Arc::clone(&folder), worker, path });
    Ok(Taken { streams, rings: rings.collect() })
}

fn rings(folder: &BootFolder) -> io::Result<BTreeMap<u16, PathBuf>> {
    let mut rings = BTreeMap::new();
    for entry in fs::read_dir(&folder.path)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(worker) = name.strip_prefix("ring-").and_then(|worker| worker.parse().ok()) {
            rings.insert(worker, path);
        }
    }
    Ok(rings)
}

/// The chunk files, by worker; a file whose range another covers was being replaced by it, and goes.
fn index_chunks(folder: &BootFolder, shared: &Shared) -> io::Result<BTreeMap<u16, Found>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder.chunks())? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match ChunkName::parse(&name) {
            Some(name) => names.push(name),
            // What was being written when the process died.
            None => fs::remove_file(path)?,
        }
    }
    names.sort_by_key(|name| (name.worker, name.first, u64::MAX - name.last));
    let mut found: BTreeMap<u16, Found> = BTreeMap::new();
    for name in names {
        let stream = found.entry(name.worker).or_default();
        if stream.covered > name.last {
            fs::remove_file(folder.chunk(name))?;
            continue;
        }
        stream.covered = name.last + 1;
        match read_entry(folder, name) {
            Ok(entry) => stream.chunks.push(entry),
            Err(why) => {
                set_aside(folder, name, shared, &why)?;
                stream.set_aside.insert(name.first, name.last);
            }
        }
    }
    Ok(found)
}

/// What the file's own header says; of a version that this one cannot read, only what its name says.
fn read_entry(folder: &BootFolder, name: ChunkName) -> Result<Entry, String> {
    let path = folder.chunk(name);
    let bytes = fs::read(&path).map_err(|error| error.to_string())?;
    let len = bytes.len() as u64;
    match ChunkHeader::decode(&bytes) {
        Ok(header) if (header.first, header.last) == (name.first, name.last) => {
            Ok(Entry { name, bytes: len, sealed_us: header.sealed_us, gaps: header.gaps, in_flight: false })
        }
        Ok(_) => Err("its range is not that of its name".to_owned()),
        Err(ChunkError::Version(_)) => {
            Ok(Entry { name, bytes: len, sealed_us: modified_us(&path), gaps: Vec::new(), in_flight: false })
        }
        Err(error) => Err(error.to_string()),
    }
}

fn modified_us(path: &Path) -> i64 {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let since = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_micros()).ok()).unwrap_or(0)
}

fn set_aside(folder: &BootFolder, name: ChunkName, shared: &Shared, why: &str) -> io::Result<()> {
    warn!(chunk = %name, boot = %folder.boot, why, "a chunk file is damaged and set aside");
    shared.counters.failed(format!("the chunk file `{name}` is damaged and set aside: {why}"));
    Counters::add(&shared.counters.chunks_set_aside, 1);
    folder.set_aside(name)
}

impl LeftRing {
    /// Writes what the ring still holds to chunk files, and closes its stream.
    pub(crate) fn empty(&self, shared: &Shared) -> io::Result<()> {
        let stream = self.folder.stream(self.worker);
        let id = stream.id();
        let ledger = shared.shelf.ledgers(shared.boot, |_| None);
        let covered = ledger.iter().find(|ledger| ledger.stream == stream).map_or(0, |ledger| ledger.accepted);
        let ring = Recovered::read(&fs::read(&self.path)?);
        let Some(ring) = ring.filter(|ring| ring.boot() == self.folder.boot && ring.worker() == self.worker) else {
            self.set_aside(shared);
            shared.shelf.close(id, covered);
            return Ok(());
        };
        let covered = covered.max(ring.sealed_seq());
        let (built, next) = self.read(&ring, Builder::new(stream, covered));
        for built in built {
            let entry = self.keep(built, shared)?;
            shared.shelf.book(id, &entry.records(), &entry.gaps);
            shared.shelf.offered(id, entry.name.last + 1);
            shared.shelf.put(id, entry);
        }
        shared.shelf.close(id, next.max(covered));
        // All of it is in chunk files now; the ring stays to tell the next life how far the stream got.
        mark_empty(&self.path, &ring, next.max(covered))
    }

    fn read(&self, ring: &Recovered, mut builder: Builder) -> (Vec<Built>, u64) {
        let names = fs::read(self.folder.names()).map(|bytes| read_names(&bytes)).unwrap_or_default();
        let mut built = Vec::new();
        let end = ring.records(|seq, payload| {
            builder.record(seq, payload, |id| Some(name(&names, id)));
            if builder.count() >= CHUNK_COUNT || builder.raw_len() >= CHUNK_BYTES {
                built.extend(builder.build());
            }
        });
        // Behind a bad CRC there may have been records; behind a good end there were only events without room.
        builder.give_up_to(end.next_seq, if end.whole { GapReason::RingFull } else { GapReason::Torn });
        built.extend(builder.build());
        (built, end.next_seq)
    }

    fn keep(&self, built: Built, shared: &Shared) -> io::Result<Entry> {
        self.folder.write_chunk(built.name, &built.bytes)?;
        weir_event::failpoint::pass("spool.after_rename");
        let (bytes, sealed_us) = (built.bytes.len() as u64, built.sealed_us);
        let entry = Entry { name: built.name, bytes, sealed_us, gaps: built.gaps, in_flight: false };
        Counters::add(&shared.counters.events_written, entry.events());
        Counters::add(&shared.counters.chunks_sealed, 1);
        entry.gaps.iter().for_each(|gap| shared.counters.shed(gap.reason, gap.count()));
        Ok(entry)
    }

    fn set_aside(&self, shared: &Shared) {
        let path = self.path.display();
        warn!(path = %path, "an event ring is damaged and set aside: its header does not check out");
        shared
            .counters
            .failed(format!("the event ring `{path}` is damaged and set aside: its header does not check out"));
        self.folder.set_ring_aside(self.worker);
    }
}

/// An id whose name was lost shows as its number: better than losing the event.
fn name(names: &HashMap<NameId, String>, id: NameId) -> String {
    names.get(&id).cloned().unwrap_or_else(|| format!("?{}", id.0))
}
