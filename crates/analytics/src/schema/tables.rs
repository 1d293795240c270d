//! Every table and view.
//!
//! Order of `access_events`: the tenant first, then API and route, then time. The page and the overviews read
//! roll-ups; what reads raw rows is the drill-down into one route, across all sites that a chain of gateways
//! crosses, so site and gateway are no prefix of the key. Partitions are days, so that retention drops whole
//! parts; never the tenant (parts would multiply), never less than a day.
//!
//! Every view target is partitioned by the day of the events, as raw is: a day can be rebuilt by itself.

use super::{Migration, Schema};
use std::time::Duration;
use weir_event::field::{FIELDS, Field};

/// The keys of the roll-ups besides the time: name and type.
pub fn key_columns() -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(|field| field.rollup == "k" && field.name != "ts")
}

/// What the roll-ups sum, each weighted with `sample_interval`.
pub fn sum_columns() -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(|field| field.rollup == "s")
}

/// The keys in the order that roll-ups are sorted in: the tenant, what is asked for, then the rest.
const KEY_ORDER: &str = "organization, environment, api, route, site, gateway, status, reason, side, t";

pub(super) fn migrations(schema: &Schema) -> Vec<Migration> {
    let mut steps = vec![
        (1, "access_events", access_events(schema)),
        (2, "stored_seqs", stored_seqs(schema)),
        (3, "stored_seqs_mv", view(schema, "stored_seqs", "access_events", seqs_select)),
        (4, "requests_1m", requests(schema, "requests_1m", schema.retention.minutes)),
        (5, "requests_1m_mv", view(schema, "requests_1m", "access_events", minute_select)),
        (6, "requests_1h", requests(schema, "requests_1h", schema.retention.hours)),
        (7, "requests_1h_mv", view(schema, "requests_1h", "requests_1m", hour_select)),
        (8, "gaps", gaps(schema)),
        (9, "dead_letters", dead_letters(schema)),
        (10, "streams", streams(schema)),
        (11, "barrier", barrier(schema)),
        (12, "barrier_mv", view(schema, "barrier", "access_events", barrier_select)),
    ];
    if let super::Layout::Cluster(cluster) = &schema.layout {
        // A trace stays on one shard; a report or a gap may be anywhere, since readers merge by key.
        let sharding = [
            (13, "access_events", "cityHash64(organization, trace_id)"),
            (14, "stored_seqs", "stream"),
            (15, "requests_1m", "cityHash64(organization, api, route)"),
            (16, "requests_1h", "cityHash64(organization, api, route)"),
            (17, "gaps", "stream"),
            (18, "dead_letters", "stream"),
            (19, "streams", "stream"),
        ];
        steps.extend(sharding.map(|(number, table, key)| (number, table, distributed(schema, cluster, table, key))));
    }
    let mut steps: Vec<_> = steps.into_iter().map(|(number, name, sql)| Migration { number, name, sql }).collect();
    steps.extend(super::ledger::migrations(schema));
    steps
}

fn create(schema: &Schema, table: &str) -> String {
    format!("CREATE TABLE IF NOT EXISTS {}{}", schema.local(table), schema.layout.on_cluster())
}

fn column(field: &Field) -> String {
    let codec = if field.codec.is_empty() { String::new() } else { format!(" CODEC({})", field.codec) };
    format!("  {} {}{codec}", field.name, field.column)
}

fn ttl(time: &str, keep: Duration) -> String {
    format!("TTL {time} + INTERVAL {} SECOND", keep.as_secs())
}

fn access_events(schema: &Schema) -> String {
    let columns: Vec<_> = FIELDS.iter().map(column).collect();
    format!(
        "{} (\n{},\n  INDEX ix_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1,\n  \
         INDEX ix_ts ts TYPE minmax GRANULARITY 1\n)\nENGINE = {}\nPARTITION BY toDate(ts)\n\
         ORDER BY (organization, environment, api, route, ts)\n{}\nSETTINGS ttl_only_drop_parts = 1, {}",
        create(schema, "access_events"),
        columns.join(",\n"),
        schema.layout.engine("MergeTree"),
        ttl("toDateTime(ts)", schema.retention.raw),
        schema.layout.window(),
    )
}

fn stored_seqs(schema: &Schema) -> String {
    format!(
        "{} (\n  day Date,\n  stream UInt64 CODEC(ZSTD(1)),\n  block UUID CODEC(ZSTD(1)),\n  \
         first UInt64 CODEC(Delta(8), ZSTD(1)),\n  last UInt64 CODEC(Delta(8), ZSTD(1)),\n  \
         n UInt64 CODEC(T64, ZSTD(1))\n)\nENGINE = {}\nPARTITION BY day\nORDER BY (stream, first)\n{}\n\
         SETTINGS ttl_only_drop_parts = 1, {}",
        create(schema, "stored_seqs"),
        schema.layout.engine("MergeTree"),
        ttl("day", schema.retention.seqs()),
        schema.layout.window(),
    )
}

/// The runs of sequence numbers in `source`, per stream and block.
pub fn seqs_select(source: &str) -> String {
    format!(
        "SELECT day, stream, block, run[1] AS first, run[-1] AS last, toUInt64(length(run)) AS n\n\
         FROM (\n  SELECT toDate(ts) AS day, stream, block, arraySort(groupArray(seq)) AS seqs\n  \
         FROM {source} GROUP BY day, stream, block\n)\n\
         ARRAY JOIN arraySplit((seq, step) -> step != 1, seqs, arrayDifference(seqs)) AS run"
    )
}

fn requests(schema: &Schema, table: &str, keep: Duration) -> String {
    let mut columns = vec!["  t DateTime('UTC') CODEC(Delta(4), ZSTD(1))".to_owned()];
    columns.extend(key_columns().map(|field| format!("  {} {}", field.name, field.column)));
    let sum = |name: &str| format!("  {name} SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1))");
    columns.push(sum("n"));
    columns.extend(sum_columns().map(|field| sum(field.name)));
    columns.push("  max_total_us SimpleAggregateFunction(max, UInt64) CODEC(T64, ZSTD(1))".to_owned());
    columns.push("  hist SimpleAggregateFunction(sumMap, Map(UInt16, UInt64)) CODEC(ZSTD(1))".to_owned());
    columns.push("  slow_trace AggregateFunction(argMax, FixedString(16), UInt64) CODEC(ZSTD(1))".to_owned());
    format!(
        "{} (\n{}\n)\nENGINE = {}\nPARTITION BY toDate(t)\nORDER BY ({KEY_ORDER})\n{}\n\
         SETTINGS ttl_only_drop_parts = 1, {}",
        create(schema, table),
        columns.join(",\n"),
        schema.layout.engine("AggregatingMergeTree"),
        ttl("t", keep),
        schema.layout.window(),
    )
}

/// One row a minute and key. A bucket `k` of `hist` holds [2^(k/8) - 1, 2^((k+1)/8) - 1) µs of `total_us`.
pub fn minute_select(source: &str) -> String {
    let keys: Vec<_> = key_columns().map(|field| field.name).collect();
    let keys = keys.join(", ");
    let sums: Vec<_> =
        sum_columns().map(|field| format!(" sum(toUInt64(e.{0}) * e.sample_interval) AS {0},\n", field.name)).collect();
    format!(
        "SELECT toStartOfMinute(e.ts) AS t, {keys},\n sum(toUInt64(e.sample_interval)) AS n,\n{} \
         max(e.total_us) AS max_total_us,\n \
         sumMap(map(toUInt16(floor(log2(least(e.total_us, 9223372036854775806) + 1) * 8)), toUInt64(e.sample_interval))) AS hist,\n \
         argMaxState(e.trace_id, e.total_us) AS slow_trace\nFROM {source} AS e\nGROUP BY t, {keys}",
        sums.concat(),
    )
}

/// One row an hour and key, from the minutes.
pub fn hour_select(source: &str) -> String {
    let keys: Vec<_> = key_columns().map(|field| field.name).collect();
    let keys = keys.join(", ");
    let sums: Vec<_> = sum_columns().map(|field| format!(" sum(m.{0}) AS {0},\n", field.name)).collect();
    format!(
        "SELECT toStartOfHour(m.t) AS t, {keys},\n sum(m.n) AS n,\n{} max(m.max_total_us) AS max_total_us,\n \
         sumMap(m.hist) AS hist,\n argMaxMergeState(m.slow_trace) AS slow_trace\n\
         FROM {source} AS m\nGROUP BY t, {keys}",
        sums.concat(),
    )
}

fn view(schema: &Schema, target: &str, source: &str, select: fn(&str) -> String) -> String {
    format!(
        "CREATE MATERIALIZED VIEW IF NOT EXISTS {}{} TO {} AS\n{}",
        schema.all(&format!("{target}_mv")),
        schema.layout.on_cluster(),
        schema.local(target),
        select(&schema.local(source)),
    )
}

/// Inserted again by every resend of its chunk: equal rows are one row.
fn gaps(schema: &Schema) -> String {
    format!(
        "{} (\n  stream UInt64,\n  first UInt64,\n  last UInt64,\n  reason LowCardinality(String),\n  \
         received DateTime64(3, 'UTC')\n)\nENGINE = {}\nPARTITION BY toYYYYMM(received)\n\
         ORDER BY (stream, first, last, reason)\n{}",
        create(schema, "gaps"),
        schema.layout.engine("ReplacingMergeTree"),
        ttl("toDateTime(received)", schema.retention.seqs()),
    )
}

fn dead_letters(schema: &Schema) -> String {
    format!(
        "{} (\n  stream UInt64,\n  seq UInt64,\n  reason LowCardinality(String),\n  ts DateTime64(6, 'UTC'),\n  \
         received DateTime64(3, 'UTC'),\n  event String CODEC(ZSTD(1))\n)\nENGINE = {}\n\
         PARTITION BY toYYYYMM(received)\nORDER BY (stream, seq)\n{}",
        create(schema, "dead_letters"),
        schema.layout.engine("ReplacingMergeTree"),
        ttl("toDateTime(received)", schema.retention.seqs()),
    )
}

/// What gateways say of their streams: reports may come twice or late, so only the largest count.
fn streams(schema: &Schema) -> String {
    format!(
        "{} (\n  stream UInt64,\n  organization LowCardinality(String),\n  environment LowCardinality(String),\n  \
         site LowCardinality(String),\n  gateway LowCardinality(String),\n  replica LowCardinality(String),\n  \
         boot FixedString(16),\n  worker UInt16,\n  accepted SimpleAggregateFunction(max, UInt64),\n  \
         closed SimpleAggregateFunction(max, UInt8),\n  \
         reported SimpleAggregateFunction(max, DateTime64(3, 'UTC'))\n)\nENGINE = {}\n\
         ORDER BY (organization, environment, site, gateway, replica, boot, worker, stream)\n{}",
        create(schema, "streams"),
        schema.layout.engine("AggregatingMergeTree"),
        ttl("toDateTime(reported)", schema.retention.seqs()),
    )
}

/// Empty for ever. Every insert into raw holds a share of its lock, through its view, until the last roll-up is
/// written: so `TRUNCATE TABLE barrier`, which wants the whole lock, returns when no insert is under way.
fn barrier(schema: &Schema) -> String {
    format!("{} (x UInt8)\nENGINE = Memory", create(schema, "barrier"))
}

fn barrier_select(source: &str) -> String {
    format!("SELECT toUInt8(0) AS x FROM {source} WHERE 0")
}

pub(super) fn distributed(schema: &Schema, cluster: &str, table: &str, key: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {}{} AS {}\nENGINE = Distributed({}, {}, '{table}_local', {key})",
        schema.all(table),
        schema.layout.on_cluster(),
        schema.local(table),
        super::quoted(cluster),
        super::quoted(&schema.database),
    )
}
