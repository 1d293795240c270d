//! The admin listener: probes, status and the tail of events, beside the data plane and never in its way.
//!
//! It answers from counters and copies; nothing that it does takes a lock that a worker takes.

mod changes;
mod dump;
pub mod listener;
mod metrics;
pub mod operator;
mod probes;
mod process;
mod status;
mod tail;
mod view;

use crate::descriptors;
use crate::generations::Generations;
use crate::reload::{ReloadStats, lock};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use listener::{Counts, Kind, Place, Port};
use operator::Operators;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};
use tokio::net::TcpListener;
use tracing::{error, warn};
use weir_config::Handle;
use weir_program::log::recent::Recent;
use weir_program::supervisor;
use weir_proxy::{Change, Proxy, Registry};
use weir_spool::Spool;

pub type Body = BoxBody<Bytes, Infallible>;

const INDEX: &str = "weir\n\n\
    /probes/liveness    is the process alive\n\
    /probes/readiness   does it serve\n\
    /metrics            figures for Prometheus\n\
    /status             what it serves, and how it fares (JSON)\n\
    /ledger             what became of every event of this process (JSON)\n\
    /dump               all of that, and the configuration without its secrets, for a support case (JSON)\n\
    /tail               events as they happen, one JSON object a line, until you leave\n\n\
    POST, for the administrator:\n\
    /reload             load what is in the folders now; ?wait=SECONDS until all workers serve it\n\
    /rollback           load a generation that was kept; ?to=N ?confirm=true ?wait=SECONDS\n";

/// What the admin listener answers from.
pub struct Admin {
    parts: Parts,
    started: SystemTime,
    identity: weir_config::Identity,
    has_apis: AtomicBool,
    draining: AtomicBool,
    /// Of the admin and the probe port.
    counts: Arc<Counts>,
    /// Why the process counts as broken: the workers that stand still.
    broken: Mutex<Option<String>>,
    /// Whether systemd wants to hear that it does not.
    is_watched: bool,
}

/// What it shares with the rest of the process.
pub struct Parts {
    pub proxy: Arc<Mutex<Option<Proxy>>>,
    pub registry: Arc<Registry>,
    pub spool: Arc<Spool>,
    pub reloads: Arc<ReloadStats>,
    pub generations: Generations,
    pub operators: Operators,
    pub handle: Handle,
    pub log: Recent,
}

impl std::ops::Deref for Admin {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Admin {
    pub fn new(parts: Parts, identity: weir_config::Identity) -> Arc<Self> {
        let has_apis = AtomicBool::new(!parts.reloads.running().apis.is_empty());
        let (started, draining) = (SystemTime::now(), AtomicBool::new(false));
        Arc::new(Self {
            parts,
            started,
            identity,
            has_apis,
            draining,
            counts: Arc::default(),
            broken: Mutex::default(),
            is_watched: supervisor::watchdog().is_some(),
        })
    }

    /// The id of this life of the process.
    pub fn boot(&self) -> weir_event::BootId {
        self.spool.boot()
    }

    /// From now on the gateway is not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Once a second: frees what workers have let go of, and looks whether there is an API to serve, and whether the
    /// workers run.
    pub fn tick(&self) {
        let limit = self.reloads.running().lifecycle.worker_timeout;
        let Some(proxy) = &mut *lock(&self.proxy) else { return };
        proxy.reap();
        self.has_apis.store(proxy.snapshot().addresses().next().is_some(), Ordering::Relaxed);
        proxy.look_at_workers(Instant::now(), limit).iter().for_each(tell_change);
        let stalled = proxy.stalled().map(|(worker, still)| format!("worker {worker} has stood still for {still:.0?}"));
        let stalled: Vec<_> = stalled.collect();
        if self.is_watched && stalled.is_empty() {
            supervisor::alive();
        }
        *lock(&self.broken) = (!stalled.is_empty()).then(|| stalled.join(", "));
    }

    /// Why the process counts as broken, if it does.
    pub fn broken(&self) -> Option<String> {
        lock(&self.broken).clone()
    }
}

fn tell_change(change: &Change) {
    match change {
        Change::Stalled { worker, still, moved } => {
            let seconds = still.as_secs();
            error!(worker, seconds, moved, "a worker stands still: liveness fails; new connections go to the others");
        }
        Change::Revived { worker } => warn!(worker, "the worker runs again"),
    }
}

/// Serves everything, for as long as it is polled.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>) {
    let port = Port::new("admin", descriptors::of_operators(), Arc::clone(&admin.counts));
    port.serve(listener, move |request, place| answer(Arc::clone(&admin), request, place)).await;
}

/// Serves the probes alone, for a port of their own.
pub async fn serve_probes(listener: TcpListener, admin: Arc<Admin>) {
    let port = Port::new("probe", descriptors::of_operators(), Arc::clone(&admin.counts));
    let serve = port.serve(listener, move |request, _| {
        let admin = Arc::clone(&admin);
        async move {
            if !is_read(request.method()) {
                return not_allowed(READS);
            }
            probes::answer(&admin, request.uri()).unwrap_or_else(not_found)
        }
    });
    serve.await;
}

const READS: &str = "GET, HEAD";

/// What a HEAD answers is what a GET would; hyper leaves the body out.
fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// 405, with the methods that are taken there (RFC 9110 15.5.6).
fn not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("{allowed} is answered here\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

async fn answer(admin: Arc<Admin>, request: Request<Incoming>, place: Place) -> Response<Body> {
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/reload") => return changes::reload(admin, request).await,
        (&Method::POST, "/rollback") => return changes::roll_back(admin, request).await,
        (_, "/reload" | "/rollback") => return not_allowed("POST"),
        (method, _) if !is_read(method) => return not_allowed(READS),
        _ => {}
    }
    // A probe may call by any name: it says yes or no.
    if let Some(answer) = probes::answer(&admin, request.uri()) {
        return answer;
    }
    if let Err(denied) = admin.operators.called(&request) {
        return text(denied.status, format!("{}\n", denied.why));
    }
    let path = request.uri().path();
    let kind = match path {
        "/status" | "/ledger" | "/dump" | "/metrics" => Kind::Large,
        "/tail" => Kind::Tail,
        _ => Kind::Small,
    };
    if let Some(full) = place.take(kind) {
        return full;
    }
    match path {
        "/" => text(StatusCode::OK, INDEX),
        "/status" => json(&status::status(&admin)),
        "/ledger" => json(&status::ledger(&admin)),
        "/dump" => json(&dump::dump(&admin)),
        "/tail" => tail::tail(&admin),
        "/metrics" => metrics::metrics(&admin, request.headers()),
        _ => not_found(),
    }
}

fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "not here; GET / lists what is\n")
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    with_type(status, HeaderValue::from_static("text/plain; charset=utf-8"), text.into())
}

fn json(value: &serde_json::Value) -> Response<Body> {
    with_type(StatusCode::OK, HeaderValue::from_static("application/json"), format!("{value:#}\n").into())
}

fn with_type(status: StatusCode, kind: HeaderValue, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(bytes).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
