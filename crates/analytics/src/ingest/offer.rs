//! One chunk, from its bytes to the answer.

use super::batch::{Job, Offer, batcher};
use super::commit::Committer;
use super::days::Days;
use super::fill;
use super::intent::Intents;
use super::known::Underway;
use super::lease::{Lease, Session};
use super::now_us;
use crate::store::{Store, StoreError};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;
use weir_event::chunk::{ChunkError, ChunkHeader};
use weir_event::failpoint;
use weir_event::{Ranges, StreamId};

/// How much is taken in at once, and how long an offer waits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Offers in the batcher's queue; past it, an offer is refused at once. Their bytes are bounded by the room that each
    /// holds.
    pub queue: usize,
    /// From the first chunk of a batch to its blocks, at least, and at most where it is lengthened. While the batch before
    /// is being stored, a batch grows on: blocks are small and quick when there is little, large when there is much.
    /// An insert costs the engine about the same whatever its size up to some thousand rows, so a batch waits some times
    /// as long as the last one took to store: where inserts are slow, there are fewer.
    pub linger: (Duration, Duration),
    /// Rows that end a batch before its time.
    pub batch_rows: usize,
    /// Bytes of records, decompressed, that end it as well.
    pub batch_bytes: usize,
    /// How long an offer waits for its acknowledgement before it is told to come again.
    pub patience: Duration,
    /// Events older than this are dead letters: raw retention.
    pub oldest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue: 1024,
            linger: (Duration::from_millis(200), Duration::from_secs(2)),
            batch_rows: 200_000,
            batch_bytes: 96 << 20,
            patience: Duration::from_secs(25),
            oldest: crate::schema::Retention::default().raw,
        }
    }
}

/// An offer that is safe to forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Events that this offer brought in.
    pub stored: u64,
    /// Events that were there before.
    pub duplicate: u64,
    /// Events out of the range of times, kept as dead letters.
    pub dead: u64,
}

/// Why an offer is not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Malformed(Arc<ChunkError>),
    #[error("{0}")]
    Version(Arc<ChunkError>),
    #[error("the engine refuses this chunk's events: {0}")]
    Rejected(String),
    #[error("these events are being stored; offer them again")]
    Underway,
    #[error("as much is on its way as fits; offer it again")]
    Full,
    #[error("not stored yet: {0}; offer it again")]
    Unavailable(String),
    #[error("weir-analytics is stopping; offer it again")]
    Stopping,
    #[error("this weir-analytics does not write now: {0}; offer it again")]
    Standby(String),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The way in. Clones share it.
#[derive(Clone)]
pub struct Ingest {
    store: Store,
    lease: Lease,
    jobs: mpsc::Sender<Job>,
    limits: Limits,
}

impl Ingest {
    /// Starts the batcher and the committer; the handle ends when every clone is dropped and all is settled or on disk.
    pub fn start(store: Store, lease: Lease, intents: Arc<Intents>, limits: Limits) -> (Self, JoinHandle<()>) {
        let (jobs, queue) = mpsc::channel(limits.queue);
        let days = Arc::<Days>::default();
        let committer = Committer::new(store.clone(), lease.clone(), intents, Arc::clone(&days));
        let filling = tokio::spawn(fill::run(store.clone(), lease.clone(), days));
        let handle = tokio::spawn(async move {
            batcher(queue, committer, limits).await;
            // Interrupted anywhere, it begins again at the next start.
            filling.abort();
        });
        (Self { store, lease, jobs, limits }, handle)
    }

    /// One line on who writes.
    pub fn role(&self) -> String {
        self.lease.role()
    }

    /// Whether this process holds the lease to write.
    pub fn writes(&self) -> bool {
        self.lease.session().is_some()
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Offers a chunk in which `dead`, known as dead letters and not stored, count as new.
    pub(super) async fn offer_again(&self, stream: StreamId, dead: &Ranges, bytes: Vec<u8>) -> Result<(), Refusal> {
        let session = self.lease.session().ok_or_else(|| Refusal::Standby(self.lease.role()))?;
        session.known.load(&self.store, stream).await.map_err(Refusal::Unavailable)?;
        session.known.revive(stream, dead);
        let header = Self::header(&bytes)?;
        self.offer(header, bytes.into(), None).await.map(drop)
    }

    /// Reads the head of a chunk: who speaks.
    pub fn header(bytes: &[u8]) -> Result<ChunkHeader, Refusal> {
        ChunkHeader::decode(bytes).map_err(refuse)
    }

    /// Takes a chunk with its head, read from the same bytes, and the room that it holds in memory until it is committed;
    /// returns when everything in it is stored, or when that is not to be.
    pub async fn offer(
        &self,
        header: ChunkHeader,
        bytes: Bytes,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Stored, Refusal> {
        failpoint::pass("ingest.after_decode");
        let session = self.lease.session().ok_or_else(|| Refusal::Standby(self.lease.role()))?;
        let known = &session.known;
        let stream = header.stream_id;
        known.load(&self.store, stream).await.map_err(Refusal::Unavailable)?;
        let mut offered = Ranges::of(header.first, header.last);
        header.gaps.iter().for_each(|gap| offered.remove(gap.first, gap.last));
        let fresh = match known.claim(stream, &offered) {
            Some(Ok(fresh)) => fresh,
            Some(Err(Underway)) => return Err(Refusal::Underway),
            None => return Err(Refusal::Unavailable("the stream was forgotten".to_owned())),
        };
        if fresh.is_empty() && header.gaps.is_empty() {
            return self.confirmed(&session, Stored { duplicate: offered.count(), ..Stored::default() }).await;
        }
        let (reply, answer) = oneshot::channel();
        let duplicate = offered.count() - fresh.count();
        let (received_us, oldest) = (now_us(), self.limits.oldest);
        let offer = Offer { session: Arc::clone(&session), header, bytes, fresh, received_us, oldest, _room: room };
        let job = Job { offer, reply };
        if let Err(error) = self.jobs.try_send(job) {
            let (refusal, job) = match error {
                mpsc::error::TrySendError::Full(job) => (Refusal::Full, job),
                mpsc::error::TrySendError::Closed(job) => (Refusal::Stopping, job),
            };
            session.known.release(stream, &job.offer.fresh);
            return Err(refusal);
        }
        // A client that leaves, or waits no longer, changes nothing: the job goes on, and a resend meets its outcome.
        match tokio::time::timeout(self.limits.patience, answer).await {
            Ok(Ok(Ok(stored))) => self.confirmed(&session, Stored { duplicate, ..stored }).await,
            Ok(Ok(Err(refusal))) => Err(refusal),
            Ok(Err(_)) => Err(Refusal::Stopping),
            Err(_) => Err(Refusal::Unavailable("ClickHouse is slow or away".to_owned())),
        }
    }

    /// What was there before is acknowledged from memory only while that is the memory of this very store.
    async fn confirmed(&self, session: &Arc<Session>, stored: Stored) -> Result<Stored, Refusal> {
        if stored.duplicate == 0 || self.lease.confirm(session).await? {
            Ok(stored)
        } else {
            Err(Refusal::Standby(self.lease.role()))
        }
    }
}

pub(super) fn refuse(error: ChunkError) -> Refusal {
    match error {
        ChunkError::Version(_) => Refusal::Version(Arc::new(error)),
        _ => Refusal::Malformed(Arc::new(error)),
    }
}
