//! Is a block wholly there - in raw and in every roll-up - and what to do when it is not.
//!
//! Raw is asked by the block's id: one insert is one part, so there is all of it or nothing. Roll-ups do not know
//! blocks: the sums of the touched minutes, hours and sequence numbers are held against raw. A roll-up that is short is healed by playing
//! the block again from raw under its own token, which stores only what is missing; if that does not do,
//! the day is rebuilt from raw ([`super::repair`]). Holds as long as one ingestor at a time writes a day.

use super::intent::{Intent, Intents, StateError};
use super::repair;
use crate::schema::sum_columns;
use crate::store::{Store, StoreError};
use clickhouse::Row;
use serde::Deserialize;
use weir_event::failpoint;

/// What is known of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// In raw and in every roll-up.
    Whole,
    /// Nowhere.
    Absent,
    /// Some rows of it, in raw and in every roll-up. One insert is one part, so this takes a hand at the tables.
    Part,
}

/// Verifies `intent` and heals what is short of it.
pub(super) async fn mend(store: &Store, intent: &Intent) -> Result<Verdict, StoreError> {
    quiet(store).await?;
    let mut rows = rows_in_raw(store, intent).await?;
    let mut whole = rows <= intent.rows && agrees(store, intent).await?;
    if !whole && rows == intent.rows {
        tracing::warn!(block = intent.block, "a roll-up is short of a block; playing the block again from raw");
        play_again(store, intent).await?;
        failpoint::pass("settle.after_heal");
        rows = rows_in_raw(store, intent).await?;
        whole = rows == intent.rows && agrees(store, intent).await?;
    }
    if !whole {
        tracing::warn!(block = intent.block, day = intent.day, "rebuilding the day's roll-ups from raw");
        repair::day(store, intent.day).await?;
        rows = rows_in_raw(store, intent).await?;
    }
    Ok(match rows {
        0 => Verdict::Absent,
        rows if rows == intent.rows => Verdict::Whole,
        _ => Verdict::Part,
    })
}

/// Settles every open intent, oldest first. What is absent stays so: the gateway still holds the chunk.
pub async fn settle_all(store: &Store, intents: &Intents) -> Result<usize, SettleError> {
    let open = intents.read()?;
    for intent in &open {
        let verdict = mend(store, intent).await?;
        // It would only be settled once more.
        if let Err(error) = intents.remove(&intent.block) {
            tracing::warn!(block = intent.block, %error, "a settled intent could not be removed");
        }
        tracing::info!(block = intent.block, rows = intent.rows, ?verdict, "settled a block of the last run");
    }
    Ok(open.len())
}

/// Why the intents of the last run could not be settled.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Returns when no insert into raw is under way: that of a client that is gone may go on at the server for a while,
/// and what is absent now could be there in a moment. (See `barrier` among the tables for how.)
pub(crate) async fn quiet(store: &Store) -> Result<(), StoreError> {
    store.execute(&format!("TRUNCATE TABLE {}", store.schema().local("barrier"))).await
}

fn date(day: i64) -> String {
    format!("toDate(toInt32({day}))")
}

async fn rows_in_raw(store: &Store, intent: &Intent) -> Result<u64, StoreError> {
    let sql = format!(
        "SELECT count() FROM {} WHERE toDate(ts) = {} AND block = {{block:UUID}}",
        store.schema().local("access_events"),
        date(intent.day)
    );
    store.number(&sql, &[("block", intent.block.clone())]).await
}

#[derive(Row, Deserialize, PartialEq, Eq, Debug)]
struct Sums {
    n: u64,
    parts: Vec<u64>,
    buckets: u64,
}

/// Whether every view target agrees with raw over what the block touches.
async fn agrees(store: &Store, intent: &Intent) -> Result<bool, StoreError> {
    let sql = format!(
        "SELECT sum(n) FROM {} WHERE day = {} AND block = {{block:UUID}}",
        store.schema().local("stored_seqs"),
        date(intent.day),
    );
    let noted = store.number(&sql, &[("block", intent.block.clone())]).await?;
    if noted != rows_in_raw(store, intent).await? {
        return Ok(false);
    }
    for (table, step) in [("requests_1m", 60), ("requests_1h", 3600)] {
        let (raw, rolled) = (raw_sums(store, intent, step).await?, rolled_sums(store, intent, table, step).await?);
        if raw != rolled {
            tracing::debug!(table, ?raw, ?rolled, "a roll-up differs from raw");
            return Ok(false);
        }
    }
    Ok(true)
}

/// The whole steps of `seconds` that the block touches: first and end, seconds since the Unix epoch.
fn touched(intent: &Intent, seconds: i64) -> (i64, i64) {
    let step = |us: i64| us.div_euclid(seconds * 1_000_000) * seconds;
    (step(intent.first_us), step(intent.last_us) + seconds)
}

async fn raw_sums(store: &Store, intent: &Intent, step: i64) -> Result<Vec<Sums>, StoreError> {
    let (first, end) = touched(intent, step);
    let sums: Vec<_> = sum_columns().map(|field| format!("sum(toUInt64({}) * sample_interval)", field.name)).collect();
    let sql = format!(
        "SELECT sum(toUInt64(sample_interval)) AS n, [{}] AS parts, n AS buckets FROM {} \
         WHERE ts >= toDateTime64({first}, 6, 'UTC') AND ts < toDateTime64({end}, 6, 'UTC') SETTINGS prefer_column_name_to_alias = 0",
        sums.join(", "),
        store.schema().local("access_events"),
    );
    store.rows(&sql, &[]).await
}

async fn rolled_sums(store: &Store, intent: &Intent, table: &str, step: i64) -> Result<Vec<Sums>, StoreError> {
    let (first, end) = touched(intent, step);
    let sums: Vec<_> = sum_columns().map(|field| format!("sum({})", field.name)).collect();
    let sql = format!(
        "SELECT sum(n) AS n, [{}] AS parts, sum(arraySum(mapValues(hist))) AS buckets FROM {} \
         WHERE t >= toDateTime({first}, 'UTC') AND t < toDateTime({end}, 'UTC')",
        sums.join(", "),
        store.schema().local(table),
    );
    store.rows(&sql, &[]).await
}

async fn play_again(store: &Store, intent: &Intent) -> Result<(), StoreError> {
    let table = store.schema().local("access_events");
    let columns = crate::block::Block::column_list();
    let sql = format!(
        "INSERT INTO {table} ({columns}) \
         SETTINGS insert_deduplication_token = '{block}', async_insert = 0, max_block_size = 1000000, \
         min_insert_block_size_rows = 1000000, min_insert_block_size_bytes = 0, max_threads = 1, max_insert_threads = 1 \
         SELECT {columns} FROM {table} WHERE toDate(ts) = {} AND block = '{block}'",
        date(intent.day),
        block = intent.block,
    );
    store.execute(&sql).await
}
