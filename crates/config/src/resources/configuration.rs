//! `Configuration`: settings of the whole gateway, each at most once over all files.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::client_tls::tls_of_client;
use super::otlp::target;
use super::settings::{MetricInterval, Section, Settings};
use crate::address;
use crate::export::Signal;
use crate::model::{PeerGateway, ReloadMode, UpstreamHost, is_identity};
use crate::policy::Tls;
use crate::read::{Cursor, NOT_SUPPORTED_YET};
use crate::units::{ByteSize, parse_duration};

/// The least and the most from one export of metrics to the next.
const EXPORTS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3600)];

const FLEX_ONLY: [&str; 7] = [
    "sharedStorage",
    "forwardProxy",
    "proxyProtocol",
    "circuitBreaker",
    "defaultTLS",
    "resourceLimits",
    "internalMetrics",
];

/// Reads what one resource sets. Of each row: the key, what it means, the field that it sets, how it is read.
pub(crate) fn read(spec: &Cursor<'_>, settings: &mut Settings) {
    let Some(fields) = spec.fields() else { return };
    let mut all = Section::new(fields, settings);
    all.section_of_weir("identity", |section| {
        let mut row = |name, meaning, field| section.row(name, meaning, field, identity);
        row("organization", "The organization that the gateway belongs to", |values| {
            &mut values.config.startup.identity.organization
        });
        row("environment", "Such as production or staging", |values| &mut values.config.startup.identity.environment);
        row("site", "Where it runs: a data centre, a region of a cloud", |values| {
            &mut values.config.startup.identity.site
        });
        row("gateway", "Its name; by default that of the host", |values| &mut values.config.startup.identity.gateway);
    });
    all.section_of_weir("admin", |section| {
        let meaning = "Where admin, metrics and probes are served";
        let read = |at: &Cursor<'_>| at.parse_with_hint(address::socket);
        section.row("address", meaning, |values| &mut values.config.startup.admin, read);
    });
    all.section_of_weir("metrics", metrics);
    all.section_of_weir("analytics", analytics);
    all.section_of_weir("spool", spool);
    all.section_of_weir("limits", limits);
    all.section_of_weir("reload", reload);
    all.section_of_weir("lifecycle", |section| {
        section.row(
            "workerTimeout",
            "Liveness fails when a worker has not run for this long (`docs/lifecycle.md`)",
            |values| &mut values.config.lifecycle.worker_timeout,
            |at| period(at, 2000),
        );
        section.row(
            "drainDelay",
            "Time from SIGTERM until the ports close; requests are served meanwhile",
            |values| &mut values.config.lifecycle.drain_delay,
            |at| period(at, 0),
        );
    });
    all.row_of_weir(
        "upstreamHost",
        "`Host` of requests to upstreams: `authority` (host and port, RFC 9110 7.2), `name` (without the port), `original` \
         (what the client sent)",
        |values| &mut values.config.upstream_host,
        |at| at.choice(&UpstreamHost::NAMES),
    );
    all.row_of_weir(
        "trustedPeers",
        "Networks whose `X-Forwarded-*` and `Forwarded` are used",
        |values| &mut values.config.trusted_peers,
        |at| at.items(network),
    );
    all.row_of_weir(
        "peerGateways",
        "Other Weir gateways, by network or by client certificate: requests from them have `entry` 0 in the event, and responses to them carry the time from which the time on the link is computed",
        |values| &mut values.config.peer_gateways,
        |at| at.items(peer_gateway),
    );
    all.section("timeouts", |section| {
        let mut row = |name, meaning, field| section.row_of_seconds(name, meaning, field, seconds);
        row(
            "streamIdleSeconds",
            "Time without a byte in either direction, after which the exchange is ended",
            |values| &mut values.config.timeouts.stream_idle,
        );
        row(
            "upstreamResponseSeconds",
            "From the end of the request to the head of the upstream's response",
            |values| &mut values.config.timeouts.upstream_response,
        );
        row("upstreamConnectionIdleSeconds", "An unused upstream connection is closed", |values| {
            &mut values.config.timeouts.upstream_connection_idle
        });
    });
    all.section("tracing", super::tracing::tracing);
    all.row("probe", "A port for the probes only", |values| &mut values.config.startup.probe, probe);
    all.section("logging", super::logging::logging);
    all.fields().not_yet(&FLEX_ONLY);
    if let Some(at) = all.fields().take("platformConnection") {
        at.warn("has no effect: this gateway reads its configuration from files");
    }
    all.finish();
}

fn metrics(section: &mut Section<'_, '_>) {
    section.row(
        "address",
        "A port for `/metrics` only, so that Prometheus on another machine needs no access to the admin port",
        |values| &mut values.config.startup.metrics,
        |at| at.parse_with_hint(address::socket).map(Some),
    );
    section.row(
        "token",
        "The bearer token that a scrape must send; without it everyone who reaches the port may scrape",
        |values| &mut values.config.scraping.token,
        |at| at.secret().map(Some),
    );
    section.row(
        "tls",
        "TLS of that port; without it, clear text",
        |values| &mut values.config.scraping.tls,
        |at| Tls::read_of_operators(at).map(|tls| Some(Arc::new(tls))),
    );
    section.row(
        "cardinalityLimit",
        "Label sets that traffic may make of one metric (status, reason, policy); further ones count under `__other__`",
        |values| &mut values.config.scraping.cardinality_limit,
        count,
    );
    section.row(
        "otlp",
        "Where metrics are also sent by OTLP; without it, and without `OTEL_METRICS_EXPORTER=otlp`, they are not sent",
        |values| &mut values.metric_export,
        |at| target(at, Signal::Metrics),
    );
    section.row(
        "exportInterval",
        "From one export of metrics to the next; 1 s to 1 h",
        |values| &mut values.metric_interval,
        export_interval,
    );
}

fn export_interval(at: &Cursor<'_>) -> Option<MetricInterval> {
    let check = |text: &str| match parse_duration(text) {
        Ok(time) if (EXPORTS[0]..=EXPORTS[1]).contains(&time) => Ok(MetricInterval(time)),
        Ok(_) => Err("is not from 1 s to 1 h".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    at.parse(check, "as in `30s`")
}

fn analytics(section: &mut Section<'_, '_>) {
    section.row(
        "endpoint",
        "Where events are shipped: `https`, or `http` to a loopback address; without it they stay in the spool",
        |values| &mut values.endpoint,
        |at| at.parse(check_endpoint, "as in `https://analytics.example.com`").map(Some),
    );
    let meaning = "The bearer token of this gateway for weir-analytics";
    section.row("token", meaning, |values| &mut values.token, |at| at.secret().map(Some));
    section.row(
        "tls",
        "TLS settings, with the keys of `tls-outbound`",
        |values| &mut values.analytics_tls,
        |at| tls_of_client(at).map(Some),
    );
}

fn spool(section: &mut Section<'_, '_>) {
    section.row(
        "path",
        "The folder of rings and chunk files",
        |values| &mut values.config.startup.spool.path,
        absolute_path,
    );
    section.row(
        "maxBytes",
        "Maximum size of all chunk files; beyond it the oldest are dropped; at least 1 MiB",
        |values| &mut values.config.startup.spool.max_bytes,
        |at| size(at, ByteSize::mib(1)..=ByteSize::new(u64::MAX)),
    );
    section.row(
        "maxAge",
        "Maximum age of a chunk; older ones are dropped once they have been offered; at least 1 min",
        |values| &mut values.config.startup.spool.max_age,
        age,
    );
    section.row(
        "ringBytes",
        "Size of each worker's ring: a multiple of 4096, 64 KiB to 4 GiB",
        |values| &mut values.config.startup.spool.ring_bytes,
        ring_bytes,
    );
    section.row(
        "chunkBytes",
        "Maximum size of one request to weir-analytics; keep it below the limit of proxies in between; 64 KiB to 16 MiB",
        |values| &mut values.config.startup.spool.chunk_bytes,
        |at| size(at, ByteSize::kib(64)..=ByteSize::mib(16)),
    );
    section.row(
        "syncInterval",
        "How long an event may exist only in the ring: a power failure may lose the events of this time; 50 ms to 1 min",
        |values| &mut values.config.startup.spool.sync_interval,
        sync_interval,
    );
}

fn limits(section: &mut Section<'_, '_>) {
    section.row(
        "connections",
        "Client connections of one port; more are closed at once",
        |values| &mut values.config.limits.connections,
        count,
    );
    section.row(
        "connectionsPerAddress",
        "Client connections of one address at one port; by default as many as the port takes",
        |values| &mut values.config.limits.connections_per_address,
        count,
    );
    section.row(
        "openRequests",
        "Requests that are open at once; more are answered 503",
        |values| &mut values.config.limits.open_requests,
        count,
    );
    section.row(
        "headerFields",
        "Fields of a request's head (more: 431) and of a response's (more: 502)",
        |values| &mut values.config.limits.header_fields,
        header_fields,
    );
    section.row(
        "uploadMinRate",
        "Bytes a second that a client must send of a request with `Content-Length`, after the first 30 s; slower: 408; `0`: no limit",
        |values| &mut values.config.limits.upload_min_rate,
        |at| size(at, ByteSize::new(0)..=ByteSize::gib(1)),
    );
    section.row(
        "uploadMaxTime",
        "How long a client may take to send a request's body; longer: 408; by default no limit",
        |values| &mut values.config.limits.upload_max_time,
        |at| upload_time(at).map(Some),
    );
}

fn reload(section: &mut Section<'_, '_>) {
    section.row(
        "mode",
        "`watch`: files are loaded after `quietPeriod`; `explicit`: only on request (`docs/configuration-loading.md`)",
        |values| &mut values.config.reload.mode,
        |at| at.choice(&ReloadMode::NAMES),
    );
    section.row(
        "quietPeriod",
        "Files are complete when nothing has changed for this long; 50 ms to 1 h",
        |values| &mut values.config.reload.quiet_period,
        |at| period(at, 50),
    );
    section.row(
        "removalPeriod",
        "A change that removes protection waits for this long, unchanged; up to 1 h",
        |values| &mut values.config.reload.removal_period,
        |at| period(at, 0),
    );
}

fn identity(at: &Cursor<'_>) -> Option<String> {
    let check = |text: &str| if is_identity(text) { Ok(text.to_owned()) } else { Err("is no name") };
    at.parse(check, "use 1 to 128 of letters, digits, `.`, `_` and `-`")
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

fn absolute_path(at: &Cursor<'_>) -> Option<PathBuf> {
    let check = |text: &str| match PathBuf::from(text) {
        path if path.is_absolute() && !text.contains('\0') => Ok(path),
        _ => Err("is not an absolute path"),
    };
    at.parse(check, "begin it with `/`")
}

fn size(at: &Cursor<'_>, range: std::ops::RangeInclusive<ByteSize>) -> Option<ByteSize> {
    let size = at.parse(str::parse::<ByteSize>, "as in `64MiB`, `1GB` or a number of bytes")?;
    if range.contains(&size) {
        Some(size)
    } else {
        at.refuse(format!("is {size}; write {} to {}", range.start(), range.end()))
    }
}

fn ring_bytes(at: &Cursor<'_>) -> Option<ByteSize> {
    let size = size(at, ByteSize::kib(64)..=ByteSize::gib(4))?;
    if size.bytes().is_multiple_of(4096) {
        Some(size)
    } else {
        at.refuse("is no multiple of 4096; write one, as in `16MiB`")
    }
}

fn age(at: &Cursor<'_>) -> Option<Duration> {
    let age = at.parse(parse_duration, "as in `24h`, `30m` or `90s`")?;
    if age >= Duration::from_secs(60) { Some(age) } else { at.refuse("is less than a minute; write at least `1m`") }
}

fn sync_interval(at: &Cursor<'_>) -> Option<Duration> {
    let interval = at.parse(parse_duration, "as in `1s` or `250ms`")?;
    if (Duration::from_millis(50)..=Duration::from_secs(60)).contains(&interval) {
        Some(interval)
    } else {
        at.refuse("is out of range; write `50ms` to `1m`")
    }
}

fn period(at: &Cursor<'_>, least_ms: u64) -> Option<Duration> {
    let period = at.parse(parse_duration, "as in `2s` or `500ms`")?;
    if (Duration::from_millis(least_ms)..=Duration::from_secs(3600)).contains(&period) {
        Some(period)
    } else {
        at.refuse(format!("is out of range; write `{least_ms}ms` to `1h`"))
    }
}

fn network(at: &Cursor<'_>) -> Option<IpNet> {
    at.parse(address::network, "as in `10.0.0.0/8`")
}

/// A network, or a mapping whose fields must all hold.
fn peer_gateway(at: &Cursor<'_>) -> Option<PeerGateway> {
    if !at.is_mapping() {
        let network = network(at);
        if !at.is_described() {
            return network.map(|network| PeerGateway { network: Some(network), certificate: None, port: None });
        }
    }
    let mut fields = at.fields()?;
    fields.mean([
        ("network", "The network that it connects from"),
        ("certificate", "A DNS name or a URI among the subject alternative names of its client certificate, which `trustedCA` vouches for"),
        ("port", "Only on this port; by default on each"),
    ]);
    let (from, certificate, port) = (fields.take("network"), fields.take("certificate"), fields.take("port"));
    let names_one = from.is_some() || certificate.is_some();
    // What is said and wrong is reported, and leaves no wider peer behind.
    let from = from.map_or(Some(None), |at| network(&at).map(Some));
    let certificate = certificate.map_or(Some(None), |at| at.filled().map(Some));
    let port = port.map_or(Some(None), |at| at.integer(1..=65535).map(Some));
    fields.finish();
    if !names_one {
        return at.refuse("names no gateway; write `network`, `certificate` or both");
    }
    // A URI has a colon, and a DNS name has none.
    let certificate = certificate?.map(|name| if name.contains(':') { name } else { name.to_ascii_lowercase() });
    Some(PeerGateway { network: from?, certificate, port: port?.and_then(|port| u16::try_from(port).ok()) })
}

pub(super) fn count(at: &Cursor<'_>) -> Option<u32> {
    at.integer(1..=10_000_000).and_then(|count| u32::try_from(count).ok())
}

/// More than a table of them holds (32 768) nobody could take.
fn header_fields(at: &Cursor<'_>) -> Option<u32> {
    at.integer(20..=10_000).and_then(|count| u32::try_from(count).ok())
}

fn upload_time(at: &Cursor<'_>) -> Option<Duration> {
    let time = at.parse(parse_duration, "as in `1h` or `90s`")?;
    if time >= Duration::from_secs(1) { Some(time) } else { at.refuse("is less than a second; write at least `1s`") }
}

fn seconds(at: &Cursor<'_>) -> Option<Duration> {
    at.integer(1..=31_536_000).map(Duration::from_secs)
}

fn probe(at: &Cursor<'_>) -> Option<Option<SocketAddr>> {
    let mut fields = at.fields()?;
    fields.mean([
        ("enabled", "Whether it is open"),
        ("port", "The port, on all addresses of the machine, IPv4 and IPv6"),
    ]);
    let enabled = fields.required("enabled", Cursor::boolean);
    let port = fields.optional("port", |at| at.integer(0..=65535));
    if enabled == Some(true) && port.is_none() {
        fields.missing::<()>("port", "add one, as in `port: 3000`");
    }
    fields.refuse("path", &format!("is {NOT_SUPPORTED_YET}; probes are at `/probes/liveness` and `/probes/readiness`"));
    fields.finish();
    // Of both families, where the machine has both.
    let address = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, u16::try_from(port).unwrap_or_default()));
    Some(port.filter(|_| enabled == Some(true)).map(address))
}
