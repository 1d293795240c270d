//! Traffic per site and API, and per minute: from the minute roll-up alone.

use super::quantile::quantile;
use crate::schema::FAILED;
use crate::store::{Store, StoreError};
use clickhouse::Row;
use serde::Deserialize;
use weir_api::query::{Overview, Series, Traffic, TrafficSeries};

/// Which part of the traffic; what is absent is all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub organization: Option<String>,
    pub site: Option<String>,
    pub gateway: Option<String>,
    pub api: Option<String>,
}

#[derive(Row, Deserialize)]
struct Group {
    organization: String,
    environment: String,
    site: String,
    api: String,
    requests: u64,
    errors: u64,
    rejected: u64,
    gateway_us: u64,
    upstream_us: u64,
    client_us: u64,
    bytes_in: u64,
    bytes_out: u64,
    largest: u64,
    recent: u64,
    recent_seconds: u64,
    hist: Vec<(u16, u64)>,
    slowest: String,
}

/// What the gateway itself refused: the request's fault, or a policy's answer, but no failure of gateway or upstream.
const REJECTED: &str = "side = 'downstream' AND reason NOT IN ('client_closed', 'client_idle_timeout') \
                        OR reason = 'policy_answered'";

/// Totals and quantiles of the last `minutes`, a row a site and API.
pub async fn overview(store: &Store, minutes: u64) -> Result<Overview, StoreError> {
    let sql = format!(
        "SELECT organization, environment, site, api, sum(n) AS requests, sumIf(n, {FAILED}) AS errors, \
         sumIf(n, {REJECTED}) AS rejected, sum(m.gateway_us) AS gateway_us, sum(m.upstream_us) AS upstream_us, \
         sum(m.client_us) AS client_us, sum(m.bytes_in) AS bytes_in, sum(m.bytes_out) AS bytes_out, \
         max(max_total_us) AS largest, sumIf(n, t >= toStartOfMinute(now() - INTERVAL 1 MINUTE)) AS recent, \
         toUInt64(60 + toSecond(now())) AS recent_seconds, sumMap(m.hist) AS hist, \
         lower(hex(argMaxMerge(slow_trace))) AS slowest \
         FROM {} AS m WHERE t > now() - INTERVAL {{minutes:UInt32}} MINUTE \
         GROUP BY organization, environment, site, api ORDER BY organization, environment, site, api",
        store.schema().all("requests_1m")
    );
    let groups = store.rows::<Group>(&sql, &[("minutes", minutes.to_string())]).await?;
    Ok(Overview { minutes, rows: groups.into_iter().map(traffic).collect() })
}

fn traffic(group: Group) -> Traffic {
    let at = |q| quantile(&group.hist, q, group.largest).map(f64::round);
    Traffic {
        p50_us: at(0.5),
        p95_us: at(0.95),
        p99_us: at(0.99),
        max_us: group.largest,
        requests: group.requests,
        errors: group.errors,
        rejected: group.rejected,
        requests_per_second: group.recent as f64 / group.recent_seconds.max(1) as f64,
        gateway_us: group.gateway_us,
        upstream_us: group.upstream_us,
        client_us: group.client_us,
        bytes_in: group.bytes_in,
        bytes_out: group.bytes_out,
        slowest_trace: group.slowest,
        organization: group.organization,
        environment: group.environment,
        site: group.site,
        api: group.api,
    }
}

#[derive(Row, Deserialize)]
struct Minute {
    t: u32,
    organization: String,
    environment: String,
    site: String,
    api: String,
    requests: u64,
    errors: u64,
}

/// Requests and errors a minute, a list a site and API; minutes without requests are left out.
pub async fn series(store: &Store, minutes: u64, filter: &Filter) -> Result<Series, StoreError> {
    let mut conditions = String::new();
    let mut args = vec![("minutes", minutes.to_string())];
    let named = [
        ("organization", &filter.organization),
        ("site", &filter.site),
        ("gateway", &filter.gateway),
        ("api", &filter.api),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            conditions.push_str(&format!(" AND {name} = {{{name}:String}}"));
            args.push((name, value.clone()));
        }
    }
    let sql = format!(
        "SELECT toUnixTimestamp(t) AS t, organization, environment, site, api, sum(n) AS requests, \
         sumIf(n, {FAILED}) AS errors FROM {} AS m \
         WHERE m.t > now() - INTERVAL {{minutes:UInt32}} MINUTE{conditions} \
         GROUP BY m.t, organization, environment, site, api ORDER BY organization, environment, site, api, m.t",
        store.schema().all("requests_1m")
    );
    let found = store.rows::<Minute>(&sql, &args).await?;
    let groups = found.chunk_by(|a, b| {
        (&a.organization, &a.environment, &a.site, &a.api) == (&b.organization, &b.environment, &b.site, &b.api)
    });
    let line = |group: &[Minute]| TrafficSeries {
        organization: group[0].organization.clone(),
        environment: group[0].environment.clone(),
        site: group[0].site.clone(),
        api: group[0].api.clone(),
        points: group.iter().map(|minute| (minute.t, minute.requests, minute.errors)).collect(),
    };
    let point = ["t", "requests", "errors"].map(str::to_owned);
    Ok(Series { minutes, point, rows: groups.map(line).collect() })
}
