//! `ApiInstance`: an address, services with routes, policies.

use std::collections::HashMap;

use super::{Metadata, check_name, name, rules::rules};
use crate::address;
use crate::api::{Api, Listen, PolicyBinding, Route, Scheme, Service, UpstreamAddress};
use crate::pattern::Rule;
use crate::policy;
use crate::read::{At, NOT_YET, Place};

/// An API, and as much of it as could be read where something is wrong, so that clashes are told all the same.
pub(crate) struct ApiDraft {
    pub metadata: Option<Metadata>,
    pub listen: Option<(Listen, Place)>,
    pub services: Vec<Service>,
    pub routes: Vec<Route>,
    pub policies: Vec<PolicyBinding>,
}

impl ApiDraft {
    /// `None` where some part could not be read, which is told already.
    pub fn into_api(self) -> Option<Api> {
        let Metadata { name, namespace, labels, .. } = self.metadata?;
        let (listen, _) = self.listen?;
        let (services, routes, policies) = (self.services, self.routes, self.policies);
        Some(Api { name, namespace, labels, listen, services, routes, policies })
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
    let policies = fields.optional("policies", |at| at.items(policy)).unwrap_or_default();
    fields.finish();
    let api = metadata.as_ref().map_or("", |metadata| metadata.name.as_str());
    let (services, routes) = lay_out(api, specs);
    Some(ApiDraft { listen, services, routes, policies: number(policies), metadata })
}

fn listen(at: &At<'_>) -> Option<(Listen, Place)> {
    let listen = at.parse_cured(address::listen)?;
    if listen.scheme == Scheme::Https {
        at.refuse::<()>(format!("an https listener needs a `tls` policy, {NOT_YET}; use `http`"));
    }
    Some((listen, at.place()))
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

fn policy(at: &At<'_>) -> Option<PolicyBinding> {
    let mut fields = at.fields()?;
    let reference = fields.required("policyRef", policy_ref);
    let config = fields.take_map("config");
    let rules = fields.optional("rules", rules).unwrap_or_default();
    fields.finish();
    let policy = policy::read(&reference?, &config.with_env())?;
    Some(PolicyBinding { name: policy.name().to_owned(), policy, rules })
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
        services.push(Service { name: service, address: spec.address });
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
