//! Is a block wholly there - in raw and in every roll-up - and what to do when it is not.
//!
//! Raw is asked by the block's id: one insert is one part, so there is all of it or nothing. Roll-ups do not know
//! blocks: the sums of the touched minutes, hours and sequence numbers are held against raw. A roll-up that is short is healed by playing
//! the block again from raw under its own token, which stores only what is missing; if that does not do,
//! the day is rebuilt from raw ([`super::repair`]). Holds as long as one ingestor at a time writes ([`super::lease`]).

use super::intent::{Intent, Intents, StateError};
use super::now_us;
use super::repair::{self, RepairError};
use super::sums::sums;
use super::term::Term;
use crate::schema::{ROLLUPS, Rollup};
use crate::store::{Store, StoreError};
use std::time::Duration;
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

/// Verifies `intent` and heals what is short of it, under `term`.
pub(super) async fn repair_block(store: &Store, intent: &Intent, term: Term) -> Result<Verdict, StoreError> {
    let mut rows = rows_in_raw(store, intent).await?;
    let mut whole = rows <= intent.rows && agrees(store, intent).await?;
    if !whole && rows == intent.rows {
        tracing::warn!(block = intent.block, "a roll-up is short of a block; playing the block again from raw");
        reinsert(store, intent, term).await?;
        failpoint::pass("settle.after_heal");
        rows = rows_in_raw(store, intent).await?;
        whole = rows == intent.rows && agrees(store, intent).await?;
    }
    if !whole {
        tracing::warn!(block = intent.block, day = intent.day, "rebuilding the day's roll-ups from raw");
        match repair::day(store, intent.day, term, Some(intent)).await {
            Ok(_) => {}
            Err(RepairError::Store(error)) => return Err(error),
            // Nothing is removed that cannot be made again; the block is where raw says that it is.
            Err(error) => tracing::warn!(block = intent.block, %error, "the day of a block is not rebuilt"),
        }
        rows = rows_in_raw(store, intent).await?;
    }
    Ok(match rows {
        0 => Verdict::Absent,
        rows if rows == intent.rows => Verdict::Whole,
        _ => Verdict::Part,
    })
}

/// What was found of the last run.
pub(super) struct Settled {
    /// False when an intent could not be read.
    pub(super) all_read: bool,
}

/// Settles every open intent, oldest first. What is absent stays so: the gateway still holds the chunk.
pub(super) async fn settle_all(store: &Store, intents: &Intents, term: Term) -> Result<Settled, SettleError> {
    let open = intents.read()?;
    for intent in &open.intents {
        let verdict = repair_block(store, intent, term).await?;
        // It would only be settled once more.
        if let Err(error) = intents.remove(&intent.block) {
            tracing::warn!(block = intent.block, %error, "a settled intent could not be removed");
        }
        tracing::info!(block = intent.block, rows = intent.rows, ?verdict, "settled a block of the last run");
    }
    Ok(Settled { all_read: open.all_read })
}

/// Why the intents of the last run could not be settled.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Holds the roll-ups of every day that was written to lately against raw, and rebuilds those that differ: another
/// one's open blocks have no intent here.
pub(super) async fn audit_recent(store: &Store, term: Term) -> Result<(), StoreError> {
    let (schema, table) = (store.schema(), store.schema().local("access_events"));
    let table = table.rsplit('.').next().unwrap_or_default().to_owned();
    let sql = "SELECT DISTINCT toInt64(toRelativeDayNum(toDate(partition))) FROM system.parts \
               WHERE database = {database:String} AND table = {table:String} AND active \
               AND modification_time > now() - INTERVAL 1 DAY";
    let days = store.rows::<i64>(sql, &[("database", schema.database.clone()), ("table", table)]).await?;
    for day in days {
        if day_agrees(store, day).await? {
            continue;
        }
        tracing::warn!(day, "the roll-ups of a day differ from its events; rebuilding them");
        match repair::day(store, day, term, None).await {
            Ok(_) => {}
            Err(RepairError::Store(error)) => return Err(error),
            Err(error) => tracing::warn!(day, %error, "the day is not rebuilt"),
        }
    }
    Ok(())
}

/// Whether raw, `stored_seqs` and every roll-up that is still kept have the same of `day`.
pub(super) async fn day_agrees(store: &Store, day: i64) -> Result<bool, StoreError> {
    let rows =
        format!("SELECT count() FROM {} WHERE toDate(ts) = {}", store.schema().local("access_events"), date(day));
    let noted = format!("SELECT sum(n) FROM {} WHERE day = {}", store.schema().local("stored_seqs"), date(day));
    if store.number(&rows, &[]).await? != store.number(&noted, &[]).await? {
        return Ok(false);
    }
    let age = Duration::from_secs(u64::try_from(now_us() / 1_000_000 - day * 86_400).unwrap_or_default());
    let kept = ROLLUPS.iter().filter(|rollup| age < store.schema().retention.of(rollup));
    sums_agree(store, kept, (day * 86_400, (day + 1) * 86_400)).await
}

/// Returns when no insert into raw is under way: that of a client that is gone may go on at the server for a while,
/// and what is absent now could be there in a moment. (See step 11, `barrier`: every insert into raw holds a share of
/// its lock, through its view, until the last roll-up is written; `TRUNCATE` wants the whole lock.)
pub(crate) async fn wait_for_inserts(store: &Store) -> Result<(), StoreError> {
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
    for step in [60, 3600] {
        let of_step = ROLLUPS.iter().filter(|rollup| rollup.step_s == step);
        if !sums_agree(store, of_step, touched(intent, step)).await? {
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

/// Whether roll-ups have what raw has, from `first` to before `end`, both seconds since the Unix epoch.
async fn sums_agree(
    store: &Store,
    rollups: impl Iterator<Item = &'static Rollup>,
    (first, end): (i64, i64),
) -> Result<bool, StoreError> {
    let local = |table| store.schema().local(table);
    let raw = format!(
        "{} WHERE ts >= toDateTime64({first}, 6, 'UTC') AND ts < toDateTime64({end}, 6, 'UTC')",
        local("access_events"),
    );
    let rolled =
        |table| format!("{} WHERE t >= toDateTime({first}, 'UTC') AND t < toDateTime({end}, 'UTC')", local(table));
    let sums = sums(store, rollups, rolled, &raw).await?;
    let wrong = sums.iter().find(|sums| sums.rolled != sums.raw);
    if let Some(sums) = wrong {
        tracing::debug!(?sums, "a roll-up differs from raw");
    }
    Ok(wrong.is_none())
}

async fn reinsert(store: &Store, intent: &Intent, term: Term) -> Result<(), StoreError> {
    let table = store.schema().local("access_events");
    let columns = crate::block::Block::column_list();
    let sql = format!(
        "INSERT INTO {table} ({columns}, lease) \
         SETTINGS insert_deduplication_token = '{block}', async_insert = 0, max_block_size = 1000000, \
         min_insert_block_size_rows = 1000000, min_insert_block_size_bytes = 0, max_threads = 1, max_insert_threads = 1 \
         SELECT {columns}, toUUID('{lease}') FROM {table} WHERE toDate(ts) = {} AND block = '{block}'",
        date(intent.day),
        block = intent.block,
        lease = term.id,
    );
    store.execute(&sql).await
}
