//! Watches a [`Source`] of documents, as folders, and has a changed configuration taken once its files are complete.
//!
//! What complete means is `docs/configuration-loading.md`: a folder that was swapped, a reload that somebody asked for,
//! or a quiet period. Content says whether anything changed: a `touch` or an update to the same text is no reload. Every
//! two seconds it looks without an event too, for file systems that send none (NFS, some container mounts), folders that
//! come later, and certificates and keys that the resources name elsewhere.

mod fs_events;
mod loader;
mod source;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::SystemTime;

use crate::content::Content;
use crate::error::ConfigErrors;
use crate::model::GatewayConfig;
use loader::Loader;

pub use source::{Folders, Source, Wake};

/// Whoever runs a configuration. Called on the watcher's thread.
pub trait Taker: Send + 'static {
    /// The configuration that runs.
    fn running(&self) -> Arc<GatewayConfig>;

    /// Puts `candidate` in the place of what runs, or says why not. `again`: it has been refused before, for a reason
    /// that may have passed.
    fn take(&mut self, candidate: &Candidate, again: bool) -> Verdict;

    /// The files cannot be loaded. Called once for each content, and for each reload that is asked for.
    fn refuse(&mut self, errors: &ConfigErrors);

    /// What a change waits for now; `None`: no change waits. `still`: nothing of it is new, it only takes long.
    fn waits(&mut self, waiting: Option<&Waiting>, still: bool);
}

/// A configuration that could be loaded.
#[derive(Debug)]
pub struct Candidate {
    pub config: GatewayConfig,
    /// What it was loaded from.
    pub content: Arc<Content>,
    pub origin: Origin,
}

/// Where a configuration comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Folder,
    /// A generation that was kept, by its number.
    Kept(u32),
}

/// What became of a [`Candidate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It serves, under this number.
    Taken(u32),
    /// What ran before goes on. `passing`: it may go well another time, with the same content.
    Refused { error: String, passing: bool },
    /// There is nothing left to configure.
    Ended,
}

/// A change that is not taken yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// When it was first seen.
    pub since: SystemTime,
    pub waits_for: WaitsFor,
    /// What the change takes away, one clause each; only where that is why it waits.
    pub removals: Vec<String>,
}

/// What a change waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// Nothing changes for the quiet period.
    Quiet,
    /// Nothing changes for the removal period: it takes something away.
    Removal,
    /// Somebody asks for a reload.
    Reload,
}

impl WaitsFor {
    /// Each with its name in metrics and documents.
    pub const NAMES: [(&'static str, Self); 3] =
        [("quiet_period", Self::Quiet), ("removal_period", Self::Removal), ("reload", Self::Reload)];
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Taken(u32),
    /// What the folders say runs already.
    Unchanged,
    /// Every mistake, one a line; or why it cannot run.
    Refused(String),
    /// It would open what is closed now, one clause each, and nobody has confirmed that.
    Unconfirmed(Vec<String>),
    Ended,
}

type Reply = Box<dyn FnOnce(Answer) + Send>;

enum Message {
    /// Something may have changed.
    Touched,
    Reload(Reply),
    RollBack {
        content: Arc<Content>,
        number: u32,
        confirmed: bool,
        reply: Reply,
    },
    Stop,
}

/// Asks a [`Watcher`] for something. Works as long as that lives.
#[derive(Clone)]
pub struct Handle(Sender<Message>);

impl Handle {
    /// Loads what is in the folders now, whatever it takes away and however long it has been there.
    pub fn reload(&self, reply: impl FnOnce(Answer) + Send + 'static) {
        self.ask(Message::Reload(Box::new(reply)));
    }

    /// Loads a generation that was kept. The content that the folders have now is not loaded by itself afterwards.
    pub fn roll_back(
        &self,
        content: Arc<Content>,
        number: u32,
        confirmed: bool,
        reply: impl FnOnce(Answer) + Send + 'static,
    ) {
        self.ask(Message::RollBack { content, number, confirmed, reply: Box::new(reply) });
    }

    fn ask(&self, message: Message) {
        if let Err(error) = self.0.send(message) {
            match error.0 {
                Message::Reload(reply) | Message::RollBack { reply, .. } => reply(Answer::Ended),
                Message::Touched | Message::Stop => {}
            }
        }
    }
}

/// What a watcher begins with.
pub struct Start<S> {
    pub source: S,
    /// What was read of it.
    pub folder: Arc<Content>,
    /// What the running configuration was loaded from: the same, unless it is one that was kept.
    pub running: Arc<Content>,
    pub origin: Origin,
}

/// Watches until it is dropped. Has a thread of its own, on which it calls back.
pub struct Watcher {
    handle: Handle,
}

impl Watcher {
    /// Whatever differs from what was read of the source at the start is a change.
    ///
    /// # Errors
    /// The system has no thread left. A file system that cannot be watched is no error: it is polled.
    pub fn start(
        start: Start<impl Source>,
        env: impl Fn(&str) -> Option<String> + Send + 'static,
        taker: impl Taker,
    ) -> io::Result<Self> {
        let (send, inbox) = channel();
        let touched = Arc::new(AtomicBool::new(false));
        let (wake, flag) = (send.clone(), Arc::clone(&touched));
        let wake = move || {
            // One that is not read yet says it all.
            if !flag.swap(true, Ordering::AcqRel) {
                wake.send(Message::Touched).unwrap_or_default();
            }
        };
        let mut loader = Loader::new(start, Box::new(env), taker);
        loader.watch(Box::new(wake));
        let run = move || loader.run(&inbox, &touched);
        thread::Builder::new().name("weir-config".to_owned()).spawn(run)?;
        Ok(Self { handle: Handle(send) })
    }

    /// For whoever asks for reloads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

/// Asks the thread to end. It does so within a moment, or after the load under way.
impl Drop for Watcher {
    fn drop(&mut self) {
        self.handle.0.send(Message::Stop).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
