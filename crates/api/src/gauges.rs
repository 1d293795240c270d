//! What a gateway measures of itself, as one sample: it travels with the report of the gateway's streams, and is a row of
//! `gateway_gauges`. `docs/tables.md` has the meaning of each column.
//!
//! The members have the names of the columns. Whoever reads a sample takes what it does not find as 0 or empty, and
//! leaves alone what it does not know, since gateways are older and newer than weir-analytics.
//!
//! Saturation is defined here and nowhere else: weir-analytics computes it when it stores a sample, so that all gateways
//! are measured by one definition, whatever their version.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One sample of one gateway process. Totals count from the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Gauges {
    /// When it was taken, by the gateway's clock, in milliseconds since the Unix epoch.
    pub sampled_ms: i64,
    pub version: String,
    /// When the process started, in milliseconds since the Unix epoch.
    pub started_ms: i64,
    pub draining: bool,

    /// Generation of the configuration that serves new requests, and that which every worker serves by.
    pub config_generation: u32,
    pub config_serving: u32,
    pub reloads: u64,
    pub reloads_failed: u64,
    /// The last edit of the configuration is wrong.
    pub reload_failing: bool,
    /// Why a kept generation runs: `last_good`, `rollback`; empty where what runs is what the folders say.
    pub config_fallback: String,

    pub cpu_seconds: f64,
    /// Cores that the process used since the sample before, or since its start.
    pub cpu_cores: f64,
    pub memory_bytes: u64,
    pub threads: u32,
    pub files: u64,
    pub files_limit: u64,

    /// Of each worker, the share of a core that it used since the sample before.
    pub worker_busy: Vec<f64>,
    /// The longest time for which a worker has not looked up from its requests, in seconds.
    pub worker_still_s: f64,
    pub worker_stalls: u64,

    pub connections: u64,
    pub connections_refused: u64,
    pub accept_failures: u64,
    pub requests_open: u64,
    pub requests_limit: u64,
    pub tls_handshakes: u64,
    pub tls_handshakes_failed: u64,
    /// When the first certificate that clients are shown expires, in seconds since the Unix epoch; 0 without TLS.
    pub tls_expires_s: i64,
    /// The listener of that certificate.
    pub tls_listener: String,

    pub events_accepted: u64,
    pub events_written: u64,
    /// Events given up, by why; reasons without any are left out.
    pub events_shed: BTreeMap<String, u64>,
    /// Of the ring that is fullest.
    pub ring_used_bytes: u64,
    pub ring_bytes: u64,

    pub spool_bytes: u64,
    pub spool_limit_bytes: u64,
    pub spool_chunks: u64,
    /// Age of the oldest chunk that is not acknowledged; 0 where there is none.
    pub spool_oldest_s: f64,
    pub spool_held_chunks: u64,
    pub spool_set_aside_chunks: u64,
    pub spool_set_aside_bytes: u64,
    /// Why nothing is shipped now; empty while something is.
    pub spool_blocked: String,
    pub spool_failures: u64,
    pub chunks_sealed: u64,
    pub chunks_sent: u64,
    pub chunks_acknowledged: u64,

    /// Of the processor time of the last second, what telemetry had: from 0 to 1.
    pub telemetry_ratio: f64,
    /// What telemetry leaves out: 0 nothing, 1 labels, 2 spans of attempts, 3 sampled spans.
    pub telemetry_degraded: u8,
    pub spans_dropped: u64,
    pub log_lines_dropped: u64,
}

/// What can be used up in a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A core for each worker.
    Worker,
    /// `limits.openRequests`.
    Requests,
    /// The process's limit of open files.
    Files,
    /// A worker's ring: a full one sheds events.
    Ring,
    /// `spool.maxBytes`: past it events are shed.
    Spool,
}

impl Resource {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Worker, Self::Requests, Self::Files, Self::Ring, Self::Spool];

    /// As the column `saturated_by` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Requests => "requests",
            Self::Files => "files",
            Self::Ring => "ring",
            Self::Spool => "spool",
        }
    }

    /// How much of it is used, from 0 to 1, and a little over where a limit was passed.
    fn used(self, gauges: &Gauges) -> f64 {
        match self {
            Self::Worker => gauges.worker_busy.iter().copied().fold(0.0, f64::max),
            Self::Requests => ratio(gauges.requests_open, gauges.requests_limit),
            Self::Files => ratio(gauges.files, gauges.files_limit),
            Self::Ring => ratio(gauges.ring_used_bytes, gauges.ring_bytes),
            Self::Spool => ratio(gauges.spool_bytes, gauges.spool_limit_bytes),
        }
    }
}

impl Gauges {
    /// The saturation of a gateway: the share of that resource of which most is used, and which one it is.
    pub fn saturation(&self) -> (f64, Resource) {
        let used = Resource::ALL.map(|resource| (resource.used(self), resource));
        used.into_iter().fold((0.0, Resource::Worker), |most, next| if next.0 > most.0 { next } else { most })
    }
}

/// 0 where the limit is not known.
fn ratio(used: u64, limit: u64) -> f64 {
    if limit == 0 { 0.0 } else { used as f64 / limit as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn saturation_is_that_of_the_fullest_resource() {
        let idle = Gauges::default();
        assert_eq!(idle.saturation(), (0.0, Resource::Worker));
        let calm = Gauges {
            worker_busy: vec![0.1, 0.5],
            requests_open: 1,
            requests_limit: 10,
            files: 1,
            files_limit: 5,
            ring_used_bytes: 3,
            ring_bytes: 10,
            spool_bytes: 4,
            spool_limit_bytes: 10,
            ..Gauges::default()
        };
        assert_eq!(calm.saturation(), (0.5, Resource::Worker));
        let full = [
            (Gauges { requests_open: 9, ..calm.clone() }, 0.9, Resource::Requests),
            (Gauges { files: 4, ..calm.clone() }, 0.8, Resource::Files),
            (Gauges { ring_used_bytes: 10, ..calm.clone() }, 1.0, Resource::Ring),
            (Gauges { spool_bytes: 11, ..calm }, 1.1, Resource::Spool),
        ];
        for (gauges, used, resource) in full {
            assert_eq!(gauges.saturation(), (used, resource));
        }
    }

    /// A sample of an older gateway lacks members, one of a newer gateway has more.
    #[test]
    fn a_sample_of_another_version_is_read() {
        let sample = json!({"sampled_ms": 5, "version": "9.0.0", "of_tomorrow": {"a": [1]}});
        let read: Gauges = serde_json::from_value(sample).unwrap();
        assert_eq!(read, Gauges { sampled_ms: 5, version: "9.0.0".to_owned(), ..Gauges::default() });
    }
}
