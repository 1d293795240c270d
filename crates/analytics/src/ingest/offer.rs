//! One chunk, from its bytes to the answer.

use super::batch::batcher;
use super::commit::Committer;
use super::days::Days;
use super::fill;
use super::intent::Intents;
use super::lease::{Lease, Session};
use super::model::{Job, Limits, Offer, Refusal, Stored, refuse};
use super::now_us;
use super::stored_seqs::InFlight;
use crate::store::Store;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;
use weir_event::chunk::ChunkHeader;
use weir_event::failpoint;
use weir_event::{Ranges, StreamId};

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
            Some(Err(InFlight)) => return Err(Refusal::Underway),
            None => return Err(Refusal::Unavailable("the stream was forgotten".to_owned())),
        };
        if fresh.is_empty() && header.gaps.is_empty() {
            return self.confirmed(&session, Stored { duplicate: offered.count(), ..Stored::default() }).await;
        }
        let (reply, answer) = oneshot::channel();
        let duplicate = offered.count() - fresh.count();
        let (received_us, oldest) = (now_us(), self.limits.max_event_age);
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
        match tokio::time::timeout(self.limits.ack_timeout, answer).await {
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
