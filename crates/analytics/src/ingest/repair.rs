//! Rebuilding one day: duplicates out of raw, and every roll-up made again from raw.
//!
//! Each table is rebuilt beside itself and its partition swapped in by one statement, so that a reader sees the old
//! day or the new one, and a crash between two swaps leaves a state that another run mends. The same code serves an
//! ingestor that could not heal a block and `weir-analytics repair --day`. Nothing else may write that day meanwhile.

use crate::block::Block;
use crate::schema::{hour_select, minute_select, seqs_select};
use crate::store::{Store, StoreError};
use weir_event::failpoint;

/// What a repair found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Rows of raw that day, after the repair.
    pub rows: u64,
    /// Second copies of an event that were taken out.
    pub duplicates: u64,
}

/// Rebuilds `day`, in days since the Unix epoch, UTC.
pub async fn day(store: &Store, day: i64) -> Result<Repaired, StoreError> {
    let date = format!("toDate(toInt32({day}))");
    let schema = store.schema();
    let raw = schema.local("access_events");
    let that_day = format!("(SELECT * FROM {raw} WHERE toDate(ts) = {date})");
    let count = |what: &str| format!("SELECT {what} FROM {raw} WHERE toDate(ts) = {date}");
    let rows = store.number(&count("count()"), &[]).await?;
    let unique = store.number(&count("uniqExact(stream, seq)"), &[]).await?;
    if unique < rows {
        let columns = Block::column_list();
        let once = format!("SELECT {columns} FROM {that_day} ORDER BY stream, seq, block LIMIT 1 BY stream, seq");
        stage(store, "access_events", &columns, &once).await?;
        swap(store, "access_events", &date, unique).await?;
    }
    stage(store, "stored_seqs", "day, stream, block, first, last, n", &seqs_select(&that_day)).await?;
    let columns = requests_columns();
    stage(store, "requests_1m", &columns, &minute_select(&that_day)).await?;
    let minutes = format!("(SELECT * FROM {})", staging(store, "requests_1m"));
    stage(store, "requests_1h", &columns, &hour_select(&minutes)).await?;
    failpoint::pass("repair.before_swap");
    for table in ["stored_seqs", "requests_1m", "requests_1h"] {
        swap(store, table, &date, unique).await?;
        failpoint::pass("repair.between_swaps");
    }
    Ok(Repaired { rows: unique, duplicates: rows - unique })
}

fn requests_columns() -> String {
    let keys = crate::schema::key_columns().map(|field| field.name);
    let sums = crate::schema::sum_columns().map(|field| field.name);
    let names: Vec<_> = std::iter::once("t")
        .chain(keys)
        .chain(["n"])
        .chain(sums)
        .chain(["max_total_us", "hist", "slow_trace"])
        .collect();
    names.join(", ")
}

fn staging(store: &Store, table: &str) -> String {
    store.schema().all(&format!("repair_{table}"))
}

async fn stage(store: &Store, table: &str, columns: &str, select: &str) -> Result<(), StoreError> {
    let (staging, table) = (staging(store, table), store.schema().local(table));
    store.execute(&format!("DROP TABLE IF EXISTS {staging} SYNC")).await?;
    store.execute(&format!("CREATE TABLE {staging} AS {table}")).await?;
    // The parts are merged as they come; no token, and none is needed: the table is new.
    store.execute(&format!("INSERT INTO {staging} ({columns}) SETTINGS insert_deduplicate = 0 {select}")).await
}

/// Puts the staged day in the place of the table's own; a day without events has no partition to put there.
async fn swap(store: &Store, table: &str, date: &str, rows: u64) -> Result<(), StoreError> {
    let (staging, local) = (staging(store, table), store.schema().local(table));
    let day = store.rows::<String>(&format!("SELECT toString({date})"), &[]).await?.pop().unwrap_or_default();
    if rows == 0 {
        store.execute(&format!("ALTER TABLE {local} DROP PARTITION '{day}'")).await?;
    } else {
        store.execute(&format!("ALTER TABLE {local} REPLACE PARTITION '{day}' FROM {staging}")).await?;
    }
    store.execute(&format!("DROP TABLE IF EXISTS {staging} SYNC")).await
}
