//! The compiled configuration: immutable, and with nothing left in it that could fail on a request.
//!
//! Names are numbers, patterns matchers, addresses origins. A snapshot is built off the request path by
//! [`Snapshot::compile`], published as a whole, and freed by the loader once no worker holds it any more.

use crate::proxy::Registry;
use http::HeaderValue;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use weir_config::{Api, GatewayConfig, Rule, Scheme};
use weir_event::NameId;
use weir_policies::Policy;
use weir_router::{PolicyRules, Router};
use weir_telemetry::Trust;
use weir_telemetry::metrics::{RouteLabels, RouteMetrics};
use weir_upstream::{Origin, TlsError};

/// A request that has passed this gateway more often than this, by `Via`, is going round in circles.
pub(crate) const MAX_PASSES: usize = 4;

/// One generation of the configuration, compiled.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) generation: u32,
    pub(crate) listeners: Vec<ListenerTable>,
    pub(crate) timeouts: weir_config::Timeouts,
    pub(crate) trusted_peers: Vec<IpNet>,
    pub(crate) trust: Trust,
    pub(crate) rewrite_host: bool,
    pub(crate) preserve_request_id: bool,
    /// This gateway's member of `Via`, and its name in `Proxy-Status`.
    pub(crate) pseudonym: String,
    pub(crate) via: HeaderValue,
    pub(crate) drain: Duration,
    /// The cells of what belongs to no route.
    pub(crate) unrouted: Arc<RouteMetrics>,
}

/// One worker's hold on a snapshot, which its requests share without touching the counter that workers share.
#[derive(Debug)]
pub(crate) struct Held(pub(crate) Arc<Snapshot>);

impl Deref for Held {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

/// What is served at one address.
#[derive(Debug)]
pub(crate) struct ListenerTable {
    pub(crate) address: SocketAddr,
    pub(crate) scheme: Scheme,
    pub(crate) router: Router,
    pub(crate) apis: Vec<ApiEntry>,
}

/// One API at one listener.
#[derive(Debug)]
pub(crate) struct ApiEntry {
    pub(crate) name: NameId,
    pub(crate) instance: NameId,
    pub(crate) routes: Vec<RouteEntry>,
    pub(crate) policies: Vec<BoundPolicy>,
}

/// One route of an API.
#[derive(Debug)]
pub(crate) struct RouteEntry {
    pub(crate) name: NameId,
    pub(crate) service: NameId,
    /// Base path and pattern; several patterns of one route are told as `a|b`.
    pub(crate) template: NameId,
    pub(crate) origin: Arc<Origin>,
    pub(crate) metrics: Arc<RouteMetrics>,
}

/// A policy with the requests that it applies to.
#[derive(Debug)]
pub(crate) struct BoundPolicy {
    pub(crate) name: NameId,
    pub(crate) policy: Policy,
    pub(crate) rules: PolicyRules,
}

/// Why a checked configuration cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("ApiInstance `{api}`: service `{service}`: {error}")]
    Service { api: String, service: String, error: TlsError },
    #[error("ApiInstance at `{address}`: this version of weir does not serve https yet; use `http`")]
    Tls { address: SocketAddr },
    #[error("service `{service}`: this version of weir does not apply `tls-outbound` yet; remove its binding")]
    TlsOutbound { service: String },
    #[error("the gateway's name `{name}` cannot stand in a `Via` header; use letters, digits, `.`, `-` and `_`")]
    Pseudonym { name: String },
}

impl Snapshot {
    /// Compiles `config` as generation `generation`; `registry` keeps names and origins over reloads.
    pub fn compile(config: &GatewayConfig, generation: u32, registry: &Registry) -> Result<Self, SnapshotError> {
        let pseudonym = config.identity.gateway.clone();
        let via = HeaderValue::from_str(&format!("1.1 {pseudonym}"))
            .map_err(|_| SnapshotError::Pseudonym { name: pseudonym.clone() })?;
        let mut listeners = Vec::new();
        for (address, scheme) in addresses(&config.apis) {
            if scheme == Scheme::Https {
                return Err(SnapshotError::Tls { address });
            }
            let apis: Vec<Api> = config.apis.iter().filter(|api| api.listen.address == address).cloned().collect();
            let entries = apis.iter().map(|api| api_entry(api, registry)).collect::<Result<_, _>>()?;
            listeners.push(ListenerTable { address, scheme, router: Router::compile(&apis), apis: entries });
        }
        Ok(Self {
            generation,
            listeners,
            timeouts: config.timeouts,
            trusted_peers: config.trusted_peers.clone(),
            trust: Trust::Continue,
            rewrite_host: config.rewrite_host,
            preserve_request_id: config.preserve_request_id,
            pseudonym,
            via,
            drain: config.drain,
            unrouted: registry.figures.unrouted(),
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().map(|listener| listener.address)
    }

    /// Its number, counted from 1 in one life of the process.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Where one listener stands: a scan, because a gateway has few ports.
    pub(crate) fn listener(&self, address: SocketAddr) -> Option<usize> {
        self.listeners.iter().position(|listener| listener.address == address)
    }

    pub(crate) fn upstream_timeouts(&self) -> weir_upstream::Timeouts {
        weir_upstream::Timeouts {
            connect: self.timeouts.upstream_connect,
            idle: self.timeouts.upstream_connection_idle,
        }
    }
}

/// Each address once, in the order of the APIs.
fn addresses(apis: &[Api]) -> Vec<(SocketAddr, Scheme)> {
    let mut found: Vec<(SocketAddr, Scheme)> = Vec::new();
    for api in apis {
        if !found.iter().any(|(address, _)| *address == api.listen.address) {
            found.push((api.listen.address, api.listen.scheme));
        }
    }
    found
}

/// What an API is called in events and metrics: with its namespace where that is not the default one, so that two of
/// one name are two.
fn display_name(api: &Api) -> String {
    if api.namespace == "default" { api.name.clone() } else { format!("{}/{}", api.namespace, api.name) }
}

fn template(base: &str, rules: &[Rule]) -> String {
    let pattern = |rule: &Rule| rule.path.as_ref().map_or("/.*", |path| path.source()).to_owned();
    let patterns: Vec<_> = rules.iter().map(pattern).collect();
    let patterns = if patterns.is_empty() { "/.*".to_owned() } else { patterns.join("|") };
    format!("{base}{patterns}")
}

fn api_entry(api: &Api, registry: &Registry) -> Result<ApiEntry, SnapshotError> {
    let names = &registry.names;
    let name = display_name(api);
    let mut routes = Vec::new();
    for route in &api.routes {
        let service = &api.services[route.service];
        if service.tls.is_some() {
            return Err(SnapshotError::TlsOutbound { service: service.name.clone() });
        }
        let origin = registry.origins.origin(&service.address).map_err(|error| SnapshotError::Service {
            api: api.name.clone(),
            service: service.name.clone(),
            error,
        })?;
        routes.push(RouteEntry {
            name: names.register(&route.name),
            service: names.register(&service.name),
            template: names.register(&template(&api.listen.base_path, &route.rules)),
            origin,
            metrics: registry.figures.route(RouteLabels {
                api: name.clone(),
                route: route.name.clone(),
                service: service.name.clone(),
            }),
        });
    }
    let bound = api.policies.iter().map(|binding| BoundPolicy {
        name: names.register(&binding.name),
        policy: Policy::compile(binding, api, &registry.limiters),
        rules: PolicyRules::compile(&binding.rules),
    });
    Ok(ApiEntry {
        name: names.register(&name),
        instance: names.register(&format!("{}/{}", api.namespace, api.name)),
        routes,
        policies: bound.collect(),
    })
}
