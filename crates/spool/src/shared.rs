//! What the spool's threads and its handle share.

use crate::config::SpoolConfig;
use crate::counters::{Counters, RingFill};
use crate::folder::BootFolder;
use crate::index::{ChunkIndex, ChunkRef};
use crate::ledger::StreamLedger;
use crate::set_aside::SetAside;
use crate::tail::Listeners;
use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::Notify;
use weir_api::gauges::Gauges;
use weir_event::{BootId, Names};

/// Tells how many requests a worker has counted.
pub(crate) type Accepted = Box<dyn Fn(u16) -> u64 + Send + Sync>;
/// Takes a sample of the process.
pub(crate) type Sampled = Box<dyn Fn() -> Option<Gauges> + Send + Sync>;

const NICENESS: i32 = 5;

pub(crate) struct Shared {
    pub(crate) config: SpoolConfig,
    pub(crate) boot: BootId,
    /// Of this life.
    pub(crate) folder: Arc<BootFolder>,
    pub(crate) names: Arc<Names>,
    pub(crate) index: ChunkIndex,
    pub(crate) set_aside: SetAside,
    pub(crate) counters: Counters,
    pub(crate) listeners: Listeners,
    pub(crate) rings: Mutex<Vec<RingFill>>,
    pub(crate) accepted: OnceLock<Accepted>,
    pub(crate) gauges: OnceLock<Sampled>,
    /// The ingestor should hear of something before the next turn: of the end of streams that were found, of the first
    /// sample of this process.
    pub(crate) report_now: Notify,
    /// How far each worker's ring is in chunk files, as a position.
    sealed: Mutex<BTreeMap<u16, u64>>,
}

impl Shared {
    pub(crate) fn new(config: SpoolConfig, folder: Arc<BootFolder>, names: Arc<Names>) -> Self {
        Self {
            set_aside: SetAside::new(&config.path),
            config,
            boot: folder.boot,
            folder,
            names,
            index: ChunkIndex::default(),
            counters: Counters::default(),
            listeners: Listeners::default(),
            rings: Mutex::default(),
            accepted: OnceLock::new(),
            gauges: OnceLock::new(),
            report_now: Notify::new(),
            sealed: Mutex::default(),
        }
    }

    /// The ledgers, this life's `accepted` from the request counters where the program has handed them in; with what
    /// is set aside, of lives that are long gone too.
    pub(crate) fn ledgers(&self) -> Vec<StreamLedger> {
        let counted = |worker| self.accepted.get().map(|accepted| accepted(worker));
        let mut ledgers = self.index.ledgers(self.boot, counted);
        self.set_aside.add_to(&mut ledgers, &self.folder.identity);
        ledgers
    }

    /// The ring of `worker` is in chunk files up to there.
    pub(crate) fn sealed(&self, worker: u16, position: u64) {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).insert(worker, position);
    }

    pub(crate) fn sealed_position(&self, worker: u16) -> u64 {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner).get(&worker).copied().unwrap_or(0)
    }
}

/// Steps behind the workers: what serves requests goes first. At this niceness the thread still gets about a quarter
/// of a core that is fully busy, several times what emptying a ring costs.
pub(crate) fn step_behind() {
    // On Linux this is the calling thread's own. Without the right to do so, it runs as it is.
    rustix::process::setpriority_process(None, NICENESS).ok();
}

/// What the spool's thread, which empties the rings, is asked to do.
pub(crate) enum Command {
    /// Put everything that is committed into chunk files, and say when.
    Flush(SyncSender<()>),
    /// End, and say whether everything committed is in chunk files.
    Finish(SyncSender<bool>),
}

/// What the housekeeper, which alone unlinks, is asked to do with a chunk.
pub(crate) enum Chore {
    /// It is acknowledged.
    Unlink(ChunkRef),
    /// It cannot be shipped: why, as a word and as a sentence.
    SetAside(ChunkRef, &'static str, String),
    /// It is too large for the way.
    Split(ChunkRef),
    /// Its file was not there.
    Missing(ChunkRef),
    /// End; every stream of this life is in chunk files if it says so.
    Finish(bool),
}
