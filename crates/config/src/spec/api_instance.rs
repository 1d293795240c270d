//! `ApiInstance`: an address, services with routes, policies.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::{Metadata, check_name, name, rules::rules};
use crate::address;
use crate::api::{Api, Listen, PolicyBinding, Route, Service, UpstreamAddress};
use crate::pattern::Rule;
use crate::policy::{self, Read, Tls};
use crate::read::{At, Place};

/// An API, and as much of it as could be read where something is wrong, so that clashes are told all the same.
pub(crate) struct ApiDraft {
    pub metadata: Option<Metadata>,
    pub listen: Option<(Listen, Place)>,
    pub services: Vec<Service>,
    pub routes: Vec<Route>,
    pub policies: Vec<PolicyBinding>,
    /// Each `tls` policy as far as it could be read, with its place.
    pub tls: Vec<(Option<Tls>, Place)>,
}

impl ApiDraft {
    pub fn address(&self) -> Option<SocketAddr> {
        self.listen.as_ref().map(|(listen, _)| listen.address)
    }

    /// `None` where some part could not be read, which is told already.
    pub fn into_api(self) -> Option<Api> {
        let Metadata { name, namespace, labels, .. } = self.metadata?;
        let (listen, _) = self.listen?;
        let (services, routes, policies) = (self.services, self.routes, self.policies);
        Some(Api { name, namespace, labels, listen, tls: None, services, routes, policies })
    }
}

pub(super) fn read(spec: &At<'_>, metadata: Option<Metadata>) -> Option<ApiDraft> {
    let mut fields = spec.fields()?;
    let listen = fields.required("address", listen);
    let services = fields.take("services");
    let specs = match &services {
        Some(at) => at.entries(service).unwrap_or_default(),
        None => {
            fields.missing("services", "add `services: {<name>: {address: \"http://host:port\"}}`").unwrap_or_default()
        }
    };
    if let Some(at) = services.filter(|at| at.fields().is_some_and(|fields| fields.is_empty())) {
        at.refuse::<()>("is empty; add `<name>: {address: \"http://host:port\"}`");
    }
    let bound = fields.optional("policies", |at| at.items(policy)).unwrap_or_default();
    fields.finish();
    let (mut policies, mut tls) = (Vec::new(), Vec::new());
    for bound in bound {
        match bound {
            Bound::Chain(binding) => policies.push(binding),
            Bound::Port(policy, place) => tls.push((policy, place)),
        }
    }
    let api = metadata.as_ref().map_or("", |metadata| metadata.name.as_str());
    let (services, routes) = lay_out(api, specs);
    Some(ApiDraft { listen, services, routes, policies: number(policies), tls, metadata })
}

fn listen(at: &At<'_>) -> Option<(Listen, Place)> {
    Some((at.parse_cured(address::listen)?, at.place()))
}

struct ServiceSpec {
    name: String,
    address: UpstreamAddress,
    routes: Vec<RouteSpec>,
}

#[derive(Default)]
struct RouteSpec {
    rules: Vec<Rule>,
    destination_path: Option<String>,
}

fn service(name: &str, at: &At<'_>) -> Option<ServiceSpec> {
    let named = check_name(at, name);
    let mut fields = at.fields()?;
    let address = fields.required("address", |at| at.parse_cured(address::upstream));
    let routes = fields.optional("routes", |at| at.items(route)).unwrap_or_default();
    fields.finish();
    Some(ServiceSpec { name: named.then(|| name.to_owned())?, address: address?, routes })
}

fn route(at: &At<'_>) -> Option<RouteSpec> {
    let mut fields = at.fields()?;
    let rules = fields.optional("rules", rules).unwrap_or_default();
    let destination_path = fields.optional("config", route_config).flatten();
    fields.finish();
    Some(RouteSpec { rules, destination_path })
}

fn route_config(at: &At<'_>) -> Option<Option<String>> {
    let mut fields = at.fields()?;
    let path = fields.optional("destinationPath", |at| at.parse_cured(address::base_path));
    fields.finish();
    Some(path.filter(|path| !path.is_empty()))
}

/// A policy of an API, by where it belongs.
enum Bound {
    Chain(PolicyBinding),
    Port(Option<Tls>, Place),
}

fn policy(at: &At<'_>) -> Option<Bound> {
    let mut fields = at.fields()?;
    let reference = fields.required("policyRef", policy_ref);
    let config = fields.take_map("config").with_env();
    let ruled = fields.take("rules");
    let rules = ruled.as_ref().map(rules).unwrap_or_default().unwrap_or_default();
    fields.finish();
    let entry = reference?;
    match entry.read() {
        Read::Chain(read) => read(&config)
            .map(|policy| PolicyBinding { name: policy.name().to_owned(), policy, rules })
            .map(Bound::Chain),
        Read::Port(read) => {
            if let Some(at) = ruled {
                at.refuse::<()>("cannot be: `tls` holds for the whole port; remove them");
            }
            Some(Bound::Port(read(&config), at.place()))
        }
        Read::Service(_) => at.refuse(format!(
            "policy `{}` belongs to a Service; write a PolicyBinding with `targetRef: {{kind: Service, name: …}}`",
            entry.name()
        )),
    }
}

/// The catalogue name. Policies of Flex are in the namespace `default`, where they are also found when none is named.
fn policy_ref(at: &At<'_>) -> Option<policy::Entry> {
    let mut fields = at.fields()?;
    let entry = fields.required("name", policy::find);
    let namespace = fields.optional("namespace", |at| Some((name(at)?, at.clone())));
    fields.optional("kind", |at| at.choice(&[("Extension", ())]));
    fields.finish();
    match namespace {
        Some((namespace, at)) if namespace != "default" => {
            at.refuse("is not the namespace of the built-in policies; write `default` or remove it")
        }
        _ => entry,
    }
}

/// Names services and routes as Flex does. A service without routes gets one that takes everything.
fn lay_out(api: &str, specs: Vec<ServiceSpec>) -> (Vec<Service>, Vec<Route>) {
    let (mut services, mut routes) = (Vec::with_capacity(specs.len()), Vec::new());
    for (index, spec) in specs.into_iter().enumerate() {
        let service = format!("{api}-{}", spec.name);
        let specs = if spec.routes.is_empty() { vec![RouteSpec::default()] } else { spec.routes };
        routes.extend(specs.into_iter().enumerate().map(|(n, RouteSpec { rules, destination_path })| Route {
            name: format!("{service}-route-{n}"),
            service: index,
            rules,
            destination_path,
        }));
        services.push(Service { name: service, address: spec.address, tls: None });
    }
    (services, routes)
}

/// The second binding of a policy is `<policy>-2`, so that metrics keep them apart.
fn number(mut policies: Vec<PolicyBinding>) -> Vec<PolicyBinding> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for binding in &mut policies {
        let count = seen.entry(binding.name.clone()).or_insert(0);
        *count += 1;
        if *count > 1 {
            binding.name = format!("{}-{count}", binding.name);
        }
    }
    policies
}
