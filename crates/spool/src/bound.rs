//! The bounds of the spool: past them the oldest chunks go, and a tombstone says which and why.
//!
//! The tombstone is on disk before the chunks are gone, and takes in the tombstones beside it; a crash in between
//! leaves files whose ranges one file covers, which adoption tidies. One call gives up a bounded number of chunks.

use crate::builder::tombstone;
use crate::counters::Counters;
use crate::entry::Entry;
use crate::folder::{BootFolder, ChunkName, ignore_missing};
use crate::index::{ChunkRef, Oldest};
use crate::set_aside::header_of;
use crate::shared::Shared;
use std::fs;
use std::io::{self, ErrorKind};
use std::time::Duration;
use weir_event::Stream;
use weir_event::chunk::{Gap, GapReason};
use weir_event::clock::system_us;

/// Gaps in one tombstone at most: its header must fit the format and the wire.
const MAX_GAPS: usize = 50_000;
/// Chunks that one tombstone takes the place of, at most.
const MAX_RUN: usize = 256;
/// Of chunks that were found: how long they are offered before the wall clock's word on their age counts. It may be
/// the clock that is wrong.
const OFFERED_FOR: Duration = Duration::from_secs(60);

/// Gives up the oldest chunks if the spool is past its bounds. Answers whether there may be more to give up.
pub(crate) fn keep(shared: &Shared) -> io::Result<bool> {
    let (bytes, max_age) = (shared.index.bytes(), shared.config.max_age);
    let excess = bytes.saturating_sub(shared.config.max_bytes);
    let too_old = |entry: &Entry, age: Duration, was_offered: bool| {
        let is_known = entry.is_own || crate::machine::boottime() - entry.since >= OFFERED_FOR.min(max_age);
        age > max_age && was_offered && is_known
    };
    let (reason, oldest) = if excess > 0 {
        (GapReason::SpoolFull, shared.index.oldest(MAX_RUN, |_, _, _| true))
    } else {
        (GapReason::TooOld, shared.index.oldest(MAX_RUN, too_old))
    };
    let Some(mut oldest) = oldest else { return Ok(false) };
    if excess > 0 {
        oldest.keep_only(excess);
    }
    give_up(shared, oldest, reason)?;
    Ok(true)
}

impl Oldest {
    /// As few chunks as make up `excess` bytes.
    fn keep_only(&mut self, excess: u64) {
        let mut freed = 0;
        let enough = self.run.iter().position(|entry| {
            freed += entry.bytes;
            entry.events() > 0 && freed >= excess
        });
        // A tombstone right behind joins.
        let after = |index: usize| self.run.get(index + 1).is_some_and(|entry| entry.events() == 0);
        if let Some(index) = enough {
            self.run.truncate(index + 1 + usize::from(after(index)));
        }
    }
}

fn give_up(shared: &Shared, mut oldest: Oldest, reason: GapReason) -> io::Result<()> {
    let (stream, boot) = (oldest.stream, oldest.of.boot);
    oldest.run.retain(|entry| shared.index.take_this(stream, entry.name.first));
    let put_back = |run: &[Entry]| {
        let chunk = |entry: &Entry| ChunkRef { stream, boot, name: entry.name };
        run.iter().for_each(|entry| shared.index.put_back(&chunk(entry)));
    };
    let done = learn(&oldest.folder, &mut oldest.run).and_then(|()| {
        let kept = fitting(&oldest.run);
        put_back(&oldest.run[kept..]);
        oldest.run.truncate(kept);
        replace_with_tombstone(shared, &oldest, reason)
    });
    if done.is_err() {
        put_back(&oldest.run);
    }
    done
}

/// Reads the gaps of those whose header nobody has read. What cannot be read because it is damaged has none.
fn learn(folder: &BootFolder, run: &mut [Entry]) -> io::Result<()> {
    for entry in run.iter_mut().filter(|entry| entry.gaps.is_none()) {
        let header = match header_of(&folder.chunk(entry.name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            read => read?,
        };
        entry.gaps = Some(header.map(|header| header.gaps).unwrap_or_default());
    }
    Ok(())
}

/// How many of them make a tombstone whose gaps fit.
fn fitting(run: &[Entry]) -> usize {
    let mut gaps = 0;
    let fits = |entry: &&Entry| {
        gaps += entry.gaps.as_ref().map_or(0, Vec::len) + 1;
        gaps <= MAX_GAPS
    };
    run.iter().take_while(fits).count().max(1)
}

fn replace_with_tombstone(shared: &Shared, oldest: &Oldest, reason: GapReason) -> io::Result<()> {
    let (Some(head), Some(tail)) = (oldest.run.first(), oldest.run.last()) else { return Ok(()) };
    let name = ChunkName { worker: head.name.worker, first: head.name.first, last: tail.name.last };
    let gaps: Vec<Gap> = oldest.run.iter().flat_map(|entry| entry.gaps.iter().flatten()).copied().collect();
    let sealed_us = oldest.run.iter().map(|entry| entry.sealed_us).min().unwrap_or_default();
    let entry = write_tombstone(&oldest.folder, &oldest.of, name, &gaps, reason, sealed_us)?;
    for entry in oldest.run.iter().filter(|entry| entry.name != name) {
        fs::remove_file(oldest.folder.chunk(entry.name)).or_else(ignore_missing)?;
    }
    let events: u64 = oldest.run.iter().map(Entry::events).sum();
    shared.counters.lost(reason, events);
    Counters::add(&shared.counters.tombstones, 1);
    shared.index.replace(oldest.stream, &oldest.run, reason, entry);
    Ok(())
}

/// Writes the chunk that says of `name`'s range that its records are lost for `reason`, and gives its entry.
pub(crate) fn write_tombstone(
    folder: &BootFolder,
    stream: &Stream,
    name: ChunkName,
    gaps: &[Gap],
    reason: GapReason,
    sealed_us: i64,
) -> io::Result<Entry> {
    let sealed_us = if sealed_us == 0 { system_us() } else { sealed_us };
    let built = tombstone(stream, name, gaps, reason, sealed_us)
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "its range makes no tombstone"))?;
    folder.write_chunk(name, &built.bytes)?;
    Ok(Entry::sealed(name, built.bytes.len() as u64, sealed_us, built.gaps))
}
