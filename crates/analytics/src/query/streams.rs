//! What gateways report of their streams, every ten seconds: how many events they have accepted, what of them waits,
//! and what they cannot or may not deliver.

use crate::ingest::now_us;
use crate::rowbinary::Rows;
use crate::store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use weir_event::{BootId, Identity, Stream, StreamId};

/// One stream of a report. Members that are not known are left alone: gateways are older and newer than this program.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    /// As hex, 16 digits.
    pub stream: String,
    pub organization: String,
    pub environment: String,
    pub site: String,
    pub gateway: String,
    #[serde(default)]
    pub replica: String,
    /// As hex, 32 digits.
    pub boot: String,
    pub worker: u16,
    /// Events so far: the numbers from 0 up to below this one.
    pub accepted: u64,
    #[serde(flatten)]
    pub details: Details,
}

/// What a report says beyond the count. Kept as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// No more will come.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// When `accepted` was read, by the gateway's clock, in milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted_ms: Option<i64>,
    /// Numbers from this one on may have been given out, and nobody can say how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_aside: Vec<SetAside>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub set_aside_more: bool,
    /// What the gateway holds, in chunk files and in its ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Vec<Span>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub waiting_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// Numbers that were refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    pub first: u64,
    pub last: u64,
    #[serde(default)]
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub first: u64,
    pub last: u64,
}

/// Why chunks are not shipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub reason: String,
    #[serde(default)]
    pub since_ms: i64,
}

impl Report {
    pub fn identity(&self) -> Identity {
        Identity {
            organization: self.organization.clone(),
            environment: self.environment.clone(),
            site: self.site.clone(),
            gateway: self.gateway.clone(),
            replica: self.replica.clone(),
        }
    }

    /// Its stream, which must follow from its identity: or a token could speak of a stream of somebody else.
    fn id(&self) -> Option<(StreamId, BootId)> {
        let boot = BootId::from_hex(self.boot.as_bytes())?;
        let stream = Stream { identity: self.identity(), boot, worker: self.worker };
        (stream.id().to_string() == self.stream).then(|| (stream.id(), boot))
    }

    pub fn check(&self) -> Result<(), &'static str> {
        self.id().map(|_| ()).ok_or("`stream` does not follow from identity, boot and worker")
    }
}

/// Keeps reports; the largest count and the newest word win when they are read.
pub async fn store(store: &Store, reports: &[Report]) -> Result<(), StoreError> {
    let received_ms = now_us() / 1000;
    let (mut counts, mut reported) = (Rows::default(), Rows::default());
    for report in reports {
        let Some((stream, boot)) = report.id() else { continue };
        for rows in [&mut counts, &mut reported] {
            rows.fixed(stream.0.to_le_bytes());
            for name in [&report.organization, &report.environment, &report.site, &report.gateway, &report.replica] {
                rows.text(name);
            }
            rows.fixed(boot.0).fixed(report.worker.to_le_bytes()).fixed(report.accepted.to_le_bytes());
        }
        counts.fixed([u8::from(report.details.closed)]).fixed(received_ms.to_le_bytes());
        // A gateway's clock that is ahead must not make a claim about times to come.
        let counted_ms = report.details.counted_ms.map_or(received_ms, |counted| counted.clamp(0, received_ms));
        let details = Details { counted_ms: Some(counted_ms), ..report.details.clone() };
        let details =
            serde_json::to_string(&details).map_err(|error| StoreError::Answer { text: error.to_string() })?;
        reported
            .fixed(counted_ms.to_le_bytes())
            .fixed(received_ms.to_le_bytes())
            .text(&format!("{received_ms:016}{details}"));
    }
    let names = "stream, organization, environment, site, gateway, replica, boot, worker, accepted";
    store.insert_rows("stream_reports", &format!("{names}, counted, received, newest"), reported).await?;
    store.insert_rows("streams", &format!("{names}, closed, reported"), counts).await
}

/// Every gateway process of the last day, with the age of its last report in seconds.
pub async fn gateways(store: &Store) -> Result<Value, StoreError> {
    let sql = format!(
        // Whether a stream has ended is the newest report's word: a copy of its spool may have said so before.
        "SELECT organization, environment, site, gateway, replica, lower(hex(boot)) AS boot_id, \
         max(s.reported) AS last, toUnixTimestamp64Milli(last) AS last_ms, \
         greatest(0, dateDiff('second', last, now64(3, 'UTC'))) AS silent_s, \
         min(is_closed) AS closed, sum(events) AS accepted, count() AS workers FROM (\
           SELECT stream, organization, environment, site, gateway, replica, boot, \
           toUInt8(JSONExtractBool(substring(max(s.newest), 17), 'closed')) AS is_closed, \
           max(s.accepted) AS events, max(s.received) AS reported FROM {} AS s \
           GROUP BY stream, organization, environment, site, gateway, replica, boot) AS s \
         GROUP BY organization, environment, site, gateway, replica, boot \
         HAVING last > now64(3, 'UTC') - INTERVAL 1 DAY ORDER BY organization, environment, site, gateway, last DESC \
         SETTINGS prefer_column_name_to_alias = 0",
        store.schema().all("stream_reports")
    );
    Ok(json!({ "rows": store.json_rows(&sql, &[]).await? }))
}
