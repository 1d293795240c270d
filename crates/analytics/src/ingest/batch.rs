//! Many chunks to few blocks: collects offers, for a moment or for as long as the batch before is being stored, sorts
//! their events by UTC day, and builds the blocks on a thread of their own.
//!
//! What a batch holds in memory is compressed: chunks as they came, and blocks as they will be sent. Records are
//! decompressed one chunk at a time.

use super::commit::Committer;
use super::intent::Intent;
use super::lease::Session;
use super::offer::{Limits, Refusal, Stored, refuse};
use super::side_tables::DeadLetter;
use super::{day_of, now_us};
use crate::block::{Block, BlockBuilder, BlockId, MAX_ROWS, Source};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use weir_event::Ranges;
use weir_event::StreamId;
use weir_event::chunk::{Chunk, ChunkHeader};
use weir_event::record::Event;

/// A chunk that is to be stored.
pub(super) struct Offer {
    /// In which what is fresh was decided.
    pub(super) session: Arc<Session>,
    pub(super) header: ChunkHeader,
    /// The chunk as it came.
    pub(super) bytes: Bytes,
    /// What of it is to be stored.
    pub(super) fresh: Ranges,
    pub(super) received_us: i64,
    pub(super) oldest: Duration,
    /// The room in memory that `bytes` take, until they are committed: whoever sent them may have left long before.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

/// One offer on its way, and who waits for it.
pub(super) struct Job {
    pub(super) offer: Offer,
    pub(super) reply: oneshot::Sender<Result<Stored, Refusal>>,
}

/// A block with what is needed to commit it.
pub(super) struct Built {
    pub(super) block: Block,
    pub(super) intent: Intent,
    pub(super) recipe: Recipe,
    pub(super) streams: Vec<(StreamId, Ranges)>,
}

/// What it takes to build a block once more: what was sent is not kept.
#[derive(Clone)]
pub(super) struct Recipe {
    id: BlockId,
    received_us: i64,
    pub(super) day: i64,
    /// Which offers of the batch have events in it.
    pub(super) offers: Vec<usize>,
}

/// What is committed together.
pub(super) struct Batch {
    pub(super) offers: Arc<Vec<Offer>>,
    pub(super) replies: Vec<oneshot::Sender<Result<Stored, Refusal>>>,
    pub(super) blocks: Vec<Built>,
    pub(super) dead: Vec<DeadLetter>,
    /// Offers that are no chunks, whatever their heads say.
    pub(super) malformed: Vec<(usize, Refusal)>,
}

/// How many times as long as the last batch took to store the next one is collected for, within the limits: with little
/// to store, ClickHouse inserts a fifth of the time.
const IDLE: u32 = 4;
/// Events that claim to be from further ahead than this are dead letters: a clock that is wrong by more would open
/// partitions that no retention closes.
const AHEAD_US: i64 = 86_400_000_000;

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

/// One block under construction.
struct Day<'o> {
    builder: BlockBuilder,
    recipe: Recipe,
    times: (i64, i64),
    streams: Vec<(StreamId, Ranges)>,
    source: Option<Source<'o>>,
}

impl<'o> Day<'o> {
    fn new(day: i64) -> Self {
        let now = now_us();
        Self::of(Recipe { id: BlockId::new(now), received_us: now, day, offers: Vec::new() })
    }

    /// Without an offer yet.
    fn of(recipe: Recipe) -> Self {
        let builder = BlockBuilder::new(recipe.id, recipe.received_us);
        let recipe = Recipe { offers: Vec::new(), ..recipe };
        Self { builder, recipe, times: (i64::MAX, i64::MIN), streams: Vec::new(), source: None }
    }

    fn push(&mut self, offer: &'o Offer, index: usize, event: &Event<'_>) {
        if self.recipe.offers.last() != Some(&index) {
            self.source = Some(self.builder.source(&offer.header));
            self.recipe.offers.push(index);
            self.streams.push((offer.header.stream_id, Ranges::default()));
        }
        let us = event.fixed.start_us;
        self.times = (self.times.0.min(us), self.times.1.max(us));
        if let (Some(source), Some((_, seqs))) = (&self.source, self.streams.last_mut()) {
            self.builder.push(source, event);
            seqs.add(event.fixed.seq);
        }
    }

    /// Adds what of an offer is fresh, in range and of this day.
    fn push_all(&mut self, offer: &'o Offer, index: usize) {
        // Decoded before: it is a chunk.
        let Ok(chunk) = Chunk::decode(&offer.bytes) else { return };
        let day = self.recipe.day;
        let wanted = |event: &Event<'_>| {
            let us = event.fixed.start_us;
            offer.fresh.contains(event.fixed.seq) && out_of_range(offer, us).is_none() && day_of(us) == day
        };
        chunk.events().filter(wanted).for_each(|event| self.push(offer, index, &event));
    }

    fn close(self) -> Built {
        let Recipe { id, day, .. } = self.recipe;
        let intent = Intent::new(id, day, self.builder.rows(), self.times, &self.streams);
        Built { block: self.builder.finish(), intent, recipe: self.recipe, streams: self.streams }
    }
}

/// Builds the blocks of `jobs`: as few as days and the largest block allow.
pub(super) fn build(jobs: Vec<Job>) -> Batch {
    let (offers, replies): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.offer, job.reply)).unzip();
    let (mut blocks, mut dead, mut malformed) = (Vec::new(), Vec::new(), Vec::new());
    let mut days: BTreeMap<i64, Day<'_>> = BTreeMap::new();
    for (index, offer) in offers.iter().enumerate() {
        let chunk = match Chunk::decode(&offer.bytes) {
            Ok(chunk) => chunk,
            Err(error) => {
                malformed.push((index, refuse(error)));
                continue;
            }
        };
        let rows = offer.header.count as usize;
        let full: Vec<_> = days.extract_if(.., |_, open| open.builder.rows() + rows > MAX_ROWS).collect();
        blocks.extend(full.into_iter().map(|(_, open)| open.close()));
        for event in chunk.events().filter(|event| offer.fresh.contains(event.fixed.seq)) {
            let us = event.fixed.start_us;
            match out_of_range(offer, us) {
                Some(reason) => dead.push(DeadLetter::new(index, &offer.header, &event, reason, offer.received_us)),
                None => {
                    let day = day_of(us);
                    days.entry(day).or_insert_with(|| Day::new(day)).push(offer, index, &event);
                }
            }
        }
    }
    blocks.extend(days.into_values().map(Day::close));
    Batch { offers: Arc::new(offers), replies, blocks, dead, malformed }
}

/// The block of `day` with the events of one offer alone: to find out whose events the engine refuses.
pub(super) fn build_alone(offers: &[Offer], index: usize, day: i64) -> Option<Built> {
    let mut open = Day::new(day);
    open.push_all(offers.get(index)?, index);
    Some(open.close())
}

/// The same block once more.
pub(super) fn build_again(offers: &[Offer], recipe: &Recipe) -> Block {
    let mut open = Day::of(recipe.clone());
    recipe.offers.iter().for_each(|index| open.push_all(&offers[*index], *index));
    open.builder.finish()
}

fn out_of_range(offer: &Offer, us: i64) -> Option<&'static str> {
    let oldest = offer.received_us.saturating_sub(i64::try_from(offer.oldest.as_micros()).unwrap_or(i64::MAX));
    if us < oldest {
        Some("ts_too_old")
    } else if us > offer.received_us.saturating_add(AHEAD_US) {
        Some("ts_ahead")
    } else {
        None
    }
}
