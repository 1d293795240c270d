//! What the spool's threads and its handle share.

use crate::config::SpoolConfig;
use crate::counters::{Counters, RingFill};
use crate::shelf::{Parcel, Shelf, StreamLedger, Verdict};
use crate::tail::Listeners;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::Notify;
use weir_event::{BootId, Names};

/// Tells how many requests a worker has counted.
pub(crate) type Accepted = Box<dyn Fn(u16) -> u64 + Send + Sync>;

const NICENESS: i32 = 5;

pub(crate) struct Shared {
    pub(crate) config: SpoolConfig,
    pub(crate) boot: BootId,
    pub(crate) names: Arc<Names>,
    pub(crate) shelf: Shelf,
    pub(crate) counters: Counters,
    pub(crate) listeners: Listeners,
    pub(crate) rings: Mutex<Vec<RingFill>>,
    pub(crate) accepted: OnceLock<Accepted>,
    /// Streams of an earlier life were found: the ingestor should hear of their end.
    pub(crate) ended: Notify,
}

impl Shared {
    pub(crate) fn new(config: SpoolConfig, boot: BootId, names: Arc<Names>) -> Self {
        Self {
            config,
            boot,
            names,
            shelf: Shelf::default(),
            counters: Counters::default(),
            listeners: Listeners::default(),
            rings: Mutex::default(),
            accepted: OnceLock::new(),
            ended: Notify::new(),
        }
    }

    /// The ledgers, this life's `accepted` from the request counters where the program has handed them in.
    pub(crate) fn ledgers(&self) -> Vec<StreamLedger> {
        self.shelf.ledgers(self.boot, |worker| self.accepted.get().map(|accepted| accepted(worker)))
    }
}

/// Steps behind the workers: what serves requests goes first. At this niceness the thread still gets about a quarter
/// of a core that is fully busy, several times what emptying a ring costs.
pub(crate) fn step_behind() {
    // On Linux this is the calling thread's own. Without the right to do so, it runs as it is.
    rustix::process::setpriority_process(None, NICENESS).ok();
}

/// What the spool's thread is asked to do.
pub(crate) enum Command {
    /// A parcel's journey is over.
    Settled(Parcel, Verdict),
    /// Put everything that is committed into chunk files, and say when.
    Flush(SyncSender<()>),
    /// End.
    Finish,
}
