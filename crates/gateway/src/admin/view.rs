//! The configuration as it runs, for eyes that may see everything but its secrets.
//!
//! Settings are shown by the rows that read them ([`weir_config::view::settings`]), policies by their specs. The rest is
//! written out by hand, and every type taken apart whole: a field that is new does not compile until somebody has decided
//! how it is shown. Secrets themselves have no way into a document.

use serde_json::{Map, Value, json};
use weir_config::policy::{Alpn, ClientCertificates, Tls, TlsOffer, TlsOutbound, TlsVersion, Verify};
use weir_config::view::{REDACTED, access_log as requests_logged, authorities, key_pair, settings, tracing as traced};
use weir_config::{Api, Contract, Endpoint, GatewayConfig, Pattern, PolicyBinding, Route, Rule, Service};

/// The document: settings under the keys that a `Configuration` has for them, and the APIs.
pub fn view(config: &GatewayConfig) -> Value {
    let mut view = settings(config);
    view["apis"] = config.apis.iter().map(api).collect();
    view
}

/// Every secret in it that is text.
pub fn secrets(config: &GatewayConfig) -> Vec<&str> {
    let token = config.startup.analytics.iter().map(|analytics| analytics.token.expose());
    let contracts = config.apis.iter().flat_map(|api| &api.contracts).map(|contract| contract.secret.expose());
    let services = config.apis.iter().flat_map(|api| &api.services).flat_map(|service| &service.policies);
    let policies = config.apis.iter().flat_map(|api| &api.policies).chain(services);
    let policies = policies.flat_map(|bound| bound.policy.secrets());
    let scraping = config.scraping.token.iter().map(weir_config::Secret::expose);
    token.chain(scraping).chain(contracts).chain(policies).collect()
}

fn api(api: &Api) -> Value {
    let Api { name, namespace, labels, listen, tls, services, routes, policies, contracts, access_log, tracing } = api;
    json!({
        "name": name,
        "namespace": namespace,
        "labels": labels,
        "listen": format!("{}://{}{}", listen.scheme, listen.address, listen.base_path),
        "tls": tls.as_deref().map(inbound),
        "services": services.iter().map(service).collect::<Vec<_>>(),
        "routes": routes.iter().map(|item| route(item, services)).collect::<Vec<_>>(),
        "policies": policies.iter().map(binding).collect::<Vec<_>>(),
        "tracing": tracing.as_ref().map(traced),
        "accessLog": access_log.as_ref().map(requests_logged),
        "contracts": contracts.iter().map(contract).collect::<Vec<_>>(),
    })
}

fn service(Service { name, endpoints, cluster, tls, policies, is_peer }: &Service) -> Value {
    let endpoint = |Endpoint { address, weight }: &Endpoint| json!({"address": address.to_string(), "weight": weight});
    json!({
        "name": name,
        "addresses": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        "cluster": cluster.view(),
        "tls": tls.as_deref().map(outbound),
        "policies": policies.iter().map(binding).collect::<Vec<_>>(),
        "peer_gateway": is_peer,
    })
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
    // What a header must be may be a credential, under whatever name: that it is asked for is reported, and no more.
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
