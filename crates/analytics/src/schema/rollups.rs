//! The roll-ups of requests, in one list: what each is made from, and by which sums it is held against raw.
//!
//! Verifying, repairing and retention go through this list, so that a roll-up that is added here is repaired and audited
//! like the others. Its table and its view are steps of their own ([`super::steps`]).

use super::selects::{
    FAILED, TUNNEL, attempts_select, consumers_select, generations_select, hour_select, links_select, minute_select,
    policies_select, refused, sum_columns,
};

/// A table that a view fills with sums over a minute or an hour.
pub struct Rollup {
    pub table: &'static str,
    /// Seconds that one row spans.
    pub step_s: i64,
    /// The roll-up that its view reads; raw where there is none.
    pub source: Option<&'static str>,
    /// What its view computes over a table.
    pub select: fn(&str) -> String,
    /// Sums that must agree: over the roll-up, and over raw.
    pub checks: fn() -> Vec<Check>,
    /// Kept as long as hours are, and not as long as minutes.
    pub is_hours: bool,
    /// Counts every request once, so that its count can be held against the events of a day.
    pub counts_all: bool,
}

/// One sum in both words, each of type `UInt64`.
pub struct Check {
    pub rolled: String,
    pub raw: String,
}

impl Check {
    fn new(rolled: impl Into<String>, raw: impl Into<String>) -> Self {
        Self { rolled: rolled.into(), raw: raw.into() }
    }

    /// A column that sums the raw column of its name, weighted.
    fn of(name: &str) -> Self {
        Self::new(format!("sum({name})"), format!("sum(toUInt64({name}) * sample_interval)"))
    }
}

/// Without the answers that open a tunnel: rows of before have those in their buckets.
const DURATIONS: &str = "sumIf(arraySum(mapValues(hist)), status != 101)";
const WEIGHT: &str = "sum(toUInt64(sample_interval))";
const BUCKETS: &str = "sum(arraySum(mapValues(hist)))";

/// In the order in which they are made: a source before what is made from it.
pub static ROLLUPS: [Rollup; 7] = [
    Rollup {
        table: "requests_1m",
        step_s: 60,
        source: None,
        select: minute_select,
        checks: requests,
        is_hours: false,
        counts_all: true,
    },
    Rollup {
        table: "requests_1h",
        step_s: 3600,
        source: Some("requests_1m"),
        select: hour_select,
        checks: requests,
        is_hours: true,
        counts_all: true,
    },
    Rollup {
        table: "consumers_1m",
        step_s: 60,
        source: None,
        select: consumers_select,
        checks: consumers,
        is_hours: false,
        counts_all: true,
    },
    Rollup {
        table: "links_1m",
        step_s: 60,
        source: None,
        select: links_select,
        checks: links,
        is_hours: false,
        counts_all: false,
    },
    Rollup {
        table: "policies_1m",
        step_s: 60,
        source: None,
        select: policies_select,
        checks: policies,
        is_hours: false,
        counts_all: false,
    },
    Rollup {
        table: "attempts_1m",
        step_s: 60,
        source: None,
        select: attempts_select,
        checks: attempts,
        is_hours: false,
        counts_all: false,
    },
    Rollup {
        table: "generations_1m",
        step_s: 60,
        source: None,
        select: generations_select,
        checks: generations,
        is_hours: false,
        counts_all: true,
    },
];

fn requests() -> Vec<Check> {
    let timed = format!("sumIf(toUInt64(sample_interval), status != 101 AND NOT {TUNNEL})");
    let mut checks = vec![Check::new("sum(n)", WEIGHT), Check::new(DURATIONS, timed)];
    checks.extend(sum_columns().map(|field| Check::of(field.name)));
    checks
}

fn consumers() -> Vec<Check> {
    let failed = format!("sumIf(toUInt64(sample_interval), {FAILED})");
    let refused = format!("sumIf(toUInt64(sample_interval), {})", refused());
    let mut checks =
        vec![Check::new("sum(n)", WEIGHT), Check::new("sum(failed)", failed), Check::new("sum(refused)", refused)];
    checks.extend(["total_us", "bytes_in", "bytes_out"].map(Check::of));
    checks
}

fn links() -> Vec<Check> {
    let sent_on = |what: &str| format!("sumIf({what}, notEmpty(attempt_us))");
    let of = |name: &str| Check::new(format!("sum({name})"), sent_on(&format!("toUInt64({name}) * sample_interval")));
    let linked = "sumIf(toUInt64(sample_interval), notEmpty(attempt_us) AND link_us > 0)";
    let mut checks = vec![
        Check::new("sum(n)", sent_on("toUInt64(sample_interval)")),
        Check::new("sum(linked)", linked),
        Check::new(BUCKETS, linked),
    ];
    checks.extend(["link_us", "upstream_us", "bytes_from_upstream"].map(of));
    checks
}

fn policies() -> Vec<Check> {
    each("policy_us")
}

fn attempts() -> Vec<Check> {
    each("attempt_us")
}

fn generations() -> Vec<Check> {
    let by = |column: &str| format!("sum(toUInt64(generation) * {column})");
    vec![Check::new("sum(n)", WEIGHT), Check::new(by("n"), by("sample_interval"))]
}

fn each(array: &str) -> Vec<Check> {
    let count = format!("sum(length({array}) * sample_interval)");
    let time = format!("sum(arraySum({array}) * sample_interval)");
    vec![Check::new("sum(n)", count.clone()), Check::new(BUCKETS, count), Check::new(format!("sum({array})"), time)]
}
