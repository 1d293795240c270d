//! The tables, as numbered migrations of one statement each, rendered for one server or for a cluster.
//!
//! Applied migrations are history: frozen text ([`steps`]) whose checksums never change. The SELECT of every view is a
//! function besides ([`selects`]), because the repair of a day runs the very same text over the raw table; tests hold
//! the two together, and the table against [`weir_event::field::FIELDS`]. Both renderings are golden files.

mod durability;
mod migrate;
mod render;
mod rollups;
mod selects;
mod steps;

pub use durability::Durability;
pub use migrate::{MigrateError, migrate};
pub use render::Layout;
pub use rollups::{ROLLUPS, Rollup};
pub use selects::seqs_select;
pub(crate) use selects::{FAILED, REQUESTS, key_columns, sum_columns};
pub(crate) use steps::rollups_step;

use std::time::Duration;

/// How long each kind of row is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// `access_events`. Above the age to which a gateway keeps chunks, or a late chunk could not be distinguished from new.
    pub raw: Duration,
    pub minutes: Duration,
    pub hours: Duration,
    /// `gateway_gauges`.
    pub gauges: Duration,
}

impl Retention {
    /// `stored_seqs` and what the ledger needs besides it: a week longer than the rows that they speak of.
    pub fn seqs(&self) -> Duration {
        self.raw + Duration::from_secs(7 * 86_400)
    }

    /// How long the rows of a roll-up are kept.
    pub fn of(&self, rollup: &Rollup) -> Duration {
        if rollup.is_hours { self.hours } else { self.minutes }
    }
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Self { raw: days(30), minutes: days(35), hours: days(400), gauges: days(35) }
    }
}

/// Where the tables are, and in which shape.
#[derive(Clone, Debug)]
pub struct Schema {
    pub database: String,
    pub layout: Layout,
    pub retention: Retention,
    pub durability: Durability,
}

/// One step of the schema: one statement that may run twice.
#[derive(Clone, Debug)]
pub struct Migration {
    pub number: u32,
    pub name: &'static str,
    pub sql: String,
}

impl Schema {
    /// The tables of one server, with the default retention.
    pub fn single(database: &str) -> Self {
        Self {
            database: database.to_owned(),
            layout: Layout::Single,
            retention: Retention::default(),
            durability: Durability::default(),
        }
    }

    /// The statement that makes the database, before any migration.
    pub fn create_database(&self) -> String {
        format!("CREATE DATABASE IF NOT EXISTS {}{}", quoted(&self.database), self.layout.on_cluster())
    }

    /// The name to write to and to build views on: the server's own table.
    pub fn local(&self, table: &str) -> String {
        format!("{}.{table}{}", quoted(&self.database), self.layout.local_suffix())
    }

    /// The name to read from: all shards.
    pub fn all(&self, table: &str) -> String {
        format!("{}.{table}", quoted(&self.database))
    }

    /// The name of a table as a literal, for `joinGet`.
    pub fn joined(&self, table: &str) -> String {
        format!("'{}.{table}'", self.database.replace('\\', "\\\\").replace('\'', "\\'"))
    }

    /// Every step that this layout has, in order.
    pub fn migrations(&self) -> Vec<Migration> {
        steps::migrations(self)
    }

    /// The whole DDL as text, for `weir-analytics schema --render` and the golden files.
    pub fn render(&self) -> String {
        let mut out = format!("{};\n", self.create_database());
        for migration in self.migrations() {
            out.push_str(&format!("\n-- {:03} {}\n{};\n", migration.number, migration.name, migration.sql));
        }
        out
    }
}

/// An identifier in backticks.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}
