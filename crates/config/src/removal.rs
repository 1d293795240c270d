//! What a change takes away: compared before it is taken, because a set of files that is not yet whole looks the same.
//!
//! Each finding is one clause with the names in it. Names of resources only: no value of a configuration is quoted.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::api::{Api, Contract};
use crate::content::Content;
use crate::model::GatewayConfig;
use crate::tree::{self, Value};

/// What `new` would take away of what `old` serves; empty for a change that only adds, or replaces.
pub(crate) fn removals(old: &GatewayConfig, new: &GatewayConfig) -> Vec<String> {
    if new.apis.is_empty() && !old.apis.is_empty() {
        let names: Vec<_> = old.apis.iter().map(|api| format!("`{}`", api.name)).collect();
        return vec![format!("every API would go: {}", names.join(", "))];
    }
    let places = Places::of(new);
    old.apis.iter().flat_map(|api| places.of_same(api).into_iter().flat_map(|next| lost(api, next))).collect()
}

/// Files of `old` that are empty or cut in `new`.
pub(crate) fn cuts(old: &Content, new: &Content) -> Vec<String> {
    let new: BTreeMap<_, _> = new.texts().collect();
    let cut = old.texts().filter_map(|(path, old)| {
        let new = new.get(path)?;
        if *new == old || !has_resources(old) {
            return None;
        }
        let path = path.display();
        if !has_resources(new) {
            return Some(format!("`{path}` had resources and has none"));
        }
        let (old, new) = (old.trim_end(), new.trim_end());
        (old.len() > new.len() && old.starts_with(new)).then(|| format!("`{path}` is cut off"))
    });
    cut.collect()
}

/// What going back to `target` would open: policies that go, contracts that come back.
pub(crate) fn openings(running: &GatewayConfig, target: &GatewayConfig) -> Vec<String> {
    let places = Places::of(running);
    let back = target.apis.iter().flat_map(|next| {
        let now = places.of_same(next);
        let is_new = move |contract: &&Contract| now.iter().any(|api| !api.contracts.contains(contract));
        next.contracts.iter().filter(is_new).map(|contract| {
            format!("client `{}` would have its contract with API `{}` back", contract.client_id, next.name)
        })
    });
    removals(running, target).into_iter().chain(back).collect()
}

/// APIs by name and by place.
struct Places<'a> {
    named: BTreeMap<(&'a str, &'a str), &'a Api>,
    at: BTreeMap<(SocketAddr, &'a str), &'a Api>,
}

impl<'a> Places<'a> {
    fn of(config: &'a GatewayConfig) -> Self {
        let name = |api: &'a Api| ((api.namespace.as_str(), api.name.as_str()), api);
        let place = |api: &'a Api| ((api.listen.address, api.listen.base_path.as_str()), api);
        Self { named: config.apis.iter().map(name).collect(), at: config.apis.iter().map(place).collect() }
    }

    /// The same resource, and another in its place.
    fn of_same(&self, api: &Api) -> Vec<&'a Api> {
        let named = self.named.get(&(api.namespace.as_str(), api.name.as_str())).copied();
        let at = self.at.get(&(api.listen.address, api.listen.base_path.as_str())).copied();
        let other = at.filter(|at| named.is_none_or(|named| !std::ptr::eq(named, *at)));
        named.into_iter().chain(other).collect()
    }
}

/// What protects `old` and not `new`, which is served in its place.
fn lost(old: &Api, new: &Api) -> Vec<String> {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for bound in &new.policies {
        *left.entry(bound.policy.name()).or_default() += 1;
    }
    let api = &old.name;
    let mut lost = Vec::new();
    for bound in &old.policies {
        match left.get_mut(bound.policy.name()) {
            Some(count) if *count > 0 => *count -= 1,
            _ => lost.push(format!("API `{api}` would lose its policy `{}`", bound.policy.name())),
        }
    }
    if old.tls.is_some() && new.tls.is_none() {
        lost.push(format!("API `{api}` would lose its policy `tls`"));
    }
    for service in old.services.iter().filter(|service| service.tls.is_some()) {
        if new.services.iter().any(|next| next.name == service.name && next.tls.is_none()) {
            lost.push(format!("service `{}` of API `{api}` would lose its policy `tls-outbound`", service.name));
        }
    }
    for service in &old.services {
        let Some(next) = new.services.iter().find(|next| next.name == service.name) else { continue };
        for bound in &service.policies {
            if !next.policies.iter().any(|other| other.policy.name() == bound.policy.name()) {
                let (policy, service) = (bound.policy.name(), &service.name);
                lost.push(format!("service `{service}` of API `{api}` would lose its policy `{policy}`"));
            }
        }
    }
    lost
}

fn has_resources(text: &str) -> bool {
    tree::parse(text).documents.iter().any(|document| !matches!(document.value, Value::Null))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load_text;

    const API: &str = "{apiVersion: gateway.mulesoft.com/v1alpha1, kind: ApiInstance, metadata: {name: orders}, \
        spec: {address: \"http://0.0.0.0:1/a\", services: {s: {address: \"http://b\"}}}}\n---\n";
    const BASIC: &str = "{apiVersion: gateway.mulesoft.com/v1alpha1, kind: PolicyBinding, metadata: {name: basic}, \
        spec: {targetRef: {kind: ApiInstance, name: orders}, policyRef: {name: http-basic-authentication-flex}, \
        config: {username: u, password: p}}}\n---\n";

    fn config(text: &str) -> GatewayConfig {
        load_text("x.yaml".as_ref(), text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn found(old: &str, new: &str) -> Vec<String> {
        removals(&config(old), &config(new))
    }

    #[test]
    fn a_policy_that_goes_is_named_with_its_api() {
        let both = format!("{API}{BASIC}");
        let said = found(&both, API);
        assert_eq!(said, ["API `orders` would lose its policy `http-basic-authentication-flex`"]);
        assert_eq!(found(API, &both), [""; 0]);
        assert_eq!(found(&both, &both.replace("name: basic", "name: other")), [""; 0], "another in its place");
        let renamed = API.replace("name: orders", "name: sales");
        assert_eq!(found(&both, &renamed).len(), 1, "at the same address, under another name");
        assert_eq!(found(&both, ""), ["every API would go: `orders`"]);
        let other = API.replace("orders", "other").replace("/a", "/b");
        assert_eq!(found(&format!("{both}{other}"), &other), [""; 0], "an API that goes with its policies");
    }

    #[test]
    fn an_empty_or_cut_file_is_named() {
        let of = |text: &str| Content::of([("a.yaml".into(), text.to_owned())]);
        let both = format!("{API}{BASIC}");
        assert_eq!(cuts(&of(&both), &of("# nothing\n")), ["`a.yaml` had resources and has none"]);
        assert_eq!(cuts(&of(&both), &of(API)), ["`a.yaml` is cut off"]);
        assert_eq!(cuts(&of(&both), &of(BASIC)), [""; 0]);
        assert_eq!(cuts(&of(API), &of(&both)), [""; 0]);
        assert_eq!(cuts(&of("# nothing"), &of("")), [""; 0]);
    }

    #[test]
    fn going_back_tells_contracts_that_come_back() {
        let contract = "{apiVersion: gateway.weir.dev/v1, kind: Contract, metadata: {name: c}, \
            spec: {apiId: orders, client: {id: phone, secret: s3cret-value}}}\n---\n";
        let with = format!("{API}{contract}");
        let target = config(&with);
        assert_eq!(openings(&config(API), &target), ["client `phone` would have its contract with API `orders` back"]);
        assert_eq!(openings(&target, &target), [""; 0]);
    }
}
