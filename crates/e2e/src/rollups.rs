//! Roll-ups against raw: per key and minute (hour), the same count, sums, and every bucket of the histogram.

use clickhouse::Client;
use std::collections::BTreeSet;

const KEYS: &str = "organization, environment, site, gateway, api, route, status, reason, side, entry";
const SUMS: &[&str] = &["total_us", "gateway_us", "upstream_us", "client_us", "link_us", "bytes_in", "bytes_out"];

/// The rows in which raw and a roll-up differ; empty when they agree. The expected figures are computed here, in
/// words of their own, not with those of the views.
pub async fn disagreement(client: &Client) -> clickhouse::error::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (table, start) in [("requests_1m", "toStartOfMinute"), ("requests_1h", "toStartOfHour")] {
        let raw = rows(client, &of_raw(start)).await?;
        let rolled = rows(client, &of_rollup(table)).await?;
        wrong.extend(raw.difference(&rolled).map(|row| format!("only in raw, not in {table}: {row}")));
        wrong.extend(rolled.difference(&raw).map(|row| format!("only in {table}, not in raw: {row}")));
    }
    Ok(wrong)
}

fn of_raw(start: &str) -> String {
    let sums: Vec<_> = SUMS.iter().map(|name| format!("toUInt64(sum({name} * sample_interval))")).collect();
    format!(
        "SELECT {start}(ts) AS t, {KEYS}, toUInt64(sum(sample_interval)), {}, toUInt64(max(total_us)), \
         mapSort(sumMap(map(toUInt16(floor(8 * log2(total_us + 1))), toUInt64(sample_interval)))) \
         FROM access_events GROUP BY t, {KEYS}",
        sums.join(", ")
    )
}

fn of_rollup(table: &str) -> String {
    let sums: Vec<_> = SUMS.iter().map(|name| format!("toUInt64(sum({name}))")).collect();
    format!(
        "SELECT t, {KEYS}, toUInt64(sum(n)), {}, toUInt64(max(max_total_us)), mapSort(sumMap(hist)) \
         FROM {table} GROUP BY t, {KEYS}",
        sums.join(", ")
    )
}

async fn rows(client: &Client, sql: &str) -> clickhouse::error::Result<BTreeSet<String>> {
    let text = client.query(sql).fetch_bytes("TabSeparated")?.collect().await?;
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}
