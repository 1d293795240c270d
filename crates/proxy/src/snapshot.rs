//! The compiled configuration: immutable, and with nothing left in it that could fail on a request.
//!
//! Names are numbers, patterns matchers, services clusters. A snapshot is built off the request path by
//! [`Snapshot::compile`], published as a whole, and freed by the loader once no worker holds it any more.

use crate::gate::Gate;
use crate::marks::Marks;
use crate::registry::Registry;
use crate::tls::validities;
use crate::tracing::Tracer;
use ipnet::IpNet;
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use weir_config::{
    Api, ConfigError, ExemplarFilter, GatewayConfig, PeerGateway, Propagators, Rule, Service, TraceEdge, UpstreamHost,
    Validity,
};
use weir_event::{NameId, Protocol};
use weir_http1::{Fields, Known, Lines};
use weir_policies::{Policy, Stages};
use weir_router::{PolicyRules, Router};
use weir_telemetry::LineRule;
use weir_telemetry::metrics::{RouteLabels, RouteMetrics};
use weir_upstream::{Cluster, Descriptors, TlsError};

/// A request that has passed this gateway more often than this, by `Via`, is going round in circles.
pub(crate) const MAX_PASSES: usize = 4;

/// One generation of the configuration, compiled.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) generation: u32,
    pub(crate) listeners: Vec<ListenerTable>,
    scraping: Option<Scraping>,
    pub(crate) timeouts: weir_config::Timeouts,
    pub(crate) limits: weir_config::Limits,
    /// Requests that are open now, of whatever generation.
    pub(crate) open: Arc<AtomicUsize>,
    pub(crate) descriptors: Arc<Descriptors>,
    pub(crate) trusted_peers: Vec<IpNet>,
    pub(crate) peer_gateways: Vec<PeerGateway>,
    /// What counts at a port that no API has any more.
    /// Of which requests histograms keep exemplars.
    pub(crate) exemplars: ExemplarFilter,
    pub(crate) edge: TraceEdge,
    pub(crate) propagators: Propagators,
    /// `None`: no spans are made, and flags go on as they come.
    pub(crate) tracer: Option<Tracer>,
    pub(crate) upstream_host: UpstreamHost,
    pub(crate) preserve_request_id: bool,
    /// This gateway's member of `Via`, and its name in `Proxy-Status`.
    pub(crate) pseudonym: String,
    pub(crate) via: Via,
    pub(crate) drain: Duration,
    /// The cells of what belongs to no route.
    pub(crate) unrouted: Arc<RouteMetrics>,
    /// Which requests without a route have a line in the access log; `None`: none.
    pub(crate) lines: Option<Arc<LineRule>>,
    pub(crate) marks: Arc<Marks>,
}

/// This gateway's member of `Via`, for each version that a request may come in (RFC 9110 7.6.3).
#[derive(Debug)]
pub(crate) struct Via {
    http10: Lines,
    http11: Lines,
    http2: Lines,
}

impl Via {
    fn new(pseudonym: &str) -> Option<Self> {
        let member = |version: &str| {
            let mut line = Fields::new();
            line.append(Known::Via, format!("{version} {pseudonym}").as_bytes()).ok()?;
            Some(Lines::from(&line))
        };
        Some(Self { http10: member("1.0")?, http11: member("1.1")?, http2: member("2.0")? })
    }

    /// The line for a message that came over `protocol`.
    pub(crate) fn received(&self, protocol: Protocol) -> &Lines {
        match protocol {
            Protocol::Http10 => &self.http10,
            Protocol::Http2 => &self.http2,
            _ => &self.http11,
        }
    }
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
    pub(crate) gate: Arc<Gate>,
    pub(crate) edge: TraceEdge,
    /// What to shake hands with, where it speaks TLS.
    pub(crate) acceptor: Option<Arc<ServerConfig>>,
    /// When its certificates hold, in their order.
    pub(crate) certificates: Vec<Validity>,
    pub(crate) router: Router,
    pub(crate) apis: Vec<ApiEntry>,
    /// Whether a policy of any of them is asked before a route is chosen.
    pub(crate) is_asked_before_route: bool,
}

/// One API at one listener.
#[derive(Debug)]
pub(crate) struct ApiEntry {
    pub(crate) name: NameId,
    pub(crate) instance: NameId,
    pub(crate) routes: Vec<RouteEntry>,
    pub(crate) policies: Vec<BoundPolicy>,
    /// How its requests are traced, where it says so and spans are made.
    pub(crate) tracer: Option<Tracer>,
}

/// One route of an API.
#[derive(Debug)]
pub(crate) struct RouteEntry {
    pub(crate) name: NameId,
    pub(crate) service: NameId,
    /// Base path and pattern; several patterns of one route are reported as `a|b`.
    pub(crate) template: NameId,
    pub(crate) cluster: Arc<Cluster>,
    /// The policies of its service.
    pub(crate) outbound: Vec<OutboundPolicy>,
    pub(crate) metrics: Arc<RouteMetrics>,
    /// Whether a Weir gateway answers for its service.
    pub(crate) is_peer: bool,
    /// Which of its requests have a line in the access log; `None`: none.
    pub(crate) lines: Option<Arc<LineRule>>,
}

/// A policy of a service, which is asked for each attempt.
#[derive(Debug)]
pub(crate) struct OutboundPolicy {
    pub(crate) name: NameId,
    pub(crate) policy: Policy,
}

/// A policy with the requests that it applies to.
#[derive(Debug)]
pub(crate) struct BoundPolicy {
    pub(crate) name: NameId,
    pub(crate) policy: Policy,
    pub(crate) rules: PolicyRules,
}

/// Why a checked configuration cannot be run.
/// TLS of the port for metrics alone, which no worker serves.
#[derive(Debug)]
struct Scraping {
    address: SocketAddr,
    config: Arc<ServerConfig>,
    certificates: Vec<Validity>,
}

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("ApiInstance `{api}`: service `{service}`: {error}")]
    Service { api: String, service: String, error: TlsError },
    /// What only a TLS library finds wrong.
    #[error(transparent)]
    Tls(Box<ConfigError>),
    #[error("the gateway's name `{name}` cannot stand in a `Via` header; use letters, digits, `.`, `-` and `_`")]
    Pseudonym { name: String },
}

impl Snapshot {
    /// Compiles `config` as generation `generation`; `registry` keeps names and clusters over reloads.
    pub fn compile(config: &GatewayConfig, generation: u32, registry: &Registry) -> Result<Self, SnapshotError> {
        let pseudonym = config.startup.identity.gateway.clone();
        let via = Via::new(&pseudonym).ok_or_else(|| SnapshotError::Pseudonym { name: pseudonym.clone() })?;
        let lines = config.access_log().map(|log| Arc::new(LineRule::new(&log)));
        let tracer = registry.spans.then(|| {
            Tracer::new(
                &config.tracing,
                Arc::clone(&registry.trace_callers),
                Arc::clone(&registry.debug_rules),
                Arc::clone(&registry.degradation),
            )
        });
        let mut listeners = Vec::new();
        for address in addresses(&config.apis) {
            let apis: Vec<Api> = config.apis.iter().filter(|api| api.listen.address == address).cloned().collect();
            let entry = |api: &Api| {
                let tracer = tracer.as_ref().zip(api.tracing.as_ref());
                let tracer = tracer.map(|(tracer, own)| tracer.of_api(own, config.tracing.parent));
                Ok(ApiEntry { tracer, ..api_entry(api, registry, lines.as_ref())? })
            };
            let entries = apis.iter().map(entry).collect::<Result<Vec<_>, SnapshotError>>()?;
            let mut policies = entries.iter().flat_map(|entry| &entry.policies);
            let is_asked_before_route = policies.any(|bound| bound.policy.stages().has(Stages::BEFORE_ROUTE));
            let tls = apis.iter().find_map(|api| api.tls.as_ref());
            let acceptor = tls.map(|tls| registry.acceptors.compile(address, tls)).transpose();
            let acceptor = acceptor.map_err(|error| SnapshotError::Tls(Box::new(error)))?;
            let certificates = tls.map(|tls| validities(tls)).unwrap_or_default();
            let router = Router::compile(&apis);
            let gate = registry.gates.gate(address);
            let edge = config.tracing.at(address.port());
            let apis = entries;
            listeners.push(ListenerTable {
                address,
                gate,
                edge,
                acceptor,
                certificates,
                router,
                apis,
                is_asked_before_route,
            });
        }
        let scraping = config.startup.metrics.zip(config.scraping.tls.as_ref());
        let scraping = scraping.map(|(address, tls)| {
            let config = registry.acceptors.compile(address, tls)?;
            Ok(Scraping { address, config, certificates: validities(tls) })
        });
        let scraping = scraping.transpose().map_err(|error| SnapshotError::Tls(Box::new(error)))?;
        registry.figures.cardinality().set_limit(config.scraping.cardinality_limit);
        Ok(Self {
            generation,
            listeners,
            scraping,
            timeouts: config.timeouts,
            limits: config.limits,
            open: Arc::clone(&registry.open),
            descriptors: Arc::clone(&registry.descriptors),
            trusted_peers: config.trusted_peers.clone(),
            peer_gateways: config.peer_gateways.clone(),
            exemplars: config.scraping.exemplars,
            edge: config.tracing.edge,
            propagators: config.tracing.propagators,
            tracer,
            upstream_host: config.upstream_host,
            preserve_request_id: config.preserve_request_id,
            pseudonym,
            via,
            drain: config.drain,
            unrouted: registry.figures.unrouted(),
            lines,
            marks: Arc::clone(&registry.marks),
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().map(|listener| listener.address)
    }

    /// Whether clients of the port at `address`, as configured, are to speak TLS.
    pub fn speaks_tls(&self, address: SocketAddr) -> bool {
        self.listener(address).is_some_and(|index| self.listeners[index].acceptor.is_some())
    }

    /// The first port whose certificates all are out of their time at the second `now`, where what `running` has there
    /// would still do.
    pub fn out_of_time(&self, running: &Self, now: u64) -> Option<SocketAddr> {
        let holds = |certificates: &[Validity]| certificates.iter().any(|validity| validity.holds(now));
        let before = |address| running.certificates().find(|(listener, _)| *listener == address);
        let mut worse = self.certificates().filter(|(address, certificates)| {
            !certificates.is_empty()
                && !holds(certificates)
                && before(*address).is_some_and(|(_, before)| holds(before))
        });
        worse.next().map(|(address, _)| address)
    }

    /// When the certificates of each port hold, in their order.
    pub fn certificates(&self) -> impl Iterator<Item = (SocketAddr, &[Validity])> {
        let of_apis = self.listeners.iter().map(|listener| (listener.address, &*listener.certificates));
        of_apis.chain(self.scraping.iter().map(|scraping| (scraping.address, &*scraping.certificates)))
    }

    /// What the port for metrics alone speaks TLS by; `None` where it speaks clear text.
    pub fn scraping_tls(&self) -> Option<Arc<ServerConfig>> {
        self.scraping.as_ref().map(|scraping| Arc::clone(&scraping.config))
    }

    /// What the gateway calls itself in `Via`.
    pub fn pseudonym(&self) -> &str {
        &self.pseudonym
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
            fields: self.limits.header_fields as usize,
        }
    }
}

/// Each address once, in the order of the APIs.
fn addresses(apis: &[Api]) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = Vec::new();
    for api in apis {
        if !found.contains(&api.listen.address) {
            found.push(api.listen.address);
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

fn api_entry(api: &Api, registry: &Registry, lines: Option<&Arc<LineRule>>) -> Result<ApiEntry, SnapshotError> {
    let names = &registry.names;
    let name = display_name(api);
    let lines = match &api.access_log {
        Some(own) => (own.of_all != Some(false)).then(|| Arc::new(LineRule::new(&own.log))),
        None => lines.cloned(),
    };
    let mut routes = Vec::new();
    for route in &api.routes {
        let service = &api.services[route.service];
        let cluster = registry.clusters.cluster(service).map_err(|error| SnapshotError::Service {
            api: api.name.clone(),
            service: service.name.clone(),
            error,
        })?;
        let template = template(&api.listen.base_path, &route.rules);
        let metrics = registry.figures.route(RouteLabels {
            api: name.clone(),
            route: route.name.clone(),
            service: service.name.clone(),
        });
        metrics.set_template(&template);
        routes.push(RouteEntry {
            name: names.register(&route.name),
            service: names.register(&service.name),
            template: names.register(&template),
            cluster,
            outbound: outbound(service, api, registry),
            metrics,
            lines: lines.clone(),
            is_peer: service.is_peer,
        });
    }
    let bound = api.policies.iter().map(|binding| BoundPolicy {
        name: names.register(&binding.name),
        policy: Policy::compile(binding, api, &registry.policies),
        rules: PolicyRules::compile(&binding.rules),
    });
    Ok(ApiEntry {
        name: names.register(&name),
        instance: names.register(&format!("{}/{}", api.namespace, api.name)),
        routes,
        policies: bound.collect(),
        tracer: None,
    })
}

/// The policies of a service, for one API that uses it.
fn outbound(service: &Service, api: &Api, registry: &Registry) -> Vec<OutboundPolicy> {
    let compiled = service.policies.iter().map(|binding| OutboundPolicy {
        name: registry.names.register(&binding.name),
        policy: Policy::compile(binding, api, &registry.policies),
    });
    compiled.collect()
}
