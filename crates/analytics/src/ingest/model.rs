//! What goes from one stage of the ingest to the next: offers, batches, blocks, and the answers on the way back.

use super::intent::Intent;
use super::lease::Session;
use crate::block::{Block, BlockId};
use crate::store::StoreError;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use weir_event::chunk::{ChunkError, ChunkHeader};
use weir_event::json::to_json;
use weir_event::record::Event;
use weir_event::{Ranges, StreamId};

/// How much is taken in at once, and how long an offer waits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Offers in the batcher's queue; past it, an offer is refused at once. Their bytes are bounded by the room that each
    /// holds.
    pub queue: usize,
    /// From the first chunk of a batch to its blocks, at least, and at most where it is lengthened. While the batch before
    /// is being stored, a batch grows on: blocks are small and quick when there is little, large when there is much.
    /// An insert costs the engine about the same whatever its size up to some thousand rows, so a batch waits some times
    /// as long as the last one took to store: where inserts are slow, there are fewer.
    pub linger: (Duration, Duration),
    /// Rows that end a batch before its time.
    pub batch_rows: usize,
    /// Bytes of records, decompressed, that end it as well.
    pub batch_bytes: usize,
    /// How long an offer waits for its acknowledgement before it is asked to come again.
    pub ack_timeout: Duration,
    /// Events older than this are dead letters: raw retention.
    pub max_event_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue: 1024,
            linger: (Duration::from_millis(200), Duration::from_secs(2)),
            batch_rows: 200_000,
            batch_bytes: 96 << 20,
            ack_timeout: Duration::from_secs(25),
            max_event_age: crate::schema::Retention::default().raw,
        }
    }
}

/// An offer that is safe to forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Events that this offer brought in.
    pub stored: u64,
    /// Events that were there before.
    pub duplicate: u64,
    /// Events out of the range of times, kept as dead letters.
    pub dead: u64,
}

/// Why an offer is not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Malformed(Arc<ChunkError>),
    #[error("{0}")]
    Version(Arc<ChunkError>),
    #[error("the engine refuses this chunk's events: {0}")]
    Rejected(String),
    #[error("these events are being stored; offer them again")]
    Underway,
    #[error("as much is on its way as fits; offer it again")]
    Full,
    #[error("not stored yet: {0}; offer it again")]
    Unavailable(String),
    #[error("weir-analytics is stopping; offer it again")]
    Stopping,
    #[error("this weir-analytics does not write now: {0}; offer it again")]
    Standby(String),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

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

/// Why bytes that are no chunk are not taken.
pub(super) fn refuse(error: ChunkError) -> Refusal {
    match error {
        ChunkError::Version(_) => Refusal::Version(Arc::new(error)),
        _ => Refusal::Malformed(Arc::new(error)),
    }
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
    pub(super) id: BlockId,
    pub(super) received_us: i64,
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

/// One event that is kept apart.
#[derive(Clone, Debug)]
pub(super) struct DeadLetter {
    /// Which offer of the batch it came with.
    pub(super) offer: usize,
    pub(super) stream: StreamId,
    pub(super) seq: u64,
    pub(super) reason: &'static str,
    pub(super) ts_us: i64,
    pub(super) received_us: i64,
    /// As JSON, with its times as they came.
    pub(super) event: String,
}

impl DeadLetter {
    pub(super) fn new(
        offer: usize,
        header: &ChunkHeader,
        event: &Event<'_>,
        reason: &'static str,
        received_us: i64,
    ) -> Self {
        let json = to_json(event, &header.stream, |id| header.name(id).map(str::to_owned));
        Self {
            offer,
            stream: header.stream_id,
            seq: event.fixed.seq,
            reason,
            ts_us: event.fixed.start_us.clamp(0, LAST_US),
            received_us,
            event: json.to_string(),
        }
    }
}

/// The last time that a `DateTime64(6)` is sure to hold (the end of 2299).
const LAST_US: i64 = 10_413_791_999_000_000;
