//! Which sequence numbers are stored, and which are on their way there.
//!
//! What is new is decided here and by nothing else: a deduplication token only serves to retry the block that it
//! was given to. A stream is read from `stored_seqs` and `dead_letters` at first sight; from then on this process
//! is the only one that stores its events (a chunk is offered to another ingestor only after this one is retired).

use crate::store::{Store, StoreError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
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
pub struct StoredSeqs {
    streams: Mutex<Streams>,
}

#[derive(Default)]
struct Streams {
    by_id: HashMap<StreamId, Stream>,
    clock: u64,
    /// To be read, and who waits for it.
    wanted: Vec<(StreamId, oneshot::Sender<Result<(), String>>)>,
    /// Somebody reads, and will read what is wanted by then.
    is_reading: bool,
}

/// Streams that are read by one query at most.
const TOGETHER: usize = 1000;
/// Streams in memory at most; the longest unused are forgotten, and read again when they come back.
const MOST: usize = 50_000;

/// Part of a chunk is being stored right now.
#[derive(Debug, PartialEq, Eq)]
pub struct InFlight;

impl StoredSeqs {
    /// Reads what is stored of `stream`, if it is not in memory. Streams that are wanted at the same time - every gateway
    /// after a restart of this program - are read together. The error is ClickHouse's, in words.
    pub async fn load(self: &Arc<Self>, store: &Store, stream: StreamId) -> Result<(), String> {
        let (done, outcome) = oneshot::channel();
        let is_first = {
            let mut streams = self.lock();
            if streams.by_id.contains_key(&stream) {
                return Ok(());
            }
            streams.wanted.push((stream, done));
            !std::mem::replace(&mut streams.is_reading, true)
        };
        if is_first {
            // A task of its own: whoever came first may leave, and the others still wait.
            tokio::spawn(Arc::clone(self).read_wanted(store.clone()));
        }
        outcome.await.unwrap_or_else(|_| Err("the program is stopping".to_owned()))
    }

    async fn read_wanted(self: Arc<Self>, store: Store) {
        loop {
            let wanted: Vec<_> = {
                let mut streams = self.lock();
                let count = streams.wanted.len().min(TOGETHER);
                streams.is_reading = count > 0;
                streams.wanted.drain(..count).collect()
            };
            if wanted.is_empty() {
                return;
            }
            let ids: Vec<_> = wanted.iter().map(|(stream, _)| *stream).collect();
            let outcome = stored(&store, &ids).await.map_err(|error| error.to_string());
            if let Ok(found) = &outcome {
                let mut streams = self.lock();
                for id in &ids {
                    // It may be here already, with what it has claimed: that stays.
                    let state = streams.by_id.entry(*id).or_default();
                    found.get(id).into_iter().for_each(|done| state.done.union(done));
                }
            }
            for (_, waiting) in wanted {
                // Nobody there: the client has left.
                let _gone = waiting.send(outcome.as_ref().map(|_| ()).map_err(Clone::clone));
            }
        }
    }

    /// Marks what of `offered` is new as on its way, and answers it. `None` when the stream is not loaded.
    pub fn claim(&self, stream: StreamId, offered: &Ranges) -> Option<Result<Ranges, InFlight>> {
        let mut streams = self.lock();
        streams.clock += 1;
        let clock = streams.clock;
        streams.forget_some();
        let state = streams.by_id.get_mut(&stream)?;
        state.touched = clock;
        if !offered.intersection(&state.pending).is_empty() {
            return Some(Err(InFlight));
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
    stream: u64,
    first: u64,
    last: u64,
}

/// What is stored of each stream that anything is stored of, dead letters with it.
async fn stored(store: &Store, streams: &[StreamId]) -> Result<HashMap<StreamId, Ranges>, StoreError> {
    let (seqs, dead) = (store.schema().all("stored_seqs"), store.schema().all("dead_letters"));
    // Of a stream that is older than the rows of `stored_seqs` are kept.
    let compacted = store.schema().all("stream_accounts");
    let ids: Vec<_> = streams.iter().map(|stream| stream.0.to_string()).collect();
    let ids = ids.join(", ");
    // The runs of blocks are joined into islands by the engine: a long stream is many rows and few islands.
    let sql = format!(
        "SELECT stream, min(first) AS first, max(last) AS last FROM (\
           SELECT stream, first, last, sum(fresh) OVER (PARTITION BY stream ORDER BY first, last \
             ROWS UNBOUNDED PRECEDING) AS island FROM (\
             SELECT stream, first, last, first > max(last) OVER (PARTITION BY stream ORDER BY first, last \
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + 1 AS fresh FROM (\
                 SELECT stream, first, last FROM {seqs} WHERE stream IN ({ids}) \
                 UNION ALL SELECT stream, run.1, run.2 FROM {compacted} ARRAY JOIN stored AS run \
                   WHERE stream IN ({ids}) \
                 UNION ALL SELECT stream, seq, seq FROM {dead} WHERE stream IN ({ids})))) \
         GROUP BY stream, island ORDER BY stream, min(first)"
    );
    let mut found: HashMap<_, Vec<_>> = HashMap::new();
    for part in store.rows::<Part>(&sql, &[]).await? {
        found.entry(StreamId(part.stream)).or_default().push((part.first, part.last));
    }
    Ok(found.into_iter().map(|(stream, parts)| (stream, parts.into_iter().collect())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: StreamId = StreamId(1);

    fn loaded() -> StoredSeqs {
        let known = StoredSeqs::default();
        known.commit(STREAM, &Ranges::of(0, 9));
        known
    }

    #[test]
    fn only_what_is_new_is_claimed_and_only_once() {
        let known = loaded();
        assert_eq!(known.claim(STREAM, &Ranges::of(5, 14)), Some(Ok(Ranges::of(10, 14))));
        assert_eq!(known.claim(STREAM, &Ranges::of(14, 20)), Some(Err(InFlight)));
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
        assert_eq!(StoredSeqs::default().claim(STREAM, &Ranges::of(0, 1)), None);
    }
}
