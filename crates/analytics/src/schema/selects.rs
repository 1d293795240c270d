//! What the views compute, as functions over the table that they read: a repair runs the very text that made the view
//! over one day of raw.
//!
//! The text of a view is frozen in its migration; a test holds it against these functions. Whoever adds a key or a
//! sum to [`FIELDS`] adds a step that alters table and view.

use weir_event::field::{FIELDS, Field, Rollup};

/// A request that failed: an answer that says so, or one that the upstream or the gateway did not bring to its end, whatever
/// its status was. A policy's answer is none.
pub(crate) const FAILED: &str =
    "(status >= 500 OR side = 'upstream' OR side = 'gateway' AND reason != 'policy_answered')";

/// An event that is a request, and no probe of `weirctl`. A probe weighs nothing, so that no sum has it anyway; without this
/// a key could be there with no request, and the slowest request could be a probe. Policies and upstreams never see one.
pub(crate) const REQUESTS: &str = "e.sample_interval > 0";

/// A tunnel, whose time is that of its handshake: what is slow or quick is not judged by it.
pub(crate) const TUNNEL: &str = "mapContains(attrs, 'tunnel.duration_us')";

/// A request that was refused for the client's own reasons. One that failed is none, whatever its status: it is counted
/// once.
pub(super) fn refused() -> String {
    format!("(status >= 400 AND status < 500 AND NOT {FAILED})")
}

/// The keys of the roll-ups besides the time: name and type.
pub fn key_columns() -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(|field| field.rollup == Rollup::Key && field.name != "ts")
}

/// What the roll-ups sum, each weighted with `sample_interval`.
pub fn sum_columns() -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(|field| field.rollup == Rollup::Sum)
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

/// One row a minute and key. A bucket `k` of `hist` holds [2^(k/8) - 1, 2^((k+1)/8) - 1) µs of `total_us`; tunnels are in
/// none.
pub fn minute_select(source: &str) -> String {
    let keys: Vec<_> = key_columns().map(|field| field.name).collect();
    let keys = keys.join(", ");
    let sums: Vec<_> = sum_columns().map(|field| field.name).collect();
    format!(
        "SELECT toStartOfMinute(e.ts) AS t, {keys},\n sum(toUInt64(e.sample_interval)) AS n,\n{} \
         max(e.total_us) AS max_total_us,\n \
         sumMapIf(map(toUInt16(floor(log2(least(e.total_us, 9223372036854775806) + 1) * 8)), toUInt64(e.sample_interval)), NOT {TUNNEL}) AS hist,\n \
         argMaxState(e.trace_id, e.total_us) AS slow_trace\nFROM {source} AS e\nWHERE {REQUESTS}\nGROUP BY t, {keys}",
        weighted(&sums),
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

/// One row a minute and consumer of an API.
pub fn consumers_select(source: &str) -> String {
    let (keys, refused) = ("organization, environment, site, api, consumer, entry", refused());
    format!(
        "SELECT toStartOfMinute(e.ts) AS t, {keys},\n \
         sum(toUInt64(e.sample_interval)) AS n,\n \
         sumIf(toUInt64(e.sample_interval), {FAILED}) AS failed,\n \
         sumIf(toUInt64(e.sample_interval), {refused}) AS refused,\n \
         sumIf(toUInt64(e.sample_interval), e.rate_limit IN ('exceeded', 'exceeded_shared')) AS limited,\n{} \
         max(e.total_us) AS max_total_us\nFROM {source} AS e\nWHERE {REQUESTS}\nGROUP BY t, {keys}",
        weighted(&["total_us", "bytes_in", "bytes_out"]),
    )
}

/// One row a minute and way from a gateway to a service, of the requests that were sent on. `linked` are those whose next
/// gateway reported its time; `hist` is of their `link_us`.
pub fn links_select(source: &str) -> String {
    let keys = "organization, environment, site, gateway, api, service";
    format!(
        "SELECT toStartOfMinute(e.ts) AS t, {keys},\n \
         sum(toUInt64(e.sample_interval)) AS n,\n \
         sumIf(toUInt64(e.sample_interval), e.side = 'upstream') AS failed,\n \
         sumIf(toUInt64(e.sample_interval), e.link_us > 0) AS linked,\n{} \
         max(e.link_us) AS max_link_us,\n \
         sumMapIf(map(toUInt16(floor(log2(e.link_us + 1) * 8)), toUInt64(e.sample_interval)), e.link_us > 0) AS hist\n\
         FROM {source} AS e\nWHERE notEmpty(e.attempt_us)\nGROUP BY t, {keys}",
        weighted(&LINK_SUMS),
    )
}

const LINK_SUMS: [&str; 7] =
    ["link_us", "upstream_us", "connect_us", "tls_us", "first_byte_us", "bytes_to_upstream", "bytes_from_upstream"];

/// One row a minute, policy and verdict; `hist` is of the policy's time.
pub fn policies_select(source: &str) -> String {
    each_select(
        source,
        "organization, environment, site, gateway, api, policy, verdict",
        "policy_us",
        "e.policy_names AS policy, e.policy_verdicts AS verdict, e.policy_us AS us",
    )
}

/// One row a minute, upstream address and failure (empty where a response head came); `hist` is of the attempt's time.
pub fn attempts_select(source: &str) -> String {
    each_select(
        source,
        "organization, environment, site, gateway, service, address, failure",
        "attempt_us",
        "e.attempt_upstreams AS address, e.attempt_outcomes AS failure, e.attempt_us AS us",
    )
}

/// One row a minute, process and generation of its configuration: its first and its last request.
pub fn generations_select(source: &str) -> String {
    let keys = "organization, environment, site, gateway, replica, generation";
    format!(
        "SELECT toStartOfMinute(e.ts) AS t, {keys},\n sum(toUInt64(e.sample_interval)) AS n,\n min(e.ts) AS first,\n \
         max(e.ts) AS last\nFROM {source} AS e\nWHERE {REQUESTS}\nGROUP BY t, {keys}"
    )
}

/// Of events that have several of something: each is counted.
fn each_select(source: &str, keys: &str, time: &str, arrays: &str) -> String {
    format!(
        "SELECT toStartOfMinute(e.ts) AS t, {keys},\n \
         sum(toUInt64(e.sample_interval)) AS n,\n \
         sum(toUInt64(us) * e.sample_interval) AS {time},\n \
         max(us) AS max_{time},\n \
         sumMap(map(toUInt16(floor(log2(us + 1) * 8)), toUInt64(e.sample_interval))) AS hist\n\
         FROM {source} AS e\nARRAY JOIN {arrays}\nGROUP BY t, {keys}"
    )
}

fn weighted(names: &[&str]) -> String {
    let sum = |name: &&str| format!(" sum(toUInt64(e.{name}) * e.sample_interval) AS {name},\n");
    names.iter().map(sum).collect()
}
