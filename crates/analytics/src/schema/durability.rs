//! Settings of tables: what makes an insert durable before it is acknowledged, and what makes it cheap.
//!
//! Configuration like retention, and no migration: set again where it differs. By default ClickHouse syncs nothing at
//! an insert; a power failure then takes parts that were acknowledged.

use super::Schema;
use crate::store::{Store, StoreError};

/// How an insert is made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Files and folders of a part are synced before the insert is answered.
    #[default]
    Fsync,
    /// A majority of replicas has the part; their power must not fail together.
    Quorum,
    /// Neither: a power failure may take what was acknowledged.
    Off,
}

impl std::str::FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "fsync" => Ok(Self::Fsync),
            "quorum" => Ok(Self::Quorum),
            "off" => Ok(Self::Off),
            _ => Err(format!("`{text}` is none of `fsync`, `quorum` and `off`")),
        }
    }
}

/// Of a part that an insert wrote, and of one that a merge puts in the place of such parts.
const SETTINGS: [&str; 3] = ["fsync_after_insert", "fsync_part_directory", "min_rows_to_fsync_after_merge"];

/// Sets what the configuration asks for on every MergeTree table of the database.
pub(super) async fn apply(store: &Store) -> Result<(), StoreError> {
    let schema = store.schema();
    let value = u8::from(schema.durability == Durability::Fsync);
    let wanted: Vec<_> = SETTINGS.iter().map(|name| format!("{name} = {value}")).collect();
    // A table that never had the setting is as one that has it off.
    let lacks: Vec<_> = wanted.iter().map(|setting| format!("position(create_table_query, '{setting}') = 0")).collect();
    let differs = match value {
        1 => lacks.join(" OR "),
        _ => "position(create_table_query, 'fsync_after_insert = 1') > 0".to_owned(),
    };
    let sql = format!(
        "SELECT name FROM system.tables WHERE database = {{database:String}} AND engine LIKE '%MergeTree' \
         AND NOT match(name, '^repair_') AND ({differs}) ORDER BY name"
    );
    let args = [("database", schema.database.clone())];
    for table in store.rows::<String>(&sql, &args).await? {
        store.execute(&alter(schema, &table, &wanted.join(", "))).await?;
        tracing::info!(table, durability = ?schema.durability, "durability set");
    }
    Ok(())
}

/// Of the raw table: a part that an insert writes is compact whatever its size, so that an insert makes, writes and syncs
/// a few files and not two hundred: a third less CPU a row at 160,000 rows a block.
const COMPACT: (&str, &str) = ("min_level_for_wide_part", "1");
/// Of the raw table and the roll-ups: ten parts or more are merged at once, not five. A row of the 67 columns of raw is
/// written anew less often, which is the most that the engine does for an event (8.5 us of CPU with all merges, 11.2
/// with five), and a day has some parts more at a time.
const MERGED: (&str, &str) = ("merge_selector_base", "10");

/// Sets what inserts are cheaper with, where this server knows the setting.
pub(super) async fn tune(store: &Store) -> Result<(), StoreError> {
    set(store, "access_events", COMPACT).await?;
    set(store, "access_events", MERGED).await?;
    for rollup in &super::rollups::ROLLUPS {
        set(store, rollup.table, MERGED).await?;
    }
    Ok(())
}

async fn set(store: &Store, table: &str, (name, value): (&str, &str)) -> Result<(), StoreError> {
    let schema = store.schema();
    let table = format!("{table}{}", schema.layout.local_suffix());
    let wanted = format!("{name} = {value}");
    let sql = "SELECT count() FROM system.merge_tree_settings WHERE name = {name:String} AND NOT EXISTS (\
                 SELECT 1 FROM system.tables WHERE database = {database:String} AND name = {table:String} \
                 AND position(create_table_query, {wanted:String}) > 0)";
    let database = schema.database.clone();
    let args =
        [("name", name.to_owned()), ("database", database), ("table", table.clone()), ("wanted", wanted.clone())];
    match store.number(sql, &args).await? {
        0 => Ok(()),
        _ => store.execute(&alter(schema, &table, &wanted)).await,
    }
}

fn alter(schema: &Schema, table: &str, settings: &str) -> String {
    let on_cluster = schema.layout.on_cluster();
    format!(
        "ALTER TABLE {}.{}{on_cluster} MODIFY SETTING {settings}",
        super::quoted(&schema.database),
        super::quoted(table)
    )
}
