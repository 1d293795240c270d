//! `Configuration`: settings of the whole gateway, each at most once over all files.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::address;
use crate::model::{AnalyticsTls, LogLevel, ReloadMode, UpstreamHost, is_identity};
use crate::pem::{authorities, key_pair};
use crate::read::{At, Fields, NOT_YET, Place};
use crate::units::{ByteSize, Secret, parse_duration};

const FLEX_ONLY: [&str; 8] = [
    "sharedStorage",
    "forwardProxy",
    "proxyProtocol",
    "circuitBreaker",
    "tracing",
    "defaultTLS",
    "resourceLimits",
    "internalMetrics",
];

/// A setting, with the place that set it.
pub(crate) struct Slot<T>(pub Option<(T, Place)>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Slot<T> {
    pub fn value(self) -> Option<T> {
        self.0.map(|(value, _)| value)
    }

    /// Reads `name` into the slot. Tells when it is set already.
    fn read<'a>(&mut self, fields: &mut Fields<'a>, name: &'static str, read: impl FnOnce(&At<'a>) -> Option<T>) {
        if let Some(at) = fields.take(name) {
            self.set(&at, read);
        }
    }

    fn set<'a>(&mut self, at: &At<'a>, read: impl FnOnce(&At<'a>) -> Option<T>) {
        match &self.0 {
            Some((_, first)) => at.refuse(format!("is set here and at {first}; remove one")).unwrap_or_default(),
            None => self.0 = read(at).map(|value| (value, at.place())),
        }
    }
}

/// What all `Configuration` resources set, together.
#[derive(Default)]
pub(crate) struct Settings {
    pub organization: Slot<String>,
    pub environment: Slot<String>,
    pub site: Slot<String>,
    pub gateway: Slot<String>,
    pub admin: Slot<SocketAddr>,
    pub endpoint: Slot<http::Uri>,
    pub token: Slot<Secret>,
    pub analytics_tls: Slot<AnalyticsTls>,
    pub spool_path: Slot<PathBuf>,
    pub spool_max_bytes: Slot<ByteSize>,
    pub spool_max_age: Slot<Duration>,
    pub spool_ring_bytes: Slot<ByteSize>,
    pub spool_chunk_bytes: Slot<ByteSize>,
    pub spool_sync_interval: Slot<Duration>,
    pub trusted_peers: Slot<Vec<IpNet>>,
    pub peer_gateways: Slot<Vec<IpNet>>,
    pub connections: Slot<u32>,
    pub connections_per_address: Slot<u32>,
    pub open_requests: Slot<u32>,
    pub header_fields: Slot<u32>,
    pub upload_min_rate: Slot<ByteSize>,
    pub upload_max_time: Slot<Duration>,
    pub reload_mode: Slot<ReloadMode>,
    pub quiet_period: Slot<Duration>,
    pub removal_period: Slot<Duration>,
    pub worker_timeout: Slot<Duration>,
    pub drain_delay: Slot<Duration>,
    pub stream_idle: Slot<Duration>,
    pub upstream_response: Slot<Duration>,
    pub upstream_connection_idle: Slot<Duration>,
    /// `None` inside: switched off.
    pub probe: Slot<Option<SocketAddr>>,
    pub log_level: Slot<LogLevel>,
    pub upstream_host: Slot<UpstreamHost>,
}

pub(super) fn read(spec: &At<'_>, settings: &mut Settings) {
    let Some(mut fields) = spec.fields() else { return };
    read_weir(&mut fields, settings);
    fields.optional("timeouts", |at| timeouts(at, settings));
    settings.probe.read(&mut fields, "probe", probe);
    fields.optional("logging", |at| logging(at, settings));
    fields.not_yet(&FLEX_ONLY);
    if let Some(at) = fields.take("platformConnection") {
        at.warn("has no effect: this gateway reads its configuration from files");
    }
    fields.finish();
}

fn read_weir(fields: &mut Fields<'_>, settings: &mut Settings) {
    section(fields, "identity", |fields| {
        settings.organization.read(fields, "organization", identity);
        settings.environment.read(fields, "environment", identity);
        settings.site.read(fields, "site", identity);
        settings.gateway.read(fields, "gateway", identity);
    });
    section(fields, "admin", |fields| {
        settings.admin.read(fields, "address", |at| at.parse_cured(address::socket));
    });
    section(fields, "analytics", |fields| {
        settings.endpoint.read(fields, "endpoint", endpoint);
        settings.token.read(fields, "token", At::secret);
        settings.analytics_tls.read(fields, "tls", analytics_tls);
    });
    section(fields, "spool", |fields| {
        settings.spool_path.read(fields, "path", absolute_path);
        settings.spool_max_bytes.read(fields, "maxBytes", |at| size(at, ByteSize::mib(1)..=ByteSize::new(u64::MAX)));
        settings.spool_max_age.read(fields, "maxAge", age);
        settings.spool_ring_bytes.read(fields, "ringBytes", ring_bytes);
        settings.spool_chunk_bytes.read(fields, "chunkBytes", |at| size(at, ByteSize::kib(64)..=ByteSize::mib(16)));
        settings.spool_sync_interval.read(fields, "syncInterval", sync_interval);
    });
    section(fields, "limits", |fields| {
        settings.connections.read(fields, "connections", count);
        settings.connections_per_address.read(fields, "connectionsPerAddress", count);
        settings.open_requests.read(fields, "openRequests", count);
        settings.header_fields.read(fields, "headerFields", header_fields);
        settings.upload_min_rate.read(fields, "uploadMinRate", |at| size(at, ByteSize::new(0)..=ByteSize::gib(1)));
        settings.upload_max_time.read(fields, "uploadMaxTime", upload_time);
    });
    section(fields, "reload", |fields| {
        settings.reload_mode.read(fields, "mode", |at| at.choice(&ReloadMode::NAMES));
        settings.quiet_period.read(fields, "quietPeriod", |at| period(at, 50));
        settings.removal_period.read(fields, "removalPeriod", |at| period(at, 0));
    });
    section(fields, "lifecycle", |fields| {
        settings.worker_timeout.read(fields, "workerTimeout", |at| period(at, 2000));
        settings.drain_delay.read(fields, "drainDelay", |at| period(at, 0));
    });
    if let Some(at) = fields.take_weir("upstreamHost") {
        settings.upstream_host.set(&at.with_env(), |at| at.choice(&UpstreamHost::NAMES));
    }
    if let Some(at) = fields.take_weir("trustedPeers") {
        settings.trusted_peers.set(&at.with_env(), |at| at.items(network));
    }
    if let Some(at) = fields.take_weir("peerGateways") {
        settings.peer_gateways.set(&at.with_env(), |at| at.items(network));
    }
}

/// A mapping in which `$NAME` stands for an environment variable.
fn section<'a>(fields: &mut Fields<'a>, name: &'static str, read: impl FnOnce(&mut Fields<'a>)) {
    let Some(mut inner) = fields.take_weir(name).and_then(|at| at.with_env().fields()) else { return };
    read(&mut inner);
    inner.finish();
}

fn identity(at: &At<'_>) -> Option<String> {
    let check = |text: &str| if is_identity(text) { Ok(text.to_owned()) } else { Err("is no name") };
    at.parse(check, "use 1 to 128 of letters, digits, `.`, `_` and `-`")
}

fn endpoint(at: &At<'_>) -> Option<http::Uri> {
    at.parse(check_endpoint, "as in `https://analytics.example.com`")
}

fn check_endpoint(text: &str) -> Result<http::Uri, &'static str> {
    let uri: http::Uri = text.parse().map_err(|_| "is no URL")?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or("is no URL with a host")?;
    if uri.query().is_some() || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("carries a query or a user name, which are not sent");
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if address::is_loopback(host) => Ok(uri),
        Some("http") => Err("would send the token in clear text; use https, or http to a loopback address"),
        _ => Err("is neither https nor http"),
    }
}

/// In the words of the policy `tls-outbound`.
fn analytics_tls(at: &At<'_>) -> Option<AnalyticsTls> {
    let mut fields = at.fields()?;
    let trusted = authorities(&mut fields);
    let certificate = fields.take("certificate").map(|at| key_pair(&at));
    fields.finish();
    let found = |missing: bool| (!missing).then_some(());
    found(matches!(trusted, Some(None)) || matches!(certificate, Some(None)))?;
    Some(AnalyticsTls { authorities: trusted.flatten(), certificate: certificate.flatten() })
}

fn absolute_path(at: &At<'_>) -> Option<PathBuf> {
    let check = |text: &str| match PathBuf::from(text) {
        path if path.is_absolute() && !text.contains('\0') => Ok(path),
        _ => Err("is not an absolute path"),
    };
    at.parse(check, "begin it with `/`")
}

fn size(at: &At<'_>, range: std::ops::RangeInclusive<ByteSize>) -> Option<ByteSize> {
    let size = at.parse(str::parse::<ByteSize>, "as in `64MiB`, `1GB` or a number of bytes")?;
    if range.contains(&size) {
        Some(size)
    } else {
        at.refuse(format!("is {size}; write {} to {}", range.start(), range.end()))
    }
}

fn ring_bytes(at: &At<'_>) -> Option<ByteSize> {
    let size = size(at, ByteSize::kib(64)..=ByteSize::gib(4))?;
    if size.bytes().is_multiple_of(4096) {
        Some(size)
    } else {
        at.refuse("is no multiple of 4096; write one, as in `16MiB`")
    }
}

fn age(at: &At<'_>) -> Option<Duration> {
    let age = at.parse(parse_duration, "as in `24h`, `30m` or `90s`")?;
    if age >= Duration::from_secs(60) { Some(age) } else { at.refuse("is less than a minute; write at least `1m`") }
}

fn sync_interval(at: &At<'_>) -> Option<Duration> {
    let interval = at.parse(parse_duration, "as in `1s` or `250ms`")?;
    if (Duration::from_millis(50)..=Duration::from_secs(60)).contains(&interval) {
        Some(interval)
    } else {
        at.refuse("is out of range; write `50ms` to `1m`")
    }
}

fn period(at: &At<'_>, least_ms: u64) -> Option<Duration> {
    let period = at.parse(parse_duration, "as in `2s` or `500ms`")?;
    if (Duration::from_millis(least_ms)..=Duration::from_secs(3600)).contains(&period) {
        Some(period)
    } else {
        at.refuse(format!("is out of range; write `{least_ms}ms` to `1h`"))
    }
}

fn network(at: &At<'_>) -> Option<IpNet> {
    let parse = |text: &str| text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
    at.parse(|text| parse(text).map_err(|_| "is no network"), "as in `10.0.0.0/8`")
}

fn count(at: &At<'_>) -> Option<u32> {
    at.integer(1..=10_000_000).and_then(|count| u32::try_from(count).ok())
}

/// More than a table of them holds (32 768) nobody could take.
fn header_fields(at: &At<'_>) -> Option<u32> {
    at.integer(20..=10_000).and_then(|count| u32::try_from(count).ok())
}

fn upload_time(at: &At<'_>) -> Option<Duration> {
    let time = at.parse(parse_duration, "as in `1h` or `90s`")?;
    if time >= Duration::from_secs(1) { Some(time) } else { at.refuse("is less than a second; write at least `1s`") }
}

fn timeouts(at: &At<'_>, settings: &mut Settings) -> Option<()> {
    let mut fields = at.fields()?;
    settings.stream_idle.read(&mut fields, "streamIdleSeconds", seconds);
    settings.upstream_response.read(&mut fields, "upstreamResponseSeconds", seconds);
    settings.upstream_connection_idle.read(&mut fields, "upstreamConnectionIdleSeconds", seconds);
    fields.finish();
    Some(())
}

fn seconds(at: &At<'_>) -> Option<Duration> {
    at.integer(1..=31_536_000).map(Duration::from_secs)
}

fn probe(at: &At<'_>) -> Option<Option<SocketAddr>> {
    let mut fields = at.fields()?;
    let enabled = fields.required("enabled", At::boolean);
    let port = fields.optional("port", |at| at.integer(0..=65535));
    if enabled == Some(true) && port.is_none() {
        fields.missing::<()>("port", "add one, as in `port: 3000`");
    }
    fields.refuse("path", &format!("is {NOT_YET}; probes are at `/probes/liveness` and `/probes/readiness`"));
    fields.finish();
    // Of both families, where the machine has both.
    let address = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, u16::try_from(port).unwrap_or_default()));
    Some(port.filter(|_| enabled == Some(true)).map(address))
}

fn logging(at: &At<'_>, settings: &mut Settings) -> Option<()> {
    let mut fields = at.fields()?;
    fields.optional("runtimeLogs", |at| {
        let mut fields = at.fields()?;
        settings.log_level.read(&mut fields, "logLevel", |at| at.choice(&LogLevel::NAMES));
        fields.not_yet(&["outputs"]);
        fields.finish();
        Some(())
    });
    fields.not_yet(&["outputs", "accessLogs"]);
    fields.finish();
    Some(())
}
