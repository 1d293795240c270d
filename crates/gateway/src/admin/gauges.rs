//! The sample of the process that goes with each report of its streams to weir-analytics, for dashboards that have
//! ClickHouse alone. The figures are those of `/metrics`; what they are called is [`weir_api::gauges`].
//!
//! The shipper takes it on its own thread, between chunks: nothing here waits. While a reload holds the data plane,
//! there is no sample.

use super::Admin;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use weir_api::gauges::Gauges;
use weir_event::clock::system_us;
use weir_metrics::process::{self, Figures};
use weir_proxy::Proxy;
use weir_spool::SpoolStats;

/// What was read at the sample before, from which shares are computed.
#[derive(Clone, Default)]
struct Before {
    at: Option<Instant>,
    cpu: Duration,
    /// Processor time by thread, in nanoseconds.
    threads: BTreeMap<String, u64>,
}

/// Takes samples for as long as `admin` is there; it is not kept alive by them.
pub fn sampler(admin: &Arc<Admin>) -> impl Fn() -> Option<Gauges> + Send + Sync + 'static {
    let (admin, before) = (Arc::downgrade(admin), Mutex::<Before>::default());
    move || {
        let admin = admin.upgrade()?;
        let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
        sample(&admin, &mut before)
    }
}

fn sample(admin: &Admin, before: &mut Before) -> Option<Gauges> {
    let mut gauges = Gauges {
        sampled_ms: system_us() / 1000,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_ms: milliseconds(admin.started),
        ..Gauges::default()
    };
    {
        let proxy = match admin.proxy.try_lock() {
            Ok(proxy) => proxy,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        data_plane(proxy.as_ref()?, &mut gauges);
    }
    of_process(admin.started, before, &mut gauges);
    configuration(admin, &mut gauges);
    spool(&admin.spool.stats(), &mut gauges);
    telemetry(admin, &mut gauges);
    Some(gauges)
}

fn data_plane(proxy: &Proxy, gauges: &mut Gauges) {
    for stats in proxy.stats() {
        gauges.worker_busy.push(0.0);
        gauges.connections += stats.connections();
        gauges.connections_refused += stats.refused().iter().map(|(_, count)| count).sum::<u64>();
        gauges.accept_failures += stats.accept_failures();
        gauges.events_accepted += stats.accepted();
        for (kind, count) in stats.handshakes() {
            gauges.tls_handshakes += count;
            gauges.tls_handshakes_failed += if kind == "failed" { count } else { 0 };
        }
    }
    for (still, stalls) in proxy.pulses() {
        gauges.worker_still_s = gauges.worker_still_s.max(still.as_secs_f64());
        gauges.worker_stalls += stalls;
    }
    gauges.draining = proxy.is_draining();
    let snapshot = proxy.snapshot();
    (gauges.config_generation, gauges.config_serving) = (snapshot.generation(), proxy.serving());
    let expiries = snapshot
        .certificates()
        .flat_map(|(listener, validities)| validities.iter().map(move |validity| (validity.not_after, listener)));
    if let Some((expires_s, listener)) = expiries.min() {
        gauges.tls_expires_s = i64::try_from(expires_s).unwrap_or(i64::MAX);
        gauges.tls_listener = listener.to_string();
    }
}

/// Processor time since the sample before; at the first, since the start of the process.
fn of_process(started: SystemTime, before: &mut Before, gauges: &mut Gauges) {
    let now = Before { at: Some(Instant::now()), cpu: process::processor_time(), threads: process::threads() };
    let passed = match (before.at, now.at) {
        (Some(before), Some(now)) => now.duration_since(before),
        _ => started.elapsed().unwrap_or_default(),
    };
    let share = |used: Duration| if passed.is_zero() { 0.0 } else { used.as_secs_f64() / passed.as_secs_f64() };
    gauges.cpu_seconds = now.cpu.as_secs_f64();
    gauges.cpu_cores = share(now.cpu.saturating_sub(before.cpu));
    for (worker, busy) in gauges.worker_busy.iter_mut().enumerate() {
        let name = format!("worker-{worker}");
        let time = |threads: &BTreeMap<String, u64>| threads.get(&name).copied().unwrap_or_default();
        *busy = share(Duration::from_nanos(time(&now.threads).saturating_sub(time(&before.threads))));
    }
    *before = now;
    let Figures { open_files, most_files, resident, threads } = process::figures();
    gauges.files = open_files.map_or(0, |files| files as u64);
    gauges.files_limit = most_files.map_or(0, |files| files as u64);
    gauges.memory_bytes = resident.map_or(0, |bytes| bytes as u64);
    gauges.threads = threads.map_or(0, |threads| threads as u32);
}

fn configuration(admin: &Admin, gauges: &mut Gauges) {
    let reloads = &admin.reloads;
    gauges.reloads = reloads.succeeded.load(Ordering::Relaxed);
    gauges.reloads_failed = reloads.failed.load(Ordering::Relaxed);
    gauges.reload_failing = reloads.last_error().is_some();
    gauges.config_fallback = reloads.fallback().map_or_else(String::new, |fallback| fallback.cause.as_str().to_owned());
    gauges.requests_open = u64::try_from(admin.registry.open.load(Ordering::Relaxed)).unwrap_or_default();
    gauges.requests_limit = reloads.running().limits.open_requests.into();
}

fn spool(stats: &SpoolStats, gauges: &mut Gauges) {
    gauges.events_written = stats.events_written;
    let shed = stats.shed.iter().filter(|(_, count)| *count > 0);
    gauges.events_shed = shed.map(|(reason, count)| (reason.as_str().to_owned(), count)).collect();
    let fullest = stats.rings.iter().max_by(|one, other| (one.used * other.size).cmp(&(other.used * one.size)));
    (gauges.ring_used_bytes, gauges.ring_bytes) = fullest.map_or((0, 0), |ring| (ring.used, ring.size));
    gauges.spool_bytes = stats.bytes_on_disk;
    gauges.spool_limit_bytes = stats.limit_bytes;
    gauges.spool_chunks = stats.chunks_on_disk;
    gauges.spool_oldest_s = stats.oldest_age.map_or(0.0, |age| age.as_secs_f64());
    gauges.spool_held_chunks = stats.held.iter().map(|life| life.chunks).sum();
    gauges.spool_set_aside_chunks = stats.set_aside_chunks;
    gauges.spool_set_aside_bytes = stats.set_aside_bytes;
    gauges.spool_blocked = stats.blocked.unwrap_or_default().to_owned();
    gauges.spool_failures = stats.write_failures + stats.file_failures;
    gauges.chunks_sealed = stats.chunks_sealed;
    gauges.chunks_sent = stats.chunks_sent;
    gauges.chunks_acknowledged = stats.chunks_acked;
}

fn telemetry(admin: &Admin, gauges: &mut Gauges) {
    gauges.telemetry_ratio = admin.budget.lock().unwrap_or_else(PoisonError::into_inner).share();
    gauges.telemetry_degraded = admin.registry.degradation.level() as u8;
    let lost = |counts: &weir_otlp::Counts| weir_otlp::Loss::ALL.iter().map(|(_, why)| counts.lost(*why)).sum();
    gauges.spans_dropped = admin.spans.as_deref().map_or(0, lost);
    let of_outputs: u64 = admin.logs.counts().flat_map(|(_, counts)| counts.dropped()).map(|(_, count)| count).sum();
    gauges.log_lines_dropped = of_outputs + weir_program::log::dropped();
}

fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
