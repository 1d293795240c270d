//! What concerns a life of a gateway process as a whole: its queue waits, is handed over, or is done.

use crate::entry::Entry;
use crate::folder::BootFolder;
use crate::index::{ChunkIndex, Indexed, Inner};
use crate::ledger::StreamLedger;
use crate::life::{Hold, Life};
use crate::machine::boottime;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_event::clock::system_us;
use weir_event::{BootId, Identity};

impl ChunkIndex {
    /// Whether the life is in the index.
    pub(crate) fn has_life(&self, boot: BootId) -> bool {
        self.lock().lives.contains_key(&boot)
    }

    /// The folder of a life stays, whatever is shipped of it.
    pub(crate) fn keep_folder(&self, boot: BootId) {
        if let Some(life) = self.lock().lives.get_mut(&boot) {
            life.stays = true;
        }
    }

    /// The chunks of a life wait until then. Answers whether that is news.
    pub(crate) fn hold(&self, boot: BootId, wait: Duration, reason: &'static str, error: &str) -> bool {
        let mut inner = self.lock();
        let Some(life) = inner.lives.get_mut(&boot) else { return false };
        life.failed_at = Some(boottime());
        let until = Instant::now() + wait;
        let before = life.hold.take();
        let is_news = before.as_ref().is_none_or(|hold| hold.reason != reason);
        let since_us = before.filter(|hold| hold.reason == reason).map_or_else(system_us, |hold| hold.since_us);
        life.hold = Some(Hold { until, reason, error: error.to_owned(), since_us });
        is_news
    }

    /// Takes the accounts of lives of which nothing is left to do, and their folders.
    pub(crate) fn take_done(&self) -> Vec<Arc<BootFolder>> {
        let mut inner = self.lock();
        let Inner { streams, lives, .. } = &mut *inner;
        let is_done = |life: &Life| {
            // A copy's end is nobody's to report: its life may go on elsewhere.
            let ended = |ledger: &StreamLedger| ledger.end_reported || (life.is_copy && ledger.is_over);
            let done = |indexed: &Indexed| ended(&indexed.ledger) && indexed.chunks.is_empty();
            !life.stays && life.streams.iter().filter_map(|id| streams.get(id)).all(done)
        };
        let done: Vec<_> = lives.iter().filter(|(_, life)| is_done(life)).map(|(boot, _)| *boot).collect();
        let done: Vec<_> = done.iter().filter_map(|boot| lives.remove(boot)).collect();
        for life in &done {
            life.streams.iter().for_each(|id| drop(streams.remove(id)));
        }
        done.into_iter().map(|life| life.folder).collect()
    }

    /// The identities of the lives in the index, besides that of `own`.
    pub(crate) fn adopted(&self, own: BootId) -> Vec<(BootId, Identity)> {
        let inner = self.lock();
        let lives = inner.lives.iter().filter(|(boot, _)| **boot != own);
        lives.map(|(boot, life)| (*boot, life.folder.identity.clone())).collect()
    }

    /// Lets go of a life, for another process to take over. Not while one of its chunks is taken.
    pub(crate) fn release(&self, boot: BootId) -> bool {
        let mut inner = self.lock();
        let Some(life) = inner.lives.get(&boot) else { return true };
        let streams = life.streams.clone();
        let busy = |entry: &Entry| !entry.is_waiting();
        if streams.iter().filter_map(|id| inner.streams.get(id)).any(|indexed| indexed.chunks.values().any(busy)) {
            return false;
        }
        inner.lives.remove(&boot);
        for id in streams {
            let Some(indexed) = inner.streams.remove(&id) else { continue };
            inner.chunks -= indexed.chunks.len() as u64;
            inner.bytes -= indexed.chunks.values().map(|entry| entry.bytes).sum::<u64>();
        }
        true
    }
}
