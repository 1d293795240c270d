//! After an upgrade: what a new roll-up lacks of the days before it.
//!
//! A view fills its table from the moment that a migration makes or changes it. The days that are already stored are
//! held against raw once, newest first, while events come in, and those that differ are rebuilt ([`super::repair`]).
//! That it was done is a row of `rollup_fills`, so an interrupted run begins again and a finished one does not.

use super::days::Days;
use super::lease::{Lease, Session};
use super::repair::{self, RepairError};
use super::verify;
use crate::schema;
use crate::store::{Store, StoreError};
use std::sync::Arc;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Fills once in every session until it is done, while this process is the writer.
pub(super) async fn run(store: Store, lease: Lease, days: Arc<Days>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let session = lease.next_session().await;
        match fill(&store, &lease, &session, &days).await {
            Ok(true) => return,
            Ok(false) => continue,
            Err(error) => tracing::warn!(%error, "roll-ups of earlier days are not compared yet; trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// False when the session ended before every day was held against raw.
async fn fill(store: &Store, lease: &Lease, session: &Arc<Session>, days: &Days) -> Result<bool, StoreError> {
    let step = schema::rollups_step();
    let fills = store.schema().all("rollup_fills");
    if store.number(&format!("SELECT count() FROM {fills} WHERE step >= {step}"), &[]).await? > 0 {
        return Ok(true);
    }
    let mut open = stored_days(store).await?;
    let count = open.len();
    while let Some((day, name)) = open.pop() {
        let _taken = days.take(day).await;
        if !lease.is_current(session) {
            return Ok(false);
        }
        if verify::day_agrees(store, day).await? {
            continue;
        }
        match repair::day(store, day, session.term(), None).await {
            Ok(done) => tracing::info!(
                day = name,
                events = done.rows,
                left = open.len(),
                "the roll-ups of a day from before the upgrade are filled"
            ),
            Err(RepairError::Store(error)) => return Err(error),
            Err(error) => tracing::warn!(%error, "the roll-ups of a day from before the upgrade are not filled"),
        }
    }
    store.execute(&format!("INSERT INTO {fills} (step, filled) SELECT toUInt32({step}), now()")).await?;
    tracing::debug!(days = count, step, "every roll-up was held against raw");
    Ok(true)
}

/// The days of which raw has rows, oldest first: in days since the Unix epoch, and as `2026-11-23`.
async fn stored_days(store: &Store) -> Result<Vec<(i64, String)>, StoreError> {
    let schema = store.schema();
    let table = schema.local("access_events");
    let sql = "SELECT DISTINCT toInt64(toRelativeDayNum(toDate(partition))) AS day, partition FROM system.parts \
               WHERE database = {database:String} AND table = {table:String} AND active ORDER BY day";
    let args =
        [("database", schema.database.clone()), ("table", table.rsplit('.').next().unwrap_or_default().to_owned())];
    store.rows(sql, &args).await
}
