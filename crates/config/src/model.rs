//! The checked configuration of one gateway: plain immutable data, the same whatever source it came from.
//!
//! Times are [`Duration`]s, sizes [`ByteSize`]s, addresses parsed. Defaults are those of Flex where it has one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::api::Api;
use crate::error::Warnings;
use crate::export::{MetricExport, TraceExport};
use crate::files::FileHashes;
use crate::logging::{AccessLog, Logging, RequestLines};
use crate::pem::AnalyticsTls;
use crate::policy::Tls;
use crate::tracing::Tracing;
use crate::units::{ByteSize, Secret};

/// Everything that a gateway runs from. Made by [`load`](crate::load) or by hand; never changed afterwards.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayConfig {
    pub startup: Startup,
    /// Timeouts of every API.
    pub timeouts: Timeouts,
    pub limits: Limits,
    /// When a change of the files is taken.
    pub reload: Reload,
    /// How the process ends, and when it counts as broken.
    pub lifecycle: Lifecycle,
    /// Peers whose `X-Forwarded-*` and `Forwarded` headers are believed. Default none.
    pub trusted_peers: Vec<IpNet>,
    /// The other Weir gateways of the fleet: what comes from them entered the fleet elsewhere (event column `entry`). Their
    /// headers are believed only if they are `trusted_peers` as well. Default none.
    pub peer_gateways: Vec<PeerGateway>,
    /// How the port for metrics alone is scraped ([`Startup::metrics`]).
    pub scraping: Scraping,
    pub tracing: Tracing,
    /// Whether and which requests of any API have a line in the access log.
    pub access_log: RequestLines,
    /// What `Host` says to upstreams (`upstreamHost`, or `FLEX_REWRITE_HOST_HEADER`).
    pub upstream_host: UpstreamHost,
    /// Whether an `X-Request-ID` that came in is kept (`FLEX_PRESERVE_EXTERNAL_REQUEST_ID`). Default false.
    pub preserve_request_id: bool,
    /// How long requests in flight may take after SIGTERM (`FLEX_SERVICE_ENVOY_DRAIN_TIME`). Default 25 s.
    pub drain: Duration,
    /// The APIs, sorted by namespace and name. No two of them share a port and overlap in base path.
    pub apis: Vec<Api>,
    /// The files that the resources name, and what was in them; for the [`Watcher`](crate::Watcher).
    pub outside: FileHashes,
    /// What of the resources has no effect, or another one than it seems.
    pub warnings: Warnings,
}

/// What only a start reads: a change takes effect when the process is started again.
#[derive(Debug, Clone, PartialEq)]
pub struct Startup {
    /// Who this gateway says it is, in events, metrics and spans.
    pub identity: Identity,
    /// Where admin, `/metrics` and the probes are served. Default `127.0.0.1:9901`.
    pub admin: SocketAddr,
    /// A second address for the probes alone (Flex's `probe.port`); `None` unless configured.
    pub probe: Option<SocketAddr>,
    /// An address for `/metrics` alone, so that a scraper elsewhere needs no way to the admin port; `None` unless configured.
    pub metrics: Option<SocketAddr>,
    /// Where events are shipped; `None` keeps them in the spool.
    pub analytics: Option<Analytics>,
    /// Where events wait for shipping.
    pub spool: Spool,
    /// The least severe level that the programs log. Default `info`.
    pub log_level: LogLevel,
    /// Where lines of logs go.
    pub logging: Logging,
    /// Where spans are sent; `None`: nowhere, and none are made.
    pub spans: Option<TraceExport>,
    /// Where metrics are sent beside being scraped; `None`: nowhere.
    pub metric_export: Option<MetricExport>,
}

impl Default for Startup {
    fn default() -> Self {
        Self {
            identity: Identity::default(),
            admin: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901),
            probe: None,
            metrics: None,
            analytics: None,
            spool: Spool::default(),
            log_level: LogLevel::default(),
            logging: Logging::default(),
            spans: None,
            metric_export: None,
        }
    }
}

impl Startup {
    /// The keys of a `Configuration` that only a start reads.
    pub const KEYS: [&'static str; 12] = [
        "spec.identity",
        "spec.admin",
        "spec.probe",
        "spec.metrics.address",
        "spec.analytics",
        "spec.spool",
        "spec.logging.runtimeLogs",
        "spec.logging.outputs",
        "spec.logging.accessLogs.outputs",
        "spec.tracing.provider",
        "spec.metrics.otlp",
        "spec.metrics.exportInterval",
    ];

    /// Those of [`Startup::KEYS`] in which `other` differs.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let Self { identity, admin, probe, metrics, analytics, spool, log_level, logging, spans, metric_export } = self;
        let target = |export: &Option<MetricExport>| export.as_ref().map(|export| export.target.clone());
        let interval = |export: &Option<MetricExport>| export.as_ref().map(|export| export.interval);
        let differs = [
            *identity != other.identity,
            *admin != other.admin,
            *probe != other.probe,
            *metrics != other.metrics,
            *analytics != other.analytics,
            *spool != other.spool,
            *log_level != other.log_level || logging.runtime != other.logging.runtime,
            logging.outputs != other.logging.outputs || logging.also != other.logging.also,
            logging.access != other.logging.access,
            *spans != other.spans,
            target(metric_export) != target(&other.metric_export),
            interval(metric_export) != interval(&other.metric_export),
        ];
        Self::KEYS.into_iter().zip(differs).filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

impl GatewayConfig {
    /// What is written of a request whose API says nothing of it; `None`: no line.
    pub fn access_log(&self) -> Option<AccessLog> {
        let RequestLines { of_all, log } = &self.access_log;
        of_all.unwrap_or(!self.startup.logging.access.is_empty()).then(|| log.clone())
    }

    /// All but the APIs and what loading them found: what thousands of APIs take need not be kept for a setting.
    pub fn settings(&self) -> Self {
        Self {
            startup: self.startup.clone(),
            trusted_peers: self.trusted_peers.clone(),
            peer_gateways: self.peer_gateways.clone(),
            scraping: self.scraping.clone(),
            tracing: self.tracing.clone(),
            access_log: self.access_log.clone(),
            apis: Vec::new(),
            outside: FileHashes::default(),
            warnings: Warnings::default(),
            ..*self
        }
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            startup: Startup::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            reload: Reload::default(),
            lifecycle: Lifecycle::default(),
            trusted_peers: Vec::new(),
            peer_gateways: Vec::new(),
            scraping: Scraping::default(),
            tracing: Tracing::default(),
            access_log: RequestLines::default(),
            upstream_host: UpstreamHost::default(),
            preserve_request_id: false,
            drain: Duration::from_secs(25),
            apis: Vec::new(),
            outside: FileHashes::default(),
            warnings: Warnings::default(),
        }
    }
}

/// The names that every event carries. Each is one to 128 characters of `A-Za-z0-9._-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Default `default`.
    pub organization: String,
    /// Default `default`.
    pub environment: String,
    /// Default `default`.
    pub site: String,
    /// Default: the host's name, or `weir` where it has none that fits.
    pub gateway: String,
}

impl Default for Identity {
    fn default() -> Self {
        let default = || "default".to_owned();
        Self { organization: default(), environment: default(), site: default(), gateway: host_name() }
    }
}

/// Whether `name` may be an identity: 1 to 128 characters of `A-Za-z0-9._-`.
pub(crate) fn is_identity(name: &str) -> bool {
    (1..=128).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if is_identity(&name) { name } else { "weir".to_owned() }
}

/// By what another Weir gateway of the fleet is known: all that is said must hold. One of `network` and `certificate` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerGateway {
    /// Its connections come from there.
    pub network: Option<IpNet>,
    /// A subject alternative name of its client certificate, which the port has verified: a DNS name in lower case, or a URI.
    pub certificate: Option<String>,
    /// Of the port that it connects to; `None`: any.
    pub port: Option<u16>,
}

impl PeerGateway {
    /// Whether a client is this gateway: it connects from `address` to `port`, and its certificate has these names.
    pub fn is(&self, address: IpAddr, port: u16, names: &[String]) -> bool {
        self.port.is_none_or(|own| own == port)
            && self.network.is_none_or(|network| network.contains(&address.to_canonical()))
            && self.certificate.as_ref().is_none_or(|own| names.contains(own))
    }
}

/// How metrics are scraped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scraping {
    /// The bearer token that a scrape must show; `None`: whoever reaches the port may scrape.
    pub token: Option<Secret>,
    /// `None`: clear text.
    pub tls: Option<Arc<Tls>>,
    /// Label sets that traffic may make of one metric. Default 20,000.
    pub cardinality_limit: u32,
    /// Of which requests histograms keep exemplars.
    pub exemplars: ExemplarFilter,
}

/// Of which requests exemplars are kept (OpenTelemetry, Metrics SDK, "ExemplarFilter").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExemplarFilter {
    /// Of any: the event of each is in ClickHouse, whether its trace is kept or not.
    #[default]
    AlwaysOn,
    /// Of those whose traces are sampled.
    TraceBased,
    AlwaysOff,
}

impl ExemplarFilter {
    pub(crate) const NAMES: [(&'static str, Self); 3] =
        [("always_on", Self::AlwaysOn), ("trace_based", Self::TraceBased), ("always_off", Self::AlwaysOff)];

    /// Whether a request is one of them.
    pub fn takes(self, is_sampled: bool) -> bool {
        match self {
            Self::AlwaysOn => true,
            Self::TraceBased => is_sampled,
            Self::AlwaysOff => false,
        }
    }
}

impl Default for Scraping {
    fn default() -> Self {
        Self { token: None, tls: None, cardinality_limit: 20_000, exemplars: ExemplarFilter::default() }
    }
}

/// Where the events go.
#[derive(Debug, Clone, PartialEq)]
pub struct Analytics {
    /// Scheme, authority and an optional path prefix. `https`, or `http` to a loopback address.
    pub endpoint: http::Uri,
    /// The bearer token that names this gateway to the ingestor.
    pub token: Secret,
    pub tls: AnalyticsTls,
}

/// The ring of each worker and the chunk files on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    /// The folder of rings and chunk files. Default `/var/lib/weir/spool`.
    pub path: PathBuf,
    /// Past this size of all chunk files the oldest is shed. Default 1 GiB, at least 1 MiB.
    pub max_bytes: ByteSize,
    /// Past this age a chunk is shed, once it has been offered. Default 24 h, at least 1 min.
    pub max_age: Duration,
    /// The size of one worker's ring: a multiple of 4096 (so is every power of two in range), 64 KiB to 4 GiB.
    /// Default 16 MiB.
    pub ring_bytes: ByteSize,
    /// What one chunk may have on its way to weir-analytics: below what a proxy in between lets pass. Default 1 MiB,
    /// 64 KiB to 16 MiB.
    pub chunk_bytes: ByteSize,
    /// How long an event may be in the ring alone before it is in a chunk file that is synced: what a power failure may
    /// cost. Default 1 s, 50 ms to 1 min.
    pub sync_interval: Duration,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/var/lib/weir/spool"),
            max_bytes: ByteSize::gib(1),
            max_age: Duration::from_secs(24 * 3600),
            ring_bytes: ByteSize::mib(16),
            chunk_bytes: ByteSize::mib(1),
            sync_interval: Duration::from_secs(1),
        }
    }
}

/// How much the gateway takes on at once (`limits`, under `gateway.weir.dev/v1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Client connections of one port; what comes beyond is closed at once (`connections`). Default 100 000.
    pub connections: u32,
    /// Client connections of one address at one port (`connectionsPerAddress`). Default: as many as the port takes.
    pub connections_per_address: u32,
    /// Requests that are open at once; what comes beyond is answered 503 (`openRequests`). Default 20 000.
    pub open_requests: u32,
    /// Fields of a request's head, and of a response's; more are 431 and 502 (`headerFields`). Default 100. Of HTTP/1.1 and
    /// of upstreams it counts for connections that are opened after a change.
    pub header_fields: u32,
    /// Bytes a second that a client must send of a request whose length it has said, on average and not counting the
    /// first 30 s; slower ones are 408 (`uploadMinRate`). Default 240; 0: no limit.
    pub upload_min_rate: ByteSize,
    /// How long a client may take to send a request's body in all; longer is 408 (`uploadMaxTime`). Default: no limit.
    pub upload_max_time: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            connections_per_address: u32::MAX,
            open_requests: 20_000,
            header_fields: 100,
            upload_min_rate: ByteSize::new(240),
            upload_max_time: None,
        }
    }
}

/// What makes a set of files complete (`reload`, under `gateway.weir.dev/v1`); see `docs/configuration-loading.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reload {
    /// Who says that the files are complete (`mode`). Default `watch`.
    pub mode: ReloadMode,
    /// Files are complete when nothing has changed for this long (`quietPeriod`). Default 2 s.
    pub quiet_period: Duration,
    /// A change that removes protection waits for this long, unchanged (`removalPeriod`). Default 10 s.
    pub removal_period: Duration,
}

impl Default for Reload {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { mode: ReloadMode::Watch, quiet_period: seconds(2), removal_period: seconds(10) }
    }
}

/// Who says that a set of files is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadMode {
    /// A folder that is swapped, or the quiet period.
    Watch,
    /// Only who asks for a reload.
    Explicit,
}

impl ReloadMode {
    /// Each with its name in YAML.
    pub const NAMES: [(&'static str, Self); 2] = [("watch", Self::Watch), ("explicit", Self::Explicit)];
}

/// How the process ends, and when it counts as broken (`lifecycle`, under `gateway.weir.dev/v1`); see
/// `docs/lifecycle.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifecycle {
    /// Liveness fails when a worker has stood still for this long (`workerTimeout`). Default 10 s.
    pub worker_timeout: Duration,
    /// From SIGTERM until ports close: readiness fails meanwhile, and requests are served (`drainDelay`). Default none.
    pub drain_delay: Duration,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { worker_timeout: Duration::from_secs(10), drain_delay: Duration::ZERO }
    }
}

/// How long the gateway waits for whom. Each is at least 1 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// No byte either way on an exchange (`streamIdleSeconds`). Default 300 s.
    pub stream_idle: Duration,
    /// From the end of the request to the head of the upstream's response (`upstreamResponseSeconds`). Default 15 s.
    pub upstream_response: Duration,
    /// An unused upstream connection is closed (`upstreamConnectionIdleSeconds`). Default 60 s.
    pub upstream_connection_idle: Duration,
    /// TCP and TLS to an upstream. 5 s.
    pub upstream_connect: Duration,
    /// A client's connection without a request is closed (`FLEX_CONNECTION_IDLE_TIMEOUT_SECONDS`). Default 60 s.
    pub downstream_connection_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            stream_idle: Duration::from_secs(300),
            upstream_response: Duration::from_secs(15),
            upstream_connection_idle: Duration::from_secs(60),
            upstream_connect: Duration::from_secs(5),
            downstream_connection_idle: Duration::from_secs(60),
        }
    }
}

/// What `Host` says to an upstream (`upstreamHost`, under `gateway.weir.dev/v1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamHost {
    /// The service's host, and its port where that is not the scheme's own (RFC 9110 7.2).
    #[default]
    Authority,
    /// The service's host without its port, for servers that tell their sites apart by the whole field.
    Name,
    /// What the client sent.
    Original,
}

impl UpstreamHost {
    /// Each with its name in YAML.
    pub const NAMES: [(&'static str, Self); 3] =
        [("authority", Self::Authority), ("name", Self::Name), ("original", Self::Original)];
}

/// Flex's `runtimeLogs.logLevel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
    /// Only what ends the program. `tracing` has no such level: use `error`.
    Fatal,
}

impl LogLevel {
    /// Every level with its name in YAML.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("debug", Self::Debug),
        ("info", Self::Info),
        ("warn", Self::Warn),
        ("error", Self::Error),
        ("fatal", Self::Fatal),
    ];
}
