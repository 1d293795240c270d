//! Samples of gateways, on their way from a report to `gateway_gauges`.
//!
//! A sample is worth less than an event: no answer to a gateway waits for it, and one that cannot be stored is counted and
//! given up. Samples of a second are one insert, whatever the number of gateways, because every insert makes a part.

use crate::ingest::now_us;
use crate::metrics::GaugesOutcome;
use crate::query::streams::identity;
use crate::store::Store;
use clickhouse::Row;
use serde::Serialize;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use weir_api::gauges::Gauges;
use weir_api::ingest::Report;
use weir_event::{BootId, Identity};

/// Samples that wait: of so many gateways within the time of an insert. One that comes beyond is given up.
const WAITING: usize = 2048;
/// How long a sample waits for others.
const TOGETHER: Duration = Duration::from_secs(1);
/// The longest text of a sample, in bytes, and the most reasons of events that are given up.
const MOST: usize = 64;
const MOST_WORKERS: usize = 1024;

/// Where samples go.
#[derive(Clone)]
pub struct GaugesSink {
    store: Store,
    samples: Sender<Sample>,
}

/// One sample, and whose it is.
#[derive(Debug)]
struct Sample {
    identity: Identity,
    boot: BootId,
    received_ms: i64,
    gauges: Gauges,
}

/// Of `gateway_gauges`. Times are whole numbers since the Unix epoch, in the unit of the column.
#[derive(Row, Serialize)]
struct GaugesRow<'a> {
    t: i64,
    received: i64,
    organization: &'a str,
    environment: &'a str,
    site: &'a str,
    gateway: &'a str,
    replica: &'a str,
    boot: [u8; 16],
    version: &'a str,
    started: i64,
    draining: u8,
    saturation: f32,
    saturated_by: &'a str,
    config_generation: u32,
    config_serving: u32,
    reloads: u64,
    reloads_failed: u64,
    reload_failing: u8,
    config_fallback: &'a str,
    cpu_seconds: f64,
    cpu_cores: f32,
    memory_bytes: u64,
    threads: u32,
    files: u64,
    files_limit: u64,
    worker_busy: Vec<f32>,
    worker_still_s: f32,
    worker_stalls: u64,
    connections: u64,
    connections_refused: u64,
    accept_failures: u64,
    requests_open: u64,
    requests_limit: u64,
    tls_handshakes: u64,
    tls_handshakes_failed: u64,
    tls_expires: u32,
    tls_listener: &'a str,
    events_accepted: u64,
    events_written: u64,
    events_shed: Vec<(&'a str, u64)>,
    ring_used_bytes: u64,
    ring_bytes: u64,
    spool_bytes: u64,
    spool_limit_bytes: u64,
    spool_chunks: u64,
    spool_oldest_s: f32,
    spool_held_chunks: u64,
    spool_set_aside_chunks: u64,
    spool_set_aside_bytes: u64,
    spool_blocked: &'a str,
    spool_failures: u64,
    chunks_sealed: u64,
    chunks_sent: u64,
    chunks_acknowledged: u64,
    telemetry_ratio: f32,
    telemetry_degraded: u8,
    spans_dropped: u64,
    log_lines_dropped: u64,
}

impl GaugesSink {
    /// Stores samples in `store` until every clone of it is dropped.
    pub fn start(store: Store) -> Self {
        let (samples, waiting) = channel(WAITING);
        tokio::spawn(keep(store.clone(), waiting));
        Self { store, samples }
    }

    /// Takes the sample out of `line`, a line of a report, where it has one that is understood.
    pub fn taken_out(&self, line: &mut serde_json::Value) -> Option<Gauges> {
        let gauges = line.as_object_mut()?.remove("gauges").filter(|gauges| !gauges.is_null())?;
        match serde_json::from_value(gauges) {
            Ok(gauges) if is_bounded(&gauges) => Some(gauges),
            _ => {
                self.store.metrics().sampled(GaugesOutcome::Malformed, 1);
                None
            }
        }
    }

    /// Hands over the sample that came with `report`. It never waits.
    pub fn put(&self, report: &Report, gauges: Gauges) {
        let Some(boot) = BootId::from_hex(report.boot.as_bytes()) else { return };
        let sample = Sample { identity: identity(report), boot, received_ms: now_us() / 1000, gauges };
        if self.samples.try_send(sample).is_err() {
            self.store.metrics().sampled(GaugesOutcome::Dropped, 1);
        }
    }
}

/// Whether it is as small as a sample is.
fn is_bounded(gauges: &Gauges) -> bool {
    let texts = [&gauges.version, &gauges.config_fallback, &gauges.tls_listener, &gauges.spool_blocked];
    texts.iter().all(|text| text.len() <= MOST)
        && gauges.events_shed.len() <= MOST
        && gauges.events_shed.keys().all(|reason| reason.len() <= MOST)
        && gauges.worker_busy.len() <= MOST_WORKERS
}

/// Inserts what comes, a second's samples together.
async fn keep(store: Store, mut waiting: Receiver<Sample>) {
    let mut samples = Vec::new();
    let mut failing = false;
    while let Some(first) = waiting.recv().await {
        samples.push(first);
        let more = async {
            while let Some(sample) = waiting.recv().await {
                samples.push(sample);
                if samples.len() >= WAITING {
                    break;
                }
            }
        };
        // The end of the time and the end of the samples are alike.
        let _elapsed = tokio::time::timeout(TOGETHER, more).await;
        let rows: Vec<_> = samples.iter().map(row).collect();
        let inserted = store.insert_rows::<GaugesRow<'_>>("gateway_gauges", &rows).await;
        let outcome = if inserted.is_ok() { GaugesOutcome::Stored } else { GaugesOutcome::Dropped };
        store.metrics().sampled(outcome, samples.len() as u64);
        match inserted {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, samples = samples.len(), "samples of gateways are not stored, and given up");
            }
            Err(_) => {}
        }
        samples.clear();
    }
}

fn row(sample: &Sample) -> GaugesRow<'_> {
    let Sample { identity, boot, received_ms, gauges } = sample;
    let (saturation, by) = gauges.saturation();
    GaugesRow {
        // A gateway's clock that is ahead must not make a claim about times to come.
        t: gauges.sampled_ms.clamp(0, *received_ms),
        received: *received_ms,
        organization: &identity.organization,
        environment: &identity.environment,
        site: &identity.site,
        gateway: &identity.gateway,
        replica: &identity.replica,
        boot: boot.0,
        version: &gauges.version,
        started: gauges.started_ms.clamp(0, *received_ms),
        draining: gauges.draining.into(),
        saturation: saturation as f32,
        saturated_by: by.as_str(),
        config_generation: gauges.config_generation,
        config_serving: gauges.config_serving,
        reloads: gauges.reloads,
        reloads_failed: gauges.reloads_failed,
        reload_failing: gauges.reload_failing.into(),
        config_fallback: &gauges.config_fallback,
        cpu_seconds: gauges.cpu_seconds,
        cpu_cores: gauges.cpu_cores as f32,
        memory_bytes: gauges.memory_bytes,
        threads: gauges.threads,
        files: gauges.files,
        files_limit: gauges.files_limit,
        worker_busy: gauges.worker_busy.iter().map(|share| *share as f32).collect(),
        worker_still_s: gauges.worker_still_s as f32,
        worker_stalls: gauges.worker_stalls,
        connections: gauges.connections,
        connections_refused: gauges.connections_refused,
        accept_failures: gauges.accept_failures,
        requests_open: gauges.requests_open,
        requests_limit: gauges.requests_limit,
        tls_handshakes: gauges.tls_handshakes,
        tls_handshakes_failed: gauges.tls_handshakes_failed,
        tls_expires: u32::try_from(gauges.tls_expires_s.max(0)).unwrap_or(u32::MAX),
        tls_listener: &gauges.tls_listener,
        events_accepted: gauges.events_accepted,
        events_written: gauges.events_written,
        events_shed: gauges.events_shed.iter().map(|(reason, count)| (reason.as_str(), *count)).collect(),
        ring_used_bytes: gauges.ring_used_bytes,
        ring_bytes: gauges.ring_bytes,
        spool_bytes: gauges.spool_bytes,
        spool_limit_bytes: gauges.spool_limit_bytes,
        spool_chunks: gauges.spool_chunks,
        spool_oldest_s: gauges.spool_oldest_s as f32,
        spool_held_chunks: gauges.spool_held_chunks,
        spool_set_aside_chunks: gauges.spool_set_aside_chunks,
        spool_set_aside_bytes: gauges.spool_set_aside_bytes,
        spool_blocked: &gauges.spool_blocked,
        spool_failures: gauges.spool_failures,
        chunks_sealed: gauges.chunks_sealed,
        chunks_sent: gauges.chunks_sent,
        chunks_acknowledged: gauges.chunks_acknowledged,
        telemetry_ratio: gauges.telemetry_ratio as f32,
        telemetry_degraded: gauges.telemetry_degraded,
        spans_dropped: gauges.spans_dropped,
        log_lines_dropped: gauges.log_lines_dropped,
    }
}
