//! The tables beside the events: gaps that chunks report, and events that cannot be stored as they are. Both are
//! keyed by stream and number, so that a resend writes the same row again and readers see one.

use super::model::{DeadLetter, Offer};
use crate::block::BlockId;
use crate::rowbinary::Rows;
use crate::store::{Store, StoreError};
use weir_event::StreamId;
use weir_event::chunk::Gap;

pub(super) async fn store_dead(store: &Store, dead: &[&DeadLetter], lease: BlockId) -> Result<(), StoreError> {
    let mut rows = Rows::default();
    for letter in dead {
        rows.fixed(letter.stream.0.to_le_bytes())
            .fixed(letter.seq.to_le_bytes())
            .text(letter.reason)
            .fixed(letter.ts_us.to_le_bytes())
            .fixed((letter.received_us / 1000).to_le_bytes())
            .text(&letter.event)
            .fixed(lease.native());
    }
    store.insert_rows("dead_letters", "stream, seq, reason, ts, received, event, lease", rows).await
}

/// The chunks that dead letters came in, whole: what a replay takes.
pub(super) async fn store_dead_chunks(store: &Store, chunks: &[&Offer]) -> Result<(), StoreError> {
    let mut rows = Rows::default();
    for offer in chunks {
        let header = &offer.header;
        rows.fixed(header.stream_id.0.to_le_bytes())
            .fixed(header.first.to_le_bytes())
            .fixed(header.last.to_le_bytes())
            .fixed((offer.received_us / 1000).to_le_bytes())
            .bytes(&offer.bytes);
    }
    store.insert_rows("dead_chunks", "stream, first, last, received, chunk", rows).await
}

pub(super) async fn store_gaps(store: &Store, gaps: &[(StreamId, Gap)], now_us: i64) -> Result<(), StoreError> {
    let mut rows = Rows::default();
    for (stream, gap) in gaps {
        rows.fixed(stream.0.to_le_bytes())
            .fixed(gap.first.to_le_bytes())
            .fixed(gap.last.to_le_bytes())
            .text(gap.reason.as_str())
            .fixed((now_us / 1000).to_le_bytes());
    }
    store.insert_rows("gaps", "stream, first, last, reason, received", rows).await
}
