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

/// Of the raw table: a part that an insert writes is compact whatever its size, so that an insert makes, writes and syncs
/// a few files and not two hundred: a third less CPU a row at 160,000 rows a block.
const COMPACT: (&str, &str) = ("min_level_for_wide_part", "1");
/// Of the raw table and the roll-ups: ten parts or more are merged at once, not five. A row of the 67 columns of raw is
/// written anew less often, which is the most that the engine does for an event (8.5 us of CPU with all merges, 11.2
/// with five), and a day has some parts more at a time.
const MERGED: (&str, &str) = ("merge_selector_base", "10");

/// Sets, on every MergeTree table of the database, what the configuration asks for and what inserts are cheaper with. One
/// statement for each table that lacks something.
pub(super) async fn apply(store: &Store) -> Result<(), StoreError> {
    let schema = store.schema();
    let tables = "SELECT name, create_table_query FROM system.tables WHERE database = {database:String} \
         AND engine LIKE '%MergeTree' AND NOT match(name, '^repair_') ORDER BY name";
    let database = [("database", schema.database.clone())];
    let tables = store.rows::<(String, String)>(tables, &database).await?;
    let known = format!("SELECT name FROM system.merge_tree_settings WHERE name IN ('{}', '{}')", COMPACT.0, MERGED.0);
    let known = store.rows::<String>(&known, &[]).await?;
    for (table, created) in tables {
        let mut settings = durable(schema.durability, &created);
        if !settings.is_empty() {
            tracing::info!(table, durability = ?schema.durability, "durability set");
        }
        let tuned = tuning(table.strip_suffix(schema.layout.local_suffix()).unwrap_or(&table));
        let tuned = tuned.iter().filter(|(name, _)| known.iter().any(|known| known == name));
        let tuned = tuned.map(|(name, value)| format!("{name} = {value}"));
        settings.extend(tuned.filter(|setting| !created.contains(setting)));
        if !settings.is_empty() {
            store.execute(&alter(schema, &table, &settings.join(", "))).await?;
        }
    }
    Ok(())
}

/// What a table that was created so lacks of what the configuration asks for.
fn durable(durability: Durability, created: &str) -> Vec<String> {
    let value = u8::from(durability == Durability::Fsync);
    let wanted = SETTINGS.map(|name| format!("{name} = {value}"));
    // A table that never had the setting is as one that has it off.
    let differs = match value {
        1 => wanted.iter().any(|setting| !created.contains(setting)),
        _ => created.contains("fsync_after_insert = 1"),
    };
    if differs { wanted.to_vec() } else { Vec::new() }
}

/// Where this server knows the setting.
fn tuning(table: &str) -> &'static [(&'static str, &'static str)] {
    match table {
        "access_events" => &[COMPACT, MERGED],
        table if super::ROLLUPS.iter().any(|rollup| rollup.table == table) => &[MERGED],
        _ => &[],
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
