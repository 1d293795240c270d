//! Requests whose spans are kept, on their way from the workers to the exporter: bounded, and what does not fit is counted.
//!
//! A worker never waits, and it wakes the exporter once for a whole batch: sent four at a time, a request took 17,000
//! instructions, and 430 of 512.

use crate::kept::KeptRequest;
use crate::probes::Probes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::sync::Notify;
use weir_config::Batch;

/// Why spans, points of metrics or log records were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// More waited than `OTEL_BSP_MAX_QUEUE_SIZE`.
    QueueFull,
    /// The receiver could not be reached, or asked for patience, for as long as a batch is tried.
    Unavailable,
    /// The receiver refused the request for good.
    Refused,
    /// The receiver took the request, and not all of it (`partial_success`).
    Rejected,
    /// The process ended first.
    Ended,
}

impl Loss {
    /// Each with its word in metrics.
    pub const ALL: [(&'static str, Self); 5] = [
        ("queue_full", Self::QueueFull),
        ("unavailable", Self::Unavailable),
        ("refused", Self::Refused),
        ("rejected", Self::Rejected),
        ("ended", Self::Ended),
    ];

    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// What became of spans, points of metrics or log records. Of spans that were never made, an attempt is taken to be one.
#[derive(Debug, Default)]
pub struct Counts {
    exported: AtomicU64,
    dropped: [AtomicU64; Loss::ALL.len()],
    requests: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
    waiting: AtomicU64,
}

impl Counts {
    /// Those that the receiver has acknowledged.
    pub fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    pub fn lost(&self, why: Loss) -> u64 {
        self.dropped[why as usize].load(Ordering::Relaxed)
    }

    /// Export requests that were sent, repeated ones among them.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes of their bodies.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Of the requests, those that were not answered by success.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Requests whose spans wait to be made.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn export(&self, items: u64) {
        self.exported.fetch_add(items, Ordering::Relaxed);
    }

    pub(crate) fn lose(&self, why: Loss, items: u64) {
        self.dropped[why as usize].fetch_add(items, Ordering::Relaxed);
    }

    pub(crate) fn attempt(&self, bytes: usize) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn fail(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}

struct Shared {
    counts: Arc<Counts>,
    probes: Arc<Probes>,
    wake: Notify,
    /// The exporter is woken when so many requests wait.
    many: u64,
}

/// A worker's end.
#[derive(Clone)]
pub struct Sender {
    requests: SyncSender<KeptRequest>,
    shared: Arc<Shared>,
}

impl Sender {
    /// Hands a request over, or drops it.
    pub fn send(&mut self, kept: KeptRequest, attempts: usize) {
        let (probe, Shared { counts, probes, wake, many }) = (kept.probe, &*self.shared);
        // Noted and counted first: the exporter may have it the next moment, and never takes one from none.
        probe.iter().for_each(|trace| probes.ended(*trace));
        let waiting = counts.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        if self.requests.try_send(kept).is_err() {
            counts.waiting.fetch_sub(1, Ordering::Relaxed);
            probes.dropped(probe.as_slice(), Loss::QueueFull.as_str(), "");
            counts.lose(Loss::QueueFull, 1 + attempts as u64);
        }
        // Below that the exporter sleeps, and it looks once more before it does.
        if waiting == *many {
            wake.notify_one();
        }
    }
}

/// The exporter's end.
pub struct Queue {
    requests: Receiver<KeptRequest>,
    shared: Arc<Shared>,
}

/// A queue for as many requests as `batch` says.
pub fn queue(batch: &Batch) -> (Sender, Queue) {
    let (requests, received) = sync_channel(batch.queue as usize);
    // There is room for others while a batch is made.
    let many = u64::from(batch.size.min(batch.queue / 2).max(1));
    let shared = Arc::new(Shared { counts: Arc::default(), probes: Arc::default(), wake: Notify::new(), many });
    (Sender { requests, shared: Arc::clone(&shared) }, Queue { requests: received, shared })
}

impl Queue {
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.shared.counts)
    }

    pub fn probes(&self) -> Arc<Probes> {
        Arc::clone(&self.shared.probes)
    }

    /// The next request, if one waits.
    pub(crate) fn next(&self) -> Option<KeptRequest> {
        let kept = self.requests.try_recv().ok()?;
        self.shared.counts.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(kept)
    }

    /// Whether as many wait as are worth a batch.
    pub(crate) fn has_many(&self) -> bool {
        self.shared.counts.waiting() >= self.shared.many
    }

    /// So many have come.
    pub(crate) fn many(&self) -> impl Future<Output = ()> + use<> {
        // Borrows nothing: the receiver of a channel is not to be shared.
        let shared = Arc::clone(&self.shared);
        async move { shared.wake.notified().await }
    }
}
