//! What resources say of each other: bindings reach their APIs and services, contracts their API, routes their service.
//!
//! A reference to what is not there is a mistake, told where it is written. What is there but could not be read counts
//! as there: its own mistake is told already, and one mistake is told once.

use std::collections::HashMap;

use crate::error::ConfigError;
use crate::policy::{Reference, TlsOutbound};
use crate::read::{Place, did_you_mean, show};
use crate::spec::{ApiDraft, BindingDraft, Bound, ContractDraft, Drafts, Metadata, Rank, ServiceDraft, Target};

/// Namespace and name.
pub(crate) type Key = (String, String);

/// Where a service is among the drafts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ServiceAt {
    Shared(usize),
    /// Of the API, by index, and in it.
    Within(usize, usize),
}

/// Resources by namespace and name.
pub(crate) struct Known {
    pub apis: HashMap<Key, usize>,
    pub services: HashMap<Key, ServiceAt>,
}

impl Known {
    pub fn new(drafts: &Drafts) -> Self {
        let key = |metadata: &Option<Metadata>| metadata.as_ref().map(Metadata::key);
        let apis =
            drafts.apis.iter().enumerate().filter_map(|(index, api)| Some((key(&api.metadata)?, index))).collect();
        let shared = drafts.services.iter().enumerate();
        let shared = shared.filter_map(|(n, service)| Some((key(&service.metadata)?, ServiceAt::Shared(n))));
        let within = drafts.apis.iter().enumerate().flat_map(|(index, api)| {
            let services = api.services.iter().enumerate();
            services.filter_map(move |(n, service)| Some((key(&service.metadata)?, ServiceAt::Within(index, n))))
        });
        Self { apis, services: within.chain(shared).collect() }
    }

    /// The service that a route of an API names. The namespace that goes without saying is that of the namer.
    pub fn service(&self, reference: &Reference, namespace: &str) -> Option<ServiceAt> {
        self.services.get(&key(reference, namespace)).copied()
    }
}

fn key(reference: &Reference, namespace: &str) -> Key {
    (reference.namespace.clone().unwrap_or_else(|| namespace.to_owned()), reference.name.clone())
}

/// Gives bindings and contracts to what they are for, and tells every reference that leads nowhere.
pub(crate) fn link(drafts: &mut Drafts) -> Vec<ConfigError> {
    let known = Known::new(drafts);
    let mut errors: Vec<_> = drafts.services.iter().filter_map(|service| twice(service, drafts)).collect();
    for binding in std::mem::take(&mut drafts.bindings) {
        bind(drafts, &known, binding, &mut errors);
    }
    for contract in std::mem::take(&mut drafts.contracts) {
        sign(drafts, &known, contract, &mut errors);
    }
    for api in &mut drafts.apis {
        api.chain.sort_by(|a, b| a.rank.cmp(&b.rank));
        api.destinations.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    }
    errors.extend(drafts.apis.iter().flat_map(|api| routes(api, &known)));
    errors.extend(drafts.apis.iter().flat_map(nobody_known));
    errors
}

/// What asks for the consumer must stand after what says who that is: before it, all would be one.
fn nobody_known(api: &ApiDraft) -> impl Iterator<Item = ConfigError> {
    let first = api.chain.iter().position(|bound| bound.policy.identifies()).unwrap_or(api.chain.len());
    api.chain[..first].iter().filter(|bound| bound.policy.asks_who()).map(|bound| {
        let message = "asks for the consumer before any policy says who that is; bind one with a lower `order`";
        bound.place.error(message.to_owned())
    })
}

/// A Service by the name that one within an ApiInstance gets.
fn twice(service: &ServiceDraft, drafts: &Drafts) -> Option<ConfigError> {
    let metadata = service.metadata.as_ref()?;
    let mut within = drafts.apis.iter().flat_map(|api| &api.services).filter_map(|service| service.metadata.as_ref());
    let other = within.find(|other| other.key() == metadata.key())?;
    let (name, place) = (&metadata.name, &other.place);
    Some(
        metadata
            .place
            .error(format!("`{name}` is also what a service of the ApiInstance at {place} is called; rename one")),
    )
}

fn bind(drafts: &mut Drafts, known: &Known, binding: BindingDraft, errors: &mut Vec<ConfigError>) {
    let BindingDraft { metadata, target, bound, order, place } = binding;
    let (Some(metadata), Some(target)) = (metadata, target) else { return };
    let rank: Rank = (order, true, 0, format!("{}/{}", metadata.namespace, metadata.name));
    match target {
        Target::Api(reference) => match find(&known.apis, "ApiInstance", &reference, &metadata.namespace) {
            Ok(index) => bind_api(&mut drafts.apis[index], bound, rank, &metadata, &place, errors),
            Err(error) => errors.push(error),
        },
        Target::Selector { namespace, labels } => {
            let wanted = |api: &&mut ApiDraft| {
                api.metadata.as_ref().is_some_and(|api| {
                    namespace.as_ref().is_none_or(|namespace| *namespace == api.namespace)
                        && labels.iter().all(|(name, value)| api.labels.get(name) == Some(value))
                })
            };
            if bound.as_ref().is_some_and(Bound::is_for_service) {
                errors.push(place.error(FOR_SERVICE.to_owned()));
                return;
            }
            let cleartext = matches!(bound, Some(Bound::Port(..)));
            // Labels are of APIs and TLS is of ports: those without are passed over.
            let chosen = drafts.apis.iter_mut().filter(wanted).filter(|api| !cleartext || api.is_https());
            chosen.for_each(|api| bind_api(api, bound.clone(), rank.clone(), &metadata, &place, errors));
        }
        Target::Service(reference) => match find(&known.services, "Service", &reference, &metadata.namespace) {
            Ok(at) => bind_service(drafts.service_mut(at), bound, &place, errors),
            Err(error) => errors.push(error),
        },
    }
}

const FOR_SERVICE: &str = "the policy belongs to a Service; write `targetRef: {kind: Service, name: …}`";

fn bind_api(
    api: &mut ApiDraft,
    bound: Option<Bound>,
    rank: Rank,
    binding: &Metadata,
    place: &Place,
    errors: &mut Vec<ConfigError>,
) {
    match bound {
        Some(bound) if bound.is_for_service() => errors.push(place.error(FOR_SERVICE.to_owned())),
        Some(mut bound) => {
            if let Bound::Route(Some(destination)) = &mut bound {
                destination.to.service.namespace.get_or_insert_with(|| binding.namespace.clone());
            }
            api.bind(bound, rank, binding.shown());
        }
        None => {}
    }
}

fn bind_service(service: &mut ServiceDraft, bound: Option<Bound>, place: &Place, errors: &mut Vec<ConfigError>) {
    match bound {
        Some(Bound::Service(tls, at)) => {
            errors.extend(outbound(service, tls.as_ref(), &at));
            service.tls.push((tls, at));
        }
        Some(_) => errors.push(place.error(
            "the policy belongs to an ApiInstance; write `targetRef: {name: …}` or a selector of APIs".to_owned(),
        )),
        None => {}
    }
}

fn outbound(service: &ServiceDraft, tls: Option<&TlsOutbound>, place: &Place) -> Option<ConfigError> {
    use crate::api::Scheme;
    tls?;
    if let Some((_, first)) = service.tls.first() {
        return Some(place.error(format!("the Service has a `tls-outbound` already, at {first}; remove one")));
    }
    let address = service.address.as_ref().filter(|address| address.scheme == Scheme::Http)?;
    Some(place.error(format!("the Service is at `{address}`, without TLS; write `https`, or remove the binding")))
}

fn sign(drafts: &mut Drafts, known: &Known, contract: ContractDraft, errors: &mut Vec<ConfigError>) {
    let ContractDraft { metadata, api, contract, place } = contract;
    let (Some(metadata), Some(api)) = (metadata, api) else { return };
    match find(&known.apis, "ApiInstance", &api, &metadata.namespace) {
        Err(error) => errors.push(error),
        Ok(index) => {
            let contracts = &mut drafts.apis[index].contracts;
            let Some(contract) = contract else { return };
            if contracts.iter().any(|(other, _)| other.client_id == contract.client_id) {
                let id = show(&contract.client_id);
                errors.push(place.error(format!("client `{id}` has a contract with this API already; remove one")));
            } else {
                contracts.push((contract, place));
            }
        }
    }
}

fn find<T: Copy>(
    known: &HashMap<Key, T>,
    kind: &str,
    reference: &Reference,
    namespace: &str,
) -> Result<T, ConfigError> {
    let key = key(reference, namespace);
    known.get(&key).copied().ok_or_else(|| dangling(known.keys(), kind, reference, &key))
}

/// Names the nearest one, and says it where the name is right and the namespace is not.
fn dangling<'a>(
    known: impl Iterator<Item = &'a Key> + Clone,
    kind: &str,
    reference: &Reference,
    (namespace, name): &Key,
) -> ConfigError {
    let elsewhere = known.clone().filter(|(_, other)| other == name).map(|(namespace, _)| namespace).min();
    let cure = match elsewhere {
        Some(other) => format!("there is one in namespace `{other}`: write `namespace: {other}`"),
        None if known.clone().any(|(other, _)| other == namespace) => {
            let mut names: Vec<_> =
                known.filter(|(other, _)| other == namespace).map(|(_, name)| name.as_str()).collect();
            names.sort_unstable();
            // A list of hundreds helps nobody.
            names.truncate(1_000);
            let hint = did_you_mean(name, names.iter().copied());
            if names.len() > 10 && !hint.starts_with("did") { "mend the name".to_owned() } else { hint }
        }
        None => format!("add the {kind}, or remove this"),
    };
    let name = show(name);
    reference.place.error(format!("there is no {kind} `{name}` in namespace `{namespace}`; {cure}"))
}

/// An API must have routes, in one of the two ways, and each must lead to a service.
fn routes(api: &ApiDraft, known: &Known) -> Vec<ConfigError> {
    let Some(metadata) = &api.metadata else { return Vec::new() };
    let mut errors = Vec::new();
    if api.has_services && !api.destinations.is_empty() {
        let message = "are beside the policy `route`; an API has its routes either here or there: remove one";
        errors.push(api.services_place.error(message.to_owned()));
    } else if !api.has_services && api.destinations.is_empty() {
        let message =
            "is missing; add `services: {<name>: {address: \"http://host:port\"}}`, or bind the policy `route`";
        errors.push(api.services_place.error(message.to_owned()));
    }
    let references = api.destinations.iter().filter_map(|(.., destination)| destination.as_ref());
    let missing =
        references.map(|destination| find(&known.services, "Service", &destination.to.service, &metadata.namespace));
    errors.extend(missing.filter_map(Result::err));
    errors
}
