//! The tables beside the events: gaps that chunks report, and events that cannot be stored as they are. Both are
//! keyed by stream and number, so that a resend writes the same row again and readers see one.

use crate::store::{Store, StoreError};
use serde::Serialize;
use weir_event::StreamId;
use weir_event::chunk::{ChunkHeader, Gap};
use weir_event::json::to_json;
use weir_event::record::Event;

/// One event that is kept apart.
#[derive(Clone, Debug, Serialize)]
pub(super) struct DeadLetter {
    pub(super) stream: u64,
    pub(super) seq: u64,
    reason: &'static str,
    ts: String,
    received: String,
    /// As JSON, with its times as they came.
    event: String,
}

impl DeadLetter {
    pub(super) fn new(header: &ChunkHeader, event: &Event<'_>, reason: &'static str, received_us: i64) -> Self {
        let json = to_json(event, &header.stream, |id| header.name(id).map(str::to_owned));
        Self {
            stream: header.stream_id.0,
            seq: event.fixed.seq,
            reason,
            ts: decimal(event.fixed.start_us.clamp(0, LAST_US), 6),
            received: decimal(received_us / 1000, 3),
            event: json.to_string(),
        }
    }
}

/// The last time that a `DateTime64(6)` is sure to hold (the end of 2299).
const LAST_US: i64 = 10_413_791_999_000_000;

/// A count of 10^-`digits` seconds as ClickHouse reads a `DateTime64`: `1795416085.123`.
pub(crate) fn decimal(value: i64, digits: u32) -> String {
    let unit = 10_i64.pow(digits);
    format!("{}.{:0width$}", value.div_euclid(unit), value.rem_euclid(unit), width = digits as usize)
}

pub(super) async fn store_dead(store: &Store, dead: &[DeadLetter]) -> Result<(), StoreError> {
    let rows: Vec<_> = dead.iter().filter_map(|letter| serde_json::to_string(letter).ok()).collect();
    let sql = format!(
        "INSERT INTO {} (stream, seq, reason, ts, received, event) FORMAT JSONEachRow",
        store.schema().local("dead_letters")
    );
    store.insert_text(&sql, rows.join("\n")).await
}

pub(super) async fn store_gaps(store: &Store, gaps: &[(StreamId, Gap)], now_us: i64) -> Result<(), StoreError> {
    let row = |(stream, gap): &(StreamId, Gap)| {
        format!("{}\t{}\t{}\t{}\t{}", stream.0, gap.first, gap.last, gap.reason.as_str(), decimal(now_us / 1000, 3))
    };
    let rows: Vec<_> = gaps.iter().map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO {} (stream, first, last, reason, received) FORMAT TabSeparated",
        store.schema().local("gaps")
    );
    store.insert_text(&sql, rows.join("\n") + "\n").await
}
