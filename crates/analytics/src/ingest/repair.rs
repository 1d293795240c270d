//! Rebuilding one day: duplicates out of raw, and every roll-up made again from raw.
//!
//! A day is rebuilt only where raw is known to be complete: what cannot be made again is never removed. Each table is
//! rebuilt beside itself and its partition swapped in by one statement, so that a reader sees the old day or the new
//! one, and a crash between two swaps leaves a state that another run makes good. The same code serves an ingestor that
//! could not heal a block and `weir-analytics repair --day`.
//!
//! It runs under a lease, so nothing else writes meanwhile. The tables beside have the lease's epoch in their names and
//! are dropped by whoever takes the lease next: a swap that arrives late finds nothing to swap in.

use super::intent::Intent;
use super::sums::sums;
use super::term::Term;
use crate::block::Block;
use crate::schema::{ROLLUPS, seqs_select};
use crate::store::{Store, StoreError};
use tracing::Instrument;
use weir_event::failpoint;
use weir_program::operation;

/// What a repair found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Rows of raw that day, after the repair.
    pub rows: u64,
    /// Second copies of an event that were taken out.
    pub duplicates: u64,
}

/// Why a day is not rebuilt. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error(
        "the events of {day} have begun to expire (--retention-raw); its roll-ups cannot be made again and stay as they \
         are"
    )]
    Expired { day: String },
    #[error(
        "{missing} events of {day} that are noted as stored are not in access_events; its roll-ups cannot be made again \
         and stay as they are"
    )]
    Incomplete { day: String, missing: u64 },
    #[error(
        "the roll-ups of {day} count {rolled} requests and access_events has {raw}; what has no events cannot be made \
         again and stays as it is"
    )]
    Short { day: String, rolled: u64, raw: u64 },
    #[error("the table {table} of {day} was rebuilt with {found} events and not with {wanted}; nothing was changed")]
    Staged { day: String, table: &'static str, found: u64, wanted: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Rebuilds `day`, in days since the Unix epoch, UTC, under `term`. `spare` is a block that was never acknowledged: it
/// may be missing from raw.
pub async fn day(store: &Store, day: i64, term: Term, spare: Option<&Intent>) -> Result<Repaired, RepairError> {
    rebuilt(store, day, term, spare).instrument(operation!("repair", day)).await
}

async fn rebuilt(store: &Store, day: i64, term: Term, spare: Option<&Intent>) -> Result<Repaired, RepairError> {
    let day = Day::new(store, day, term).await?;
    day.check(spare).await?;
    let schema = store.schema();
    let raw = schema.local("access_events");
    let rows = day.number(&raw, "count()").await?;
    let unique = day.number(&raw, "uniqExact(stream, seq)").await?;
    // Raw last: until then a second copy in raw accounts for a second count in a roll-up, and an interrupted repair can
    // be begun again.
    let mut events = day.events();
    if unique < rows {
        let once = format!(
            "SELECT {}, toUUID('{}') AS lease FROM {events} ORDER BY stream, seq, block LIMIT 1 BY stream, seq",
            Block::column_list(),
            term.id,
        );
        day.stage("access_events", &Block::insert_columns(), &once).await?;
        day.staged("access_events", "count()", unique).await?;
        events = format!("(SELECT * FROM {})", day.staging("access_events"));
    }
    day.stage("stored_seqs", "day, stream, block, first, last, n", &seqs_select(&events)).await?;
    for rollup in &ROLLUPS {
        let source = rollup.source.map(|source| format!("(SELECT * FROM {})", day.staging(source)));
        let columns = day.columns(rollup.table).await?;
        day.stage(rollup.table, &columns, &(rollup.select)(source.as_ref().unwrap_or(&events))).await?;
    }
    day.staged("stored_seqs", "sum(n)", unique).await?;
    for sums in sums(store, ROLLUPS.iter(), |table| day.staging(table), &events).await? {
        for (found, wanted) in sums.rolled.into_iter().zip(sums.raw) {
            day.is_whole(sums.table, found, wanted)?;
        }
    }
    failpoint::pass("repair.before_swap");
    for table in std::iter::once("stored_seqs").chain(ROLLUPS.iter().map(|rollup| rollup.table)) {
        day.swap(table).await?;
        failpoint::pass("repair.between_swaps");
    }
    if unique < rows {
        day.swap("access_events").await?;
    }
    Ok(Repaired { rows: unique, duplicates: rows - unique })
}

/// Drops the tables beside of every repair that was interrupted. Waits for a swap that has begun.
pub(super) async fn drop_staging(store: &Store) -> Result<(), StoreError> {
    let sql = "SELECT name FROM system.tables WHERE database = {database:String} AND match(name, '^repair_')";
    let tables = store.rows::<String>(sql, &[("database", store.schema().database.clone())]).await?;
    for table in tables {
        store.execute(&format!("DROP TABLE IF EXISTS {} SYNC", store.schema().all(&table))).await?;
    }
    Ok(())
}

/// One day under repair.
struct Day<'s> {
    store: &'s Store,
    term: Term,
    number: i64,
    /// `2026-11-23`.
    name: String,
}

impl<'s> Day<'s> {
    async fn new(store: &'s Store, number: i64, term: Term) -> Result<Self, StoreError> {
        let name = store.rows::<String>(&format!("SELECT toString(toDate(toInt32({number})))"), &[]).await?;
        Ok(Self { store, term, number, name: name.into_iter().next().unwrap_or_default() })
    }

    fn date(&self) -> String {
        format!("toDate(toInt32({}))", self.number)
    }

    fn events(&self) -> String {
        format!("(SELECT * FROM {} WHERE toDate(ts) = {})", self.store.schema().local("access_events"), self.date())
    }

    async fn number(&self, raw: &str, what: &str) -> Result<u64, StoreError> {
        self.store.number(&format!("SELECT {what} FROM {raw} WHERE toDate(ts) = {}", self.date()), &[]).await
    }

    /// Whether everything that is to be replaced can be made again.
    async fn check(&self, spare: Option<&Intent>) -> Result<(), RepairError> {
        let schema = self.store.schema();
        let (date, day) = (self.date(), self.name.clone());
        let keep = schema.retention.raw.as_secs();
        let expired =
            format!("SELECT toUInt64(toDateTime({date}, 'UTC') + INTERVAL {keep} SECOND < now() + INTERVAL 1 HOUR)");
        if self.store.number(&expired, &[]).await? != 0 {
            return Err(RepairError::Expired { day });
        }
        let (raw, seqs) = (schema.local("access_events"), schema.local("stored_seqs"));
        let spared =
            spare.map_or_else(|| "00000000-0000-0000-0000-000000000000".to_owned(), |spare| spare.block.clone());
        let missing = format!(
            "SELECT toUInt64(sum(greatest(toInt64(noted) - toInt64(there), 0))) FROM (\
               SELECT block, sum(of_seqs) AS noted, sum(of_raw) AS there FROM (\
                 SELECT block, toUInt64(0) AS of_seqs, toUInt64(1) AS of_raw FROM {raw} WHERE toDate(ts) = {date} \
                 UNION ALL SELECT block, n AS of_seqs, toUInt64(0) AS of_raw FROM {seqs} WHERE day = {date}) \
               GROUP BY block HAVING block != {{spared:UUID}})"
        );
        let missing = self.store.number(&missing, &[("spared", spared)]).await?;
        if missing > 0 {
            return Err(RepairError::Incomplete { day, missing });
        }
        let here = self.number(&raw, "sum(toUInt64(sample_interval))").await?;
        for rollup in ROLLUPS.iter().filter(|rollup| rollup.counts_all) {
            let sql = format!("SELECT sum(n) FROM {} WHERE toDate(t) = {date}", schema.local(rollup.table));
            let rolled = self.store.number(&sql, &[]).await?;
            if rolled > here + spare.map_or(0, |spare| spare.rows) {
                return Err(RepairError::Short { day, rolled, raw: here });
            }
        }
        Ok(())
    }

    fn staging(&self, table: &str) -> String {
        self.store.schema().all(&format!("repair_{}_{table}", self.term.epoch))
    }

    async fn stage(&self, table: &str, columns: &str, select: &str) -> Result<(), StoreError> {
        let (staging, table) = (self.staging(table), self.store.schema().local(table));
        self.store.execute(&format!("DROP TABLE IF EXISTS {staging} SYNC")).await?;
        self.store.execute(&format!("CREATE TABLE {staging} AS {table}")).await?;
        // The parts are merged as they come; no token, and none is needed: the table is new.
        // By name: a view inserts by name as well.
        let sql = format!(
            "INSERT INTO {staging} ({columns}) SETTINGS insert_deduplicate = 0 SELECT {columns} FROM ({select})"
        );
        self.store.execute(&sql).await
    }

    /// Whether the staged table has what raw has.
    async fn staged(&self, table: &'static str, what: &str, wanted: u64) -> Result<(), RepairError> {
        let found = self.store.number(&format!("SELECT {what} FROM {}", self.staging(table)), &[]).await?;
        self.is_whole(table, found, wanted)
    }

    fn is_whole(&self, table: &'static str, found: u64, wanted: u64) -> Result<(), RepairError> {
        if found == wanted {
            return Ok(());
        }
        Err(RepairError::Staged { day: self.name.clone(), table, found, wanted })
    }

    /// The columns of a table, in its order.
    async fn columns(&self, table: &str) -> Result<String, StoreError> {
        let schema = self.store.schema();
        let name = format!("{table}{}", schema.layout.local_suffix());
        let sql = "SELECT name FROM system.columns WHERE database = {database:String} AND table = {name:String} \
                   ORDER BY position";
        let args = [("database", schema.database.clone()), ("name", name)];
        Ok(self.store.rows::<String>(sql, &args).await?.join(", "))
    }

    /// Puts the staged day in the place of the table's own. What was staged has been held against raw: where it is empty
    /// (no policy ran, or the day had nothing but a block that was never acknowledged), the table's own goes.
    async fn swap(&self, table: &str) -> Result<(), StoreError> {
        let (staging, local, day) = (self.staging(table), self.store.schema().local(table), &self.name);
        let rows = self.store.number(&format!("SELECT count() FROM {staging}"), &[]).await?;
        let from_empty = if rows == 0 { " SETTINGS allow_replace_partition_from_empty_source = 1" } else { "" };
        self.store
            .execute(&format!("ALTER TABLE {local} REPLACE PARTITION '{day}' FROM {staging}{from_empty}"))
            .await?;
        self.store.execute(&format!("DROP TABLE IF EXISTS {staging} SYNC")).await
    }
}
