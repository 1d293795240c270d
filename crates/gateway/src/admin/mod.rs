//! The admin listener: probes, status and the tail of events, beside the data plane and never in its way.
//!
//! It answers from counters and copies; nothing that it does takes a lock that a worker takes.

mod changes;
mod debug;
mod dump;
mod gauges;
pub mod listener;
mod metrics;
pub mod operator;
mod pipeline;
mod probes;
mod process;
pub mod socket;
mod status;
mod tail;
mod view;

use crate::budget::Budget;
use crate::descriptors;
use crate::generations::Generations;
use crate::reload::{ReloadStats, lock};
use bytes::Bytes;
pub use gauges::sampler;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use listener::{Counts, Kind, Place, Port, Spoken};
pub use metrics::push;
use operator::{Operators, Peer};
use serde::Serialize;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio::net::{TcpListener, UnixListener};
use tracing::{error, warn};
use weir_api::OPENAPI_GATEWAY;
use weir_api::operations::{ADMIN, Admin as Operation, Method};
use weir_api::routes::{Found, Routes};
use weir_config::Handle;
use weir_event::Instant;
use weir_program::log::recent::Recent;
use weir_program::operator::Token;
use weir_program::supervisor;
use weir_proxy::{Change, Proxy, Registry};
use weir_spool::Spool;

pub type Body = BoxBody<Bytes, Infallible>;

/// What the admin listener answers from.
pub struct Admin {
    parts: Parts,
    started: SystemTime,
    identity: weir_event::Identity,
    has_apis: AtomicBool,
    draining: AtomicBool,
    /// What telemetry costs.
    budget: Mutex<Budget>,
    /// Of the admin and the probe port.
    counts: Arc<Counts>,
    /// Why the process counts as broken: the workers that stand still.
    broken: Mutex<Option<String>>,
    /// Whether systemd wants to hear that it does not.
    is_watched: bool,
    routes: Routes<Operation>,
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
    /// What became of spans, where they are made.
    pub spans: Option<Arc<weir_otlp::Counts>>,
    /// What became of metrics that are sent, where they are.
    pub metric_export: Option<Arc<weir_otlp::Counts>>,
    /// What became of the lines of logs.
    pub logs: Arc<weir_logs::Logs>,
    /// As [`Parts::spans`], of the spans of probes.
    pub probes: Option<Arc<weir_otlp::Probes>>,
}

impl std::ops::Deref for Admin {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Admin {
    pub fn new(parts: Parts, identity: weir_event::Identity) -> Arc<Self> {
        let has_apis = AtomicBool::new(!parts.reloads.running().apis.is_empty());
        let (started, draining) = (SystemTime::now(), AtomicBool::new(false));
        Arc::new(Self {
            parts,
            started,
            identity,
            has_apis,
            draining,
            budget: Mutex::default(),
            counts: Arc::default(),
            broken: Mutex::default(),
            is_watched: supervisor::watchdog().is_some(),
            routes: Routes::new(ADMIN),
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
        let running = self.reloads.running();
        let limit = running.lifecycle.worker_timeout;
        self.registry.debug_rules.expire(debug::now());
        let Some(proxy) = &mut *lock(&self.proxy) else { return };
        let budget = running.tracing.cpu_budget.map(weir_config::Percent::ratio);
        lock(&self.budget).look(proxy, budget, &self.registry.degradation);
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

    /// What the port for metrics speaks now. Never clear text where the configuration wants TLS.
    fn spoken_for_metrics(&self) -> Spoken {
        match lock(&self.proxy).as_ref().and_then(|proxy| proxy.snapshot().scraping_tls()) {
            Some(config) => Spoken::Tls(config),
            None if self.reloads.running().scraping.tls.is_some() => Spoken::Nothing,
            None => Spoken::ClearText,
        }
    }

    pub fn scheme_of_metrics(&self) -> &'static str {
        if self.reloads.running().scraping.tls.is_some() { "https" } else { "http" }
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

/// Serves everything to the gateway's user, in places of its own: what comes in at the port takes none of them.
pub async fn serve_user(listener: UnixListener, admin: Arc<Admin>) {
    let port = Port::new("admin socket", descriptors::of_operators(), Arc::clone(&admin.counts));
    let serve = port.serve(listener, move |request, place| {
        let admin = Arc::clone(&admin);
        async move {
            if request.extensions().get().is_some_and(Peer::is_own) {
                return answer(admin, request, place).await;
            }
            text(StatusCode::FORBIDDEN, "this socket is for the user of the gateway\n")
        }
    });
    serve.await;
}

/// Serves the probes alone, for a port of their own.
pub async fn serve_probes(listener: TcpListener, admin: Arc<Admin>) {
    let port = Port::new("probe", descriptors::of_operators(), Arc::clone(&admin.counts));
    let serve = port.serve(listener, move |request, _| {
        let admin = Arc::clone(&admin);
        async move {
            match admin.routes.find(request.method().as_str(), request.uri().path()) {
                Found::Operation(Operation::Liveness, _) => probes::liveness(&admin),
                Found::Operation(Operation::Readiness, _) => probes::readiness(&admin, request.uri()),
                Found::OtherMethods(allowed) if is_of_orchestrator(request.uri().path()) => not_allowed(&allowed),
                _ => not_found(),
            }
        }
    });
    serve.await;
}

/// Whether the probe port has it.
fn is_of_orchestrator(path: &str) -> bool {
    matches!(path, "/probes/liveness" | "/probes/readiness")
}

/// Serves `/metrics` alone, for a port of its own: over TLS where the configuration has it, to whoever shows the token.
pub async fn serve_metrics(listener: TcpListener, admin: Arc<Admin>) {
    let port = Port::new("metrics", descriptors::of_operators(), Arc::clone(&admin.counts));
    let of_port = Arc::clone(&admin);
    let port = port.speaking(move || of_port.spoken_for_metrics());
    let serve = port.serve(listener, move |request, place| {
        let admin = Arc::clone(&admin);
        async move { scraped(&admin, &request, &place) }
    });
    serve.await;
}

fn scraped(admin: &Arc<Admin>, request: &Request<Incoming>, place: &Place) -> Response<Body> {
    match admin.routes.find(request.method().as_str(), request.uri().path()) {
        Found::Operation(Operation::Metrics, _) => {}
        Found::OtherMethods(allowed) if request.uri().path() == "/metrics" => return not_allowed(&allowed),
        _ => return not_found(),
    }
    let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let running = admin.reloads.running();
    let token = running.scraping.token.as_ref().map(|token| Token::of(token.expose()));
    if token.is_some_and(|token| !token.is_in(authorization)) {
        let mut denied =
            text(StatusCode::UNAUTHORIZED, "this needs the token of `spec.metrics`: `Authorization: Bearer TOKEN`\n");
        denied.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return denied;
    }
    place.take(Kind::Large).unwrap_or_else(|| metrics::metrics(admin, request))
}

/// 405, with the methods that are taken there (RFC 9110 15.5.6).
fn not_allowed(allowed: &str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("{allowed} is answered here\n"));
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

async fn answer(admin: Arc<Admin>, request: Request<Incoming>, place: Place) -> Response<Body> {
    let (operation, id) = match admin.routes.find(request.method().as_str(), request.uri().path()) {
        Found::Operation(operation, id) => (operation, id.to_owned()),
        Found::OtherMethods(allowed) => return not_allowed(&allowed),
        Found::Nothing => return not_found(),
    };
    // A probe may call by any name: it says yes or no. Calls that change something look at more than the name.
    let is_named = !matches!(
        operation,
        Operation::Liveness
            | Operation::Readiness
            | Operation::PipelineMark
            | Operation::Reload
            | Operation::Rollback
            | Operation::AddDebugRule
            | Operation::EndDebugRule
    );
    if is_named && let Err(denied) = admin.operators.called(&request) {
        return text(denied.status, format!("{}\n", denied.why));
    }
    let kind = match operation {
        Operation::Status | Operation::Ledger | Operation::Dump | Operation::Metrics => Kind::Large,
        Operation::Tail => Kind::Tail,
        _ => Kind::Small,
    };
    if let Some(full) = place.take(kind) {
        return full;
    }
    match operation {
        Operation::Index => text(StatusCode::OK, index()),
        Operation::OpenApi => with_type(StatusCode::OK, JSON, OPENAPI_GATEWAY.into()),
        Operation::Liveness => probes::liveness(&admin),
        Operation::Readiness => probes::readiness(&admin, request.uri()),
        Operation::PipelineMark => pipeline::mark(&admin, &request),
        Operation::PipelineSpans => pipeline::spans(&admin, &id),
        Operation::Status => json(&status::status(&admin)),
        Operation::Ledger => json(&status::ledger(&admin)),
        Operation::Dump => json(&dump::dump(&admin)),
        Operation::Tail => tail::tail(&admin),
        Operation::Metrics => metrics::metrics(&admin, &request),
        Operation::Reload => changes::reload(admin, request).await,
        Operation::Rollback => changes::roll_back(admin, request).await,
        Operation::DebugRules => debug::list(&admin),
        Operation::AddDebugRule => debug::add(&admin, &request),
        Operation::EndDebugRule => debug::end(&admin, &request),
    }
}

/// Which paths there are, and what for.
fn index() -> String {
    let of = |method| ADMIN.iter().filter(move |operation| operation.method == method);
    let line = |operation: &weir_api::operations::Operation<Operation>| {
        let parameters: Vec<_> = operation.parameters.iter().map(|parameter| parameter.name).collect();
        let parameters = if parameters.is_empty() { String::new() } else { format!("; ?{}=", parameters.join("= ?")) };
        format!("{:<20}{}{parameters}\n", operation.path, operation.summary)
    };
    let (reads, writes): (String, String) = (of(Method::Get).map(line).collect(), of(Method::Post).map(line).collect());
    format!("weir\n\n{reads}\nPOST, for the administrator:\n{writes}")
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "not here; GET / lists what is\n")
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    with_type(status, HeaderValue::from_static("text/plain; charset=utf-8"), text.into())
}

/// A document, indented for people.
fn json(document: &impl Serialize) -> Response<Body> {
    json_with(StatusCode::OK, document)
}

fn json_with(status: StatusCode, document: &impl Serialize) -> Response<Body> {
    // Never an error: the documents' maps have text for keys.
    let mut bytes = serde_json::to_vec_pretty(document).unwrap_or_default();
    bytes.push(b'\n');
    with_type(status, JSON, bytes.into())
}

fn with_type(status: StatusCode, kind: HeaderValue, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(bytes).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
