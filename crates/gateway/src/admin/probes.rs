//! Probes: is the process alive, and does it serve.
//!
//! Liveness is that the admin thread answers, and that no worker stands still for `lifecycle.workerTimeout`. A gateway is
//! ready while it has an API to serve and is alive, until it drains; that the last edit of its configuration is wrong is
//! reported too, unless the caller allows it, though what ran before goes on.

use super::{Admin, Body, text};
use http::{Response, StatusCode, Uri};
use std::sync::atomic::Ordering;

pub fn liveness(admin: &Admin) -> Response<Body> {
    match admin.broken() {
        None => text(StatusCode::OK, "alive\n"),
        Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not alive: {why}\n")),
    }
}

pub fn readiness(admin: &Admin, uri: &Uri) -> Response<Body> {
    match is_ready(admin, uri) {
        Ok(()) => text(StatusCode::OK, "ready\n"),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

fn is_ready(admin: &Admin, uri: &Uri) -> Result<(), String> {
    if admin.draining.load(Ordering::Relaxed) {
        return Err("the gateway is draining".to_owned());
    }
    if let Some(why) = admin.broken() {
        return Err(why);
    }
    if !admin.has_apis.load(Ordering::Relaxed) {
        return Err("no ApiInstance is configured".to_owned());
    }
    match admin.reloads.last_error() {
        Some(error) if !allows_errors(uri) => {
            let first = error.lines().next().unwrap_or_default().to_owned();
            Err(format!("the last edit of the configuration is wrong: {first}"))
        }
        _ => Ok(()),
    }
}

/// Flex's three ways of saying that a configuration error should not make a gateway unready.
fn allows_errors(uri: &Uri) -> bool {
    let flags = ["allowEnvoyErrors", "allowAPIErrors", "allowPolicyErrors"];
    let query = uri.query().unwrap_or_default();
    query.split('&').filter_map(|pair| pair.split_once('=')).any(|(key, value)| flags.contains(&key) && value == "true")
}
