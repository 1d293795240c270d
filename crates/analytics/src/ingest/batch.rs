//! Many chunks to few blocks: collects offers, for a moment or for as long as the batch before is being stored, and has
//! their blocks built on a thread of their own ([`super::build`]).
//!
//! What a batch holds in memory is compressed: chunks as they came, and blocks as they will be sent. Records are
//! decompressed one chunk at a time.

use super::build::build;
use super::commit::Committer;
use super::model::{Batch, Job, Limits};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How many times as long as the last batch took to store the next one is collected for, within the limits: with little
/// to store, ClickHouse inserts a fifth of the time.
const IDLE: u32 = 4;

/// Runs until every sender is gone and the last batch is committed.
pub(super) async fn batcher(mut queue: mpsc::Receiver<Job>, committer: Committer, limits: Limits) {
    let (ready, batches) = mpsc::channel(1);
    let (took, last) = watch::channel(Duration::ZERO);
    let committing = tokio::spawn(committer.run(batches, took));
    while let Some(first) = queue.recv().await {
        let linger = (*last.borrow() * IDLE).clamp(limits.linger.0, limits.linger.1);
        let (jobs, place) = collect(first, &mut queue, &ready, linger, limits).await;
        let Some(place) = place else { break };
        let Ok(batch) = tokio::task::spawn_blocking(move || build(jobs)).await else { break };
        place.send(batch);
    }
    drop(ready);
    if committing.await.is_err() {
        tracing::error!("the committer ended by a panic; its open intents are settled at the next start");
    }
}

/// Collects a batch and its place before the committer; no place when that has ended.
async fn collect<'r>(
    first: Job,
    queue: &mut mpsc::Receiver<Job>,
    ready: &'r mpsc::Sender<Batch>,
    linger: Duration,
    limits: Limits,
) -> (Vec<Job>, Option<mpsc::Permit<'r, Batch>>) {
    let lingered = tokio::time::sleep(linger);
    let place = async {
        lingered.await;
        ready.reserve().await.ok()
    };
    tokio::pin!(place);
    let mut size = Size::default();
    size.add(&first);
    let mut jobs = vec![first];
    while size.rows < limits.batch_rows && size.bytes < limits.batch_bytes {
        tokio::select! {
            biased;
            place = &mut place => return (jobs, place),
            job = queue.recv() => match job {
                Some(job) => {
                    size.add(&job);
                    jobs.push(job);
                }
                // Every sender is gone: this is the last batch.
                None => break,
            },
        }
    }
    (jobs, ready.reserve().await.ok())
}

/// How much a batch has in it.
#[derive(Default)]
struct Size {
    rows: usize,
    bytes: usize,
}

impl Size {
    fn add(&mut self, job: &Job) {
        self.rows += job.offer.fresh.count() as usize;
        self.bytes += job.offer.header.body_bytes();
    }
}
