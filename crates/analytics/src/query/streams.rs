//! What gateways report of their streams, every ten seconds: how many events they have accepted, what of them waits,
//! and what they cannot or may not deliver.

use crate::ingest::now_us;
use crate::store::{Store, StoreError};
use clickhouse::Row;
use serde::Serialize;
use weir_api::ingest::{Report, ReportDetails};
use weir_api::query::Gateways;
use weir_event::{BootId, Identity, Stream, StreamId};

/// Of `streams`. Times are milliseconds since the Unix epoch.
#[derive(Row, Serialize)]
struct StreamRow<'a> {
    stream: u64,
    organization: &'a str,
    environment: &'a str,
    site: &'a str,
    gateway: &'a str,
    replica: &'a str,
    boot: [u8; 16],
    worker: u16,
    accepted: u64,
    closed: u8,
    reported: i64,
}

/// Of `stream_reports`. Times are milliseconds since the Unix epoch.
#[derive(Row, Serialize)]
struct ReportRow<'a> {
    stream: u64,
    organization: &'a str,
    environment: &'a str,
    site: &'a str,
    gateway: &'a str,
    replica: &'a str,
    boot: [u8; 16],
    worker: u16,
    accepted: u64,
    counted: i64,
    received: i64,
    newest: String,
}

/// Whose stream a report is about.
pub fn identity(report: &Report) -> Identity {
    Identity {
        organization: report.organization.clone(),
        environment: report.environment.clone(),
        site: report.site.clone(),
        gateway: report.gateway.clone(),
        replica: report.replica.clone(),
    }
}

/// Its stream, which must follow from its identity: or a token could speak of a stream of somebody else.
fn id(report: &Report) -> Option<(StreamId, BootId)> {
    let boot = BootId::from_hex(report.boot.as_bytes())?;
    let stream = Stream { identity: identity(report), boot, worker: report.worker };
    (stream.id().to_string() == report.stream).then(|| (stream.id(), boot))
}

/// Whether it can be stored.
pub fn check(report: &Report) -> Result<(), &'static str> {
    id(report).map(|_| ()).ok_or("`stream` does not follow from identity, boot and worker")
}

/// Keeps reports; the largest count and the newest word win when they are read.
pub async fn store(store: &Store, reports: &[Report]) -> Result<(), StoreError> {
    let received_ms = now_us() / 1000;
    let (mut counts, mut reported) = (Vec::new(), Vec::new());
    for report in reports {
        let Some((stream, boot)) = id(report) else { continue };
        counts.push(StreamRow {
            stream: stream.0,
            organization: &report.organization,
            environment: &report.environment,
            site: &report.site,
            gateway: &report.gateway,
            replica: &report.replica,
            boot: boot.0,
            worker: report.worker,
            accepted: report.accepted,
            closed: u8::from(report.details.closed),
            reported: received_ms,
        });
        // A gateway's clock that is ahead must not make a claim about times to come.
        let counted_ms = report.details.counted_ms.map_or(received_ms, |counted| counted.clamp(0, received_ms));
        let details = ReportDetails { counted_ms: Some(counted_ms), ..report.details.clone() };
        let details =
            serde_json::to_string(&details).map_err(|error| StoreError::Answer { text: error.to_string() })?;
        reported.push(ReportRow {
            stream: stream.0,
            organization: &report.organization,
            environment: &report.environment,
            site: &report.site,
            gateway: &report.gateway,
            replica: &report.replica,
            boot: boot.0,
            worker: report.worker,
            accepted: report.accepted,
            counted: counted_ms,
            received: received_ms,
            newest: format!("{received_ms:016}{details}"),
        });
    }
    store.insert_rows::<ReportRow<'_>>("stream_reports", &reported).await?;
    store.insert_rows::<StreamRow<'_>>("streams", &counts).await
}

/// Every gateway process of the last day, with the age of its last report in seconds.
pub async fn gateways(store: &Store) -> Result<Gateways, StoreError> {
    let sql = format!(
        // Whether a stream has ended is the newest report's word: a copy of its spool may have said so before.
        "SELECT organization, environment, site, gateway, replica, lower(hex(boot)) AS boot_id, \
         max(s.reported) AS last, toUnixTimestamp64Milli(last) AS last_ms, \
         greatest(0, dateDiff('second', last, now64(3, 'UTC'))) AS silent_s, \
         CAST(min(is_closed), 'Bool') AS closed, sum(events) AS accepted, count() AS workers FROM (\
           SELECT stream, organization, environment, site, gateway, replica, boot, \
           toUInt8(JSONExtractBool(substring(max(s.newest), 17), 'closed')) AS is_closed, \
           max(s.accepted) AS events, max(s.received) AS reported FROM {} AS s \
           GROUP BY stream, organization, environment, site, gateway, replica, boot) AS s \
         GROUP BY organization, environment, site, gateway, replica, boot \
         HAVING last > now64(3, 'UTC') - INTERVAL 1 DAY ORDER BY organization, environment, site, gateway, last DESC \
         SETTINGS prefer_column_name_to_alias = 0",
        store.schema().all("stream_reports")
    );
    Ok(Gateways { rows: store.json_rows(&sql, &[]).await? })
}
