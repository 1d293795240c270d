//! The housekeeper's thread: it removes chunk files, keeps the bounds, takes over what earlier lives left behind, and
//! looks after what is set aside.
//!
//! It alone unlinks, and only what is acknowledged or replaced. One loop of short turns, each of bounded work; an
//! error of the disk is logged, and what it concerns is tried again.

use crate::adoption::Adoption;
use crate::bound::{self, write_tombstone};
use crate::counters::Counters;
use crate::ends::End;
use crate::entry::Entry;
use crate::folder::{BootFolder, ignore_missing};
use crate::index::ChunkRef;
use crate::progress;
use crate::set_aside::{Item, Request, header_of};
use crate::shared::{Chore, Shared, step_behind};
use crate::trouble::Trouble;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tracing::{info, warn};
use weir_event::chunk::{Chunk, ChunkError, Gap, GapReason};
use weir_event::{BootId, Identity};

/// Between two turns of upkeep, which look at every stream: many chores come in the meantime.
const TURN: Duration = Duration::from_millis(100);
/// What the rings of earlier lives may take of a turn, at least one of them.
const RINGS: Duration = Duration::from_millis(20);
const ADOPT_EVERY: Duration = Duration::from_secs(10);
const SET_ASIDE_EVERY: Duration = Duration::from_secs(2);
/// What could not be done is tried again after this long.
const RETRY: Duration = Duration::from_secs(2);
/// Chunks that are set aside may take this part of the spool's bytes.
const SET_ASIDE_PART: u64 = 8;
/// Headers of found chunks that are read in one turn.
const HEADERS: usize = 200;
/// Chunks given up in one turn, in tombstones.
const TOMBSTONES: usize = 8;

pub(crate) struct Housekeeper {
    shared: Arc<Shared>,
    /// The spool's folder, held open: a file that is not found through it is gone, and not just out of reach.
    root: Option<File>,
    /// Acknowledged chunks whose file could not be unlinked yet.
    unlinks: VecDeque<ChunkRef>,
    retry_at: Option<Instant>,
    adoption: Adoption,
    turn_at: Instant,
    adopt_at: Instant,
    set_aside_at: Instant,
    trouble: Trouble,
}

impl Housekeeper {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        let root = File::open(&shared.config.path).ok();
        Self {
            shared,
            root,
            unlinks: VecDeque::new(),
            retry_at: None,
            adoption: Adoption::default(),
            turn_at: now,
            adopt_at: now,
            set_aside_at: now,
            trouble: Trouble::default(),
        }
    }

    pub(crate) fn run(mut self, chores: Receiver<Chore>) {
        step_behind();
        loop {
            match chores.recv_timeout(self.turn_at.saturating_duration_since(Instant::now())) {
                Ok(Chore::Finish(all_sealed)) => return self.finish(all_sealed),
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(chore) => self.obey(chore),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if now >= self.turn_at {
                self.turn_at = now + TURN;
                self.turn(now);
            }
        }
    }

    fn obey(&mut self, chore: Chore) {
        let done = match &chore {
            Chore::Unlink(chunk) => {
                self.unlinks.push_back(chunk.clone());
                self.unlink_all();
                return;
            }
            Chore::SetAside(chunk, reason, error) => self.set_aside(chunk, reason, error),
            Chore::Split(chunk) => self.split(chunk),
            Chore::Missing(chunk) => self.missing(chunk),
            Chore::Finish(_) => return,
        };
        let (Chore::SetAside(chunk, ..) | Chore::Split(chunk) | Chore::Missing(chunk)) = chore else { return };
        if let Err(error) = done {
            Counters::add(&self.shared.counters.file_failures, 1);
            self.report(&error, "move a chunk file");
            self.shared.index.put_back_later(&chunk, |_| RETRY);
        }
    }

    fn turn(&mut self, now: Instant) {
        if now >= self.adopt_at {
            self.adopt_at = now + ADOPT_EVERY;
            if let Err(error) = self.adoption.look(&self.shared) {
                self.report(&error, "look for the spools of earlier lives");
            }
        }
        if self.retry_at.is_none_or(|at| at <= now) {
            self.unlink_all();
            if let Err(error) = self.adoption.empty_rings(&self.shared, now + RINGS) {
                Counters::add(&self.shared.counters.file_failures, 1);
                self.report(&error, "empty the ring of an earlier life");
                self.retry_at = Some(Instant::now() + RETRY);
            }
        }
        if now >= self.set_aside_at {
            self.set_aside_at = now + SET_ASIDE_EVERY;
            if let Err(error) = self.look_after_set_aside() {
                self.report(&error, "look after the chunks that are set aside");
            }
        }
        self.keep_bounds();
        self.read_headers();
        self.remove_done();
    }

    fn report(&mut self, error: &io::Error, what: &'static str) {
        self.trouble.report(&self.shared, error, what, "it is tried again, and no event is given up for it");
    }

    /// Unlinks what is acknowledged. How far its stream has got is on disk first.
    fn unlink_all(&mut self) {
        while let Some(chunk) = self.unlinks.pop_front() {
            if let Err(error) = self.unlink(&chunk) {
                Counters::add(&self.shared.counters.file_failures, 1);
                self.report(&error, "remove a chunk file that is stored");
                self.unlinks.push_front(chunk);
                self.retry_at = Some(Instant::now() + RETRY);
                return;
            }
        }
    }

    fn unlink(&self, chunk: &ChunkRef) -> io::Result<()> {
        let Some((folder, entry)) = self.shared.index.find(chunk) else { return Ok(()) };
        self.note_progress(chunk, &folder)?;
        weir_event::failpoint::pass("spool.before_unlink");
        fs::remove_file(folder.chunk(entry.name)).or_else(ignore_missing)?;
        self.shared.index.remove(chunk);
        Counters::add(&self.shared.counters.chunks_acked, 1);
        Ok(())
    }

    fn note_progress(&self, chunk: &ChunkRef, folder: &BootFolder) -> io::Result<()> {
        let index = &self.shared.index;
        if index.is_noted(chunk) {
            return Ok(());
        }
        let ahead = index.to_note(chunk.boot);
        let position = |worker| if chunk.boot == self.shared.boot { self.shared.sealed_position(worker) } else { 0 };
        let marks: Vec<_> = ahead.iter().map(|(worker, _, to)| (*worker, *to, position(*worker))).collect();
        match progress::advance(&folder.progress(), &marks) {
            // Somebody removed the folder: there is no account left that could go back.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // A life of an earlier version has no file of its full size, and it is unlinking that makes room for one.
            Err(error) if error.kind() == ErrorKind::StorageFull && folder.workers.is_none() => return Ok(()),
            done => done?,
        }
        ahead.iter().for_each(|(_, stream, to)| index.noted(*stream, *to));
        Ok(())
    }

    fn set_aside(&self, chunk: &ChunkRef, reason: &str, error: &str) -> io::Result<()> {
        let Some((folder, entry)) = self.shared.index.find(chunk) else { return Ok(()) };
        self.note_progress(chunk, &folder)?;
        let path = folder.chunk(entry.name);
        self.shared.set_aside.put(&folder, entry.name, reason, error)?;
        self.shared.index.remove(chunk);
        Counters::add(&self.shared.counters.chunks_set_aside, 1);
        let path = path.display();
        warn!(path = %path, reason, error, "a chunk cannot be shipped and is set aside; see `weirctl spool list`");
        self.shared.counters.failed(format!("chunk `{path}` is set aside ({reason}): {error}"));
        Ok(())
    }

    /// Two chunks in the place of one; a single event that is too large is set aside.
    fn split(&self, chunk: &ChunkRef) -> io::Result<()> {
        let Some((folder, entry)) = self.shared.index.find(chunk) else { return Ok(()) };
        let bytes = fs::read(folder.chunk(entry.name))?;
        let split = Chunk::decode(&bytes).and_then(|whole| whole.split());
        let halves = match split {
            Ok(Some(halves)) => halves,
            Ok(None) => return self.set_aside(chunk, "too_large", "a single event is too large for the way to weir-analytics; raise the limit of body sizes of the proxy in between"),
            // Nothing is wrong with it: a gateway of its version can halve it.
            Err(error @ ChunkError::Version(_)) => {
                let text = format!("{error}, so that it cannot be halved; raise the limit of body sizes of the proxy in between, or start a newer gateway, and retry it");
                return self.set_aside(chunk, "too_large", &text);
            }
            Err(error) => return self.set_aside(chunk, "damaged", &error.to_string()),
        };
        let mut entries = Vec::new();
        for half in &halves {
            let header = weir_event::chunk::ChunkHeader::decode(half);
            let header = header.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            let name = crate::folder::ChunkName { first: header.first, last: header.last, ..entry.name };
            folder.write_chunk(name, half)?;
            entries.push(entry.part(name, half.len() as u64, header.gaps));
        }
        fs::remove_file(folder.chunk(entry.name))?;
        self.shared.index.exchange(chunk, entries);
        Counters::add(&self.shared.counters.chunks_split, 1);
        Ok(())
    }

    /// A chunk file was not there. Gone it is only if the spool's folder itself says so; else it is out of reach.
    fn missing(&mut self, chunk: &ChunkRef) -> io::Result<()> {
        let Some((folder, entry)) = self.shared.index.find(chunk) else { return Ok(()) };
        let root = self.root.as_ref().ok_or(ErrorKind::NotFound)?;
        let path = PathBuf::from(chunk.boot.to_string()).join("chunks").join(entry.name.to_string());
        match rustix::fs::statat(root, &path, rustix::fs::AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => {}
            Ok(_) => return Err(io::Error::new(ErrorKind::NotFound, "the spool's folder is out of reach")),
            Err(error) => return Err(error.into()),
        }
        if folder.chunk(entry.name).exists() {
            return Err(io::Error::new(ErrorKind::NotFound, "the spool's folder is another one than at the start"));
        }
        if chunk.boot == self.shared.boot {
            folder.restore()?;
        } else {
            BootFolder::revive(&self.shared.config.path, folder.boot, folder.identity.clone())?;
        }
        let stream = folder.stream(entry.name.worker);
        let gaps = entry.gaps.clone().unwrap_or_default();
        let tombstone = write_tombstone(&folder, &stream, entry.name, &gaps, GapReason::Removed, entry.sealed_us)?;
        let events = entry.events();
        warn!(chunk = %entry.name, boot = %chunk.boot, events, "a chunk file was removed by somebody else: its events are lost");
        self.shared
            .counters
            .failed(format!("chunk file `{}` was removed by somebody else: {events} events are lost", path.display()));
        self.shared.counters.lost(GapReason::Removed, events);
        self.shared.index.replace(chunk.stream, &[entry], GapReason::Removed, tombstone);
        // What is looked for from now on is in the folder that is there now.
        self.root = File::open(&self.shared.config.path).ok();
        Ok(())
    }

    fn keep_bounds(&mut self) {
        for _ in 0..TOMBSTONES {
            match bound::keep(&self.shared) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    Counters::add(&self.shared.counters.write_failures, 1);
                    return self.report(&error, "give up the oldest chunks");
                }
            }
        }
    }

    /// Learns what the headers of found chunks say, a few at a time: a spool of many chunks starts at once.
    fn read_headers(&mut self) {
        for (chunk, folder) in self.shared.index.unread(HEADERS) {
            match header_of(&folder.chunk(chunk.name)) {
                Ok(Some(header)) => self.shared.index.learn(&chunk, header.gaps),
                // Damaged, or of another version: whoever ships it will find out.
                Ok(None) => self.shared.index.learn(&chunk, Vec::new()),
                Err(error) if error.kind() == ErrorKind::NotFound => self.shared.index.learn(&chunk, Vec::new()),
                Err(error) => return self.report(&error, "read a chunk file"),
            }
        }
    }

    fn look_after_set_aside(&mut self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        if !shared.set_aside.scan()? {
            return Ok(());
        }
        for (file, item, request) in shared.set_aside.requests() {
            match request {
                Request::Drop => self.give_up(&file, &item, GapReason::Dropped)?,
                Request::Retry => self.retry(&file, &item)?,
            }
        }
        for (file, item) in shared.set_aside.beyond(shared.config.max_bytes / SET_ASIDE_PART) {
            self.give_up(&file, &item, GapReason::SetAsideFull)?;
            Counters::add(&shared.counters.set_aside_dropped, 1);
        }
        Ok(())
    }

    /// Gives up a chunk that is set aside, by name: a tombstone goes to the ingestor in its place.
    fn give_up(&mut self, file: &str, item: &Item, reason: GapReason) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let gaps = header_of(&shared.set_aside.path(file))?.map(|header| header.gaps).unwrap_or_default();
        let known: u64 = gaps.iter().map(Gap::count).sum();
        let events = (item.name.last - item.name.first + 1).saturating_sub(known);
        if events == 0 {
            // A tombstone that was refused would only be refused again.
            warn!(chunk = file, "a tombstone that was set aside is removed");
        } else if let Some(stream) = &item.stream {
            let folder = self.folder_of(item.boot, &stream.identity)?;
            let entry = write_tombstone(&folder, stream, item.name, &gaps, reason, item.at_us)?;
            shared.counters.lost(reason, events);
            warn!(chunk = file, reason = reason.as_str(), events, "a chunk that was set aside is given up");
            self.put(&folder, item, entry);
        } else {
            warn!(
                chunk = file,
                reason = reason.as_str(),
                "a damaged chunk that was set aside is removed; whose events it had is not known"
            );
        }
        shared.set_aside.forget(file)
    }

    /// Offers a chunk that is set aside once more.
    fn retry(&mut self, file: &str, item: &Item) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let Some(stream) = &item.stream else {
            warn!(chunk = file, "this chunk is damaged and cannot be offered again");
            return fs::remove_file(shared.set_aside.path(&format!("{file}.retry"))).or_else(ignore_missing);
        };
        let folder = self.folder_of(item.boot, &stream.identity)?;
        fs::rename(shared.set_aside.path(file), folder.chunk(item.name))?;
        crate::folder::sync_folder(&folder.chunks())?;
        shared.set_aside.forget(file)?;
        self.put(&folder, item, Entry::found(item.name, item.bytes, item.at_us));
        info!(chunk = file, "a chunk that was set aside is offered again");
        Ok(())
    }

    fn folder_of(&self, boot: BootId, identity: &Identity) -> io::Result<BootFolder> {
        BootFolder::revive(&self.shared.config.path, boot, identity.clone())
    }

    /// Enters a chunk file that is in its folder again: at once where its life is in the index, else by adoption.
    fn put(&mut self, folder: &BootFolder, item: &Item, entry: Entry) {
        if self.shared.index.has_life(item.boot) {
            let stream = folder.stream(item.name.worker);
            let id = stream.id();
            self.shared.index.join(stream);
            self.shared.index.book(id, &entry.records(), entry.gaps.as_deref().unwrap_or_default());
            self.shared.index.put(id, [entry]);
        } else {
            self.adopt_at = Instant::now();
        }
    }

    fn remove_done(&mut self) {
        for folder in self.shared.index.take_done() {
            if let Err(error) = folder.remove().or_else(ignore_missing) {
                self.report(&error, "remove the folder of an earlier life");
            }
        }
    }

    /// The last turn: with a clean end, the streams of this life have an end that is known.
    fn finish(mut self, all_sealed: bool) {
        self.unlink_all();
        if all_sealed {
            let own = self.shared.ledgers().into_iter().filter(|ledger| ledger.stream.boot == self.shared.boot);
            let ends: Vec<_> =
                own.map(|ledger| (ledger.stream.worker, End { accepted: ledger.accepted, open_end: None })).collect();
            if let Err(error) = self.shared.folder.note_ends(&ends) {
                self.report(&error, "note how the streams ended");
            }
        }
        self.remove_done();
    }
}
