//! `ApiInstance`: an address, services with routes, policies.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::bound::{self, Bound, ChainDraft, Destination, Rank};
use super::policy_binding::DEFAULT_ORDER;
use super::service::{ServiceDraft, UpstreamDraft};
use super::{Metadata, check_name, rules::rules};
use crate::address;
use crate::api::{Contract, Listen};
use crate::logging::RequestLines;
use crate::pattern::Rule;
use crate::policy::{RouteTo, Tls};
use crate::read::{Cursor, Place};
use crate::tracing::ApiTracing;

/// An API, and as much of it as could be read where something is wrong, so that clashes are reported all the same; and
/// what other resources add to it.
pub(crate) struct ApiDraft {
    pub metadata: Option<Metadata>,
    pub listen: Option<(Listen, Place)>,
    /// Those written within it, named as Flex does.
    pub services: Vec<ServiceDraft>,
    pub routes: Vec<RouteDraft>,
    /// Where `services` are, or would be.
    pub services_place: Place,
    pub has_services: bool,
    /// By the policy `route`: in order, with the name of each; `None` for one that could not be read.
    pub destinations: Vec<(Rank, String, Option<Destination>)>,
    pub chain: Vec<ChainDraft>,
    /// Each `access-log` policy as far as it could be read.
    pub logs: Vec<(Rank, Option<RequestLines>)>,
    /// Each `tracing` policy as far as it could be read.
    pub traces: Vec<(Rank, Option<ApiTracing>)>,
    /// Each `tls` policy as far as it could be read, with its place.
    pub tls: Vec<(Option<Tls>, Place)>,
    pub contracts: Vec<Contract>,
}

/// A route of a service within the API.
pub(crate) struct RouteDraft {
    pub name: String,
    /// Index into [`ApiDraft::services`].
    pub service: usize,
    pub rules: Vec<Rule>,
    pub destination_path: Option<String>,
}

impl ApiDraft {
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.as_ref().map(|(listen, _)| listen.address)
    }

    /// What speaks against the way in which its routes are written.
    pub fn routes_are_wrong(&self) -> Option<&'static str> {
        match (self.has_services, self.destinations.is_empty()) {
            (true, false) => {
                Some("are beside the policy `route`; an API has its routes either here or there: remove one")
            }
            _ => None,
        }
    }

    /// Whether nothing is behind it.
    pub fn has_no_route(&self) -> bool {
        self.services.is_empty() && self.destinations.is_empty()
    }

    /// Adds a policy of an API. One for a service is none of it, which is to be reported before.
    pub fn bind(&mut self, bound: Bound, rank: Rank, name: String) {
        match bound {
            Bound::Chain { policy, rules, place } => {
                self.chain.push(ChainDraft { rank, name, policy, rules, place });
            }
            Bound::Route(destination) => self.destinations.push((rank, name, destination)),
            Bound::Log(lines) => self.logs.push((rank, lines)),
            Bound::Traces(tracing) => self.traces.push((rank, tracing)),
            Bound::Port(tls, place) => self.tls.push((tls, place)),
            Bound::Service(..) | Bound::Nothing => {}
        }
    }
}

pub(super) fn read(spec: &Cursor<'_>, metadata: Option<Metadata>) -> Option<ApiDraft> {
    let mut fields = spec.fields()?;
    fields.mean([
        ("address", "Where it listens, `http://host:port/path` or `https://…` with a `tls` policy; APIs with other paths may share the port"),
        ("services", "The upstreams behind it, by name"),
        ("policies", "Policies of this API alone, in the order of the list"),
    ]);
    let listen = fields.required("address", |at| Some((at.parse_with_hint(address::listen)?, at.place())));
    let services = fields.take("services");
    let services_place = fields.place_of("services");
    let specs = services.as_ref().and_then(|at| at.entries(service)).unwrap_or_default();
    // Flex takes one without a service; what answers it then is a policy, or nobody.
    let has_services = services.as_ref().is_some_and(|at| at.fields().is_none_or(|fields| !fields.is_empty()));
    let bound = fields.optional("policies", |at| at.items(policy)).unwrap_or_default();
    fields.finish();
    let (services, routes) = lay_out(metadata.as_ref(), specs);
    let mut draft = ApiDraft {
        listen,
        services,
        routes,
        services_place,
        has_services,
        destinations: Vec::new(),
        chain: Vec::new(),
        logs: Vec::new(),
        traces: Vec::new(),
        tls: Vec::new(),
        contracts: Vec::new(),
        metadata,
    };
    let api = draft.metadata.as_ref().map_or_else(String::new, |metadata| metadata.name.clone());
    let mut seen = HashMap::new();
    for (index, (bound, policy)) in bound.into_iter().enumerate() {
        let n: &mut usize = seen.entry(policy).or_default();
        draft.bind(bound, (DEFAULT_ORDER, false, index, String::new()), format!("{api}-{policy}-{n}"));
        *n += 1;
    }
    Some(draft)
}

fn policy(at: &Cursor<'_>) -> Option<(Bound, &'static str)> {
    let mut fields = at.fields()?;
    let bound = bound::read(at, &mut fields);
    fields.finish();
    let bound = bound?;
    if bound.is_for_service() {
        return at.refuse("belongs to a Service; write a PolicyBinding with `targetRef: {kind: Service, name: …}`");
    }
    let name = if let Bound::Chain { policy, .. } = &bound { policy.name() } else { RouteTo::NAME };
    Some((bound, name))
}

struct ServiceSpec {
    name: String,
    upstream: UpstreamDraft,
    routes: Vec<RouteSpec>,
}

#[derive(Default)]
struct RouteSpec {
    rules: Vec<Rule>,
    destination_path: Option<String>,
}

/// A service without routes gets one that takes everything.
fn service(name: &str, at: &Cursor<'_>) -> Option<ServiceSpec> {
    let named = check_name(at, name);
    let mut fields = at.fields()?;
    fields.mean([("routes", "Which requests go to it; without any: all")]);
    let upstream = UpstreamDraft::read(&mut fields);
    let routes = fields.optional("routes", |at| at.items(route)).unwrap_or_default();
    fields.finish();
    let mut spec = ServiceSpec { name: named.then(|| name.to_owned())?, upstream, routes };
    if spec.routes.is_empty() {
        spec.routes.push(RouteSpec::default());
    }
    Some(spec)
}

fn route(at: &Cursor<'_>) -> Option<RouteSpec> {
    let mut fields = at.fields()?;
    fields.mean([
        ("rules", "A request that matches one of them takes the route"),
        ("config", "How requests are sent on"),
    ]);
    let rules = fields.optional("rules", rules).unwrap_or_default();
    let destination_path = fields.optional("config", route_config).flatten();
    fields.finish();
    Some(RouteSpec { rules, destination_path })
}

fn route_config(at: &Cursor<'_>) -> Option<Option<String>> {
    let mut fields = at.fields()?;
    fields.mean([("destinationPath", "Prefix of the path that is sent on")]);
    let path = fields.optional("destinationPath", |at| at.parse_with_hint(address::base_path));
    fields.finish();
    Some(path.filter(|path| !path.is_empty()))
}

/// Names services and routes as Flex does.
fn lay_out(api: Option<&Metadata>, specs: Vec<ServiceSpec>) -> (Vec<ServiceDraft>, Vec<RouteDraft>) {
    let (mut services, mut routes) = (Vec::with_capacity(specs.len()), Vec::new());
    for (index, spec) in specs.into_iter().enumerate() {
        let metadata = api.map(|api| api.named(format!("{}-{}", api.name, spec.name)));
        let name = metadata.as_ref().map_or("", |metadata| metadata.name.as_str());
        routes.extend(spec.routes.into_iter().enumerate().map(|(n, RouteSpec { rules, destination_path })| {
            RouteDraft { name: format!("{name}-route-{n}"), service: index, rules, destination_path }
        }));
        services.push(ServiceDraft { metadata, upstream: spec.upstream, tls: Vec::new(), chain: Vec::new() });
    }
    (services, routes)
}
