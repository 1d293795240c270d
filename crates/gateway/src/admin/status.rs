//! What the gateway serves and how it fares, for people and for `weirctl`.

use super::Admin;
use crate::reload::lock;
use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;
use weir_api::admin::{
    Chunks, Fallback, GatewayLedger, GatewayStream, HeldLife, Identity, Listener, Reloads, Ring, Serving, SetAside,
    Spool, SpoolFailures, Status, WaitingChange, WaitsFor, Worker,
};
use weir_config::Waiting;
use weir_event::Ranges;
use weir_event::json::rfc3339_us;
use weir_spool::{SpoolStats, StreamLedger};

/// The `/status` document.
pub fn status(admin: &Admin) -> Status {
    let identity = &admin.identity;
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot: admin.spool.boot().to_string(),
        identity: Identity {
            organization: identity.organization.clone(),
            environment: identity.environment.clone(),
            site: identity.site.clone(),
            gateway: identity.gateway.clone(),
        },
        serving: serving(admin),
        warnings: admin.reloads.running().warnings.iter().map(ToString::to_string).collect(),
        draining: admin.draining.load(Ordering::Relaxed),
        reloads: reloads(admin),
        spool: spool(&admin.spool.stats()),
    }
}

fn serving(admin: &Admin) -> Option<Serving> {
    let proxy = lock(&admin.proxy);
    let proxy = proxy.as_ref()?;
    let listener = |(configured, actual): (&std::net::SocketAddr, &std::net::SocketAddr)| Listener {
        configured: configured.to_string(),
        actual: actual.to_string(),
    };
    let workers = proxy.stats().map(|stats| Worker { accepted: stats.accepted(), connections: stats.connections() });
    Some(Serving {
        generation: proxy.snapshot().generation(),
        all_workers: proxy.serving(),
        listeners: proxy.listening().iter().map(listener).collect(),
        workers: workers.collect(),
    })
}

fn reloads(admin: &Admin) -> Reloads {
    let reloads = &admin.reloads;
    Reloads {
        succeeded: reloads.succeeded.load(Ordering::Relaxed),
        failed: reloads.failed.load(Ordering::Relaxed),
        last_error: reloads.last_error(),
        retrying: reloads.retrying(),
        waiting: reloads.waiting().as_ref().map(waiting),
        restart_required: reloads.restart_required().into_iter().map(str::to_owned).collect(),
        kept: admin.generations.numbers(),
        fallback: reloads.fallback().map(|fallback| Fallback {
            generation: fallback.generation,
            cause: fallback.cause.as_str().to_owned(),
            why: fallback.why,
        }),
    }
}

/// A change that is not taken yet.
fn waiting(waiting: &Waiting) -> WaitingChange {
    let since = waiting.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    WaitingChange {
        since: rfc3339_us(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
        waits_for: match waiting.waits_for {
            weir_config::WaitsFor::Quiet => WaitsFor::QuietPeriod,
            weir_config::WaitsFor::Removal => WaitsFor::RemovalPeriod,
            weir_config::WaitsFor::Reload => WaitsFor::Reload,
        },
        removals: waiting.removals.clone(),
    }
}

fn spool(stats: &SpoolStats) -> Spool {
    Spool {
        events_written: stats.events_written,
        shed: stats.shed.iter().map(|(reason, count)| (reason.as_str().to_owned(), count)).collect(),
        chunks: Chunks {
            sealed: stats.chunks_sealed,
            acknowledged: stats.chunks_acked,
            set_aside: stats.chunks_set_aside,
            split: stats.chunks_split,
            on_disk: stats.chunks_on_disk,
        },
        set_aside: SetAside { chunks: stats.set_aside_chunks, bytes: stats.set_aside_bytes },
        blocked: stats.blocked.map(str::to_owned),
        held: stats.held.iter().map(held).collect(),
        failures: SpoolFailures { write: stats.write_failures, other: stats.file_failures },
        answers_not_understood: stats.not_understood,
        bytes_on_disk: stats.bytes_on_disk,
        oldest_age_seconds: stats.oldest_age.map(|age| age.as_secs_f64()),
        rings: stats.rings.iter().map(|ring| Ring { used: ring.used, size: ring.size }).collect(),
        last_error: stats.last_error.clone(),
    }
}

fn held(life: &weir_spool::HeldLife) -> HeldLife {
    HeldLife {
        boot: life.boot.to_string(),
        site: life.identity.site.clone(),
        gateway: life.identity.gateway.clone(),
        reason: life.reason.to_owned(),
        error: life.error.clone(),
        since_ms: life.since_us / 1000,
        chunks: life.chunks,
    }
}

/// The `/ledger` document: this process's half of the account, per stream, as ranges of sequence numbers.
pub fn ledger(admin: &Admin) -> GatewayLedger {
    GatewayLedger { streams: admin.spool.ledger().iter().map(stream).collect() }
}

fn stream(ledger: &StreamLedger) -> GatewayStream {
    let ranges = |ranges: &Ranges| ranges.iter().collect::<Vec<_>>();
    GatewayStream {
        stream: ledger.stream.id().to_string(),
        worker: ledger.stream.worker,
        boot: ledger.stream.boot.to_string(),
        accepted: ledger.accepted,
        spooled: ranges(&ledger.spooled),
        acknowledged: ranges(&ledger.acked),
        shed: ledger.shed.iter().map(|(reason, set)| (reason.as_str().to_owned(), ranges(set))).collect(),
        set_aside: ranges(&ledger.set_aside),
        set_aside_reasons: ledger.set_aside_reasons.clone(),
        unknown_from: ledger.open_end.map(|open| open.from),
        unknown_reason: ledger.open_end.map(|open| open.reason.as_str().to_owned()),
        held: ledger.held.map(|(reason, _)| reason.to_owned()),
        open: ranges(&ledger.open()),
        closed: ledger.closed,
    }
}
