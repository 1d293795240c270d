//! The policies that can be bound: one file a policy, and the catalogue of their names.
//!
//! A policy here is its checked configuration. What it decides is in the policies crate.

mod access_log;
mod client_id_enforcement;
mod cors;
mod credential_injection;
mod definition;
mod direct_response;
mod header_injection;
mod header_removal;
mod headers;
mod http_basic_authentication;
mod ip_list;
mod json_threat_protection;
mod jwt_validation;
mod message_logging;
mod rate_limiting;
mod request_size_limit;
mod route;
mod tls;
mod tls_outbound;
mod tracing;

pub(crate) use access_log::RequestLog;
pub use client_id_enforcement::ClientIdEnforcement;
pub use cors::{Cors, Group, MaxAge, Origin, Origins};
pub use credential_injection::CredentialInjection;
pub(crate) use definition::PolicySpec;
pub use direct_response::DirectResponse;
pub use header_injection::{HeaderInjection, HeaderValueOf, Injected};
pub use header_removal::{HeaderRemoval, Removed};
pub use http_basic_authentication::HttpBasicAuthentication;
pub use ip_list::{IpAllowlist, IpBlocklist, IpList};
pub use json_threat_protection::JsonThreatProtection;
pub use jwt_validation::{JwtAlgorithm, JwtKeys, JwtValidation, KeySets, Mandatory, RequiredClaim};
pub use message_logging::{Condition, LogLevel, LogText, LoggedMessage, MessageLogging, TextPart};
pub use rate_limiting::{LimitKey, RateLimit, RateLimiting};
pub use request_size_limit::RequestSizeLimit;
pub(crate) use route::{Reference, RouteTo, name_or_none};
pub use tls::{Alpn, Cipher, ClientCertificates, Tls, TlsOffer, TlsVersion};
pub use tls_outbound::{TlsOutbound, Verify};
pub(crate) use tracing::TracingPolicy;

use crate::logging::RequestLines;
use crate::read::{Cursor, NOT_SUPPORTED_YET, show};
use crate::tracing::ApiTracing;
use definition::policies;

policies! {
    ClientIdEnforcement, Cors, CredentialInjection, DirectResponse, HeaderInjection, HeaderRemoval, HttpBasicAuthentication, IpAllowlist, IpBlocklist,
    JsonThreatProtection, JwtValidation, MessageLogging, RateLimiting, RequestSizeLimit,
}

/// A policy of the catalogue: its name and how its `config` is read.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    name: &'static str,
    read: Read,
}

/// How the `config` of a policy is read, by where the policy belongs.
#[derive(Clone, Copy)]
pub(crate) enum Read {
    /// The chain of an API, under rules and in an order.
    Chain(fn(&Cursor<'_>) -> Option<Policy>),
    /// The access log of an API.
    Log(fn(&Cursor<'_>) -> Option<RequestLines>),
    /// The traces of an API.
    Traces(fn(&Cursor<'_>) -> Option<ApiTracing>),
    /// The routes of an API, under rules and in an order.
    Route(fn(&Cursor<'_>) -> Option<RouteTo>),
    /// The port of an API.
    Port(fn(&Cursor<'_>) -> Option<Tls>),
    /// A service.
    Service(fn(&Cursor<'_>) -> Option<TlsOutbound>),
}

impl Entry {
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn read(&self) -> Read {
        self.read
    }

    /// Reads only for what is asked for.
    pub fn describe(&self, config: &Cursor<'_>) {
        let config = config.clone().with_env();
        match self.read {
            Read::Chain(read) => drop(read(&config)),
            Read::Log(read) => drop(read(&config)),
            Read::Traces(read) => drop(read(&config)),
            Read::Route(read) => drop(read(&config)),
            Read::Port(read) => drop(read(&config)),
            Read::Service(read) => drop(read(&config)),
        }
    }
}

/// Those that are no policies of the chain.
const OTHERS: [Entry; 5] = [
    Entry { name: RequestLog::NAME, read: Read::Log(RequestLog::read) },
    Entry { name: TracingPolicy::NAME, read: Read::Traces(TracingPolicy::read) },
    Entry { name: RouteTo::NAME, read: Read::Route(RouteTo::read) },
    Entry { name: Tls::NAME, read: Read::Port(Tls::read) },
    Entry { name: TlsOutbound::NAME, read: Read::Service(TlsOutbound::read) },
];

/// Names by which Flex's documentation, or its platform, also knows them.
const OTHER_NAMES: [(&str, &str); 2] =
    [(RequestLog::OF_FLEX, RequestLog::NAME), (TracingPolicy::OF_FLEX, TracingPolicy::NAME)];

/// Policies of Flex that are still to come, without the `-flex` that most of them end in.
const FLEX_UNSUPPORTED: [&str; 30] = [
    "access-block",
    "agent-connection-telemetry",
    "circuit-breaker",
    "credential-injection-api-key",
    "credential-injection-oauth2",
    "credential-injection-oauth2-obo",
    "dataweave-body-transformation",
    "dataweave-headers-transformation",
    "dataweave-request-filter",
    "health-check",
    "http-caching",
    "idle-timeout",
    "injection-protection",
    "intask-authorization-code-policy",
    "ldap-authentication",
    "message-logging-outbound",
    "native-aws-lambda",
    "native-ext-authz",
    "native-ext-proc",
    "oauth2-token-introspection",
    "openidconnect-access-token-enforcement",
    "rate-limiting-sla-based",
    "response-timeout",
    "route-weighted",
    "script-evaluation-transformation",
    "spec-validation",
    "spike-control",
    "sse-logging",
    "stream-idle-timeout",
    "xml-threat-protection",
];

/// Policies of Flex that do nothing here yet, and without which nothing is served otherwise: they are taken.
const WITHOUT_EFFECT: [&str; 1] = ["api-context"];

/// The names of all policies that can be bound.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    catalogue().map(|entry| entry.name)
}

pub(crate) fn catalogue() -> impl Iterator<Item = &'static Entry> + Clone {
    CHAIN.iter().chain(&OTHERS)
}

/// The policy that a `policyRef.name` names; `None` inside for one that does nothing here.
pub(crate) fn find(at: &Cursor<'_>) -> Option<Option<Entry>> {
    let name = at.text()?;
    let named = OTHER_NAMES.iter().find(|(other, _)| *other == name).map_or(&*name, |(_, name)| name);
    if let Some(entry) = catalogue().find(|entry| entry.name == named) {
        return Some(Some(*entry));
    }
    if WITHOUT_EFFECT.contains(&name.strip_suffix("-flex").unwrap_or(&name)) {
        at.warn(format!("`{name}` has no effect yet; everything else is served as it says"));
        return Some(None);
    }
    if name.starts_with("tls-in") {
        return at.refuse(format!("unknown policy `{}`; did you mean `{}`?", show(&name), Tls::NAME));
    }
    if FLEX_UNSUPPORTED.contains(&name.strip_suffix("-flex").unwrap_or(&name)) {
        return at.refuse(format!("policy `{name}` is {NOT_SUPPORTED_YET}; remove it"));
    }
    at.unknown_policy(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_either_here_or_to_come() {
        assert!(FLEX_UNSUPPORTED.is_sorted());
        for name in names() {
            assert!(!FLEX_UNSUPPORTED.contains(&name.trim_end_matches("-flex")), "{name}");
        }
    }
}
