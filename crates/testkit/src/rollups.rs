//! Roll-ups against raw, key by key and minute by minute (or hour): the same counts, sums, largest values, and every bucket
//! of the histograms.
//!
//! The figures are computed from raw in words of their own, and not with those of the views.

const KEYS: &str = "organization, environment, site, gateway, api, route, status, reason, side, entry";
const SUMS: [&str; 7] = ["total_us", "gateway_us", "upstream_us", "client_us", "link_us", "bytes_in", "bytes_out"];

/// For each roll-up of `database` a statement whose result is the first keys in which it and raw differ, each with the
/// side that has it: no line where they agree.
pub fn differences(database: &str) -> Vec<(&'static str, String)> {
    let hours = [("requests_1m", "toStartOfMinute"), ("requests_1h", "toStartOfHour")];
    let mut all: Vec<_> = hours.map(|(table, start)| (table, requests(database, table, start))).into();
    all.extend(BY_MINUTE.map(|(table, rolled, raw)| {
        let rolled = by_key(&format!("{rolled} FROM {database}.{table}"));
        (table, difference(&rolled, &by_key(&format!("{raw} FROM {database}.access_events AS e"))))
    }));
    all.push(("generations_1m", generations(database)));
    all
}

fn generations(database: &str) -> String {
    let keys = "organization, environment, site, gateway, replica, generation";
    let of = |minute: &str, figures: &str, from: &str| {
        format!("SELECT {minute} AS minute, {keys}, {figures} FROM {database}.{from} GROUP BY minute, {keys}")
    };
    let rolled = of("t", "sum(n) AS requests, min(first) AS earliest, max(last) AS latest", "generations_1m");
    let raw = of(
        "toDateTime(ts, 'UTC') - toSecond(ts)",
        "sum(sample_interval) AS requests, min(ts) AS earliest, max(ts) AS latest",
        "access_events WHERE sample_interval != 0",
    );
    difference(&rolled, &raw)
}

/// Both ways: what is in one and not in the other.
fn difference(rolled: &str, raw: &str) -> String {
    format!(
        "SELECT * FROM (SELECT 'only in raw' AS found, * FROM ({raw} EXCEPT {rolled}) \
         UNION ALL SELECT 'only in the roll-up' AS found, * FROM ({rolled} EXCEPT {raw})) LIMIT 5 \
         SETTINGS prefer_column_name_to_alias = 1"
    )
}

fn requests(database: &str, table: &str, start: &str) -> String {
    let of = |each: &dyn Fn(&str) -> String| SUMS.map(each).join(", ");
    let raw = format!(
        "SELECT minute, {KEYS}, sum(number) AS events, {}, max(most_us) AS most, \
         arraySort(groupArray((bucket, number))) AS buckets FROM (SELECT {start}(e.ts) AS minute, {KEYS}, {}, \
         max(e.total_us) AS most_us, sum(e.sample_interval) AS number, \
         toUInt16(floor(log2(e.total_us + 1) * 8)) AS bucket \
         FROM {database}.access_events AS e WHERE e.sample_interval != 0 GROUP BY minute, {KEYS}, bucket) GROUP BY minute, {KEYS}",
        of(&|name| format!("sum(w_{name}) AS all_{name}")),
        of(&|name| format!("sum(e.{name} * e.sample_interval) AS w_{name}")),
    );
    let rolled = format!(
        "SELECT t AS minute, {KEYS}, sum(n) AS events, {}, max(max_total_us) AS most, \
         arraySort(arrayZip(mapKeys(sumMap(hist)), mapValues(sumMap(hist)))) AS buckets \
         FROM {database}.{table} GROUP BY t, {KEYS}",
        of(&|name| format!("sum({name}) AS all_{name}")),
    );
    difference(&rolled, &raw)
}

/// The roll-ups by minute and something else: the table, its keys and figures, and the same of raw in words of its own.
/// What is rolled up is weighted and added again in [`by_key`].
const BY_MINUTE: [(&str, &str, &str); 4] = [
    (
        "consumers_1m",
        "SELECT [toString(t), organization, environment, site, api, consumer, toString(entry)] AS key, \
         [n, failed, refused, limited, total_us, bytes_in, bytes_out] AS sums, toUInt64(max_total_us) AS most, \
         map(0, toUInt64(0)) AS buckets",
        "SELECT [toString(toDateTime(ts, 'UTC') - toSecond(ts)), organization, environment, site, api, consumer, toString(entry)] AS key, \
         arrayMap(each -> toUInt64(each * sample_interval), [1, toUInt64(intDiv(status, 100) >= 5 \
         OR side = 'upstream' OR (side = 'gateway' AND NOT startsWith(reason, 'policy_ans'))), \
         toUInt64(intDiv(status, 100) = 4 \
         AND (side IN ('', 'downstream') OR startsWith(reason, 'policy_ans'))), toUInt64(rate_limit LIKE 'exceeded%'), total_us, bytes_in, bytes_out]) AS sums, \
         toUInt64(if(sample_interval = 0, 0, total_us)) AS most, map(0, toUInt64(0)) AS buckets",
    ),
    (
        "links_1m",
        "SELECT [toString(t), organization, environment, site, gateway, api, service] AS key, \
         [n, failed, linked, link_us, upstream_us, connect_us, tls_us, first_byte_us, bytes_to_upstream, bytes_from_upstream] \
         AS sums, toUInt64(max_link_us) AS most, hist AS buckets",
        "SELECT [toString(toDateTime(ts, 'UTC') - toSecond(ts)), organization, environment, site, gateway, api, service] AS key, \
         if(length(attempt_outcomes) = 0, [], arrayMap(each -> toUInt64(each * sample_interval), [1, toUInt64(side = 'upstream'), \
         toUInt64(link_us != 0), link_us, upstream_us, connect_us, tls_us, first_byte_us, bytes_to_upstream, bytes_from_upstream])) \
         AS sums, toUInt64(if(length(attempt_outcomes) = 0, 0, link_us)) AS most, \
         if(link_us != 0 AND length(attempt_outcomes) > 0, map(toUInt16(floor(8 * log2(link_us + 1))), toUInt64(sample_interval)), \
         map()) AS buckets",
    ),
    (
        "policies_1m",
        "SELECT [toString(t), organization, environment, site, gateway, api, policy, verdict] AS key, [n, policy_us] AS sums, \
         toUInt64(max_policy_us) AS most, hist AS buckets",
        "SELECT [toString(toDateTime(ts, 'UTC') - toSecond(ts)), organization, environment, site, gateway, api, one.1, one.2] AS key, \
         [toUInt64(sample_interval), toUInt64(one.3 * sample_interval)] AS sums, toUInt64(one.3) AS most, \
         map(toUInt16(floor(8 * log2(one.3 + 1))), toUInt64(sample_interval)) AS buckets, \
         arrayJoin(arrayZip(policy_names, policy_verdicts, policy_us)) AS one",
    ),
    (
        "attempts_1m",
        "SELECT [toString(t), organization, environment, site, gateway, service, address, failure] AS key, \
         [n, attempt_us] AS sums, toUInt64(max_attempt_us) AS most, hist AS buckets",
        "SELECT [toString(toDateTime(ts, 'UTC') - toSecond(ts)), organization, environment, site, gateway, service, one.1, one.2] AS key, \
         [toUInt64(sample_interval), toUInt64(one.3 * sample_interval)] AS sums, toUInt64(one.3) AS most, \
         map(toUInt16(floor(8 * log2(one.3 + 1))), toUInt64(sample_interval)) AS buckets, \
         arrayJoin(arrayZip(attempt_upstreams, attempt_outcomes, attempt_us)) AS one",
    ),
];

/// One row a key that counts anything.
fn by_key(rows: &str) -> String {
    format!(
        "SELECT key, sumForEach(sums) AS all_sums, max(most), \
         arrayFilter(bucket -> bucket.2 != 0, arraySort(arrayZip(mapKeys(sumMap(CAST(buckets, 'Map(UInt16, UInt64)'))), \
         mapValues(sumMap(CAST(buckets, 'Map(UInt16, UInt64)')))))) \
         FROM ({rows}) GROUP BY key HAVING arraySum(all_sums) > 0"
    )
}
