//! Phase `route`: which API and route the request is for, and what it asks of the upstream.

use crate::accept::Head;
use crate::answer::Refusal;
use crate::exchange::Place;
use crate::flow::Flow;
use crate::snapshot::{ApiEntry, Held, RouteEntry};
use crate::tracing::debug;
use bytes::{BufMut, BytesMut};
use http::header::ACCESS_CONTROL_REQUEST_METHOD;
use http::uri::PathAndQuery;
use http::{Method, Uri};
use std::rc::Rc;
use weir_event::{Exchange, Reason};

/// Where the request goes. Holds the snapshot that it points into.
pub(crate) struct Target {
    snapshot: Rc<Held>,
    place: Place,
    /// Where the path after the base path begins.
    in_api: usize,
    pub(crate) uri: Uri,
}

impl Target {
    pub(crate) fn api(&self) -> &ApiEntry {
        &self.snapshot.listeners[self.place.listener].apis[self.place.api]
    }

    /// Where that API stands at its listener.
    pub(crate) fn api_index(&self) -> usize {
        self.place.api
    }

    /// Where the path after the base path begins.
    pub(crate) fn in_api(&self) -> usize {
        self.in_api
    }

    pub(crate) fn route(&self) -> &RouteEntry {
        &self.api().routes[self.place.route]
    }
}

/// Finds the target and names it in the exchange.
pub(crate) fn route(flow: &mut Flow, head: &Head) -> Result<Target, Refusal> {
    find(flow, head, &head.method)
}

/// Names the route of a request that was answered before one was looked for, if there is one: of a CORS preflight, that
/// of the request which it asks about.
pub(crate) fn answered_early(flow: &mut Flow, head: &Head) {
    let asked = head.headers.get(&ACCESS_CONTROL_REQUEST_METHOD).filter(|_| head.method == Method::OPTIONS);
    let asked = asked.and_then(|method| Method::from_bytes(method).ok());
    // Without a route it is reported as one of no route.
    let _ = find(flow, head, asked.as_ref().unwrap_or(&head.method));
}

fn find(flow: &mut Flow, head: &Head, method: &Method) -> Result<Target, Refusal> {
    let no_route = || Refusal::new(Reason::NoRoute, "no API of this gateway serves this path");
    let snapshot = flow.exchange.snapshot();
    let listener = flow.listener.ok_or_else(no_route)?;
    let table = &snapshot.listeners[listener];
    let exchange = flow.exchange.borrow();
    let request = weir_router::Request { method, ..head.for_rules(exchange.target.path()) };
    let matched = table.router.route(&request).ok_or_else(no_route)?;
    let uri = upstream_uri(&matched.path, exchange.target.query())?;
    let place = Place { listener, api: matched.api, route: matched.route };
    // A path that is the base path itself is matched as `/`, which is no part of it.
    let path = exchange.target.path();
    let in_api = path.strip_suffix(matched.path_in_api).map_or(path.len(), str::len);
    drop(matched);
    drop(exchange);
    let target = Target { snapshot: Rc::clone(snapshot), place, in_api, uri };
    flow.exchange.is_at(place);
    let mut exchange = flow.exchange.borrow_mut();
    name(&mut exchange, target.api(), target.route());
    if let Some(tracer) = &target.api().tracer {
        tracer.sample(&mut flow.trace, &mut exchange, &head.headers);
    }
    let tracer = target.snapshot.tracer.as_ref();
    debug(tracer, &mut flow.trace, &mut exchange, |rules, exchange, now| rules.takes_api(exchange.api, now));
    drop(exchange);
    Ok(target)
}

fn name(exchange: &mut Exchange, api: &ApiEntry, route: &RouteEntry) {
    exchange.api = api.name;
    exchange.api_instance = api.instance;
    exchange.route = route.name;
    exchange.service = route.service;
    exchange.path_template = route.template;
}

/// The origin form that the upstream is asked for.
fn upstream_uri(path: &weir_router::Forwarded<'_>, query: Option<&str>) -> Result<Uri, Refusal> {
    let mut text = BytesMut::with_capacity(path.len() + query.map_or(0, |query| query.len() + 1) + 1);
    path.append_to(&mut text);
    if let Some(query) = query {
        text.put_u8(b'?');
        text.put_slice(query.as_bytes());
    }
    match PathAndQuery::from_maybe_shared(text.freeze()) {
        Ok(target) => Ok(Uri::from(target)),
        Err(_) => Err(Refusal::new(Reason::GatewayError, "the route makes a path that is not a valid one")),
    }
}
