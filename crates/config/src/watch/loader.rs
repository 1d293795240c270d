//! The watcher's thread: when to look, and what to do with what is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use super::{Answer, Candidate, Message, Origin, Source, Start, Taker, Verdict, Waiting, WaitsFor, Wake};
use crate::content::Content;
use crate::files::FileHashes;
use crate::model::ReloadMode;
use crate::removal::{cuts, openings, removals};

/// How often to look without an event. Costs a read of all files, on this thread alone.
const POLL: Duration = Duration::from_secs(2);
/// A first event is seldom alone.
const GATHER: Duration = Duration::from_millis(20);
/// The time between two looks that events ask for: at least this, and ten times what the last one took.
const APART: Duration = Duration::from_millis(100);
/// How often a change that waits is reported again.
const REMIND: Duration = Duration::from_secs(30);
/// How long after a failure that may pass the same is tried again: at first, doubled each time, and at most.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

type Env = Box<dyn Fn(&str) -> Option<String> + Send>;

pub(super) struct Loader<S, T> {
    source: S,
    env: Env,
    taker: T,
    /// What of the folders was decided on last, taken or not.
    decided: Arc<Content>,
    /// What runs was loaded from this.
    running: Arc<Content>,
    origin: Origin,
    /// The last load named these files.
    outside: FileHashes,
    /// What was decided on runs.
    in_place: bool,
    pending: Option<Pending>,
    retry: Option<Retry>,
    look_at: Instant,
    not_before: Instant,
    active_at: Instant,
}

/// A change that is not decided on.
struct Pending {
    waiting: Waiting,
    mark: (u64, FileHashes),
    /// Since when it says what it says.
    same_since: Instant,
    /// What it takes away is known: it waits until then.
    until: Option<Instant>,
    reported_at: Instant,
}

/// A candidate that may be taken another time.
struct Retry {
    candidate: Candidate,
    outside: FileHashes,
    at: Instant,
    delay: Duration,
}

impl<S: Source, T: Taker> Loader<S, T> {
    pub fn new(start: Start<S>, env: Env, taker: T) -> Self {
        let now = Instant::now();
        let outside = taker.running().outside.clone();
        Self {
            source: start.source,
            env,
            taker,
            decided: start.folder,
            running: start.running,
            origin: start.origin,
            outside,
            in_place: start.origin == Origin::Folder,
            pending: None,
            retry: None,
            look_at: now,
            not_before: now,
            active_at: now,
        }
    }

    pub fn watch(&mut self, wake: Wake) {
        self.source.watch(wake);
    }

    pub fn run(mut self, inbox: &Receiver<Message>, touched: &AtomicBool) {
        loop {
            self.source.renew();
            let due = self.retry.as_ref().map_or(self.look_at, |retry| retry.at.min(self.look_at));
            match inbox.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Message::Touched) => {
                    touched.store(false, Ordering::Release);
                    self.touched(Instant::now());
                }
                Ok(Message::Reload(reply)) => reply(self.reload()),
                Ok(Message::RollBack { content, number, confirmed, reply }) => {
                    reply(self.roll_back(content, number, confirmed));
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if let Some(retry) = self.retry.take_if(|retry| now >= retry.at) {
                self.take(retry.candidate, retry.outside, Some(retry.delay));
            }
            if now >= self.look_at {
                self.look(now);
            }
        }
    }

    fn touched(&mut self, now: Instant) {
        self.active_at = now;
        self.look_at = self.look_at.min((now + GATHER).max(self.not_before));
    }

    /// Sees what is there, and decides on it if it is complete.
    fn look(&mut self, now: Instant) {
        self.look_at = now + POLL;
        // A pending change is read again when it may be complete; until then only a swap is of interest.
        if let Some(early) = self.quiet_until().filter(|until| now < *until)
            && !self.decided.files.is_swapped()
        {
            self.remind(now);
            self.look_at = early.min(now + POLL);
            return;
        }
        let content = Arc::new(self.source.read());
        self.see(content, now);
        let cost = now.elapsed();
        self.not_before = Instant::now() + APART.max(cost * 10);
    }

    /// Until when the pending change is too young to be decided on for sure.
    fn quiet_until(&self) -> Option<Instant> {
        let pending = self.pending.as_ref().filter(|pending| pending.waiting.waits_for == WaitsFor::Quiet)?;
        Some(pending.same_since.max(self.active_at) + self.taker.running().reload.quiet_period)
    }

    fn see(&mut self, content: Arc<Content>, now: Instant) {
        let outside = self.outside.again();
        if content.hash == self.decided.hash && outside == self.outside {
            if self.decided.files.is_swapped() {
                self.source.replaced();
                self.decided = content;
            }
            return self.settle();
        }
        let mark = (content.hash, outside);
        if self.pending.as_ref().is_none_or(|pending| pending.mark != mark) {
            self.note(mark, now);
        }
        self.remind(now);
        let settings = self.taker.running().reload;
        if settings.mode == ReloadMode::Explicit {
            return self.wait_for(WaitsFor::Reload, Vec::new(), now);
        }
        let Some(pending) = &self.pending else { return };
        let quiet_until = pending.same_since.max(self.active_at) + settings.quiet_period;
        if let Some(until) = pending.until.filter(|until| now < *until) {
            self.look_at = until.min(now + POLL);
        } else if content.files.is_swap_of(&self.decided.files) || now >= quiet_until {
            let force = pending.until.is_some();
            self.decide(content, force, now);
        } else {
            self.look_at = quiet_until.min(now + POLL);
            self.wait_for(WaitsFor::Quiet, Vec::new(), now);
        }
    }

    /// A change that was not there at the last look.
    fn note(&mut self, mark: (u64, FileHashes), now: Instant) {
        let since = self.pending.as_ref().map_or_else(SystemTime::now, |pending| pending.waiting.since);
        let reported_at = self.pending.as_ref().map_or(now, |pending| pending.reported_at);
        let waiting = Waiting { since, waits_for: WaitsFor::Quiet, removals: Vec::new() };
        self.pending = Some(Pending { waiting, mark, same_since: now, until: None, reported_at });
    }

    fn wait_for(&mut self, waits_for: WaitsFor, removals: Vec<String>, now: Instant) {
        let Some(pending) = &mut self.pending else { return };
        let waiting = Waiting { since: pending.waiting.since, waits_for, removals };
        if waits_for != WaitsFor::Quiet {
            pending.reported_at = now;
        }
        pending.waiting = waiting;
        self.taker.waits(Some(&pending.waiting), false);
    }

    fn remind(&mut self, now: Instant) {
        let due = |pending: &&mut Pending| now >= pending.reported_at + REMIND;
        if let Some(pending) = self.pending.as_mut().filter(due) {
            pending.reported_at = now;
            self.taker.waits(Some(&pending.waiting), true);
        }
    }

    /// No change waits any more.
    fn settle(&mut self) {
        if self.pending.take().is_some() {
            self.taker.waits(None, false);
        }
    }

    /// Loads what is complete, and has it taken. Without `force` it waits if it takes something away.
    fn decide(&mut self, content: Arc<Content>, force: bool, now: Instant) -> Answer {
        // A file that the resources name has changed, and the folders are as they were: what runs is loaded anew.
        let (source, origin) = match self.origin {
            Origin::Kept(_) if content.hash == self.decided.hash && !force => (Arc::clone(&self.running), self.origin),
            _ => (Arc::clone(&content), Origin::Folder),
        };
        let (loaded, outside) = source.load_seeing(&*self.env);
        let config = match loaded {
            Ok(config) => config,
            Err(errors) => {
                self.decided_on(content);
                (self.outside, self.in_place, self.retry) = (outside, false, None);
                self.taker.refuse(&errors);
                return Answer::Refused(errors.to_string());
            }
        };
        if !force {
            let mut taken = removals(&self.taker.running(), &config);
            taken.extend(cuts(&self.running, &source));
            let until = self.pending.as_ref().map(|p| p.same_since + self.taker.running().reload.removal_period);
            if let Some(until) = until.filter(|until| !taken.is_empty() && now < *until) {
                self.pending.iter_mut().for_each(|pending| pending.until = Some(until));
                self.look_at = until.min(now + POLL);
                self.wait_for(WaitsFor::Removal, taken, now);
                return Answer::Unchanged;
            }
        }
        self.decided_on(content);
        self.take(Candidate { config, content: source, origin }, outside, None)
    }

    fn decided_on(&mut self, content: Arc<Content>) {
        if self.decided.files.is_swapped() {
            self.source.replaced();
        }
        self.decided = content;
        self.settle();
    }

    /// `tried`: what was waited for before this attempt.
    fn take(&mut self, candidate: Candidate, outside: FileHashes, tried: Option<Duration>) -> Answer {
        self.outside = outside.clone();
        self.retry = None;
        match self.taker.take(&candidate, tried.is_some()) {
            Verdict::Taken(generation) => {
                (self.running, self.origin) = (candidate.content, candidate.origin);
                self.in_place = self.origin == Origin::Folder;
                Answer::Taken(generation)
            }
            Verdict::Refused { error, passing } => {
                self.in_place = false;
                if passing {
                    let delay = tried.map_or(FIRST_RETRY, |before| (before * 2).min(LAST_RETRY));
                    self.retry = Some(Retry { candidate, outside, at: Instant::now() + delay, delay });
                }
                Answer::Refused(error)
            }
            Verdict::Ended => Answer::Ended,
        }
    }

    fn reload(&mut self) -> Answer {
        let content = Arc::new(self.source.read());
        if self.in_place && content.hash == self.decided.hash && self.outside.again() == self.outside {
            self.decided_on(content);
            return Answer::Unchanged;
        }
        self.decide(content, true, Instant::now())
    }

    fn roll_back(&mut self, content: Arc<Content>, number: u32, confirmed: bool) -> Answer {
        let (loaded, outside) = content.load_seeing(&*self.env);
        let config = match loaded {
            Ok(config) => config,
            Err(errors) => return Answer::Refused(errors.to_string()),
        };
        let opened = openings(&self.taker.running(), &config);
        if !confirmed && !opened.is_empty() {
            return Answer::Unconfirmed(opened);
        }
        let now = Arc::new(self.source.read());
        self.decided_on(now);
        self.take(Candidate { config, content, origin: Origin::Kept(number) }, outside, None)
    }
}
