//! The tables of the ledger besides those of the events: what gateways report, what the audits found, what is compacted
//! of streams that outlive the retention of `stored_seqs`, and what an operator has acknowledged. Frozen text, as every
//! migration is.
//!
//! None of them has an end of its rows that a loss could run out at: a loss stays until it is acknowledged.

use super::{Layout, Migration, Schema};
use crate::schema::tables::distributed;

pub(super) fn migrations(schema: &Schema) -> Vec<Migration> {
    let mut steps = vec![
        (40, "stream_reports", stream_reports(schema)),
        (41, "report_history", report_history(schema)),
        (42, "report_history_mv", report_history_mv(schema)),
        (43, "audits", audits(schema)),
        (44, "stream_accounts", stream_accounts(schema)),
        (45, "acknowledgements", acknowledgements(schema)),
    ];
    if let Layout::Cluster(cluster) = &schema.layout {
        let tables = [
            (46, "stream_reports"),
            (47, "report_history"),
            (48, "audits"),
            (49, "stream_accounts"),
            (50, "acknowledgements"),
        ];
        steps.extend(tables.map(|(number, table)| (number, table, distributed(schema, cluster, table, "stream"))));
    }
    steps.push((51, "stream_reports_seed", seed(schema)));
    steps.into_iter().map(|(number, name, sql)| Migration { number, name, sql }).collect()
}

fn create(schema: &Schema, table: &str) -> String {
    format!("CREATE TABLE IF NOT EXISTS {}{}", schema.local(table), schema.layout.on_cluster())
}

/// `newest` is the time of receipt in milliseconds, 16 digits, and the report as JSON: the greatest is the newest.
fn stream_reports(schema: &Schema) -> String {
    format!(
        "{} (\n  stream UInt64,\n  organization LowCardinality(String),\n  environment LowCardinality(String),\n  \
         site LowCardinality(String),\n  gateway LowCardinality(String),\n  replica LowCardinality(String),\n  \
         boot FixedString(16),\n  worker UInt16,\n  accepted SimpleAggregateFunction(max, UInt64),\n  \
         counted SimpleAggregateFunction(max, DateTime64(3, 'UTC')),\n  \
         received SimpleAggregateFunction(max, DateTime64(3, 'UTC')),\n  \
         newest SimpleAggregateFunction(max, String) CODEC(ZSTD(1))\n)\nENGINE = {}\n\
         ORDER BY (organization, environment, site, gateway, replica, boot, worker, stream)",
        create(schema, "stream_reports"),
        schema.layout.engine("AggregatingMergeTree"),
    )
}

/// Which number was counted when, for two days: how far back an account that waits was whole.
fn report_history(schema: &Schema) -> String {
    format!(
        "{} (\n  stream UInt64,\n  counted DateTime64(3, 'UTC'),\n  accepted UInt64\n)\nENGINE = {}\n\
         PARTITION BY toDate(counted)\nORDER BY (stream, accepted)\nTTL toDateTime(counted) + INTERVAL 172800 SECOND\n\
         SETTINGS ttl_only_drop_parts = 1",
        create(schema, "report_history"),
        schema.layout.engine("MergeTree"),
    )
}

fn report_history_mv(schema: &Schema) -> String {
    format!(
        "CREATE MATERIALIZED VIEW IF NOT EXISTS {}{} TO {} AS\nSELECT stream, counted, accepted FROM {}",
        schema.all("report_history_mv"),
        schema.layout.on_cluster(),
        schema.local("report_history"),
        schema.local("stream_reports"),
    )
}

/// What was ever stored of a stream on a day, and what of it the rows no longer hold. The newest row counts.
fn audits(schema: &Schema) -> String {
    format!(
        "{} (\n  day Date,\n  stream UInt64,\n  stored Array(Tuple(UInt64, UInt64)) CODEC(ZSTD(1)),\n  \
         gone Array(Tuple(UInt64, UInt64)) CODEC(ZSTD(1)),\n  doubled UInt64,\n  audited DateTime64(3, 'UTC'),\n  \
         keep_until Date\n)\nENGINE = {}\nPARTITION BY toYYYYMM(day)\nORDER BY (day, stream)\nTTL keep_until",
        create(schema, "audits"),
        schema.layout.engine_with("ReplacingMergeTree", "audited"),
    )
}

/// What is accounted for of a stream, however old. The newest row counts.
fn stream_accounts(schema: &Schema) -> String {
    format!(
        "{} (\n  stream UInt64,\n  stored Array(Tuple(UInt64, UInt64)) CODEC(ZSTD(1)),\n  \
         gaps Array(Tuple(UInt64, UInt64, String)) CODEC(ZSTD(1)),\n  \
         dead Array(Tuple(UInt64, UInt64, String)) CODEC(ZSTD(1)),\n  compacted DateTime64(3, 'UTC')\n)\nENGINE = {}\n\
         ORDER BY stream",
        create(schema, "stream_accounts"),
        schema.layout.engine_with("ReplacingMergeTree", "compacted"),
    )
}

/// `kind` is `missing` with the numbers, or `unknown` with the first number of what is not known.
fn acknowledgements(schema: &Schema) -> String {
    format!(
        "{} (\n  stream UInt64,\n  kind LowCardinality(String),\n  first UInt64,\n  last UInt64,\n  \
         what LowCardinality(String),\n  reason String,\n  who String,\n  at DateTime64(3, 'UTC')\n)\nENGINE = {}\n\
         ORDER BY (stream, first, at)",
        create(schema, "acknowledgements"),
        schema.layout.engine("MergeTree"),
    )
}

/// What was reported to a version without these tables.
fn seed(schema: &Schema) -> String {
    format!(
        "INSERT INTO {} (stream, organization, environment, site, gateway, replica, boot, worker, accepted, counted, \
         received, newest)\nSELECT stream, organization, environment, site, gateway, replica, boot, worker, \
         max(s.accepted), max(s.reported), max(s.reported), \
         concat(leftPad(toString(toUnixTimestamp64Milli(max(s.reported))), 16, '0'), \
         if(max(s.closed) = 1, '{{\"closed\":true}}', '{{}}'))\nFROM {} AS s\n\
         GROUP BY stream, organization, environment, site, gateway, replica, boot, worker",
        schema.local("stream_reports"),
        schema.local("streams"),
    )
}
