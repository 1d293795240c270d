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
pub use weir::{configuration as weir_configuration, release};

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
    /// Why it does not, and what would mend that.
    Missing(String),
}

/// One contender.
pub struct Contender {
    pub name: &'static str,
    pub what: &'static str,
    pub presence: fn() -> Presence,
    start: fn(&Path, &Setup) -> io::Result<Proxy>,
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
pub const ALL: [Contender; 13] = [
    Contender { name: "nginx", what: "plain, no log", presence: nginx::presence, start: nginx::plain },
    Contender { name: "nginx-log", what: "JSON access log", presence: nginx::presence, start: nginx::logging },
    Contender { name: "haproxy", what: "plain, no log", presence: haproxy::presence, start: haproxy::plain },
    Contender { name: "haproxy-log", what: "JSON access log", presence: haproxy::presence, start: haproxy::logging },
    Contender { name: "envoy", what: "plain, no log", presence: envoy::presence, start: envoy::plain },
    Contender { name: "envoy-otlp", what: "OTLP access log", presence: envoy::presence, start: envoy::logging },
    Contender {
        name: "envoy-otlp-1",
        what: "OTLP access log, OTLP traces of 1 %",
        presence: envoy::presence,
        start: envoy::tracing_1,
    },
    Contender {
        name: "envoy-otlp-100",
        what: "OTLP access log, OTLP traces of all",
        presence: envoy::presence,
        start: envoy::tracing_100,
    },
    Contender {
        name: "weir",
        what: "events to the spool, metrics, trace context, one policy",
        presence: weir::presence,
        start: weir::start,
    },
    Contender {
        name: "weir-off",
        what: "the same data plane without events",
        presence: weir::presence_without_events,
        start: weir::start_without_events,
    },
    missing("weir-traces-1", "all on, OTLP traces of 1 %", not_there_yet),
    missing("weir-traces-100", "all on, OTLP traces of all", not_there_yet),
    Contender { name: "pingora", what: "a minimal proxy, no log", presence: pingora::presence, start: pingora::start },
];

fn not_there_yet() -> Presence {
    Presence::Missing("not there yet: Weir exports no spans".into())
}

const fn missing(name: &'static str, what: &'static str, presence: fn() -> Presence) -> Contender {
    Contender { name, what, presence, start: |_, _| Err(io::Error::other("it cannot be started")) }
}
