//! Taking over the folder of a life that is over: its chunk files are indexed by their names and can be shipped, its
//! rings are read to chunk files, all under its own streams, identity and names.
//!
//! Safe to repeat: a crash in the middle leaves a folder that the next life takes over in the same way. An error of
//! reading or writing says nothing about data: it is tried again. What cannot be known of a stream's end is reported
//! as an open end, with why.

use crate::builder::{Builder, Built};
use crate::counters::Counters;
use crate::ends::{End, OpenEnd, OpenEndReason};
use crate::entry::Entry;
use crate::folder::{BootFolder, ChunkName};
use crate::machine::kernel_ran_at;
use crate::names::read_names;
use crate::progress;
use crate::recover::{Expected, Recovered, RingEnd, Unreadable};
use crate::set_aside::header_of;
use crate::shared::Shared;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use tracing::{info, warn};
use weir_event::chunk::GapReason;
use weir_event::{BootId, NameId};

/// Chunks made of a ring are about as large as those of a living one.
const CHUNK_COUNT: u32 = 20_000;

/// The ring of a life that is over.
pub(crate) struct OrphanRing {
    folder: Arc<BootFolder>,
    worker: u16,
    is_copy: bool,
}

/// The chunk files of one worker.
#[derive(Default)]
struct Found {
    chunks: Vec<Entry>,
    /// Every number below this is in a chunk file, or was.
    covered: u64,
}

/// Reads what folder it is; by its chunks where its own note is damaged or missing.
pub(crate) fn open(path: PathBuf) -> io::Result<Option<BootFolder>> {
    match BootFolder::open(path.clone()) {
        Err(error) if error.kind() == ErrorKind::InvalidData => match by_chunks(&path)? {
            Some(folder) => Ok(Some(folder)),
            None => Err(error),
        },
        Ok(None) => by_chunks(&path),
        opened => opened,
    }
}

fn by_chunks(path: &Path) -> io::Result<Option<BootFolder>> {
    let files = match fs::read_dir(path.join("chunks")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        files => files?,
    };
    for file in files {
        if let Some(header) = header_of(&file?.path())? {
            let mut folder = BootFolder::of(path.to_owned(), header.stream.boot, header.stream.identity);
            folder.schema = Some(header.schema);
            return Ok(Some(folder));
        }
    }
    Ok(None)
}

/// Takes over `folder`: its chunks are in the index from here on. Answers its rings, which are still to be emptied.
pub(crate) fn take_over(folder: BootFolder, shared: &Shared) -> io::Result<Vec<OrphanRing>> {
    let is_copy = folder.is_copy()?;
    let (ends, marks) = (folder.ends()?, progress::read(&folder.progress())?);
    let rings = rings(&folder)?;
    let mut found = index_chunks(&folder)?;
    let workers = (0..folder.workers.unwrap_or(0)).chain(rings.iter().copied()).chain(ends.keys().copied());
    for worker in workers {
        found.entry(worker).or_default();
    }
    if found.is_empty() {
        folder.remove()?;
        return Ok(Vec::new());
    }
    if is_copy {
        info!(path = %folder.path.display(), "this spool was copied from another machine or folder, where its gateway may run: its events are shipped, its end is not reported");
    }
    let folder = Arc::new(folder);
    for (worker, found) in found {
        let stream = folder.stream(worker);
        let id = stream.id();
        let covered = found.covered.max(marks.get(&worker).map_or(0, |mark| mark.sealed_seq));
        shared.index.open(stream, &folder, is_copy);
        for entry in &found.chunks {
            shared.index.book(id, &entry.records(), &[]);
        }
        shared.index.put(id, found.chunks);
        shared.index.offered(id, covered);
        if let Some(end) = ends.get(&worker) {
            shared.index.close(id, End { accepted: end.accepted.max(covered), ..*end });
        } else if !rings.contains(&worker) {
            // A life of an earlier version says nothing of its workers: one without a ring had emptied it.
            let is_missing = folder.workers.is_some_and(|workers| worker < workers) && !is_copy;
            let open_end = is_missing.then_some(OpenEnd { from: covered, reason: OpenEndReason::RingMissing });
            shared.index.close(id, End { accepted: covered, open_end });
        }
    }
    let left = rings.into_iter().filter(|worker| !ends.contains_key(worker));
    Ok(left.map(|worker| OrphanRing { folder: Arc::clone(&folder), worker, is_copy }).collect())
}

fn rings(folder: &BootFolder) -> io::Result<Vec<u16>> {
    let mut rings = Vec::new();
    for entry in fs::read_dir(&folder.path)? {
        let name = entry?.file_name();
        rings.extend(name.to_string_lossy().strip_prefix("ring-").and_then(|worker| worker.parse::<u16>().ok()));
    }
    rings.sort_unstable();
    Ok(rings)
}

/// The chunk files, by worker; a file whose range another covers was being replaced by it, and goes.
fn index_chunks(folder: &BootFolder) -> io::Result<BTreeMap<u16, Found>> {
    let mut names = Vec::new();
    let files = match fs::read_dir(folder.chunks()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        files => files?,
    };
    for entry in files {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if let Some(name) = ChunkName::parse(&name) {
            let metadata = entry.metadata()?;
            names.push((name, metadata.len(), modified_of(&metadata)));
        } else if name.ends_with(".tmp") {
            // What was being written when the process died.
            fs::remove_file(entry.path())?;
        }
    }
    names.sort_by_key(|(name, ..)| (name.worker, name.first, u64::MAX - name.last));
    let mut found: BTreeMap<u16, Found> = BTreeMap::new();
    for (name, bytes, modified_us) in names {
        let stream = found.entry(name.worker).or_default();
        if stream.covered > name.last {
            fs::remove_file(folder.chunk(name))?;
            continue;
        }
        stream.covered = name.last + 1;
        stream.chunks.push(Entry::found(name, bytes, modified_us));
    }
    Ok(found)
}

/// When a file was last changed, wall time in microseconds since the Unix epoch; 0 where it cannot be asked.
pub(crate) fn modified_us(path: &Path) -> i64 {
    fs::metadata(path).map_or(0, |metadata| modified_of(&metadata))
}

fn modified_of(metadata: &fs::Metadata) -> i64 {
    let since = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_micros()).ok()).unwrap_or(0)
}

impl OrphanRing {
    pub(crate) fn boot(&self) -> BootId {
        self.folder.boot
    }

    /// Puts the ring's records into chunk files, notes how the stream ended, and removes the ring. After an error it
    /// stays, and so do the chunk files that were written.
    pub(crate) fn empty(&self, shared: &Shared) -> io::Result<()> {
        let path = self.folder.ring(self.worker);
        let stream = self.folder.stream(self.worker);
        let id = stream.id();
        let mark = progress::read(&self.folder.progress())?.get(&self.worker).copied().unwrap_or_default();
        let place = self.folder.place.as_ref();
        let same_kernel = place.map_or_else(
            || kernel_ran_at(modified_us(&self.folder.path.join("identity.json"))),
            super::machine::Place::same_kernel,
        );
        let expected = Expected {
            boot: self.folder.boot,
            worker: self.worker,
            schema: self.folder.schema,
            sealed_seq: mark.sealed_seq,
            position: mark.position,
            same_kernel,
        };
        let covered = shared.index.sealed_to(id).max(mark.sealed_seq);
        match Recovered::open(&File::open(&path)?, &expected)? {
            Err(Unreadable) => {
                let end = OpenEnd { from: covered, reason: OpenEndReason::RingUnreadable };
                warn!(path = %path.display(), "an event ring is of a newer version of weir and is kept; start that version to read it");
                shared
                    .counters
                    .failed(format!("the event ring `{}` is of a newer version of weir and is kept", path.display()));
                shared.index.keep_folder(self.folder.boot);
                shared.index.close(id, End { accepted: covered, open_end: Some(end) });
                return Ok(());
            }
            Ok(ring) => {
                let end = self.ship(&ring, covered, shared)?;
                let accepted = end.next_seq.max(covered);
                let is_known = end.is_sure || self.is_copy;
                let reason = if same_kernel { OpenEndReason::RingDamaged } else { OpenEndReason::Torn };
                let open_end = (!is_known).then_some(OpenEnd { from: accepted, reason });
                if let Some(open) = open_end {
                    let (path, from) = (path.display(), open.from);
                    warn!(path = %path, from, reason = open.reason.as_str(), "the end of an event ring cannot be read: events from that number on are unknown");
                    shared.counters.failed(format!(
                        "events of `{path}` from number {from} on are unknown: {}",
                        open.reason.as_str()
                    ));
                }
                let end = End { accepted, open_end };
                self.folder.note_ends(&[(self.worker, end)])?;
                fs::remove_file(&path)?;
                shared.index.close(id, end);
            }
        }
        shared.report_now.notify_one();
        Ok(())
    }

    fn ship(&self, ring: &Recovered, covered: u64, shared: &Shared) -> io::Result<RingEnd> {
        let names = match fs::read(self.folder.names()) {
            Err(error) if error.kind() == ErrorKind::NotFound => HashMap::new(),
            read => read_names(&read?),
        };
        let id = self.folder.stream(self.worker).id();
        let mut builder = Builder::new(ring.schema(), self.folder.stream(self.worker), covered.max(ring.sealed_seq()));
        let mut built = Vec::new();
        let seal = crate::config::Seal { count: CHUNK_COUNT, ..shared.config.seal };
        let end = ring.records(|seq, payload| {
            builder.record(seq, payload, |id| Some(name(&names, id)));
            if crate::stream_writer::full(&builder, &seal) {
                built.extend(builder.build());
            }
        });
        // Behind a bad CRC there may have been records; behind a good end there were only events without room. The
        // end of a copy is its original's to tell.
        if !self.is_copy {
            builder.give_up_to(end.next_seq, if end.whole { GapReason::RingFull } else { GapReason::Torn });
        }
        built.extend(builder.build());
        for built in built {
            let entry = self.keep(&built, shared)?;
            shared.index.book(id, &entry.records(), entry.gaps.as_deref().unwrap_or_default());
            shared.index.put(id, [entry]);
        }
        Ok(end)
    }

    fn keep(&self, built: &Built, shared: &Shared) -> io::Result<Entry> {
        self.folder.write_chunk(built.name, &built.bytes)?;
        weir_event::failpoint::pass("spool.after_rename");
        let entry = Entry::sealed(built.name, built.bytes.len() as u64, built.sealed_us, built.gaps.clone());
        Counters::add(&shared.counters.events_written, entry.events());
        shared.counters.sealed(built.bytes.len());
        built.gaps.iter().for_each(|gap| shared.counters.lost(gap.reason, gap.count()));
        Ok(entry)
    }
}

/// An id whose name was lost shows as its number: better than losing the event.
fn name(names: &HashMap<NameId, String>, id: NameId) -> String {
    names.get(&id).cloned().unwrap_or_else(|| format!("?{}", id.0))
}
