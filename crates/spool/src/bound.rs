//! The bounds of the spool: past them the oldest chunk goes, and a tombstone tells what went.
//!
//! The tombstone is on disk before the chunk is gone, and takes in the tombstones beside it; a crash in between
//! leaves files whose ranges one file covers, which adoption tidies.

use crate::builder::tombstone;
use crate::counters::Counters;
use crate::folder::ChunkName;
use crate::shared::Shared;
use crate::shelf::{Entry, Oldest};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use weir_event::chunk::{Gap, GapReason};
use weir_event::clock::system_us;

/// Gaps in one tombstone at most: its header must fit the format.
const MAX_GAPS: usize = 50_000;

/// Sheds the oldest chunks until the spool is within its bounds.
pub(crate) fn keep(shared: &Shared) -> io::Result<()> {
    let mut bytes = shared.shelf.bytes();
    let max_age_us = i64::try_from(shared.config.max_age.as_micros()).unwrap_or(i64::MAX);
    while let Some(oldest) = shared.shelf.oldest() {
        let too_old = system_us().saturating_sub(oldest.sealed_us) > max_age_us;
        if bytes <= shared.config.max_bytes && !too_old {
            break;
        }
        bury(shared, oldest)?;
        bytes = shared.shelf.bytes();
    }
    Ok(())
}

fn bury(shared: &Shared, mut oldest: Oldest) -> io::Result<()> {
    let gaps: usize = oldest.run.iter().map(|entry| entry.gaps.len()).sum();
    if gaps > MAX_GAPS {
        oldest.run.retain(|entry| entry.events() > 0);
    }
    let (Some(head), Some(tail)) = (oldest.run.first(), oldest.run.last()) else { return Ok(()) };
    let name = ChunkName { worker: head.name.worker, first: head.name.first, last: tail.name.last };
    let gaps: Vec<Gap> = oldest.run.iter().flat_map(|entry| &entry.gaps).copied().collect();
    let built = tombstone(&oldest.of, name, &gaps, GapReason::SpoolFull, oldest.sealed_us)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its range makes no tombstone"))?;
    oldest.folder.write_chunk(name, &built.bytes)?;
    for entry in oldest.run.iter().filter(|entry| entry.name != name) {
        match fs::remove_file(oldest.folder.chunk(entry.name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    let events: u64 = oldest.run.iter().map(|entry| entry.events()).sum();
    shared.counters.shed(GapReason::SpoolFull, events);
    Counters::add(&shared.counters.tombstones, 1);
    let (sealed_us, bytes) = (oldest.sealed_us, built.bytes.len() as u64);
    let entry = Entry { name, bytes, sealed_us, gaps: built.gaps, in_flight: false };
    shared.shelf.bury(oldest.stream, &oldest.run, GapReason::SpoolFull, Some(entry));
    Ok(())
}

/// Removes the oldest files of a folder until at most `max_bytes` are left. Answers how many went.
pub(crate) fn drop_oldest(folder: &Path, max_bytes: u64) -> io::Result<u64> {
    let mut files: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        files.push((metadata.modified()?, entry.path(), metadata.len()));
    }
    files.sort();
    let mut bytes: u64 = files.iter().map(|file| file.2).sum();
    let mut dropped = 0;
    for (_, path, len) in files {
        if bytes <= max_bytes {
            break;
        }
        fs::remove_file(path)?;
        bytes -= len;
        dropped += 1;
    }
    Ok(dropped)
}
