//! The contenders: what each is called, what it is started by, and where it accounts for its requests.
//!
//! All are set up for the same work by the files of `loadtests/configs`: one worker on core 0, HTTP/1.1 on one port,
//! TLS with HTTP/2 by ALPN on another, kept connections to the upstream, the prefix `/bench` taken away.

mod accounts;
mod envoy;
mod haproxy;
mod nginx;
mod pingora;
mod proxy;
mod template;
mod weir;

pub use nginx::upstream;
pub use proxy::Proxy;
pub use weir::{Signals, configuration as weir_configuration, release};

use crate::sink::Sink;
use crate::tls::Certificates;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What a proxy is set up with.
pub struct Setup<'a> {
    pub dir: &'a Path,
    pub upstream: SocketAddr,
    /// Besides the one for everything.
    pub routes: usize,
    pub certificates: &'a Certificates,
    pub sink: &'a Sink,
}

/// What makes a contender take part, or not.
pub enum Presence {
    /// Started by this.
    Here(PathBuf),
    /// Why it does not, and what would fix that.
    Missing(String),
}

/// One contender.
pub struct Contender {
    pub name: &'static str,
    pub what: &'static str,
    /// Part of `--quick`.
    pub quick: bool,
    pub presence: fn() -> Presence,
    start: Start,
}

impl Contender {
    /// Starts it and waits until it proxies.
    pub fn start(&self, program: &Path, setup: &Setup) -> io::Result<Proxy> {
        std::fs::create_dir_all(setup.dir)?;
        setup.certificates.copy_to(setup.dir)?;
        let mut proxy = (self.start)(program, setup)?;
        proxy.wait_until_it_proxies(self.name)?;
        Ok(proxy)
    }
}

/// All of them, in the order of the rotation. The first is what the ratios are to.
pub const ALL: [Contender; 15] = [
    contender("nginx", "plain, no log", true, nginx::presence, nginx::plain),
    contender("nginx-log", "JSON access log", false, nginx::presence, nginx::logging),
    contender("haproxy", "plain, no log", false, haproxy::presence, haproxy::plain),
    contender("haproxy-log", "JSON access log", true, haproxy::presence, haproxy::logging),
    contender("envoy", "plain, no log", false, envoy::presence, envoy::plain),
    contender("envoy-otlp", "OTLP access log", false, envoy::presence, envoy::logging),
    contender("envoy-otlp-1", "OTLP access log, OTLP traces of 1 %", true, envoy::presence, envoy::tracing_1),
    contender("envoy-otlp-100", "OTLP access log, OTLP traces of all", false, envoy::presence, envoy::tracing_100),
    contender("pingora", "a minimal proxy, no log", true, pingora::presence, pingora::start),
    contender(
        "weir-off",
        "the same data plane without events, metrics and trace context",
        true,
        weir::presence_without_telemetry,
        weir::without_telemetry,
    ),
    contender("weir", "events to the spool, metrics, trace context, one policy", true, weir::presence, weir::usual),
    contender("weir-pgo", "the same, built by a profile of itself", false, weir::presence_by_profile, weir::usual),
    contender("weir-log", "as `weir`, and a JSON access log", false, weir::presence, weir::logging),
    contender("weir-traces-1", "as `weir`, and OTLP traces of 1 %", true, weir::presence, weir::tracing_1),
    contender("weir-traces", "as `weir`, and OTLP traces of all", false, weir::presence, weir::tracing),
];

/// What `make` builds apart from the workspace.
fn built(path: &str, command: &str) -> Presence {
    let built = std::env::current_dir().map(|dir| dir.join(path)).ok();
    built.filter(|path| path.is_file()).map_or_else(
        || {
            Presence::Missing(format!(
                "not built; `{command}` does it, and the bench is run from the repository's folder"
            ))
        },
        Presence::Here,
    )
}

type Start = fn(&Path, &Setup) -> io::Result<Proxy>;

const fn contender(
    name: &'static str,
    what: &'static str,
    quick: bool,
    presence: fn() -> Presence,
    start: Start,
) -> Contender {
    Contender { name, what, quick, presence, start }
}
