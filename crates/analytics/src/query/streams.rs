//! What gateways say of their streams: how many events they have accepted, every ten seconds.

use crate::ingest::now_us;
use crate::rowbinary::Rows;
use crate::store::{Store, StoreError};
use serde::Deserialize;
use serde_json::{Value, json};
use weir_event::{BootId, Identity, Stream, StreamId};

/// One stream of a report.
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
    /// No more will come.
    #[serde(default)]
    pub closed: bool,
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

/// Keeps reports; later and larger ones win when they are read.
pub async fn store(store: &Store, reports: &[Report]) -> Result<(), StoreError> {
    let mut rows = Rows::default();
    for report in reports {
        let Some((stream, boot)) = report.id() else { continue };
        rows.fixed(stream.0.to_le_bytes());
        for name in [&report.organization, &report.environment, &report.site, &report.gateway, &report.replica] {
            rows.text(name);
        }
        rows.fixed(boot.0)
            .fixed(report.worker.to_le_bytes())
            .fixed(report.accepted.to_le_bytes())
            .fixed([u8::from(report.closed)])
            .fixed((now_us() / 1000).to_le_bytes());
    }
    let columns = "stream, organization, environment, site, gateway, replica, boot, worker, accepted, closed, reported";
    store.insert_rows("streams", columns, rows).await
}

/// Every gateway process of the last day, with the age of its last report in seconds.
pub async fn gateways(store: &Store) -> Result<Value, StoreError> {
    let sql = format!(
        "SELECT organization, environment, site, gateway, replica, lower(hex(boot)) AS boot_id, \
         max(s.reported) AS last, toUnixTimestamp64Milli(last) AS last_ms, \
         greatest(0, dateDiff('second', last, now64(3, 'UTC'))) AS silent_s, \
         min(is_closed) AS closed, sum(events) AS accepted, count() AS workers FROM (\
           SELECT stream, organization, environment, site, gateway, replica, boot, max(s.closed) AS is_closed, \
           max(s.accepted) AS events, max(s.reported) AS reported FROM {} AS s \
           GROUP BY stream, organization, environment, site, gateway, replica, boot) AS s \
         GROUP BY organization, environment, site, gateway, replica, boot \
         HAVING last > now64(3, 'UTC') - INTERVAL 1 DAY ORDER BY organization, environment, site, gateway, last DESC \
         SETTINGS prefer_column_name_to_alias = 0",
        store.schema().all("streams")
    );
    Ok(json!({ "rows": store.json_rows(&sql, &[]).await? }))
}
