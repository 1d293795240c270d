//! One batch after the other into the tables. A block is in force on disk, then inserted, then forgotten; when its
//! insert did not plainly succeed, it is verified and tried again until its outcome is known: the committer would
//! rather stand still, and have offers refused, than lose or double an event.

use super::batch::{Batch, Built, Job, build_alone};
use super::intent::Intents;
use super::known::Known;
use super::offer::{Refusal, Stored};
use super::verify::{self, Verdict};
use super::{now_us, side_tables};
use crate::block::Block;
use crate::store::{Class, Store, StoreError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use weir_event::Ranges;
use weir_event::failpoint;

pub(super) struct Committer {
    store: Store,
    known: Arc<Known>,
    intents: Intents,
    insert: String,
}

/// What became of a block.
enum Outcome {
    Stored,
    /// Not a row of it is there, and none will be.
    Rejected(StoreError),
    /// The tables know which rows of it are there, and nobody else.
    Unclear,
}

/// Between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

impl Committer {
    pub(super) fn new(store: Store, known: Arc<Known>, intents: Intents) -> Self {
        let table = store.schema().local("access_events");
        let insert = format!("INSERT INTO {table} ({}) FORMAT Native", Block::column_list());
        Self { store, known, intents, insert }
    }

    /// Commits batches until there are no more.
    pub(super) async fn run(self, mut batches: mpsc::Receiver<Batch>) {
        while let Some(batch) = batches.recv().await {
            self.commit(batch).await;
        }
    }

    async fn commit(&self, batch: Batch) {
        let Batch { jobs, blocks, dead } = batch;
        self.beside(&jobs, &dead).await;
        let mut left: Vec<Ranges> = jobs.iter().map(|job| job.fresh.clone()).collect();
        for letter in &dead {
            let seqs = Ranges::of(letter.seq, letter.seq);
            self.known.commit(letter.stream, &seqs);
        }
        let mut refused: Vec<Option<Refusal>> = vec![None; jobs.len()];
        let mut blocks = VecDeque::from(blocks);
        while let Some(built) = blocks.pop_front() {
            let (owners, streams, day) = (built.jobs.clone(), built.streams.clone(), built.intent.day);
            match self.commit_block(built).await {
                Outcome::Stored => {
                    for (stream, seqs) in &streams {
                        self.known.commit(*stream, seqs);
                    }
                }
                // One chunk that the engine refuses must not take the others of its block with it.
                Outcome::Rejected(_) if owners.len() > 1 => {
                    blocks.extend(owners.iter().filter_map(|owner| build_alone(&jobs, *owner, day)));
                }
                Outcome::Rejected(error) => {
                    for (owner, (stream, seqs)) in owners.iter().zip(&streams) {
                        self.known.release(*stream, seqs);
                        left[*owner].subtract(seqs);
                        refused[*owner] = Some(Refusal::Rejected(error.to_string()));
                    }
                }
                Outcome::Unclear => {
                    for (owner, (stream, seqs)) in owners.iter().zip(&streams) {
                        self.known.release(*stream, seqs);
                        self.known.forget(*stream);
                        refused[*owner] = Some(Refusal::Unavailable("part of a block is missing".to_owned()));
                    }
                }
            }
        }
        failpoint::pass("ingest.before_ack");
        for ((job, stored), refusal) in jobs.into_iter().zip(left).zip(refused) {
            let id = job.chunk.header.stream_id;
            let dead =
                dead.iter().filter(|letter| letter.stream == id && job.fresh.contains(letter.seq)).count() as u64;
            let stored = Stored { stored: stored.count() - dead, dead, duplicate: 0 };
            // Nobody there: the client has left, and will meet its events as stored.
            let _gone = job.reply.send(refusal.map_or(Ok(stored), Err));
        }
    }

    /// Gaps and dead letters: idempotent by key, so simply until it works.
    async fn beside(&self, jobs: &[Job], dead: &[side_tables::DeadLetter]) {
        let mut pause = Pause::new();
        let mut gaps = Vec::new();
        for job in jobs {
            gaps.extend(job.chunk.header.gaps.iter().map(|gap| (job.chunk.header.stream_id, *gap)));
        }
        loop {
            let mut done = side_tables::store_gaps(&self.store, &gaps, now_us()).await;
            if done.is_ok() && !dead.is_empty() {
                done = side_tables::store_dead(&self.store, dead).await;
            }
            match done {
                Ok(()) => return,
                Err(error) => pause.after("gaps and dead letters are not stored yet", &error).await,
            }
        }
    }

    async fn commit_block(&self, built: Built) -> Outcome {
        failpoint::pass("ingest.before_intent");
        let mut pause = Pause::new();
        while let Err(error) = self.intents.write(&built.intent) {
            pause.after("the state folder cannot be written; make room or mend its permissions", &error).await;
        }
        failpoint::pass("ingest.after_intent");
        let token = built.intent.block.clone();
        let outcome = match self.store.insert_block(&self.insert, &token, built.compressed).await {
            Ok(()) => Outcome::Stored,
            Err(error) => {
                pause.after("the outcome of an insert is not known; verifying it", &error).await;
                self.settle(&built.block, &built.intent, error, pause).await
            }
        };
        failpoint::pass("ingest.after_insert");
        if let Err(error) = self.intents.remove(&token) {
            tracing::warn!(block = token, %error, "a settled intent could not be removed; the next start settles it again");
        }
        outcome
    }

    /// Verifies and tries again until the block is wholly there, or surely not.
    async fn settle(
        &self,
        block: &Block,
        intent: &super::intent::Intent,
        error: StoreError,
        mut pause: Pause,
    ) -> Outcome {
        let mut last = error;
        for attempt in 1.. {
            match verify::mend(&self.store, intent).await {
                Ok(Verdict::Whole) => return Outcome::Stored,
                Ok(Verdict::Part) => return Outcome::Unclear,
                Ok(Verdict::Absent) if last.class() == Class::Data => return Outcome::Rejected(last),
                Ok(Verdict::Absent) => {
                    // A token can be remembered for a part that was lost: a later try needs another one.
                    let token = if attempt == 1 { intent.block.clone() } else { format!("{}/{attempt}", intent.block) };
                    match self.insert(block, &token).await {
                        Ok(()) => continue,
                        Err(error) => last = error,
                    }
                }
                Err(error) => last = error,
            }
            pause.after("a block is not stored yet", &last).await;
        }
        unreachable!("the loop above has no end of its own")
    }

    async fn insert(&self, block: &Block, token: &str) -> Result<(), StoreError> {
        let block = block.clone();
        let compressed = tokio::task::spawn_blocking(move || block.compress()).await;
        let pieces = match compressed {
            Ok(Ok(pieces)) => pieces,
            Ok(Err(error)) => return Err(StoreError::Answer { text: error.to_string() }),
            Err(error) => return Err(StoreError::Answer { text: error.to_string() }),
        };
        self.store.insert_block(&self.insert, token, pieces).await
    }
}

/// Waits longer each time, with jitter, and says why the first time and then once in a while.
struct Pause {
    next: Duration,
    said: Option<std::time::Instant>,
}

impl Pause {
    fn new() -> Self {
        Self { next: FIRST_PAUSE, said: None }
    }

    async fn after(&mut self, what: &'static str, error: &(dyn std::error::Error + Send + Sync)) {
        if self.said.is_none_or(|at| at.elapsed() > Duration::from_secs(30)) {
            tracing::warn!(error = %error, "{what}");
            self.said = Some(std::time::Instant::now());
        }
        tokio::time::sleep(self.next.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
    }
}
