//! What the views compute, as functions over the table that they read: a repair runs the very text that made the view
//! over one day of raw.
//!
//! The text of a view is frozen in its migration; a test holds it against these functions. Whoever adds a key or a
//! sum to [`FIELDS`] adds a step that alters table and view.

use weir_event::field::{FIELDS, Field};

/// The keys of the roll-ups besides the time: name and type.
pub fn key_columns() -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(|field| field.rollup == "k" && field.name != "ts")
}

/// What the roll-ups sum, each weighted with `sample_interval`.
pub fn sum_columns() -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(|field| field.rollup == "s")
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
