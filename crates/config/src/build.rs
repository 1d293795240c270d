//! From drafts in which nothing is wrong to the APIs of the model.

use std::sync::Arc;

use crate::api::{Api, PolicyBinding, Route, Service};
use crate::key::ServiceAt;
use crate::ports;
use crate::resource_index::ResourceIndex;
use crate::resources::{ApiDraft, ChainDraft, Drafts, Metadata, ServiceDraft, UpstreamDraft};

/// The APIs, sorted by namespace and name.
pub(crate) fn build(mut drafts: Drafts) -> Vec<Api> {
    let known = ResourceIndex::new(&drafts);
    let ports = ports::tls(&drafts.apis);
    let routed: Vec<_> = drafts.apis.iter().map(|api| route(api, &drafts, &known)).collect();
    let apis = std::mem::take(&mut drafts.apis).into_iter().zip(routed);
    let mut apis: Vec<_> = apis
        .filter_map(|(draft, (services, routes))| {
            let (listen, _) = draft.listen?;
            let Metadata { name, namespace, labels, .. } = draft.metadata?;
            let tls = ports.get(&listen.address).cloned();
            let access_log = draft.logs.into_iter().next().and_then(|(_, lines)| lines);
            let tracing = draft.traces.into_iter().next().and_then(|(_, tracing)| tracing);
            let policies = chain(&format!("{namespace}/{name}"), draft.chain);
            let mut contracts = draft.contracts;
            contracts.sort_by(|a, b| a.client_id.cmp(&b.client_id));
            Some(Api {
                name,
                namespace,
                labels,
                listen,
                tls,
                services,
                routes,
                policies,
                contracts,
                access_log,
                tracing,
            })
        })
        .collect();
    apis.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    apis
}

/// The services of an API, each once, and its routes.
fn route(api: &ApiDraft, drafts: &Drafts, known: &ResourceIndex) -> (Vec<Service>, Vec<Route>) {
    if api.has_services {
        let services = api.services.iter().filter_map(|service| self::service(service, false)).collect();
        let routes = api.routes.iter().map(|route| Route {
            name: route.name.clone(),
            service: route.service,
            rules: route.rules.clone(),
            destination_path: path(&api.services[route.service], route.destination_path.as_deref()),
        });
        return (services, routes.collect());
    }
    let namespace = api.metadata.as_ref().map_or("", |metadata| metadata.namespace.as_str());
    let (mut used, mut services, mut routes): (Vec<ServiceAt>, Vec<Service>, Vec<Route>) = Default::default();
    for (_, name, destination) in &api.destinations {
        let Some(destination) = destination else { continue };
        let Some(at) = known.service(&destination.to.service, namespace) else { continue };
        let index = used.iter().position(|other| *other == at).or_else(|| {
            services.push(service(drafts.service(at), matches!(at, ServiceAt::Shared(_)))?);
            used.push(at);
            Some(used.len() - 1)
        });
        let (Some(service), name) = (index, name.clone()) else { continue };
        let destination_path = path(drafts.service(at), destination.to.path.as_deref());
        let rules = destination.rules.clone();
        routes.push(Route { name, service, rules, destination_path });
    }
    (services, routes)
}

/// The path that is put before those of a route's requests: that of the service's address, and the route's own.
fn path(service: &ServiceDraft, of_route: Option<&str>) -> Option<String> {
    let path = format!("{}{}", service.upstream.prefix, of_route.unwrap_or_default());
    (!path.is_empty()).then_some(path)
}

/// One of a resource of its own bears its namespace, so that two of one name are two.
fn service(draft: &ServiceDraft, shared: bool) -> Option<Service> {
    let metadata = draft.metadata.as_ref()?;
    let name = if shared { metadata.shown() } else { metadata.name.clone() };
    let tls = draft.tls.first().and_then(|(tls, _)| tls.clone()).map(Arc::new);
    let UpstreamDraft { endpoints, cluster, is_peer, .. } = &draft.upstream;
    let (endpoints, cluster) = (endpoints.clone()?, cluster.clone());
    let policies = chain(&format!("service/{}/{name}", metadata.namespace), draft.chain.clone());
    Some(Service { name, endpoints, cluster, tls, policies, is_peer: *is_peer })
}

/// The second binding of a policy is `<policy>-2`, so that metrics keep them apart.
fn chain(api: &str, drafts: Vec<ChainDraft>) -> Vec<PolicyBinding> {
    let mut seen = std::collections::HashMap::new();
    let number = |ChainDraft { name: bound, policy, rules, .. }: ChainDraft| {
        let count = seen.entry(policy.name()).or_insert(0);
        *count += 1;
        let name = if *count > 1 { format!("{}-{count}", policy.name()) } else { policy.name().to_owned() };
        PolicyBinding { name, id: format!("{api}/{bound}"), policy, rules }
    };
    drafts.into_iter().map(number).collect()
}
