//! Taking over the folder of a life that is over: its chunk files are indexed, its rings are read to chunk files,
//! all under its own streams, identity and names.
//!
//! Safe to repeat: a crash in the middle leaves a folder that the next life takes over in the same way. What is
//! damaged is set aside and told; it never stops what comes after it.

use crate::builder::{Builder, Built};
use crate::counters::Counters;
use crate::folder::{BootFolder, ChunkName};
use crate::names::read_names;
use crate::ranges::Ranges;
use crate::recover::Recovered;
use crate::shared::Shared;
use crate::shelf::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use tracing::warn;
use weir_event::NameId;
use weir_event::chunk::{ChunkError, ChunkHeader, GapReason};

/// Chunks made of a ring are about as large as those of a living one.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
const CHUNK_COUNT: u32 = 20_000;

/// One worker of the life taken over.
#[derive(Default)]
struct Found {
    chunks: Vec<Entry>,
    /// Every number below this was offered.
    accepted: u64,
}

/// Takes over `folder`; answers how many streams it had.
pub(crate) fn take_over(folder: BootFolder, shared: &Shared) -> io::Result<usize> {
    let mut found = index_chunks(&folder, shared)?;
    let names = match fs::read(folder.names()) {
        Ok(bytes) => read_names(&bytes),
        Err(_) => HashMap::new(),
    };
    for (worker, path) in rings(&folder)? {
        let stream = found.entry(worker).or_default();
        let next = stream.chunks.iter().map(|entry| entry.name.last + 1).max().unwrap_or(0);
        stream.accepted = stream.accepted.max(next);
        match fs::read(&path).map(|bytes| Recovered::read(&bytes))? {
            Some(ring) if ring.boot() == folder.boot && ring.worker() == worker => {
                stream.accepted = empty_ring(&folder, &ring, &names, stream, shared)?;
            }
            _ => damaged(
                shared,
                &path,
                "its header does not check out",
                &folder.path.join(format!("damaged-ring-{worker}")),
            ),
        }
    }
    let folder = Arc::new(folder);
    let streams = found.len();
    for (worker, stream) in found {
        shelve(shared, &folder, worker, stream);
    }
    // A life without a single stream has nothing to tell.
    if streams == 0 {
        folder.remove()?;
    }
    Ok(streams)
}

fn shelve(shared: &Shared, folder: &Arc<BootFolder>, worker: u16, found: Found) {
    let stream = folder.stream(worker);
    let id = stream.id();
    shared.shelf.open(stream, Arc::clone(folder), Some(found.accepted));
    for entry in found.chunks {
        shared.shelf.book(id, &entry.records(), &entry.gaps);
        shared.shelf.put(id, entry);
    }
}

/// The chunk files, by worker; a file whose range another covers was being replaced by it, and goes.
fn index_chunks(folder: &BootFolder, shared: &Shared) -> io::Result<BTreeMap<u16, Found>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder.chunks())? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match ChunkName::parse(&name) {
            Some(name) => names.push(name),
            None => fs::remove_file(path)?,
        }
    }
    names.sort_by_key(|name| (name.worker, name.first, u64::MAX - name.last));
    let mut found: BTreeMap<u16, Found> = BTreeMap::new();
    for name in names {
        let stream = found.entry(name.worker).or_default();
        if stream.accepted > name.last {
            fs::remove_file(folder.chunk(name))?;
            continue;
        }
        stream.accepted = name.last + 1;
        match read_entry(folder, name) {
            Ok(entry) => stream.chunks.push(entry),
            Err(why) => set_aside(folder, name, shared, &why)?,
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

fn damaged(shared: &Shared, path: &Path, why: &str, aside: &Path) {
    warn!(path = %path.display(), why, "an event ring is damaged and left out");
    shared.counters.failed(format!("the event ring `{}` is damaged and left out: {why}", path.display()));
    fs::rename(path, aside).ok();
}

fn rings(folder: &BootFolder) -> io::Result<Vec<(u16, std::path::PathBuf)>> {
    let mut rings = Vec::new();
    for entry in fs::read_dir(&folder.path)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(worker) = name.strip_prefix("ring-").and_then(|worker| worker.parse().ok()) {
            rings.push((worker, path));
        }
    }
    Ok(rings)
}

/// Writes what a ring still holds to chunk files; answers the number after the last that it was offered.
fn empty_ring(
    folder: &BootFolder,
    ring: &Recovered,
    names: &HashMap<NameId, String>,
    found: &mut Found,
    shared: &Shared,
) -> io::Result<u64> {
    let stream = folder.stream(ring.worker());
    let covered = found.accepted.max(ring.sealed_seq());
    let mut builder = Builder::new(stream, covered);
    let name = |id: NameId| Some(names.get(&id).cloned().unwrap_or_else(|| format!("?{}", id.0)));
    let mut built = Vec::new();
    let end = ring.records(|seq, payload| {
        builder.record(seq, payload, name);
        if builder.count() >= CHUNK_COUNT || builder.raw_len() >= CHUNK_BYTES {
            built.extend(builder.build());
        }
    });
    // Behind a bad CRC there may have been records; behind a good end there were only events that found no room.
    let reason = if end.whole { GapReason::RingFull } else { GapReason::Torn };
    builder.give_up_to(end.next_seq, reason);
    built.extend(builder.build());
    for built in built {
        found.chunks.push(keep(folder, built, shared)?);
    }
    Ok(end.next_seq.max(covered))
}

fn keep(folder: &BootFolder, built: Built, shared: &Shared) -> io::Result<Entry> {
    folder.write_chunk(built.name, &built.bytes)?;
    let entry = Entry {
        name: built.name,
        bytes: built.bytes.len() as u64,
        sealed_us: built.sealed_us,
        gaps: built.gaps,
        in_flight: false,
    };
    let copied: &Ranges = &entry.records();
    Counters::add(&shared.counters.events_written, copied.count());
    Counters::add(&shared.counters.chunks_sealed, 1);
    entry.gaps.iter().for_each(|gap| shared.counters.shed(gap.reason, gap.count()));
    Ok(entry)
}
