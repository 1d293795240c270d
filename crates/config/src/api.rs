//! One API as the data plane sees it: a listener's base path, its routes, its policies.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::logging::RequestLines;
use crate::pattern::Rule;
use crate::policy::{Policy, Tls, TlsOutbound};
use crate::tracing::ApiTracing;
use crate::units::Secret;

/// An `ApiInstance`.
#[derive(Debug, Clone, PartialEq)]
pub struct Api {
    /// Unique within its namespace.
    pub name: String,
    /// `default` unless `metadata.namespace` says otherwise.
    pub namespace: String,
    pub labels: BTreeMap<String, String>,
    pub listen: Listen,
    /// How the port speaks TLS: there if and only if its scheme is https, and the same for all APIs of one port.
    pub tls: Option<Arc<Tls>>,
    /// At least one.
    pub services: Vec<Service>,
    /// At least one per service: the first that matches wins.
    pub routes: Vec<Route>,
    /// In the order on requests; responses pass them in reverse.
    pub policies: Vec<PolicyBinding>,
    /// The clients that may use it, sorted by id, each id once.
    pub contracts: Vec<Contract>,
    /// The lines of its requests in the access log; `None`: as the gateway's configuration says.
    pub access_log: Option<RequestLines>,
    /// How its requests are traced; `None`: as the gateway's configuration says.
    pub tracing: Option<ApiTracing>,
}

/// A client of an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    pub client_id: String,
    pub secret: Secret,
}

/// Where an API is reached: `scheme://address base_path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    pub scheme: Scheme,
    pub address: SocketAddr,
    /// Empty, or a path that begins with `/` and does not end with one: `/api`.
    pub base_path: String,
}

/// `http`, `https`, or of an upstream alone `h2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    Http,
    Https,
    /// HTTP/2 in clear text with prior knowledge (RFC 9113 3.3), as Flex spells it.
    H2,
}

impl Scheme {
    /// As it is configured: `http`, `https` or `h2`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2 => "h2",
        }
    }

    /// As it is in the URI of a request: `http` or `https`.
    pub const fn of_uri(self) -> &'static str {
        match self {
            Self::Http | Self::H2 => "http",
            Self::Https => "https",
        }
    }

    /// The port of an address that names none.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http | Self::H2 => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An upstream of an API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `<api>-<service>`, as Flex names what it generates; or the name of a `Service`, with its namespace before it where
    /// that is not the default one.
    pub name: String,
    pub address: UpstreamAddress,
    /// How the gateway speaks TLS to it, where a `tls-outbound` policy says so; never there for a scheme of http.
    pub tls: Option<Arc<TlsOutbound>>,
    /// Whether a Weir gateway answers there (`peerGateway`).
    pub is_peer: bool,
}

/// Where an upstream is reached. The host is a DNS name or an IP address without brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamAddress {
    pub scheme: Scheme,
    pub host: String,
    pub port: u16,
}

impl UpstreamAddress {
    /// `host`, or `host:port` where the port is not the scheme's own: what goes into `Host`. IPv6 in brackets.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() { self.name() } else { format!("{}:{}", self.name(), self.port) }
    }

    /// The host without the port, IPv6 in brackets.
    pub fn name(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        format!("{open}{}{close}", self.host)
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority())
    }
}

/// Which requests go to which service.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// `<api>-<service>-route-<n>`, `n` counted from 0 within the service, as in Flex's dump; or the name of the binding of
    /// the policy `route`.
    pub name: String,
    /// Index into [`Api::services`].
    pub service: usize,
    /// Any of them is enough; none at all means every request.
    pub rules: Vec<Rule>,
    /// Put before the forwarded path. Begins with `/` and does not end with one.
    pub destination_path: Option<String>,
}

/// A policy of an API, with the requests that it applies to.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyBinding {
    /// The policy's name, with `-2`, `-3` … where one API binds it more than once.
    pub name: String,
    /// What it is known by over reloads: the API and the binding, or the place within the API.
    pub id: String,
    pub policy: Policy,
    /// Any of them is enough; none at all means every request.
    pub rules: Vec<Rule>,
}
