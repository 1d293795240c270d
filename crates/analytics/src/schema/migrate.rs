//! Bringing the database to this version's schema.
//!
//! Every statement is idempotent, so that two ingestors that start together do no harm: each applies what it does
//! not find noted and notes it. A new database is noted as a whole when all of it is there. What was applied is held
//! against this version by checksum; a difference means that somebody edited history, and is refused rather than guessed
//! at. Retention is configuration and not part of the checksum: it is set again where it differs.

use super::{Layout, Migration, ROLLUPS, Schema, durability, steps};
use crate::store::{Store, StoreError};
use clickhouse::Row;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::time::Duration;

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(
        "migration {number} `{name}` was applied to database `{database}` with another text; use the version of \
         weir-analytics that made the database, or another --database"
    )]
    Changed { number: u32, name: String, database: String },
    #[error(
        "database `{database}` has migration {found}, which this version does not know (its last is {known}); use a newer \
         weir-analytics"
    )]
    Newer { found: u32, known: u32, database: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Row, Deserialize)]
struct Applied {
    number: u32,
    name: String,
    checksum: String,
}

/// Applies what is missing. Answers how many steps it took.
pub async fn migrate(store: &Store) -> Result<usize, MigrateError> {
    let schema = store.schema();
    store.execute(&schema.create_database()).await?;
    store.execute(&log_table(schema)).await?;
    let sql =
        format!("SELECT number, any(name) AS name, any(checksum) AS checksum FROM {} GROUP BY number", log(schema));
    let applied: HashMap<u32, Applied> =
        store.rows::<Applied>(&sql, &[]).await?.into_iter().map(|row| (row.number, row)).collect();
    let steps = schema.migrations();
    if let Some(found) = applied.keys().copied().filter(|number| !steps::is_known(*number)).max() {
        return Err(MigrateError::Newer { found, known: steps::last(), database: schema.database.clone() });
    }
    let checksums = checksums(schema);
    let mut missing = Vec::new();
    for step in &steps {
        let checksum = &checksums[&step.number];
        match applied.get(&step.number) {
            Some(row) if row.checksum == *checksum => {}
            Some(row) => {
                let (name, database) = (row.name.clone(), schema.database.clone());
                return Err(MigrateError::Changed { number: step.number, name, database });
            }
            None => missing.push((step, checksum.as_str())),
        }
    }
    // In a new database nothing is lost when they are all taken again: an insert for each would cost as much as they do.
    let at_once = if applied.is_empty() { missing.len().max(1) } else { 1 };
    for steps in missing.chunks(at_once) {
        take(store, steps).await?;
    }
    retain(store).await?;
    durability::apply(store).await?;
    Ok(missing.len())
}

/// Applies these steps, and notes them with their checksums.
async fn take(store: &Store, steps: &[(&Migration, &str)]) -> Result<(), StoreError> {
    for (step, _) in steps {
        store.execute(&step.sql).await?;
        tracing::info!(number = step.number, name = step.name, "schema migration applied");
    }
    let note =
        |(step, checksum): &(&Migration, &str)| format!("({}, '{}', '{checksum}', now())", step.number, step.name);
    let notes: Vec<_> = steps.iter().map(note).collect();
    let log = log(store.schema());
    store.execute(&format!("INSERT INTO {log} (number, name, checksum, applied) VALUES {}", notes.join(", "))).await
}

fn log(schema: &Schema) -> String {
    schema.all("schema_migrations")
}

fn log_table(schema: &Schema) -> String {
    let engine = match schema.layout {
        Layout::Single => "MergeTree".to_owned(),
        Layout::Cluster(_) => schema.layout.engine("MergeTree"),
    };
    format!(
        "CREATE TABLE IF NOT EXISTS {}{} (number UInt32, name String, checksum String, applied DateTime('UTC')) \
         ENGINE = {engine} ORDER BY number",
        log(schema),
        schema.layout.on_cluster(),
    )
}

/// Of every step as it reads in database `weir` with the default retention, in hex.
fn checksums(schema: &Schema) -> HashMap<u32, String> {
    let canonical = Schema { layout: schema.layout.clone(), ..Schema::single("weir") };
    let hex = |sql: &str| Sha256::digest(sql).iter().map(|byte| format!("{byte:02x}")).collect();
    canonical.migrations().into_iter().map(|step| (step.number, hex(&step.sql))).collect()
}

/// Sets the retention of every table whose own differs from the configured one.
async fn retain(store: &Store) -> Result<(), StoreError> {
    let schema = store.schema();
    let keep = schema.retention;
    let seqs = keep.seqs();
    let mut tables: Vec<(&str, &str, Duration)> = vec![
        ("access_events", "toDateTime(ts)", keep.raw),
        ("stored_seqs", "day", seqs),
        ("gaps", "toDateTime(received)", seqs),
        ("dead_letters", "toDateTime(received)", seqs),
        ("streams", "toDateTime(reported)", seqs),
        ("dead_chunks", "toDateTime(received)", seqs),
        ("gateway_gauges", "toDateTime(t)", keep.gauges),
    ];
    tables.extend(ROLLUPS.iter().map(|rollup| (rollup.table, "t", keep.of(rollup))));
    let found = "SELECT name, create_table_query FROM system.tables WHERE database = {database:String}";
    let found = store.rows::<(String, String)>(found, &[("database", schema.database.clone())]).await?;
    let found: HashMap<String, String> = found.into_iter().collect();
    for (table, time, duration) in tables {
        let created = found.get(&format!("{table}{}", schema.layout.local_suffix()));
        if !created.is_some_and(|text| text.contains(&format!("toIntervalSecond({})", duration.as_secs()))) {
            store
                .execute(&format!(
                    "ALTER TABLE {}{} MODIFY TTL {time} + INTERVAL {} SECOND",
                    schema.local(table),
                    schema.layout.on_cluster(),
                    duration.as_secs()
                ))
                .await?;
            tracing::info!(table, seconds = duration.as_secs(), "retention set");
        }
    }
    Ok(())
}
