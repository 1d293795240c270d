//! How requests are spread over the addresses of a service, and what becomes of those that fail.
//!
//! Flex has no word for any of it: these are keys of `gateway.weir.dev/v1`.

use std::fmt;
use std::time::Duration;

use http::HeaderName;
use serde_json::{Value, json};

use crate::units::time;

/// What holds for all addresses of a service together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    pub balancing: Balancing,
    pub retries: Retries,
    /// A connection is used for at most this long (`maxConnectionAge`); each for up to a tenth less, so that not all end
    /// at once. Default 10 min.
    pub max_connection_age: Duration,
    /// How long the addresses of a name hold (`dnsTtl`). `None`: each new connection asks for them.
    pub dns_ttl: Option<Duration>,
    /// How it is found out whether an address works (`healthChecks`); `None`: it is not.
    pub health: Option<HealthCheck>,
    /// When an address is left out for what its requests met (`outlierEjection`); `None`: never.
    pub ejection: Option<OutlierEjection>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            balancing: Balancing::default(),
            retries: Retries::default(),
            max_connection_age: Duration::from_secs(600),
            dns_ttl: None,
            health: None,
            ejection: None,
        }
    }
}

/// Which of the addresses a request goes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Balancing {
    /// Of two that are drawn by lot, the one with fewer open requests of the worker.
    #[default]
    LeastRequests,
    /// Each in its turn.
    RoundRobin,
    /// The same for the same key, for as long as it is available (rendezvous hashing).
    Hash(HashKey),
}

impl Balancing {
    /// The algorithms' names in YAML.
    pub(crate) const LEAST_REQUESTS: &'static str = "leastRequests";
    pub(crate) const ROUND_ROBIN: &'static str = "roundRobin";
    pub(crate) const HASH: &'static str = "hash";
}

/// What requests are told apart by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    ClientAddress,
    Path,
    Header(HeaderName),
    Cookie(String),
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientAddress => f.write_str("clientAddress"),
            Self::Path => f.write_str("path"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Cookie(name) => write!(f, "cookie {name}"),
        }
    }
}

/// Which failed attempts are made once more, at another address where there is one.
///
/// A request of which nothing was sent may be repeated whatever it is; one that was sent only where its method is idempotent
/// (RFC 9110 9.2.2) and it has no content, which is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// Attempts after the first; 0 to 10. Default 1 where there are several addresses, otherwise 0.
    pub attempts: u8,
    /// There was no connection. Default true.
    pub on_connect_failure: bool,
    /// The connection ended before the head of the response. Default true.
    pub on_reset: bool,
    /// The head of the response did not come in time. Default false.
    pub on_timeout: bool,
    /// Statuses of responses that are thrown away for another attempt; in order. Default none.
    pub statuses: Vec<u16>,
    /// Retries of a worker, in per cent of its requests; beyond that and three a second, failures are passed on. Default 20.
    pub budget_percent: u8,
    /// From sending an attempt to the head of its response. `None`: what the gateway's timeout allows.
    pub attempt_timeout: Option<Duration>,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 0,
            on_connect_failure: true,
            on_reset: true,
            on_timeout: false,
            statuses: Vec::new(),
            budget_percent: 20,
            attempt_timeout: None,
        }
    }
}

/// Asking an address, now and then, whether it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for with GET. `None`: it is enough that a connection is made, and TLS where it has that.
    pub path: Option<String>,
    /// Default 5 s.
    pub interval: Duration,
    /// Default 2 s.
    pub timeout: Duration,
    /// So many failures in a row, and no request goes there. Default 3.
    pub unhealthy_threshold: u8,
    /// So many successes in a row, and requests do again. Default 2.
    pub healthy_threshold: u8,
    /// What counts as success; in order. Default: 200 to 299.
    pub statuses: Vec<u16>,
}

/// Leaving out an address whose requests fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlierEjection {
    /// So many in a row without a response, or with one of 500 to 599. Default 5.
    pub consecutive_failures: u16,
    /// For how long, times how often it has been since it last worked for that long; at most tenfold. Default 30 s.
    pub ejection_time: Duration,
    /// At most so many of the addresses, in per cent; one of several always may. Default 50.
    pub max_ejected_percent: u8,
}

impl Cluster {
    /// For operators, under the keys of YAML.
    pub fn view(&self) -> Value {
        let Self { balancing, retries, max_connection_age, dns_ttl, health, ejection } = self;
        let balancing = match balancing {
            Balancing::LeastRequests => json!({"algorithm": Balancing::LEAST_REQUESTS}),
            Balancing::RoundRobin => json!({"algorithm": Balancing::ROUND_ROBIN}),
            Balancing::Hash(key) => json!({"algorithm": Balancing::HASH, "hashOn": key.to_string()}),
        };
        json!({
            "balancing": balancing,
            "retries": retries.view(),
            "maxConnectionAge": time(*max_connection_age),
            "dnsTtl": dns_ttl.map(time),
            "healthChecks": health.as_ref().map(HealthCheck::view),
            "outlierEjection": ejection.as_ref().map(OutlierEjection::view),
        })
    }
}

impl Retries {
    fn view(&self) -> Value {
        let Self { attempts, on_connect_failure, on_reset, on_timeout, statuses, budget_percent, attempt_timeout } =
            self;
        let on = [("connectFailure", on_connect_failure), ("reset", on_reset), ("timeout", on_timeout)];
        let on: Vec<_> = on.into_iter().filter(|(_, is)| **is).map(|(name, _)| name).collect();
        json!({
            "attempts": attempts,
            "on": on,
            "statuses": statuses,
            "budgetPercent": budget_percent,
            "attemptTimeout": attempt_timeout.map(time),
        })
    }
}

impl HealthCheck {
    fn view(&self) -> Value {
        let Self { path, interval, timeout, unhealthy_threshold, healthy_threshold, statuses } = self;
        json!({
            "path": path,
            "interval": time(*interval),
            "timeout": time(*timeout),
            "unhealthyThreshold": unhealthy_threshold,
            "healthyThreshold": healthy_threshold,
            "statuses": statuses,
        })
    }
}

impl OutlierEjection {
    fn view(&self) -> Value {
        let Self { consecutive_failures, ejection_time, max_ejected_percent } = self;
        json!({
            "consecutiveFailures": consecutive_failures,
            "ejectionTime": time(*ejection_time),
            "maxEjectedPercent": max_ejected_percent,
        })
    }
}
