//! What the gateway serves and how it fares, for people and for `weirctl`.

use super::Admin;
use crate::reload::lock;
use serde_json::{Map, Value, json};
use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;
use weir_config::{Waiting, WaitsFor};
use weir_event::Ranges;
use weir_event::json::rfc3339_us;
use weir_spool::{HeldLife, SpoolStats, StreamLedger};

/// The `/status` document.
pub fn status(admin: &Admin) -> Value {
    let proxy = lock(&admin.proxy);
    let serving = proxy.as_ref().map(|proxy| {
        let workers: Vec<_> = proxy
            .stats()
            .map(|stats| json!({"accepted": stats.accepted(), "connections": stats.connections()}))
            .collect();
        let listeners: Vec<_> = proxy
            .listening()
            .iter()
            .map(|(configured, actual)| json!({"configured": configured, "actual": actual}))
            .collect();
        json!({"generation": proxy.snapshot().generation(), "all_workers": proxy.serving(), "listeners": listeners, "workers": workers})
    });
    let identity = &admin.identity;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "boot": admin.spool.boot().to_string(),
        "identity": {
            "organization": identity.organization,
            "environment": identity.environment,
            "site": identity.site,
            "gateway": identity.gateway,
        },
        "serving": serving,
        "warnings": admin.reloads.running().warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "draining": admin.draining.load(Ordering::Relaxed),
        "reloads": {
            "succeeded": admin.reloads.succeeded.load(Ordering::Relaxed),
            "failed": admin.reloads.failed.load(Ordering::Relaxed),
            "last_error": admin.reloads.last_error(),
            "retrying": admin.reloads.retrying(),
            "waiting": admin.reloads.waiting().as_ref().map(waiting),
            "restart_required": admin.reloads.restart_required(),
            "kept": admin.generations.numbers(),
            "fallback": admin.reloads.fallback().map(|fallback| {
                json!({"generation": fallback.generation, "cause": fallback.cause.as_str(), "why": fallback.why})
            }),
        },
        "spool": spool(&admin.spool.stats()),
    })
}

/// A change that is not taken yet.
fn waiting(waiting: &Waiting) -> Value {
    let name = WaitsFor::NAMES.iter().find(|(_, known)| *known == waiting.waits_for).map(|(name, _)| *name);
    let since = waiting.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = rfc3339_us(i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
    json!({"since": since, "waits_for": name, "removals": waiting.removals})
}

fn spool(stats: &SpoolStats) -> Value {
    let rings: Vec<_> = stats.rings.iter().map(|ring| json!({"used": ring.used, "size": ring.size})).collect();
    json!({
        "events_written": stats.events_written,
        "shed": stats.shed.iter().map(|(reason, count)| (reason.as_str().to_owned(), json!(count))).collect::<Map<_, _>>(),
        "chunks": {
            "sealed": stats.chunks_sealed,
            "acknowledged": stats.chunks_acked,
            "set_aside": stats.chunks_set_aside,
            "split": stats.chunks_split,
            "on_disk": stats.chunks_on_disk,
        },
        "set_aside": {"chunks": stats.set_aside_chunks, "bytes": stats.set_aside_bytes},
        "blocked": stats.blocked,
        "held": stats.held.iter().map(held).collect::<Vec<_>>(),
        "failures": {"write": stats.write_failures, "other": stats.file_failures},
        "answers_not_understood": stats.not_understood,
        "bytes_on_disk": stats.bytes_on_disk,
        "oldest_age_seconds": stats.oldest_age.map(|age| age.as_secs_f64()),
        "rings": rings,
        "last_error": stats.last_error,
    })
}

fn held(life: &HeldLife) -> Value {
    json!({
        "boot": life.boot.to_string(),
        "site": life.identity.site,
        "gateway": life.identity.gateway,
        "reason": life.reason,
        "error": life.error,
        "since_ms": life.since_us / 1000,
        "chunks": life.chunks,
    })
}

/// The `/ledger` document: this process's half of the account, per stream, as ranges of sequence numbers.
pub fn ledger(admin: &Admin) -> Value {
    let ranges = |ranges: &Ranges| ranges.iter().map(|(first, last)| json!([first, last])).collect::<Vec<_>>();
    let stream = |ledger: &StreamLedger| {
        let shed = ledger.shed.iter().map(|(reason, set)| (reason.as_str().to_owned(), json!(ranges(set))));
        json!({
            "stream": ledger.stream.id().to_string(),
            "worker": ledger.stream.worker,
            "boot": ledger.stream.boot.to_string(),
            "accepted": ledger.accepted,
            "spooled": ranges(&ledger.spooled),
            "acknowledged": ranges(&ledger.acked),
            "shed": shed.collect::<serde_json::Map<_, _>>(),
            "set_aside": ranges(&ledger.set_aside),
            "set_aside_reasons": ledger.set_aside_reasons,
            "unknown_from": ledger.open_end.map(|open| open.from),
            "unknown_reason": ledger.open_end.map(|open| open.reason.as_str()),
            "held": ledger.held.map(|(reason, _)| reason),
            "open": ranges(&ledger.open()),
            "closed": ledger.closed,
        })
    };
    json!({"streams": admin.spool.ledger().iter().map(stream).collect::<Vec<_>>()})
}
