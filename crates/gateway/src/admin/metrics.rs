//! `/metrics`, and the same figures by OTLP: those of all workers added up, of the spool and of the configuration.
//!
//! Written piece by piece, as the client takes it: a gateway of thousands of routes has a hundred megabytes of it, and
//! a probe that is asked for meanwhile waits for one piece.

use super::listener::Counts;
use super::{Admin, Body};
use crate::reload::{Cause, lock};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};
use http::{HeaderName, Request, Response};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weir_config::{Startup, WaitsFor};
use weir_event::Instant;
use weir_metrics::{Negotiated, negotiate, takes_gzip};
use weir_otlp::{Collection, GivenUp, Loss};
use weir_spool::SpoolStats;
use weir_telemetry::metrics::{Connects, Exposition, Families, RouteLabels, RouteMetrics, catalogue};

/// What is made of the text before the client is waited for, and before a probe has its turn. Bytes.
const PIECE: usize = 16 << 10;
/// Pieces that wait for the client.
const WAITING: usize = 1;

/// One scrape.
///
/// With `?created=true`, and in OpenMetrics, the time goes with each series from which on it grows.
pub fn metrics<T>(admin: &Arc<Admin>, request: &Request<T>) -> Response<Body> {
    let headers = request.headers();
    let accept = headers.get_all(ACCEPT).iter().filter_map(|list| list.to_str().ok());
    let Negotiated { format, content_type } = negotiate(accept);
    let mut text = Exposition::of(format);
    if request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "created=true")) {
        text = text.with_created();
    }
    let (pieces, body) = Channel::new(WAITING);
    let codings = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
    let gzip = takes_gzip(codings);
    let out = Out {
        pieces,
        counts: Arc::clone(&admin.counts),
        gzip: gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
    };
    tokio::task::spawn_local(write(Arc::clone(admin), text, out));
    let mut response = Response::new(body.boxed());
    let mut set = |name: HeaderName, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
    set(CONTENT_TYPE, content_type);
    set(VARY, "accept, accept-encoding");
    if gzip {
        set(CONTENT_ENCODING, "gzip");
    }
    response
}

/// The way of the text to the client.
struct Out {
    pieces: Sender<bytes::Bytes, Infallible>,
    counts: Arc<Counts>,
    gzip: Option<GzEncoder<Vec<u8>>>,
}

/// The client has left.
struct Left;

impl Out {
    async fn send(&mut self, text: Vec<u8>) -> Result<(), Left> {
        let piece = match &mut self.gzip {
            None => text,
            Some(gzip) => match compress(gzip, &text) {
                Ok(piece) if piece.is_empty() => return Ok(()),
                Ok(piece) => piece,
                Err(_) => return Err(Left),
            },
        };
        self.pass(piece).await
    }

    async fn pass(&mut self, piece: Vec<u8>) -> Result<(), Left> {
        self.counts.scraped_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        self.pieces.send_data(piece.into()).await.map_err(|_| Left)
    }

    async fn finish(mut self, text: Vec<u8>) -> Result<(), Left> {
        self.send(text).await?;
        let rest = self.gzip.take().map(GzEncoder::finish).transpose().map_err(|_| Left)?;
        match rest {
            Some(rest) => self.pass(rest).await,
            None => Ok(()),
        }
    }
}

/// What is ready after `text` has gone in.
fn compress(gzip: &mut GzEncoder<Vec<u8>>, text: &[u8]) -> io::Result<Vec<u8>> {
    gzip.write_all(text)?;
    Ok(std::mem::take(gzip.get_mut()))
}

async fn write(admin: Arc<Admin>, mut text: Exposition, mut out: Out) -> Result<(), Left> {
    fill(&admin, &mut text, async |text| out.send(text.take()).await).await?;
    out.finish(text.finish()).await
}

/// One collection for OTLP; `explicit`: histograms have the boundaries of `/metrics`.
///
/// # Errors
/// The receiver does not take it.
pub async fn push(admin: &Admin, explicit: bool, out: &mut Collection<'_>) -> Result<(), GivenUp> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut figures = Exposition::of_otlp(u64::try_from(now.as_nanos()).unwrap_or_default(), explicit);
    let piece = async |figures: &mut Exposition| {
        out.add(figures.take_points()).await?;
        // A piece is mostly added at once, and a probe would wait for all of them.
        tokio::task::yield_now().await;
        Ok(())
    };
    fill(admin, &mut figures, piece).await?;
    out.add(figures.finish_points()).await
}

/// Adds every figure to `text`, and calls `piece` whenever there is one.
async fn fill<E>(
    admin: &Admin,
    text: &mut Exposition,
    mut piece: impl AsyncFnMut(&mut Exposition) -> Result<(), E>,
) -> Result<(), E> {
    let routes = admin.registry.figures.all();
    for family in RouteMetrics::FAMILIES {
        for route in &routes {
            route.expose(*family, &admin.registry.names, text);
            if text.ready() >= PIECE {
                piece(text).await?;
            }
        }
    }
    let mut few = Families::default();
    services(&routes, &mut few);
    endpoints(admin, &mut few);
    workers(admin, &mut few);
    spool(admin, &mut few);
    exports(admin, &mut few);
    log_lines(admin, &mut few);
    cost(admin, &mut few);
    cardinality(admin, &mut few);
    process(admin, &mut few);
    weir_metrics::process::metrics(&mut few, admin.started);
    text.began(admin.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    text.families(few);
    Ok(())
}

/// Of each service that has been tried, over the routes that lead to it.
fn services(routes: &[Arc<RouteMetrics>], out: &mut Families) {
    let mut services: BTreeMap<[&str; 2], Connects> = BTreeMap::new();
    for route in routes {
        let RouteLabels { api, service, .. } = route.labels();
        if let Some(connects) = route.connects().filter(|_| !service.is_empty()) {
            let sum = services.entry([api, service]).or_default();
            sum.opened += connects.opened;
            sum.failed += connects.failed;
        }
    }
    for (service, Connects { opened, failed }) in &services {
        out.counter(&catalogue::CONNECTIONS_OPENED, service, *opened);
        out.counter(&catalogue::CONNECT_FAILURES, service, *failed);
    }
}

/// Of services with several endpoints, or with endpoints that are checked.
fn endpoints(admin: &Admin, out: &mut Families) {
    let now = Instant::now();
    for cluster in admin.registry.clusters.all() {
        let service = cluster.service();
        if cluster.retries().attempts > 0 {
            let (made, refused) = cluster.retried();
            out.counter(&catalogue::RETRIES, &[service, "made"], made);
            out.counter(&catalogue::RETRIES, &[service, "over_budget"], refused);
        }
        if cluster.is_single() && !cluster.is_checked() {
            continue;
        }
        for (index, member) in cluster.members().iter().enumerate() {
            let endpoint = member.origin.address.to_string();
            let available = f64::from(u8::from(cluster.is_available(index, now)));
            out.gauge(&catalogue::ENDPOINT_AVAILABLE, &[service, &endpoint], available);
            out.counter(&catalogue::ENDPOINT_EJECTIONS, &[service, &endpoint], member.standing.ejections());
            if cluster.is_checked() {
                let (passed, failed) = member.standing.checks();
                out.counter(&catalogue::HEALTH_CHECKS, &[service, &endpoint, "passed"], passed);
                out.counter(&catalogue::HEALTH_CHECKS, &[service, &endpoint, "failed"], failed);
            }
        }
    }
}

fn cost(admin: &Admin, out: &mut Families) {
    let of_logs = admin.logs.counts().map(|(_, counts)| counts.bytes()).sum();
    let sent = |counts: &Option<Arc<weir_otlp::Counts>>| counts.as_ref().map_or(0, |counts| counts.bytes());
    let of_metrics = admin.counts.scraped_bytes.load(Ordering::Relaxed) + sent(&admin.metric_export);
    for (signal, bytes) in [("logs", of_logs), ("metrics", of_metrics), ("traces", sent(&admin.spans))] {
        out.counter(&catalogue::TELEMETRY_BYTES, &[signal], bytes);
    }
    out.gauge(&catalogue::TELEMETRY_SHARE, &[], lock(&admin.budget).share());
    out.gauge(&catalogue::TELEMETRY_DEGRADED, &[], f64::from(admin.registry.degradation.level() as u8));
}

fn cardinality(admin: &Admin, out: &mut Families) {
    let cardinality = admin.registry.figures.cardinality();
    for (metric, used) in cardinality.used() {
        out.gauge(&catalogue::LABEL_SETS, &[metric], used as f64);
    }
    out.gauge(&catalogue::LABEL_SETS_LIMIT, &[], f64::from(cardinality.limit()));
}

fn log_lines(admin: &Admin, out: &mut Families) {
    for (output, counts) in admin.logs.counts() {
        out.counter(&catalogue::LOG_LINES, &[output], counts.written());
        for (why, count) in counts.dropped() {
            out.counter(&catalogue::LOG_LINES_DROPPED, &[output, why], count);
        }
    }
}

/// Nothing of what is not sent.
fn exports(admin: &Admin, out: &mut Families) {
    if let Some(counts) = &admin.spans {
        out.counter(&catalogue::SPANS_EXPORTED, &[], counts.exported());
        for (reason, why) in Loss::ALL {
            out.counter(&catalogue::SPANS_DROPPED, &[reason], counts.lost(why));
        }
        out.counter(&catalogue::SPAN_EXPORTS, &["success"], counts.requests().saturating_sub(counts.failed()));
        out.counter(&catalogue::SPAN_EXPORTS, &["failure"], counts.failed());
        out.gauge(&catalogue::SPAN_QUEUE, &[], counts.waiting() as f64);
    }
    if let Some(counts) = &admin.metric_export {
        out.counter(&catalogue::POINTS_EXPORTED, &[], counts.exported());
        // There is no queue of them.
        for (reason, why) in Loss::ALL.into_iter().filter(|(_, why)| *why != Loss::QueueFull) {
            out.counter(&catalogue::POINTS_DROPPED, &[reason], counts.lost(why));
        }
        out.counter(&catalogue::METRIC_EXPORTS, &["success"], counts.requests().saturating_sub(counts.failed()));
        out.counter(&catalogue::METRIC_EXPORTS, &["failure"], counts.failed());
    }
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
        if admin.spans.is_some() {
            for (kept, count) in stats.traces_kept() {
                out.counter(&catalogue::TRACES_KEPT, &[&worker, kept], count);
            }
        }
        for (signal, time) in stats.costs() {
            out.seconds(&catalogue::TELEMETRY_CPU, &[&worker, signal], time.as_secs_f64());
        }
        out.counter(&catalogue::LINKS_DOUBTED, &[&worker], stats.links_doubted());
        for (kind, count) in stats.handshakes() {
            out.counter(&catalogue::HANDSHAKES, &[&worker, kind], count);
        }
    }
    let failures = proxy.stats().map(|stats| stats.accept_failures()).sum();
    let of_operators = admin.counts.accept_failures.load(Ordering::Relaxed);
    out.counter(&catalogue::ACCEPT_FAILURES, &["clients"], failures);
    out.counter(&catalogue::ACCEPT_FAILURES, &["operators"], of_operators);
    out.counter(&catalogue::OPERATOR_CLOSED, &[], admin.counts.closed.load(Ordering::Relaxed));
    for (number, (still, stalls)) in proxy.pulses().enumerate() {
        let worker = number.to_string();
        out.gauge(&catalogue::WORKER_STILL, &[&worker], still.as_secs_f64());
        out.counter(&catalogue::WORKER_STALLS, &[&worker], stalls);
    }
    out.gauge(&catalogue::DRAINING, &[], f64::from(u8::from(proxy.is_draining())));
    let snapshot = proxy.snapshot();
    out.gauge(&catalogue::CONFIG_GENERATION, &[], f64::from(snapshot.generation()));
    out.gauge(&catalogue::CONFIG_SERVING, &[], f64::from(proxy.serving()));
    for (listener, validities) in snapshot.certificates() {
        for (number, validity) in validities.iter().enumerate() {
            let labels = [&*listener.to_string(), &*number.to_string()];
            out.gauge(&catalogue::CERTIFICATE_EXPIRY, &labels, validity.not_after as f64);
            out.gauge(&catalogue::CERTIFICATE_START, &labels, validity.not_before as f64);
        }
    }
}

/// Taken apart whole: what is new in it does not compile until somebody has decided how it is shown.
fn spool(admin: &Admin, out: &mut Families) {
    let SpoolStats {
        events_written,
        shed,
        file_failures,
        not_understood,
        chunks_split,
        set_aside_chunks,
        set_aside_bytes,
        held,
        blocked,
        chunks_sealed,
        chunks_sent,
        chunks_acked,
        chunks_set_aside,
        set_aside_dropped,
        tombstones,
        write_failures,
        pauses,
        adopted,
        chunks_on_disk,
        bytes_on_disk,
        limit_bytes,
        bytes_sealed,
        oldest_age,
        rings,
        last_error: _,
    } = admin.spool.stats();
    let counters = [
        (&catalogue::EVENTS_WRITTEN, events_written),
        (&catalogue::CHUNKS_SEALED, chunks_sealed),
        (&catalogue::CHUNKS_SENT, chunks_sent),
        (&catalogue::CHUNKS_ACKED, chunks_acked),
        (&catalogue::CHUNKS_SPLIT, chunks_split),
        (&catalogue::CHUNKS_SET_ASIDE, chunks_set_aside),
        (&catalogue::SET_ASIDE_DROPPED, set_aside_dropped),
        (&catalogue::TOMBSTONES, tombstones),
        (&catalogue::NOT_UNDERSTOOD, not_understood),
        (&catalogue::PAUSES, pauses),
        (&catalogue::ADOPTED, adopted),
    ];
    out.counter(&catalogue::TELEMETRY_BYTES, &["events"], bytes_sealed);
    for (metric, count) in counters {
        out.counter(metric, &[], count);
    }
    for (reason, count) in shed.iter() {
        out.counter(&catalogue::EVENTS_SHED, &[reason.as_str()], count);
    }
    for (operation, count) in [("write", write_failures), ("other", file_failures)] {
        out.counter(&catalogue::SPOOL_FAILURES, &[operation], count);
    }
    let gauges = [
        (&catalogue::SET_ASIDE_CHUNKS, set_aside_chunks as f64),
        (&catalogue::SET_ASIDE_BYTES, set_aside_bytes as f64),
        (&catalogue::SHIPPING_BLOCKED, f64::from(u8::from(blocked.is_some()))),
        (&catalogue::CHUNKS_HELD, held.iter().map(|life| life.chunks).sum::<u64>() as f64),
        (&catalogue::SPOOL_BYTES, bytes_on_disk as f64),
        (&catalogue::SPOOL_LIMIT, limit_bytes as f64),
        (&catalogue::SPOOL_CHUNKS, chunks_on_disk as f64),
        (&catalogue::SPOOL_AGE, oldest_age.map_or(0.0, |age: Duration| age.as_secs_f64())),
    ];
    for (metric, value) in gauges {
        out.gauge(metric, &[], value);
    }
    for (worker, ring) in rings.iter().enumerate() {
        let worker = worker.to_string();
        out.gauge(&catalogue::RING_BYTES, &[&worker], ring.size as f64);
        out.gauge(&catalogue::RING_USED, &[&worker], ring.used as f64);
    }
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
    for setting in Startup::KEYS {
        out.gauge(&catalogue::CONFIG_RESTART, &[setting], f64::from(u8::from(restart.contains(&setting))));
    }
    for cause in Cause::ALL {
        let is = fallback.as_ref().is_some_and(|fallback| fallback.cause == cause);
        out.gauge(&catalogue::CONFIG_FALLBACK, &[cause.as_str()], f64::from(u8::from(is)));
    }
    out.gauge(&catalogue::OPEN_REQUESTS, &[], admin.registry.open.load(Ordering::Relaxed) as f64);
    out.counter(&catalogue::PROBE_REQUESTS, &[], admin.registry.marks.answered_so_far());
    for (why, count) in admin.registry.marks.rejected() {
        out.counter(&catalogue::PROBE_MARKS_REJECTED, &[why], count);
    }
    out.counter(&catalogue::LOG_DROPPED, &[], weir_program::log::dropped());
    out.info(&catalogue::BUILD_INFO, &[env!("CARGO_PKG_VERSION")]);
    let weir_event::Identity { organization, environment, site, gateway, replica } = &admin.identity;
    let (boot, version) = (admin.boot().to_string(), env!("CARGO_PKG_VERSION"));
    let target = [organization, gateway, &boot, version, environment, site, replica];
    out.info(&catalogue::TARGET_INFO, &target);
}
