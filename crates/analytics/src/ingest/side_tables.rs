//! The tables beside the events: gaps that chunks report, and events that cannot be stored as they are. Both are
//! keyed by stream and number, so that a resend writes the same row again and readers see one.

use super::model::{DeadLetter, Offer};
use crate::block::BlockId;
use crate::store::{Store, StoreError};
use clickhouse::Row;
use serde::{Serialize, Serializer};
use weir_event::StreamId;
use weir_event::chunk::Gap;

/// Of `dead_letters`. Here and below times are as ClickHouse has them: whole numbers since the Unix epoch, in the unit of
/// the column.
#[derive(Row, Serialize)]
struct DeadLetterRow<'a> {
    stream: u64,
    seq: u64,
    reason: &'a str,
    ts: i64,
    received: i64,
    event: &'a str,
    lease: [u8; 16],
}

/// Of `dead_chunks`.
#[derive(Row, Serialize)]
struct DeadChunkRow<'a> {
    stream: u64,
    first: u64,
    last: u64,
    received: i64,
    #[serde(serialize_with = "as_string")]
    chunk: &'a [u8],
}

/// Of `gaps`.
#[derive(Row, Serialize)]
struct GapRow<'a> {
    stream: u64,
    first: u64,
    last: u64,
    reason: &'a str,
    received: i64,
}

/// A `String` of ClickHouse may hold any bytes.
fn as_string<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

pub(super) async fn store_dead(store: &Store, dead: &[&DeadLetter], lease: BlockId) -> Result<(), StoreError> {
    let rows = dead.iter().map(|letter| DeadLetterRow {
        stream: letter.stream.0,
        seq: letter.seq,
        reason: letter.reason,
        ts: letter.ts_us,
        received: letter.received_us / 1000,
        event: &letter.event,
        lease: lease.native(),
    });
    let rows: Vec<_> = rows.collect();
    store.insert_rows::<DeadLetterRow<'_>>("dead_letters", &rows).await
}

/// The chunks that dead letters came in, whole: what a replay takes.
pub(super) async fn store_dead_chunks(store: &Store, chunks: &[&Offer]) -> Result<(), StoreError> {
    let rows = chunks.iter().map(|offer| DeadChunkRow {
        stream: offer.header.stream_id.0,
        first: offer.header.first,
        last: offer.header.last,
        received: offer.received_us / 1000,
        chunk: &offer.bytes,
    });
    let rows: Vec<_> = rows.collect();
    store.insert_rows::<DeadChunkRow<'_>>("dead_chunks", &rows).await
}

pub(super) async fn store_gaps(store: &Store, gaps: &[(StreamId, Gap)], now_us: i64) -> Result<(), StoreError> {
    let row = |(stream, gap): &(StreamId, Gap)| GapRow {
        stream: stream.0,
        first: gap.first,
        last: gap.last,
        reason: gap.reason.as_str(),
        received: now_us / 1000,
    };
    let rows: Vec<_> = gaps.iter().map(row).collect();
    store.insert_rows::<GapRow<'_>>("gaps", &rows).await
}
