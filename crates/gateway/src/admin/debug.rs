//! `/debug-rules`: the traces that an administrator asks for. Added and ended by an administrator alone, with a line in
//! the audit log; bounded in number, rate and time.

use super::changes::{number, refused};
use super::operator::Denied;
use super::{Admin, Body, json, json_with};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};
use weir_api::admin::{DebugRule as Rule, DebugRules as Document};
use weir_api::operations::{DEBUG_ID, DEBUG_MINUTES, DEBUG_PER_SECOND};
use weir_event::json::rfc3339_us;
use weir_telemetry::sampling::{DebugMatch, DebugRule, MOST_RULES};

/// Those in force.
pub fn list(admin: &Admin) -> Response<Body> {
    let rules = admin.registry.debug_rules.list(now()).iter().map(|rule| document(rule)).collect();
    json(&Document { rules })
}

pub fn add(admin: &Admin, request: &Request<Incoming>) -> Response<Body> {
    added(admin, request).unwrap_or_else(refused)
}

fn added(admin: &Admin, request: &Request<Incoming>) -> Result<Response<Body>, Denied> {
    let operator = admin.operators.check(request)?;
    if admin.spans.is_none() {
        let why = "this gateway makes no spans; configure `spec.tracing.provider` (docs/tracing.md)";
        return Err(Denied { status: StatusCode::CONFLICT, why: why.to_owned() });
    }
    let what = what(admin, request)?;
    let minutes = number(request, "minutes", DEBUG_MINUTES)?.unwrap_or_default();
    let per_second = number(request, "perSecond", DEBUG_PER_SECOND)?.unwrap_or_default();
    let (now, per_second) = (now(), u32::try_from(per_second).unwrap_or(u32::MAX));
    let query = request.uri().query().unwrap_or_default();
    admin.operators.note(&operator, "add debug rule", &json!({"query": query}))?;
    let rule = admin.registry.debug_rules.add(what, now + minutes * 60, per_second, now).ok_or_else(|| Denied {
        status: StatusCode::CONFLICT,
        why: format!("there are {MOST_RULES} debug rules, which is the most; end one (`weirctl debug list`)"),
    })?;
    Ok(json_with(StatusCode::CREATED, &document(&rule)))
}

pub fn end(admin: &Admin, request: &Request<Incoming>) -> Response<Body> {
    ended(admin, request).unwrap_or_else(refused)
}

fn ended(admin: &Admin, request: &Request<Incoming>) -> Result<Response<Body>, Denied> {
    let operator = admin.operators.check(request)?;
    let id = number(request, "id", DEBUG_ID)?.and_then(|id| u32::try_from(id).ok());
    let id = id.ok_or_else(|| wrong("name the rule: `?id=N`"))?;
    admin.operators.note(&operator, "end debug rule", &json!({"id": id}))?;
    let ended = admin.registry.debug_rules.end(id, now());
    let why = || format!("there is no debug rule {id}; `weirctl debug list` has those in force");
    ended.map(|rule| json(&document(&rule))).ok_or_else(|| Denied { status: StatusCode::NOT_FOUND, why: why() })
}

fn what(admin: &Admin, request: &Request<Incoming>) -> Result<DebugMatch, Denied> {
    match (text_of(request, "header"), text_of(request, "consumer"), text_of(request, "api")) {
        (Some(header), None, None) => {
            let (name, value) = header.split_once(':').map_or((&*header, None), |(name, value)| (name, Some(value)));
            let name: HeaderName = name.trim().parse().map_err(|_| wrong("`header` is no name of a header field"))?;
            let value = value.map(|value| value.trim().parse::<HeaderValue>()).transpose();
            Ok(DebugMatch::Header(name, value.map_err(|_| wrong("`header` has a value that no header can carry"))?))
        }
        (None, Some(consumer), None) => Ok(DebugMatch::Consumer(consumer)),
        (None, None, Some(api)) => {
            // As events name it.
            let known = |own: &weir_config::Api| match &*own.namespace {
                "default" => own.name == api,
                namespace => api.strip_prefix(namespace).and_then(|rest| rest.strip_prefix('/')) == Some(&own.name),
            };
            if !admin.reloads.running().apis.iter().any(known) {
                return Err(Denied {
                    status: StatusCode::NOT_FOUND,
                    why: format!("there is no API `{api}` here; write its name, or `namespace/name`"),
                });
            }
            Ok(DebugMatch::Api(admin.registry.names.register(&api), api))
        }
        _ => Err(wrong("say which traces: one of `header`, `consumer` and `api`")),
    }
}

/// A parameter of the query, decoded.
fn text_of(request: &Request<Incoming>, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty())
}

fn wrong(why: &str) -> Denied {
    Denied { status: StatusCode::BAD_REQUEST, why: why.to_owned() }
}

/// Seconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn document(rule: &DebugRule) -> Rule {
    let (mut header, mut consumer, mut api) = (None, None, None);
    match &rule.what {
        DebugMatch::Header(name, None) => header = Some(name.to_string()),
        DebugMatch::Header(name, Some(value)) => {
            header = Some(format!("{name}:{}", String::from_utf8_lossy(value.as_bytes())));
        }
        DebugMatch::Consumer(name) => consumer = Some(name.clone()),
        DebugMatch::Api(_, name) => api = Some(name.clone()),
    }
    let until = rfc3339_us(i64::try_from(rule.until).unwrap_or_default().saturating_mul(1_000_000));
    Rule { id: rule.id, header, consumer, api, per_second: rule.per_second, until, traces: rule.traces() }
}
