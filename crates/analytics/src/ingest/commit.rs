//! One batch after the other into the tables. A block is in force on disk, then inserted, then forgotten; when its
//! insert did not plainly succeed, the lease gets a new term, so that the insert is over or refused, and the block is
//! verified until its outcome is known: neither lost nor doubled. What one block or chunk suffers is its own: it is
//! answered "not now", and the others go on.

use super::build::{build_again, build_alone};
use super::days::Days;
use super::intent::{Intent, Intents};
use super::lease::{Lease, Session};
use super::model::{Batch, Built, DeadLetter, Offer, Recipe, Refusal, Stored};
use super::now_us;
use super::side_tables;
use super::verify::{self, Verdict};
use crate::block::{Block, lease_column};
use crate::metrics::BlockOutcome;
use crate::store::{Class, Store, StoreError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tracing::{Instrument, field};
use weir_event::Ranges;
use weir_event::failpoint;
use weir_program::operation;

pub(super) struct Committer {
    store: Store,
    lease: Lease,
    intents: Arc<Intents>,
    days: Arc<Days>,
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

impl Outcome {
    /// For people.
    fn word(&self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Absent(_) => "absent",
            Self::Unclear => "unclear",
            Self::Lost => "lost",
        }
    }

    fn counted(&self) -> BlockOutcome {
        match self {
            Self::Stored => BlockOutcome::Stored,
            Self::Absent(_) => BlockOutcome::Absent,
            Self::Unclear => BlockOutcome::Unclear,
            Self::Lost => BlockOutcome::Lost,
        }
    }
}

/// What becomes of the offers of a batch.
struct Fates {
    /// What of each is stored, its dead letters with it.
    stored: Vec<Ranges>,
    dead: Vec<u64>,
    refused: Vec<Option<Refusal>>,
}

impl Fates {
    fn new(offers: &[Offer]) -> Self {
        let stored = offers.iter().map(|offer| offer.fresh.clone()).collect();
        Self { stored, dead: vec![0; offers.len()], refused: vec![None; offers.len()] }
    }

    fn refuse(&mut self, offer: usize, refusal: Refusal) {
        self.refused[offer] = Some(refusal);
    }
}

/// Between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How often a block that is surely not there is inserted again before its chunks are answered "not now".
const TRIES: u32 = 3;

impl Committer {
    pub(super) fn new(store: Store, lease: Lease, intents: Arc<Intents>, days: Arc<Days>) -> Self {
        let table = store.schema().local("access_events");
        let insert = format!("INSERT INTO {table} ({}) FORMAT Native", Block::insert_columns());
        Self { store, lease, intents, days, insert }
    }

    /// Commits batches until there are no more, and says how long each took.
    pub(super) async fn run(self, mut batches: mpsc::Receiver<Batch>, took: watch::Sender<Duration>) {
        while let Some(batch) = batches.recv().await {
            let began = Instant::now();
            self.commit(batch).await;
            took.send_replace(began.elapsed());
        }
    }

    async fn commit(&self, batch: Batch) {
        let Batch { offers, replies, blocks, dead, malformed } = batch;
        let mut fates = Fates::new(&offers);
        // What is fresh was decided in the session of each offer: in another one it has to be decided again.
        match offers.first().map(|offer| Arc::clone(&offer.session)) {
            Some(session) if offers.iter().all(|offer| Arc::ptr_eq(&offer.session, &session)) => {
                for (index, refusal) in malformed {
                    let offer = &offers[index];
                    session.known.release(offer.header.stream_id, &offer.fresh);
                    fates.refuse(index, refusal);
                }
                self.store_side_tables(&session, &offers, &dead, &mut fates).await;
                self.blocks(&session, &offers, blocks, &mut fates).await;
            }
            _ => self.hand_back(&offers, &mut fates),
        }
        failpoint::pass("ingest.before_ack");
        for (index, reply) in replies.into_iter().enumerate() {
            let dead = fates.dead[index];
            let answer = match fates.refused[index].take() {
                Some(refusal) => Err(refusal),
                None => Ok(Stored { stored: fates.stored[index].count() - dead, dead, duplicate: 0 }),
            };
            // Nobody there: the client has left, and will meet its events as stored.
            let _gone = reply.send(answer);
        }
    }

    /// Another one writes, or this process in another session: every offer is to come again.
    fn hand_back(&self, offers: &[Offer], fates: &mut Fates) {
        for (index, offer) in offers.iter().enumerate() {
            offer.session.known.release(offer.header.stream_id, &offer.fresh);
            fates.refuse(index, Refusal::Standby(self.lease.role()));
        }
    }

    async fn blocks(&self, session: &Arc<Session>, offers: &Arc<Vec<Offer>>, blocks: Vec<Built>, fates: &mut Fates) {
        let known = &session.known;
        let mut blocks = VecDeque::from(blocks);
        while let Some(built) = blocks.pop_front() {
            let (owners, streams, day) = (built.recipe.offers.clone(), built.streams.clone(), built.recipe.day);
            let parts = || owners.iter().copied().zip(&streams);
            match self.commit_block(session, offers, built).await {
                Outcome::Stored => streams.iter().for_each(|(stream, seqs)| known.commit(*stream, seqs)),
                // One chunk that the engine refuses must not take the others of its block with it.
                Outcome::Absent(_) if owners.len() > 1 => {
                    blocks.extend(owners.iter().filter_map(|owner| build_alone(offers, *owner, day)));
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
                Outcome::Lost => return self.hand_back(offers, fates),
            }
        }
    }

    /// Gaps and dead letters: idempotent by key, so until it works while ClickHouse is away. Where it is refused, only
    /// the chunk that is refused suffers.
    async fn store_side_tables(
        &self,
        session: &Arc<Session>,
        offers: &[Offer],
        dead: &[DeadLetter],
        fates: &mut Fates,
    ) {
        let all: Vec<_> = (0..offers.len()).filter(|offer| fates.refused[*offer].is_none()).collect();
        match self.try_side_tables(session, offers, dead, &all).await {
            Ok(()) => all.iter().for_each(|offer| self.side_tables_are_stored(session, offers, dead, *offer, fates)),
            Err(_) => {
                for offer in all {
                    match self.try_side_tables(session, offers, dead, &[offer]).await {
                        Ok(()) => self.side_tables_are_stored(session, offers, dead, offer, fates),
                        Err(error) => {
                            for seqs in of_offer(dead, offer).map(|letter| Ranges::of(letter.seq, letter.seq)) {
                                session.known.release(offers[offer].header.stream_id, &seqs);
                                fates.stored[offer].subtract(&seqs);
                            }
                            fates.refuse(offer, Refusal::Unavailable(error.to_string()));
                        }
                    }
                }
            }
        }
    }

    fn side_tables_are_stored(
        &self,
        session: &Arc<Session>,
        offers: &[Offer],
        dead: &[DeadLetter],
        offer: usize,
        fates: &mut Fates,
    ) {
        for letter in of_offer(dead, offer) {
            session.known.commit(offers[offer].header.stream_id, &Ranges::of(letter.seq, letter.seq));
            fates.dead[offer] += 1;
        }
    }

    async fn try_side_tables(
        &self,
        session: &Arc<Session>,
        offers: &[Offer],
        dead: &[DeadLetter],
        which: &[usize],
    ) -> Result<(), StoreError> {
        let mut gaps = Vec::new();
        for header in which.iter().map(|offer| &offers[*offer].header) {
            gaps.extend(header.gaps.iter().map(|gap| (header.stream_id, *gap)));
        }
        let letters: Vec<_> = dead.iter().filter(|letter| which.contains(&letter.offer)).collect();
        let mut pause = Pause::new();
        loop {
            let mut done = side_tables::store_gaps(&self.store, &gaps, now_us()).await;
            if done.is_ok() && !letters.is_empty() {
                let with_dead = |offer: &&usize| letters.iter().any(|letter| letter.offer == **offer);
                let chunks: Vec<_> = which.iter().filter(with_dead).map(|offer| &offers[*offer]).collect();
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

    async fn commit_block(&self, session: &Arc<Session>, offers: &Arc<Vec<Offer>>, built: Built) -> Outcome {
        let _taken = self.days.take(built.recipe.day).await;
        failpoint::pass("ingest.before_intent");
        let mut pause = Pause::new();
        while let Err(error) = self.intents.write(&built.intent) {
            pause.after("the state folder cannot be written; make room or correct its permissions", &error).await;
        }
        failpoint::pass("ingest.after_intent");
        let (began, metrics) = (Instant::now(), self.store.metrics());
        metrics.begun();
        let (events, newest_us) = (built.intent.rows, built.intent.last_us);
        let operation = operation!("insert", block = built.intent.block, events, outcome = field::Empty);
        let outcome = self.written(session, offers, built).instrument(operation.clone()).await;
        operation.record("outcome", outcome.word());
        let lag = u64::try_from(now_us() - newest_us).unwrap_or_default();
        metrics.ended(outcome.counted(), events, began.elapsed(), Duration::from_micros(lag));
        outcome
    }

    /// Inserts a block whose intent is on disk, and takes the intent away once its outcome is known.
    async fn written(&self, session: &Arc<Session>, offers: &Arc<Vec<Offer>>, built: Built) -> Outcome {
        let Built { block, intent, recipe, .. } = built;
        let token = intent.block.clone();
        let outcome = match self.insert(session, block, &token).await {
            Ok(()) => Outcome::Stored,
            // Refused before anything of it was written.
            Err(error) if error.class() == Class::Fenced => {
                self.store.metrics().retried(Class::Fenced);
                self.lease.lost(session);
                Outcome::Lost
            }
            Err(error) => {
                self.store.metrics().retried(error.class());
                let mut pause = Pause::new();
                pause.after("the outcome of an insert is not known; verifying it", &error).await;
                let open = Open { session, offers, intent: &intent, recipe };
                match self.settle(open, error, pause).await {
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
    async fn settle(&self, open: Open<'_>, error: StoreError, mut pause: Pause) -> Outcome {
        let (mut last, mut tries) = (error, 0);
        loop {
            // A new term: the insert of before is over, or will be refused whenever it arrives.
            let verdict = match self.lease.again(open.session).await {
                Ok(Some(term)) => verify::repair_block(&self.store, open.intent, term).await,
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
                    let token = format!("{}/{tries}", open.intent.block);
                    match self.insert_again(&open, &token).await {
                        Ok(()) => continue,
                        Err(error) => {
                            self.store.metrics().retried(error.class());
                            last = error;
                        }
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

    async fn insert_again(&self, open: &Open<'_>, token: &str) -> Result<(), StoreError> {
        let (offers, recipe) = (Arc::clone(open.offers), open.recipe.clone());
        let block = tokio::task::spawn_blocking(move || build_again(&offers, &recipe)).await;
        let block = block.map_err(|error| StoreError::Answer { text: error.to_string() })?;
        self.insert(open.session, block, token).await
    }

    async fn insert(&self, session: &Arc<Session>, block: Block, token: &str) -> Result<(), StoreError> {
        let lease = lease_column(block.rows, session.term().id);
        self.store.insert_block(&self.insert, token, block.frames.into_iter().chain(lease)).await
    }
}

/// A block whose outcome is not known.
struct Open<'a> {
    session: &'a Arc<Session>,
    offers: &'a Arc<Vec<Offer>>,
    intent: &'a Intent,
    recipe: Recipe,
}

fn of_offer(dead: &[DeadLetter], offer: usize) -> impl Iterator<Item = &DeadLetter> {
    dead.iter().filter(move |letter| letter.offer == offer)
}

/// Waits longer each time, with jitter, and says why the first time and then once in a while.
struct Pause {
    next: Duration,
    said: Option<Instant>,
}

impl Pause {
    fn new() -> Self {
        Self { next: FIRST_PAUSE, said: None }
    }

    async fn after(&mut self, what: &'static str, error: &(dyn std::error::Error + Send + Sync)) {
        if self.said.is_none_or(|at| at.elapsed() > Duration::from_secs(30)) {
            tracing::warn!(error = %error, "{what}");
            self.said = Some(Instant::now());
        }
        tokio::time::sleep(self.next.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
    }
}
