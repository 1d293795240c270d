//! Many chunks to few blocks: collects offers for a moment, sorts their events by UTC day, builds the blocks on a
//! thread of their own while the batch before is being committed.

use super::commit::Committer;
use super::intent::Intent;
use super::lease::Session;
use super::offer::{Limits, Refusal, Stored};
use super::side_tables::DeadLetter;
use super::{day_of, now_us};
use crate::block::{Block, BlockBuilder, BlockId, MAX_ROWS, Source};
use bytes::Bytes;
use clickhouse::insert_formatted::CompressedData;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use weir_event::Ranges;
use weir_event::StreamId;
use weir_event::chunk::Chunk;
use weir_event::record::Event;

/// One offer on its way.
pub(super) struct Job {
    /// In which what is fresh was decided.
    pub(super) session: Arc<Session>,
    pub(super) chunk: Chunk,
    /// The chunk as it came.
    pub(super) bytes: Bytes,
    /// What of it is to be stored.
    pub(super) fresh: Ranges,
    pub(super) received_us: i64,
    pub(super) oldest: Duration,
    pub(super) reply: oneshot::Sender<Result<Stored, Refusal>>,
}

/// A block with what is needed to commit it.
pub(super) struct Built {
    pub(super) block: Block,
    pub(super) compressed: Vec<CompressedData>,
    pub(super) intent: Intent,
    /// Which jobs of the batch have events in it.
    pub(super) jobs: Vec<usize>,
    pub(super) streams: Vec<(StreamId, Ranges)>,
}

/// What is committed together.
pub(super) struct Batch {
    pub(super) jobs: Vec<Job>,
    pub(super) blocks: Vec<Built>,
    pub(super) dead: Vec<DeadLetter>,
}

/// Events that claim to be from further ahead than this are dead letters: a clock that is wrong by more would open
/// partitions that no retention closes.
const AHEAD_US: i64 = 86_400_000_000;

/// Runs until every sender is gone and the last batch is committed.
pub(super) async fn batcher(mut queue: mpsc::Receiver<Job>, committer: Committer, limits: Limits) {
    let (ready, batches) = mpsc::channel(1);
    let committing = tokio::spawn(committer.run(batches));
    while let Some(first) = queue.recv().await {
        let jobs = collect(first, &mut queue, limits).await;
        let Ok(batch) = tokio::task::spawn_blocking(move || build(jobs)).await else { break };
        if ready.send(batch).await.is_err() {
            break;
        }
    }
    drop(ready);
    if committing.await.is_err() {
        tracing::error!("the committer ended by a panic; its open intents are settled at the next start");
    }
}

async fn collect(first: Job, queue: &mut mpsc::Receiver<Job>, limits: Limits) -> Vec<Job> {
    let deadline = tokio::time::Instant::now() + limits.linger;
    let mut rows = first.fresh.count() as usize;
    let mut jobs = vec![first];
    while rows < limits.batch_rows {
        let Ok(Some(job)) = tokio::time::timeout_at(deadline, queue.recv()).await else { break };
        rows += job.fresh.count() as usize;
        jobs.push(job);
    }
    jobs
}

/// One block under construction.
struct Day<'j> {
    builder: BlockBuilder,
    id: BlockId,
    times: (i64, i64),
    jobs: Vec<usize>,
    streams: Vec<(StreamId, Ranges)>,
    source: Option<Source<'j>>,
}

impl<'j> Day<'j> {
    fn new(now: i64) -> Self {
        let id = BlockId::new(now);
        let (times, jobs, streams) = ((i64::MAX, i64::MIN), Vec::new(), Vec::new());
        Self { builder: BlockBuilder::new(id, now), id, times, jobs, streams, source: None }
    }

    fn push(&mut self, job: &'j Job, index: usize, event: &Event<'_>) {
        if self.jobs.last() != Some(&index) {
            self.source = Some(self.builder.source(&job.chunk.header));
            self.jobs.push(index);
            self.streams.push((job.chunk.header.stream_id, Ranges::default()));
        }
        let us = event.fixed.start_us;
        self.times = (self.times.0.min(us), self.times.1.max(us));
        if let (Some(source), Some((_, seqs))) = (&self.source, self.streams.last_mut()) {
            self.builder.push(source, event);
            seqs.add(event.fixed.seq);
        }
    }

    fn close(self, day: i64) -> Built {
        let intent = Intent::new(self.id, day, self.builder.rows(), self.times, &self.streams);
        let block = self.builder.finish();
        let compressed = block.compress().unwrap_or_default();
        Built { block, compressed, intent, jobs: self.jobs, streams: self.streams }
    }
}

/// Builds the blocks of `jobs`: as few as days and the largest block allow.
pub(super) fn build(jobs: Vec<Job>) -> Batch {
    let (mut blocks, mut dead) = (Vec::new(), Vec::new());
    let mut days: BTreeMap<i64, Day<'_>> = BTreeMap::new();
    for (index, job) in jobs.iter().enumerate() {
        let rows = job.chunk.header.count as usize;
        let full: Vec<_> = days.extract_if(.., |_, open| open.builder.rows() + rows > MAX_ROWS).collect();
        blocks.extend(full.into_iter().map(|(day, open)| open.close(day)));
        for event in job.chunk.events().filter(|event| job.fresh.contains(event.fixed.seq)) {
            let us = event.fixed.start_us;
            match out_of_range(job, us) {
                Some(reason) => dead.push(DeadLetter::new(index, &job.chunk.header, &event, reason, job.received_us)),
                None => {
                    let day = day_of(us);
                    days.entry(day).or_insert_with(|| Day::new(now_us())).push(job, index, &event);
                }
            }
        }
    }
    blocks.extend(days.into_iter().map(|(day, open)| open.close(day)));
    Batch { jobs, blocks, dead }
}

/// The block of `day` with the events of one job alone: to find out whose events the engine refuses.
pub(super) fn build_alone(jobs: &[Job], index: usize, day: i64) -> Option<Built> {
    let job = jobs.get(index)?;
    let mut open = Day::new(now_us());
    let wanted = |event: &Event<'_>| {
        let us = event.fixed.start_us;
        job.fresh.contains(event.fixed.seq) && out_of_range(job, us).is_none() && day_of(us) == day
    };
    job.chunk.events().filter(wanted).for_each(|event| open.push(job, index, &event));
    Some(open.close(day))
}

fn out_of_range(job: &Job, us: i64) -> Option<&'static str> {
    let oldest = job.received_us.saturating_sub(i64::try_from(job.oldest.as_micros()).unwrap_or(i64::MAX));
    if us < oldest {
        Some("ts_too_old")
    } else if us > job.received_us.saturating_add(AHEAD_US) {
        Some("ts_ahead")
    } else {
        None
    }
}
