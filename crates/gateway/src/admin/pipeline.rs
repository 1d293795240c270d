//! `weirctl probe --check=pipeline`, as far as the gateway is asked: a mark for one request, and what became of its spans.

use super::changes::refused;
use super::operator::Denied;
use super::{Admin, Body, json};
use crate::reload::lock;
use http::{Request, Response, StatusCode};
use weir_api::admin::{PipelineMark, PipelineSpans, ProbedListener, SpansState};
use weir_event::TraceId;
use weir_otlp::Progress;
use weir_proxy::Marks;

/// A new mark. It changes nothing, so it leaves no line; but only the administrator may keep a request out of the figures.
pub fn mark<T>(admin: &Admin, request: &Request<T>) -> Response<Body> {
    marked(admin, request).map_or_else(refused, |mark| json(&mark))
}

fn marked<T>(admin: &Admin, request: &Request<T>) -> Result<PipelineMark, Denied> {
    admin.operators.check(request)?;
    let unavailable = |why: &str| Denied { status: StatusCode::SERVICE_UNAVAILABLE, why: why.to_owned() };
    let running = admin.reloads.running();
    let proxy = lock(&admin.proxy);
    let proxy = proxy.as_ref().filter(|proxy| !proxy.is_draining());
    let proxy = proxy.ok_or_else(|| unavailable("the gateway is draining"))?;
    let snapshot = proxy.snapshot();
    let made = admin.registry.marks.make(snapshot.pseudonym());
    let listener = |(configured, actual): (&std::net::SocketAddr, &std::net::SocketAddr)| ProbedListener {
        address: actual.to_string(),
        tls: snapshot.speaks_tls(*configured),
    };
    Ok(PipelineMark {
        header: Marks::HEADER.to_owned(),
        mark: made.ok_or_else(|| unavailable("the system has no random numbers, so no mark can be made"))?,
        valid_seconds: Marks::VALID.as_secs(),
        listeners: proxy.listening().iter().map(listener).collect(),
        analytics: running.startup.analytics.as_ref().map(|analytics| analytics.endpoint.to_string()),
        spans: admin.probes.as_ref().and(running.startup.spans.as_ref()).map(|spans| spans.target.endpoint.to_string()),
    })
}

/// What became of the spans of the probe with this trace.
pub fn spans(admin: &Admin, id: &str) -> Response<Body> {
    match TraceId::from_hex(id.as_bytes()) {
        Some(trace) => json(&of_trace(admin, trace)),
        None => {
            let why = "a trace id is 32 digits of lower-case hex".to_owned();
            refused(Denied { status: StatusCode::BAD_REQUEST, why })
        }
    }
}

fn of_trace(admin: &Admin, trace: TraceId) -> PipelineSpans {
    let (state, after, error) = match admin.probes.as_ref().map(|probes| probes.progress(trace)) {
        None => (SpansState::NotConfigured, None, None),
        Some(None) => (SpansState::Unknown, None, None),
        Some(Some(Progress::Waiting { error })) => (SpansState::Waiting, None, error),
        Some(Some(Progress::Acknowledged { after })) => (SpansState::Acknowledged, Some(after), None),
        Some(Some(Progress::Dropped { after, error })) => (SpansState::Dropped, Some(after), Some(error)),
    };
    let after_ms = after.map(|after| after.as_secs_f64() * 1000.0);
    PipelineSpans { trace_id: trace.to_string(), state, after_ms, error }
}
