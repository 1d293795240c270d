//! `/metrics`: the figures of all workers added up, and those of the spool and of the configuration.

use super::{Admin, Body, with_type};
use crate::reload::{Cause, FIXED, lock};
use http::header::HeaderValue;
use http::{Response, StatusCode};
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};
use weir_config::WaitsFor;
use weir_telemetry::metrics::{CONTENT_TYPE, Families, catalogue};

/// One scrape.
pub fn metrics(admin: &Admin) -> Response<Body> {
    let mut out = Families::default();
    admin.registry.figures.expose(&admin.registry.names, &mut out);
    workers(admin, &mut out);
    spool(admin, &mut out);
    process(admin, &mut out);
    with_type(StatusCode::OK, HeaderValue::from_static(CONTENT_TYPE), out.text().into())
}

fn workers(admin: &Admin, out: &mut Families) {
    let proxy = lock(&admin.proxy);
    let Some(proxy) = proxy.as_ref() else { return };
    for (number, stats) in proxy.stats().enumerate() {
        let worker = number.to_string();
        out.gauge(&catalogue::CONNECTIONS, &[&worker], stats.connections() as f64);
        out.counter(&catalogue::ACCEPTED, &[&worker], stats.accepted());
        for (limit, count) in stats.refused() {
            out.counter(&catalogue::CONNECTIONS_REFUSED, &[&worker, limit], count);
        }
        for (kind, count) in stats.handshakes() {
            out.counter(&catalogue::HANDSHAKES, &[&worker, kind], count);
        }
    }
    for (number, (still, stalls)) in proxy.pulses().enumerate() {
        let worker = number.to_string();
        out.gauge(&catalogue::WORKER_STILL, &[&worker], still.as_secs_f64());
        out.counter(&catalogue::WORKER_STALLS, &[&worker], stalls);
    }
    out.gauge(&catalogue::DRAINING, &[], f64::from(u8::from(proxy.is_draining())));
    let snapshot = proxy.snapshot();
    out.gauge(&catalogue::CONFIG_GENERATION, &[], f64::from(snapshot.generation()));
    out.gauge(&catalogue::CONFIG_SERVING, &[], f64::from(proxy.serving()));
    for (listener, expiries) in snapshot.certificates() {
        for (number, expiry) in expiries.iter().enumerate() {
            let labels = [&*listener.to_string(), &*number.to_string()];
            out.gauge(&catalogue::CERTIFICATE_EXPIRY, &labels, *expiry as f64);
        }
    }
}

fn spool(admin: &Admin, out: &mut Families) {
    let stats = admin.spool.stats();
    out.counter(&catalogue::EVENTS_WRITTEN, &[], stats.events_written);
    for (reason, count) in stats.shed.iter() {
        out.counter(&catalogue::EVENTS_SHED, &[reason.as_str()], count);
    }
    out.counter(&catalogue::CHUNKS_ACKED, &[], stats.chunks_acked);
    out.counter(&catalogue::CHUNKS_SENT, &[], stats.chunks_sent);
    out.counter(&catalogue::CHUNKS_SPLIT, &[], stats.chunks_split);
    out.counter(&catalogue::CHUNKS_SET_ASIDE, &[], stats.chunks_set_aside);
    out.gauge(&catalogue::SET_ASIDE_CHUNKS, &[], stats.set_aside_chunks as f64);
    out.gauge(&catalogue::SET_ASIDE_BYTES, &[], stats.set_aside_bytes as f64);
    out.counter(&catalogue::SPOOL_FAILURES, &["write"], stats.write_failures);
    out.counter(&catalogue::SPOOL_FAILURES, &["other"], stats.file_failures);
    out.counter(&catalogue::NOT_UNDERSTOOD, &[], stats.not_understood);
    out.gauge(&catalogue::SHIPPING_BLOCKED, &[], f64::from(u8::from(stats.blocked.is_some())));
    let held = stats.held.iter().map(|life| life.chunks).sum::<u64>();
    out.gauge(&catalogue::CHUNKS_HELD, &[], held as f64);
    out.gauge(&catalogue::SPOOL_BYTES, &[], stats.bytes_on_disk as f64);
    out.gauge(&catalogue::SPOOL_CHUNKS, &[], stats.chunks_on_disk as f64);
    let age = stats.oldest_age.map_or(0.0, |age: Duration| age.as_secs_f64());
    out.gauge(&catalogue::SPOOL_AGE, &[], age);
}

fn process(admin: &Admin, out: &mut Families) {
    let reloads = &admin.reloads;
    for (outcome, count) in [("succeeded", &reloads.succeeded), ("failed", &reloads.failed)] {
        out.counter(&catalogue::CONFIG_RELOADS, &[outcome], count.load(Ordering::Relaxed));
    }
    out.gauge(&catalogue::CONFIG_FAILING, &[], f64::from(u8::from(reloads.last_error().is_some())));
    out.gauge(&catalogue::CONFIG_RETRYING, &[], f64::from(u8::from(reloads.retrying())));
    let waiting = reloads.waiting();
    for (name, waits_for) in WaitsFor::NAMES {
        let since = waiting.as_ref().filter(|waiting| waiting.waits_for == waits_for).map(|waiting| waiting.since);
        let since = since.and_then(|since| since.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        out.gauge(&catalogue::CONFIG_PENDING, &[name], since.as_secs_f64());
    }
    let (restart, fallback) = (reloads.restart_required(), reloads.fallback());
    for setting in FIXED {
        out.gauge(&catalogue::CONFIG_RESTART, &[setting], f64::from(u8::from(restart.contains(&setting))));
    }
    for cause in Cause::ALL {
        let is = fallback.as_ref().is_some_and(|fallback| fallback.cause == cause);
        out.gauge(&catalogue::CONFIG_FALLBACK, &[cause.as_str()], f64::from(u8::from(is)));
    }
    out.counter(&catalogue::LOG_DROPPED, &[], weir_program::log::dropped());
    out.gauge(&catalogue::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
    let started = admin.started.duration_since(UNIX_EPOCH).unwrap_or_default();
    out.gauge(&catalogue::START_TIME, &[], started.as_secs_f64());
}
