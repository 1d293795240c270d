//! One batch after the other into the tables. A block is in force on disk, then inserted, then forgotten; when its
//! insert did not plainly succeed, the lease gets a new term, so that the insert is over or refused, and the block is
//! verified until its outcome is known: neither lost nor doubled. What one block or chunk suffers is its own: it is
//! answered "not now", and the others go on.

use super::batch::{Batch, Built, Job, build_alone};
use super::intent::{Intent, Intents};
use super::lease::{Lease, Session};
use super::now_us;
use super::offer::{Refusal, Stored};
use super::side_tables::{self, DeadLetter};
use super::verify::{self, Verdict};
use crate::block::Block;
use crate::store::{Class, Store, StoreError};
use clickhouse::insert_formatted::CompressedData;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use weir_event::Ranges;
use weir_event::failpoint;

pub(super) struct Committer {
    store: Store,
    lease: Lease,
    intents: Arc<Intents>,
    insert: String,
}

/// What became of a block.
enum Outcome {
    Stored,
    /// Not a row of it is there, and none will be.
    Absent(StoreError),
    /// The tables know which rows of it are there, and nobody else.
    Unclear,
    /// Another one writes.
    Lost,
}

/// What becomes of the jobs of a batch.
struct Fates {
    /// What of each job is stored, its dead letters with it.
    stored: Vec<Ranges>,
    dead: Vec<u64>,
    refused: Vec<Option<Refusal>>,
}

impl Fates {
    fn new(jobs: &[Job]) -> Self {
        let stored = jobs.iter().map(|job| job.fresh.clone()).collect();
        Self { stored, dead: vec![0; jobs.len()], refused: vec![None; jobs.len()] }
    }

    fn refuse(&mut self, job: usize, refusal: Refusal) {
        self.refused[job] = Some(refusal);
    }
}

/// Between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How often a block that is surely not there is inserted again before its chunks are answered "not now".
const TRIES: u32 = 3;

impl Committer {
    pub(super) fn new(store: Store, lease: Lease, intents: Arc<Intents>) -> Self {
        let table = store.schema().local("access_events");
        let insert = format!("INSERT INTO {table} ({}) FORMAT Native", Block::insert_columns());
        Self { store, lease, intents, insert }
    }

    /// Commits batches until there are no more.
    pub(super) async fn run(self, mut batches: mpsc::Receiver<Batch>) {
        while let Some(batch) = batches.recv().await {
            self.commit(batch).await;
        }
    }

    async fn commit(&self, batch: Batch) {
        let Batch { jobs, blocks, dead } = batch;
        let mut fates = Fates::new(&jobs);
        // What is fresh was decided in the session of each job: in another one it has to be decided again.
        match jobs.first().map(|job| Arc::clone(&job.session)) {
            Some(session) if jobs.iter().all(|job| Arc::ptr_eq(&job.session, &session)) => {
                self.beside(&session, &jobs, &dead, &mut fates).await;
                self.blocks(&session, &jobs, blocks, &mut fates).await;
            }
            _ => self.hand_back(&jobs, &mut fates),
        }
        failpoint::pass("ingest.before_ack");
        for (index, job) in jobs.into_iter().enumerate() {
            let dead = fates.dead[index];
            let stored = Stored { stored: fates.stored[index].count() - dead, dead, duplicate: 0 };
            // Nobody there: the client has left, and will meet its events as stored.
            let _gone = job.reply.send(fates.refused[index].take().map_or(Ok(stored), Err));
        }
    }

    /// Another one writes, or this process in another session: every job is to come again.
    fn hand_back(&self, jobs: &[Job], fates: &mut Fates) {
        for (index, job) in jobs.iter().enumerate() {
            job.session.known.release(job.chunk.header.stream_id, &job.fresh);
            fates.refuse(index, Refusal::Standby(self.lease.role()));
        }
    }

    async fn blocks(&self, session: &Arc<Session>, jobs: &[Job], blocks: Vec<Built>, fates: &mut Fates) {
        let known = &session.known;
        let mut blocks = VecDeque::from(blocks);
        while let Some(built) = blocks.pop_front() {
            let (owners, streams, day) = (built.jobs.clone(), built.streams.clone(), built.intent.day);
            let parts = || owners.iter().copied().zip(&streams);
            match self.commit_block(session, built).await {
                Outcome::Stored => streams.iter().for_each(|(stream, seqs)| known.commit(*stream, seqs)),
                // One chunk that the engine refuses must not take the others of its block with it.
                Outcome::Absent(_) if owners.len() > 1 => {
                    blocks.extend(owners.iter().filter_map(|owner| build_alone(jobs, *owner, day)));
                }
                Outcome::Absent(error) => {
                    for (owner, (stream, seqs)) in parts() {
                        known.release(*stream, seqs);
                        fates.stored[owner].subtract(seqs);
                        fates.refuse(
                            owner,
                            match error.class() {
                                Class::Data => Refusal::Rejected(error.to_string()),
                                _ => Refusal::Unavailable(error.to_string()),
                            },
                        );
                    }
                }
                Outcome::Unclear => {
                    for (owner, (stream, seqs)) in parts() {
                        known.release(*stream, seqs);
                        known.forget(*stream);
                        fates.refuse(owner, Refusal::Unavailable("part of a block is missing".to_owned()));
                    }
                }
                Outcome::Lost => return self.hand_back(jobs, fates),
            }
        }
    }

    /// Gaps and dead letters: idempotent by key, so until it works while ClickHouse is away. Where it is refused, only
    /// the chunk that is refused suffers.
    async fn beside(&self, session: &Arc<Session>, jobs: &[Job], dead: &[DeadLetter], fates: &mut Fates) {
        let all: Vec<_> = (0..jobs.len()).collect();
        match self.store_beside(session, jobs, dead, &all).await {
            Ok(()) => all.iter().for_each(|job| self.beside_is_stored(session, jobs, dead, *job, fates)),
            Err(_) => {
                for job in all {
                    match self.store_beside(session, jobs, dead, &[job]).await {
                        Ok(()) => self.beside_is_stored(session, jobs, dead, job, fates),
                        Err(error) => {
                            for seqs in of_job(dead, job).map(|letter| Ranges::of(letter.seq, letter.seq)) {
                                session.known.release(jobs[job].chunk.header.stream_id, &seqs);
                                fates.stored[job].subtract(&seqs);
                            }
                            fates.refuse(job, Refusal::Unavailable(error.to_string()));
                        }
                    }
                }
            }
        }
    }

    fn beside_is_stored(
        &self,
        session: &Arc<Session>,
        jobs: &[Job],
        dead: &[DeadLetter],
        job: usize,
        fates: &mut Fates,
    ) {
        for letter in of_job(dead, job) {
            session.known.commit(jobs[job].chunk.header.stream_id, &Ranges::of(letter.seq, letter.seq));
            fates.dead[job] += 1;
        }
    }

    async fn store_beside(
        &self,
        session: &Arc<Session>,
        jobs: &[Job],
        dead: &[DeadLetter],
        which: &[usize],
    ) -> Result<(), StoreError> {
        let mut gaps = Vec::new();
        for header in which.iter().map(|job| &jobs[*job].chunk.header) {
            gaps.extend(header.gaps.iter().map(|gap| (header.stream_id, *gap)));
        }
        let letters: Vec<_> = dead.iter().filter(|letter| which.contains(&letter.job)).collect();
        let mut pause = Pause::new();
        loop {
            let mut done = side_tables::store_gaps(&self.store, &gaps, now_us()).await;
            if done.is_ok() && !letters.is_empty() {
                let with_dead = |job: &&usize| letters.iter().any(|letter| letter.job == **job);
                let chunks: Vec<_> = which.iter().filter(with_dead).map(|job| &jobs[*job]).collect();
                done = side_tables::store_dead_chunks(&self.store, &chunks).await;
                if done.is_ok() {
                    done = side_tables::store_dead(&self.store, &letters, session.term().id).await;
                }
            }
            match done {
                Err(error) if error.class() == Class::Transient => {
                    pause.after("gaps and dead letters are not stored yet", &error).await;
                }
                done => return done,
            }
        }
    }

    async fn commit_block(&self, session: &Arc<Session>, built: Built) -> Outcome {
        failpoint::pass("ingest.before_intent");
        let mut pause = Pause::new();
        while let Err(error) = self.intents.write(&built.intent) {
            pause.after("the state folder cannot be written; make room or correct its permissions", &error).await;
        }
        failpoint::pass("ingest.after_intent");
        let token = built.intent.block.clone();
        let outcome = match self.insert_once(session, &built.block, built.compressed, &token).await {
            Ok(()) => Outcome::Stored,
            // Refused before anything of it was written.
            Err(error) if error.class() == Class::Fenced => {
                self.lease.lost(session);
                Outcome::Lost
            }
            Err(error) => {
                pause.after("the outcome of an insert is not known; verifying it", &error).await;
                match self.settle(session, &built.block, &built.intent, error, pause).await {
                    // Its intent stays: whoever takes over next here settles it.
                    Outcome::Lost => return Outcome::Lost,
                    outcome => outcome,
                }
            }
        };
        failpoint::pass("ingest.after_insert");
        if let Err(error) = self.intents.remove(&token) {
            tracing::warn!(block = token, %error, "a settled intent could not be removed; the next start settles it again");
        }
        outcome
    }

    /// Verifies, and tries again a few times, until the block is wholly there, or surely not.
    async fn settle(
        &self,
        session: &Arc<Session>,
        block: &Block,
        intent: &Intent,
        error: StoreError,
        mut pause: Pause,
    ) -> Outcome {
        let (mut last, mut tries) = (error, 0);
        loop {
            // A new term: the insert of before is over, or will be refused whenever it arrives.
            let verdict = match self.lease.again(session).await {
                Ok(Some(term)) => verify::mend(&self.store, intent, term).await,
                Ok(None) => return Outcome::Lost,
                Err(error) => Err(error),
            };
            match verdict {
                Ok(Verdict::Whole) => return Outcome::Stored,
                Ok(Verdict::Part) => return Outcome::Unclear,
                Ok(Verdict::Absent) if last.class() != Class::Transient || tries == TRIES => {
                    return Outcome::Absent(last);
                }
                Ok(Verdict::Absent) => {
                    tries += 1;
                    // A token can be remembered for a part that was lost: a later try needs another one.
                    let token = format!("{}/{tries}", intent.block);
                    match self.insert(session, block, &token).await {
                        Ok(()) => continue,
                        Err(error) => last = error,
                    }
                }
                Err(error) => {
                    pause.after("the outcome of a block is not known yet", &error).await;
                    continue;
                }
            }
            pause.after("a block is not stored yet", &last).await;
        }
    }

    async fn insert(&self, session: &Arc<Session>, block: &Block, token: &str) -> Result<(), StoreError> {
        let body = block.clone();
        let compressed = tokio::task::spawn_blocking(move || body.compress()).await;
        let pieces = match compressed {
            Ok(Ok(pieces)) => pieces,
            Ok(Err(error)) => return Err(StoreError::Answer { text: error.to_string() }),
            Err(error) => return Err(StoreError::Answer { text: error.to_string() }),
        };
        self.insert_once(session, block, pieces, token).await
    }

    async fn insert_once(
        &self,
        session: &Arc<Session>,
        block: &Block,
        mut pieces: Vec<CompressedData>,
        token: &str,
    ) -> Result<(), StoreError> {
        let lease = block.lease_column(session.term().id);
        pieces.extend(lease.map_err(|error| StoreError::Answer { text: error.to_string() })?);
        self.store.insert_block(&self.insert, token, pieces).await
    }
}

fn of_job(dead: &[DeadLetter], job: usize) -> impl Iterator<Item = &DeadLetter> {
    dead.iter().filter(move |letter| letter.job == job)
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
