//! The spool's thread: it empties the rings, writes and removes the chunk files, keeps the bounds, and takes over
//! what earlier lives left behind.
//!
//! One loop, woken by a command or every [`POLL`]; it is the only one that unlinks. Trouble with the disk never
//! ends it: rings fill up, their sheds are counted, and it goes on when there is room again.

use crate::adopt::LeftRing;
use crate::counters::Counters;
use crate::folder::{BootFolder, SET_ASIDE, others};
use crate::lane::Lane;
use crate::shared::{Command, Shared, step_behind};
use crate::shelf::{Parcel, Verdict};
use crate::{adopt, bound};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How long an event may lie in a ring before it is copied: 40 wake-ups a second cost 0.1 % of a core.
const POLL: Duration = Duration::from_millis(25);
const ADOPT_EVERY: Duration = Duration::from_secs(10);
/// The index of all chunk files is looked through for their size and age this often.
const BOUND_EVERY: Duration = Duration::from_millis(200);
/// The same trouble is told again after this long.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// Refused chunks that are kept, as a part of the bound of the spool.
const SET_ASIDE_PART: u64 = 8;

pub(crate) struct Keeper {
    shared: Arc<Shared>,
    lanes: Vec<Lane>,
    /// Folders of earlier lives that cannot be taken over: told once.
    unreadable: Vec<PathBuf>,
    /// Rings of earlier lives that could not be emptied yet.
    unfinished: Vec<LeftRing>,
    adopt_at: Instant,
    bound_at: Instant,
    trouble: Option<Instant>,
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>, lanes: Vec<Lane>) -> Self {
        let now = Instant::now();
        Self {
            shared,
            lanes,
            unreadable: Vec::new(),
            unfinished: Vec::new(),
            adopt_at: now,
            bound_at: now,
            trouble: None,
        }
    }

    pub(crate) fn run(mut self, commands: Receiver<Command>) {
        step_behind();
        let mut wait = POLL;
        loop {
            match commands.recv_timeout(wait) {
                Ok(Command::Finish) | Err(RecvTimeoutError::Disconnected) => return self.finish(),
                Ok(command) => self.obey(command),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let more = self.copy(false);
            wait = if more { Duration::ZERO } else { POLL };
            self.look_after(Instant::now());
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Settled(parcel, verdict) => self.settle(&parcel, verdict),
            Command::Flush(done) => {
                self.copy(true);
                done.send(()).ok();
            }
            // Only the loop can end itself.
            Command::Finish => {}
        }
    }

    /// What is done every now and then.
    fn look_after(&mut self, now: Instant) {
        if now >= self.adopt_at {
            self.adopt_at = now + ADOPT_EVERY;
            self.adopt();
        }
        if now >= self.bound_at {
            self.bound_at = now + BOUND_EVERY;
            self.keep_bounds();
            self.remove_done();
        }
    }

    /// Empties the rings; answers whether there is more to do at once.
    fn copy(&mut self, all: bool) -> bool {
        let (mut failed, mut more) = (None, false);
        for lane in &mut self.lanes {
            match lane.step(&self.shared, all) {
                Ok(of_lane) => more |= of_lane,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => failed = Some(error),
                // It waits for the time of its retry.
                Err(_) => {}
            }
        }
        let fills = self.lanes.iter().map(Lane::fill).collect();
        *self.shared.rings.lock().unwrap_or_else(PoisonError::into_inner) = fills;
        match failed {
            Some(error) => {
                Counters::add(&self.shared.counters.write_failures, 1);
                self.say(&error, "write a chunk file");
            }
            None if self.lanes.iter().all(|lane| !lane.is_stuck()) => self.well_again(),
            None => {}
        }
        more
    }

    /// Says that the disk is in the way: once, and again after a while.
    fn say(&mut self, error: &io::Error, what: &str) {
        let path = self.shared.config.path.display();
        let cure = crate::config::cure_running(error);
        let sentence = format!(
            "cannot {what} in `{path}`: {error}; {cure}; until then events are kept in the rings, and shed when those are full"
        );
        if self.trouble.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            warn!(%error, path = %path, "{sentence}");
            self.trouble = Some(Instant::now());
        }
        self.shared.counters.failed(sentence);
    }

    fn well_again(&mut self) {
        if self.trouble.take().is_some() {
            info!(path = %self.shared.config.path.display(), "the spool can write again");
        }
    }

    fn settle(&mut self, parcel: &Parcel, verdict: Verdict) {
        let Some((folder, entry)) = self.shared.shelf.find(parcel) else { return };
        let done = match verdict {
            Verdict::Stored => {
                weir_event::failpoint::pass("spool.before_unlink");
                fs::remove_file(folder.chunk(entry.name))
            }
            Verdict::Refused => folder.set_aside(entry.name),
        };
        if let Err(error) = done
            && error.kind() != io::ErrorKind::NotFound
        {
            // It stays, and will be offered again: what is stored twice is stored once.
            self.say(&error, "remove a chunk file");
            return self.shared.shelf.put_back(parcel);
        }
        self.shared.shelf.settle(parcel, verdict);
        match verdict {
            Verdict::Stored => Counters::add(&self.shared.counters.chunks_acked, 1),
            Verdict::Refused => {
                self.bound_set_aside();
                Counters::add(&self.shared.counters.chunks_set_aside, 1);
            }
        }
    }

    fn bound_set_aside(&self) {
        let path = self.shared.config.path.join(SET_ASIDE);
        match bound::drop_oldest(&path, self.shared.config.max_bytes / SET_ASIDE_PART) {
            Ok(dropped) => Counters::add(&self.shared.counters.set_aside_dropped, dropped),
            Err(error) => self.shared.counters.failed(format!("cannot tidy `{}`: {error}", path.display())),
        }
    }

    fn keep_bounds(&mut self) {
        if let Err(error) = bound::keep(&self.shared) {
            self.say(&error, "shed the oldest chunk");
        }
    }

    fn adopt(&mut self) {
        let root = self.shared.config.path.clone();
        let found = match others(&root, &self.shared.boot) {
            Ok(found) => found,
            Err(error) => return self.say(&error, "look for the spools of earlier lives"),
        };
        for path in found {
            match BootFolder::adopt(path.clone()) {
                Ok(None) => {}
                Ok(Some(folder)) => self.take_over(folder),
                Err(error) => self.leave(path, &error),
            }
        }
        self.empty_rings();
    }

    fn take_over(&mut self, folder: BootFolder) {
        let (boot, path) = (folder.boot, folder.path.clone());
        match adopt::take_over(folder, &self.shared) {
            Ok(taken) => {
                Counters::add(&self.shared.counters.adopted, 1);
                info!(%boot, streams = taken.streams, "took over the spool of an earlier life");
                self.unfinished.extend(taken.rings);
            }
            Err(error) => self.leave(path, &error),
        }
    }

    /// Empties what is left of the rings of earlier lives; without room on disk they wait, while the chunks that are
    /// there are shipped.
    fn empty_rings(&mut self) {
        for ring in std::mem::take(&mut self.unfinished) {
            match ring.empty(&self.shared) {
                Ok(()) => self.shared.ended.notify_one(),
                Err(error) => {
                    self.say(&error, "empty the ring of an earlier life");
                    self.unfinished.push(ring);
                }
            }
        }
    }

    /// Nothing is lost by waiting: it is tried again at the next round.
    fn leave(&mut self, path: PathBuf, error: &io::Error) {
        if !self.unreadable.contains(&path) {
            warn!(path = %path.display(), %error, "cannot take over the spool of an earlier life; it stays as it is");
            self.shared.counters.failed(format!("cannot take over `{}`: {error}", path.display()));
            self.unreadable.push(path);
        }
    }

    fn remove_done(&self) {
        for folder in self.shared.shelf.take_done() {
            if let Err(error) = folder.remove() {
                self.shared.counters.failed(format!("cannot remove `{}`: {error}", folder.path.display()));
            }
        }
    }

    fn finish(mut self) {
        self.copy(true);
        self.remove_done();
        self.shared.listeners.close();
    }
}
