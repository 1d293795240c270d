//! Blocks of one UTC day each, out of the chunks of a batch.

use super::intent::Intent;
use super::model::{Batch, Built, DeadLetter, Job, Offer, Recipe, refuse};
use super::{day_of, now_us};
use crate::block::{Block, BlockBuilder, BlockId, MAX_ROWS, Source};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_event::chunk::Chunk;
use weir_event::record::Event;
use weir_event::{Ranges, StreamId};

/// Events that claim to be from further ahead than this are dead letters: a clock that is wrong by more would open
/// partitions that no retention closes.
const AHEAD_US: i64 = 86_400_000_000;

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
