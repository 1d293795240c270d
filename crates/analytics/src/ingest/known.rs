//! Which sequence numbers are stored, and which are on their way there.
//!
//! What is new is decided here and by nothing else: a deduplication token only serves to retry the block that it
//! was given to. A stream is read from `stored_seqs` and `dead_letters` at first sight; from then on this process
//! is the only one that stores its events (a chunk is offered to another ingestor only after this one is retired).

use crate::store::{Store, StoreError};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use weir_event::Ranges;
use weir_event::StreamId;

#[derive(Default)]
struct Stream {
    /// Stored, or a dead letter: not to be taken again.
    done: Ranges,
    /// In a block that is not committed yet.
    pending: Ranges,
    /// When it was last asked for, in the order of all such asks.
    touched: u64,
}

/// All streams that this process has met.
#[derive(Default)]
pub struct Known {
    streams: Mutex<Streams>,
}

#[derive(Default)]
struct Streams {
    by_id: HashMap<StreamId, Stream>,
    clock: u64,
}

/// Streams in memory at most; the longest unused are forgotten, and read again when they come back.
const MOST: usize = 50_000;

/// Part of a chunk is being stored right now.
#[derive(Debug, PartialEq, Eq)]
pub struct Underway;

impl Known {
    /// Reads what is stored of `stream`, if it is not in memory.
    pub async fn load(&self, store: &Store, stream: StreamId) -> Result<(), StoreError> {
        if self.lock().by_id.contains_key(&stream) {
            return Ok(());
        }
        let done = stored(store, stream).await?;
        // Two offers may load at once. The first to come back may already have claimed: what it has, stays.
        self.lock().by_id.entry(stream).or_default().done.union(&done);
        Ok(())
    }

    /// Marks what of `offered` is new as on its way, and answers it. `None` when the stream is not loaded.
    pub fn claim(&self, stream: StreamId, offered: &Ranges) -> Option<Result<Ranges, Underway>> {
        let mut streams = self.lock();
        streams.clock += 1;
        let clock = streams.clock;
        streams.forget_some();
        let state = streams.by_id.get_mut(&stream)?;
        state.touched = clock;
        if !offered.intersection(&state.pending).is_empty() {
            return Some(Err(Underway));
        }
        let mut fresh = offered.clone();
        fresh.subtract(&state.done);
        state.pending.union(&fresh);
        Some(Ok(fresh))
    }

    /// `seqs` are stored.
    pub fn commit(&self, stream: StreamId, seqs: &Ranges) {
        let mut streams = self.lock();
        let state = streams.by_id.entry(stream).or_default();
        state.pending.subtract(seqs);
        state.done.union(seqs);
    }

    /// `seqs` will not be stored by the block that they were claimed for.
    pub fn release(&self, stream: StreamId, seqs: &Ranges) {
        if let Some(state) = self.lock().by_id.get_mut(&stream) {
            state.pending.subtract(seqs);
        }
    }

    /// `seqs` were dead letters and are to be stored.
    pub fn revive(&self, stream: StreamId, seqs: &Ranges) {
        if let Some(state) = self.lock().by_id.get_mut(&stream) {
            state.done.subtract(seqs);
        }
    }

    /// What is stored of `stream` is to be read again, unless some of it is on its way.
    pub fn forget(&self, stream: StreamId) {
        self.lock().by_id.retain(|id, state| *id != stream || !state.pending.is_empty());
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Streams {
    /// Makes room, oldest first, half at a time so that the search is rare.
    fn forget_some(&mut self) {
        if self.by_id.len() <= MOST {
            return;
        }
        let horizon = self.clock.saturating_sub(MOST as u64 / 2);
        self.by_id.retain(|_, stream| stream.touched >= horizon || !stream.pending.is_empty());
    }
}

#[derive(clickhouse::Row, serde::Deserialize)]
struct Part {
    first: u64,
    last: u64,
}

/// What is stored of one stream, dead letters with it.
async fn stored(store: &Store, stream: StreamId) -> Result<Ranges, StoreError> {
    let (seqs, dead) = (store.schema().all("stored_seqs"), store.schema().all("dead_letters"));
    // Of a stream that is older than the rows of `stored_seqs` are kept.
    let compacted = store.schema().all("stream_accounts");
    // The runs of blocks are joined into islands by the engine: a long stream is many rows and few islands.
    let sql = format!(
        "SELECT min(first) AS first, max(last) AS last FROM (\
           SELECT first, last, sum(fresh) OVER (ORDER BY first, last ROWS UNBOUNDED PRECEDING) AS island FROM (\
             SELECT first, last, first > max(last) OVER (ORDER BY first, last \
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + 1 AS fresh FROM (\
                 SELECT first, last FROM {seqs} WHERE stream = {{stream:UInt64}} \
                 UNION ALL SELECT run.1, run.2 FROM {compacted} ARRAY JOIN stored AS run \
                   WHERE stream = {{stream:UInt64}} \
                 UNION ALL SELECT seq, seq FROM {dead} WHERE stream = {{stream:UInt64}}))) \
         GROUP BY island ORDER BY min(first)"
    );
    let parts = store.rows::<Part>(&sql, &[("stream", stream.0.to_string())]).await?;
    Ok(parts.into_iter().map(|part| (part.first, part.last)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: StreamId = StreamId(1);

    fn loaded() -> Known {
        let known = Known::default();
        known.commit(STREAM, &Ranges::of(0, 9));
        known
    }

    #[test]
    fn only_what_is_new_is_claimed_and_only_once() {
        let known = loaded();
        assert_eq!(known.claim(STREAM, &Ranges::of(5, 14)), Some(Ok(Ranges::of(10, 14))));
        assert_eq!(known.claim(STREAM, &Ranges::of(14, 20)), Some(Err(Underway)));
        known.commit(STREAM, &Ranges::of(10, 14));
        assert_eq!(known.claim(STREAM, &Ranges::of(5, 14)), Some(Ok(Ranges::default())));
    }

    #[test]
    fn what_was_released_is_new_again() {
        let known = loaded();
        let fresh = known.claim(STREAM, &Ranges::of(10, 12)).unwrap().unwrap();
        known.release(STREAM, &fresh);
        assert_eq!(known.claim(STREAM, &Ranges::of(10, 12)), Some(Ok(Ranges::of(10, 12))));
    }

    #[test]
    fn a_stream_that_was_not_loaded_claims_nothing() {
        assert_eq!(Known::default().claim(STREAM, &Ranges::of(0, 1)), None);
    }
}
