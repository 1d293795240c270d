//! The configuration as it runs, for eyes that may see everything but its secrets.
//!
//! Written out by hand, and every type taken apart whole: a field that is new does not compile until somebody has
//! decided how it is shown. Secrets themselves have no way into a document.

use serde_json::{Map, Value, json};
use weir_config::policy::{Alpn, ClientCertificates, Tls, TlsOffer, TlsOutbound, TlsVersion, Verify};
use weir_config::view::{REDACTED, time};
use weir_config::{
    Analytics, AnalyticsTls, Api, Authorities, Contract, GatewayConfig, KeyPair, LogLevel, Pattern, PolicyBinding,
    Reload, ReloadMode, Route, Rule, Service, Spool, Timeouts, UpstreamHost,
};

/// The document.
pub fn view(config: &GatewayConfig) -> Value {
    let GatewayConfig {
        identity,
        admin,
        probe,
        analytics,
        spool,
        timeouts,
        limits,
        reload,
        lifecycle,
        trusted_peers,
        peer_gateways,
        log_level,
        upstream_host,
        preserve_request_id,
        drain,
        apis,
        outside: _,
        warnings: _,
    } = config;
    json!({
        "identity": {
            "organization": identity.organization,
            "environment": identity.environment,
            "site": identity.site,
            "gateway": identity.gateway,
        },
        "admin": admin.to_string(),
        "probe": probe.map(|address| address.to_string()),
        "analytics": analytics.as_ref().map(analytics_view),
        "spool": spool_view(spool),
        "timeouts": timeouts_view(timeouts),
        "limits": {
            "connections": limits.connections,
            "connections_per_address": limits.connections_per_address,
            "open_requests": limits.open_requests,
            "header_fields": limits.header_fields,
            "upload_min_rate": limits.upload_min_rate.bytes(),
            "upload_max_time": limits.upload_max_time.map(time),
        },
        "reload": reload_view(*reload),
        "lifecycle": {
            "worker_timeout": time(lifecycle.worker_timeout),
            "drain_delay": time(lifecycle.drain_delay),
        },
        "trusted_peers": trusted_peers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "peer_gateways": peer_gateways.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "log_level": level(*log_level),
        "upstream_host": UpstreamHost::NAMES.iter().find(|(_, known)| known == upstream_host).map(|(name, _)| *name),
        "preserve_request_id": preserve_request_id,
        "drain": time(*drain),
        "apis": apis.iter().map(api).collect::<Vec<_>>(),
    })
}

/// Every secret in it that is text.
pub fn secrets(config: &GatewayConfig) -> Vec<&str> {
    let token = config.analytics.iter().map(|analytics| analytics.token.expose());
    let contracts = config.apis.iter().flat_map(|api| &api.contracts).map(|contract| contract.secret.expose());
    let policies = config.apis.iter().flat_map(|api| &api.policies).flat_map(|bound| bound.policy.secrets());
    token.chain(contracts).chain(policies).collect()
}

fn analytics_view(Analytics { endpoint, token: _, tls }: &Analytics) -> Value {
    let AnalyticsTls { authorities: by, certificate } = tls;
    json!({
        "endpoint": endpoint.to_string(),
        "token": REDACTED,
        "tls": {"verify": by.as_ref().map_or(json!("system"), authorities), "certificate": certificate.as_ref().map(key_pair)},
    })
}

fn spool_view(Spool { path, max_bytes, max_age, ring_bytes, chunk_bytes, sync_interval }: &Spool) -> Value {
    json!({
        "path": path.to_string_lossy(),
        "max_bytes": max_bytes.bytes(),
        "max_age": time(*max_age),
        "ring_bytes": ring_bytes.bytes(),
        "chunk_bytes": chunk_bytes.bytes(),
        "sync_interval": time(*sync_interval),
    })
}

fn timeouts_view(timeouts: &Timeouts) -> Value {
    let Timeouts {
        stream_idle,
        upstream_response,
        upstream_connection_idle,
        upstream_connect,
        downstream_connection_idle,
    } = timeouts;
    json!({
        "stream_idle": time(*stream_idle),
        "upstream_response": time(*upstream_response),
        "upstream_connection_idle": time(*upstream_connection_idle),
        "upstream_connect": time(*upstream_connect),
        "downstream_connection_idle": time(*downstream_connection_idle),
    })
}

fn reload_view(Reload { mode, quiet_period, removal_period }: Reload) -> Value {
    let name = ReloadMode::NAMES.iter().find(|(_, known)| *known == mode).map(|(name, _)| *name);
    json!({"mode": name, "quiet_period": time(quiet_period), "removal_period": time(removal_period)})
}

fn api(api: &Api) -> Value {
    let Api { name, namespace, labels, listen, tls, services, routes, policies, contracts } = api;
    json!({
        "name": name,
        "namespace": namespace,
        "labels": labels,
        "listen": format!("{}://{}{}", listen.scheme, listen.address, listen.base_path),
        "tls": tls.as_deref().map(inbound),
        "services": services.iter().map(service).collect::<Vec<_>>(),
        "routes": routes.iter().map(|item| route(item, services)).collect::<Vec<_>>(),
        "policies": policies.iter().map(binding).collect::<Vec<_>>(),
        "contracts": contracts.iter().map(contract).collect::<Vec<_>>(),
    })
}

fn service(Service { name, address, tls }: &Service) -> Value {
    json!({"name": name, "address": address.to_string(), "tls": tls.as_deref().map(outbound)})
}

fn route(route: &Route, services: &[Service]) -> Value {
    let Route { name, service, rules: when, destination_path } = route;
    let service = services.get(*service).map(|service| &service.name);
    json!({"name": name, "service": service, "rules": rules(when), "destination_path": destination_path})
}

fn binding(PolicyBinding { name, id, policy, rules: when }: &PolicyBinding) -> Value {
    json!({"name": name, "id": id, "policy": policy.name(), "config": policy.view(), "rules": rules(when)})
}

fn contract(Contract { client_id, secret: _ }: &Contract) -> Value {
    json!({"client_id": client_id, "secret": REDACTED})
}

fn rules(rules: &[Rule]) -> Value {
    rules.iter().map(rule).collect()
}

fn rule(Rule { path, methods, host, headers }: &Rule) -> Value {
    let text = |pattern: &Option<Pattern>| pattern.as_ref().map(|pattern| pattern.source().to_owned());
    // What a header must be may be a credential, under whatever name: that it is asked for is told, and no more.
    let headers: Map<_, _> = headers.iter().map(|(name, _)| (name.to_string(), json!(REDACTED))).collect();
    json!({"path": text(path), "methods": text(methods), "host": text(host), "headers": headers})
}

fn inbound(Tls { certificates, offer: offered, client }: &Tls) -> Value {
    let client = match client {
        ClientCertificates::Ignored => json!("ignored"),
        ClientCertificates::Required(by) => json!({"required_by": authorities(by)}),
    };
    let certificates: Vec<_> = certificates.iter().map(key_pair).collect();
    json!({"certificates": certificates, "offer": offer(offered), "client_certificates": client})
}

fn outbound(TlsOutbound { verify, certificate, server_name, offer: offered }: &TlsOutbound) -> Value {
    let verify = match verify {
        Verify::Nothing => json!("nothing"),
        Verify::System => json!("system"),
        Verify::By(by) => authorities(by),
    };
    json!({
        "verify": verify,
        "certificate": certificate.as_ref().map(key_pair),
        "server_name": server_name.as_ref().map(|name| name.to_str().into_owned()),
        "offer": offer(offered),
    })
}

fn key_pair(KeyPair { chain, key: _, validity: _, place }: &KeyPair) -> Value {
    json!({"certificates": chain.len(), "key": REDACTED, "written_at": place.to_string()})
}

fn authorities(Authorities { certificates, place }: &Authorities) -> Value {
    json!({"certificates": certificates.len(), "written_at": place.to_string()})
}

fn offer(TlsOffer { alpn, min, max, ciphers }: &TlsOffer) -> Value {
    let version = |version: &TlsVersion| match version {
        TlsVersion::Tls12 => "1.2",
        TlsVersion::Tls13 => "1.3",
    };
    let alpn: Vec<_> = alpn.iter().map(|alpn: &Alpn| String::from_utf8_lossy(alpn.as_bytes()).into_owned()).collect();
    let names = weir_config::policy::Cipher::NAMES;
    let of = |cipher| names.iter().find(|(_, known)| known == cipher).map(|(name, _)| *name);
    let ciphers: Vec<_> = ciphers.iter().map(of).collect();
    json!({"alpn": alpn, "min": version(min), "max": version(max), "ciphers_of_1_2": ciphers})
}

fn level(level: LogLevel) -> Option<&'static str> {
    LogLevel::NAMES.iter().find(|(_, known)| *known == level).map(|(name, _)| *name)
}
