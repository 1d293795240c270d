//! The works: what every contender is given to do, and what is measured of it.

mod bodies;
mod idle;
mod paced;
mod priced;

use crate::contenders::Proxy;
use crate::load::{h2load, handshakes as load_handshakes};
use crate::tls::{Key, Terms};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// One work.
pub struct Work {
    pub name: &'static str,
    pub what: &'static str,
    /// Routes besides the one for everything.
    pub routes: usize,
    /// The figure that the ratios are of.
    pub primary: &'static str,
    /// Part of `--quick`.
    pub quick: bool,
    pub kind: Kind,
}

/// How it is done.
pub enum Kind {
    /// A closed loop of `wrk`.
    Wrk {
        path: &'static str,
        connections: u64,
        script: Option<(&'static str, &'static str)>,
    },
    /// A closed loop of `h2load`.
    H2 {
        path: &'static str,
    },
    Handshakes {
        terms: Terms,
        resumed: bool,
    },
    /// An open loop at a rate.
    Paced {
        per_second: u64,
    },
    /// The same, while the configuration is taken up anew twice a second.
    Reloaded {
        per_second: u64,
    },
    /// The same, while the metrics are read once a second.
    Scraped {
        per_second: u64,
    },
    Idle {
        connections: usize,
    },
    /// Bodies of a gibibyte whose readers pause.
    Bodies {
        connections: usize,
    },
}

const fn wrk(path: &'static str, script: Option<(&'static str, &'static str)>) -> Kind {
    Kind::Wrk { path, connections: 64, script }
}

const POST: (&str, &str) = ("post.lua", include_str!("../../configs/wrk/post.lua"));
const ROUTES: (&str, &str) = ("routes.lua", include_str!("../../configs/wrk/routes.lua"));

const fn work(name: &'static str, what: &'static str, primary: &'static str, quick: bool, kind: Kind) -> Work {
    Work { name, what, routes: 0, primary, quick, kind }
}

const fn handshakes(name: &'static str, what: &'static str, terms: Terms, resumed: bool) -> Work {
    work(name, what, "worker_us", matches!(terms, Terms::Tls13P256), Kind::Handshakes { terms, resumed })
}

/// All of them.
pub const ALL: [Work; 18] = [
    work("h1", "HTTP/1.1, 64 kept connections, 1 KiB", "worker_us", true, wrk("/bench/1k", None)),
    work(
        "h2",
        "HTTP/2 over TLS, 16 connections × 10 streams, 1 KiB",
        "worker_us",
        true,
        Kind::H2 { path: "/bench/1k" },
    ),
    handshakes("tls-full", "TLS 1.3 handshakes, full (ECDSA P-256, X25519), no request", Terms::Tls13P256, false),
    handshakes("tls-resumed", "TLS 1.3 handshakes, resumed", Terms::Tls13P256, true),
    handshakes("rsa-full", "TLS 1.3 handshakes, full (RSA-2048, X25519)", Terms::Tls13Rsa, false),
    handshakes("rsa-resumed", "TLS 1.3 handshakes, resumed (RSA-2048)", Terms::Tls13Rsa, true),
    handshakes("tls12-full", "TLS 1.2 handshakes, full (RSA-2048, X25519)", Terms::Tls12Rsa, false),
    handshakes("tls12-resumed", "TLS 1.2 handshakes, resumed (RSA-2048)", Terms::Tls12Rsa, true),
    work("post", "HTTP/1.1, POST of 10 KiB", "worker_us", false, wrk("/bench/1k", Some(POST))),
    work("large", "HTTP/1.1, responses of 1 MiB", "worker_us", false, wrk("/bench/files/1m", None)),
    work("rate-2k", "2,000 requests a second, open loop", "p99_us", false, Kind::Paced { per_second: 2_000 }),
    work("rate-8k", "8,000 requests a second, open loop", "p99_us", true, Kind::Paced { per_second: 8_000 }),
    work("rate-16k", "16,000 requests a second, open loop", "p99_us", false, Kind::Paced { per_second: 16_000 }),
    Work {
        routes: 5_000,
        ..work("routes", "5,000 routes, requests over all of them", "worker_us", false, wrk("", Some(ROUTES)))
    },
    Work {
        routes: 1_000,
        ..work(
            "reload",
            "2,000 requests a second, 1,000 routes taken up anew twice a second",
            "p99_us",
            false,
            Kind::Reloaded { per_second: 2_000 },
        )
    },
    work("idle", "10,000 idle kept connections: memory", "kib_each", false, Kind::Idle { connections: 10_000 }),
    work(
        "bodies",
        "bodies of 1 GiB, their readers pausing: memory",
        "kib_each",
        false,
        Kind::Bodies { connections: 4 },
    ),
    Work {
        routes: 5_000,
        ..work(
            "scrape",
            "2,000 requests a second over 5,000 routes, metrics read once a second",
            "p99_us",
            false,
            Kind::Scraped { per_second: 2_000 },
        )
    },
];

/// How long, and where files go.
pub struct Take<'a> {
    pub seconds: u64,
    pub dir: &'a Path,
}

/// What came of a work.
#[derive(Default)]
pub struct Sample {
    /// Completed, warm-up and all: what the accounts must hold.
    pub completed: u64,
    /// That the accounts may hold beyond them.
    pub abandoned: u64,
    /// Completed of those that the figures are of.
    pub requests: u64,
    pub errors: u64,
    pub figures: BTreeMap<String, f64>,
    pub notes: Vec<String>,
}

impl Sample {
    pub fn figure(&mut self, name: &'static str, value: f64) {
        debug_assert!(crate::run::FIGURES.iter().any(|figure| figure.name == name), "`{name}` has no heading");
        self.figures.insert(name.to_owned(), value);
    }
}

impl Work {
    /// About how long one run takes, with its beginning and end.
    pub fn about_seconds(&self, seconds: u64) -> u64 {
        match self.kind {
            Kind::Bodies { .. } => 10,
            Kind::Idle { .. } => 4,
            Kind::Scraped { .. } => 2 * seconds + 4,
            _ => seconds + 3,
        }
    }

    /// Of which kind the certificate is.
    pub fn key(&self) -> Key {
        match self.kind {
            Kind::Handshakes { terms, .. } => terms.key(),
            _ => Key::P256,
        }
    }

    /// Why a contender has no part in it.
    pub fn bars(&self, proxy: &Proxy) -> Option<&'static str> {
        match self.kind {
            Kind::Handshakes { terms, resumed: true }
                if terms.tickets_come_after()
                    && !load_handshakes::gives_tickets(proxy.https, terms).unwrap_or(true) =>
            {
                Some("gives its tickets with its first answer, so that none is there to resume by")
            }
            Kind::Reloaded { .. } if proxy.reload.is_none() => Some("has no way to be reloaded here"),
            Kind::Scraped { .. } if proxy.admin.is_none() => Some("has no metrics for each route"),
            _ => None,
        }
    }

    pub fn run(&self, proxy: &Proxy, take: &Take) -> io::Result<Sample> {
        match &self.kind {
            Kind::Wrk { path, connections, script } => priced::wrk(proxy, take, path, *connections, *script),
            Kind::H2 { path } => priced::priced(proxy, take, |seconds| h2load::run(proxy.https, path, seconds)),
            Kind::Handshakes { terms, resumed } => priced::handshakes(proxy, take, *terms, *resumed),
            Kind::Paced { per_second } => paced::calm(proxy, take, *per_second),
            Kind::Reloaded { per_second } => paced::reloaded(proxy, take, *per_second),
            Kind::Scraped { per_second } => paced::scraped(proxy, take, *per_second),
            Kind::Idle { connections } => idle::run(proxy, *connections),
            Kind::Bodies { connections } => bodies::run(proxy, *connections),
        }
    }
}
