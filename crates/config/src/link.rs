//! What resources say of each other: bindings reach their APIs and services, contracts their API, routes their service.
//!
//! A reference to what is not there is a mistake, reported where it is written. What is there but could not be read counts
//! as there: its own mistake is reported already, and one mistake is reported once.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::api::Scheme;
use crate::error::ConfigError;
use crate::policy::{Reference, TlsOutbound};
use crate::read::{Errors, MAX_ERRORS, Place, show};
use crate::resource_index::{ResourceIndex, within};
use crate::resources::{ApiDraft, BindingDraft, Bound, ContractDraft, Drafts, Metadata, Rank, ServiceDraft, Target};

/// Mistakes that are reported with the name that was perhaps meant: finding it looks at every name.
const MOST_HINTS: usize = 100;
/// How many policies all selectors together may bind: a file of some MiB must not become all of memory.
const MOST_SELECTED: usize = 200_000;
const FOR_SERVICE: &str = "the policy belongs to a Service; write `targetRef: {kind: Service, name: …}`";
const FOR_API: &str = "the policy belongs to an ApiInstance; write `targetRef: {name: …}` or a selector of APIs";

/// Gives bindings and contracts to what they are for, and tells every reference that leads nowhere.
pub(crate) fn link(drafts: &mut Drafts, warnings: &Errors) -> Vec<ConfigError> {
    let (bindings, contracts) = (std::mem::take(&mut drafts.bindings), std::mem::take(&mut drafts.contracts));
    let mut linker = Linker::new(drafts, warnings);
    linker.names();
    bindings.into_iter().for_each(|binding| linker.bind(binding));
    contracts.into_iter().for_each(|contract| linker.sign(contract));
    linker.order();
    for index in 0..linker.drafts.apis.len() {
        linker.routes(index);
        linker.check_consumer_order(index);
    }
    linker.errors
}

struct Linker<'a> {
    drafts: &'a mut Drafts,
    known: ResourceIndex,
    /// Contracts so far: the API and the client.
    signed: HashSet<(usize, String)>,
    selected: usize,
    errors: Vec<ConfigError>,
    warnings: &'a Errors,
}

impl<'a> Linker<'a> {
    fn new(drafts: &'a mut Drafts, warnings: &'a Errors) -> Self {
        let known = ResourceIndex::new(drafts);
        Self { drafts, known, signed: HashSet::new(), selected: 0, errors: Vec::new(), warnings }
    }

    fn refuse(&mut self, place: &Place, message: impl Into<String>) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(place.error(message.into()));
        }
    }

    /// A Service by the name that one within an ApiInstance gets.
    fn names(&mut self) {
        let within: HashMap<_, _> =
            within(self.drafts).map(|(_, metadata)| (metadata.key(), &metadata.place)).collect();
        let shared = self.drafts.services.iter().filter_map(|service| service.metadata.as_ref());
        let twice = shared.filter_map(|service| {
            let (name, other) = (&service.name, within.get(&service.key())?);
            let what = format!("`{name}` is also what a service of the ApiInstance at {other} is called; rename one");
            Some(service.place.error(what))
        });
        self.errors.extend(twice.take(MAX_ERRORS));
    }

    fn bind(&mut self, binding: BindingDraft) {
        let BindingDraft { metadata, target, bound, order, place } = binding;
        let (Some(metadata), Some(target)) = (metadata, target) else { return };
        let binding = Binding { rank: rank(order, &metadata), metadata, bound, place };
        match target {
            Target::Api(reference) => {
                if let Some(index) = self.api(&reference, &binding.metadata.namespace) {
                    self.bind_apis(&[index], binding);
                }
            }
            Target::Selector { namespace, labels } => {
                let chosen = self.select(namespace.as_deref(), &labels, &binding);
                self.bind_apis(&chosen, binding);
            }
            Target::Service(reference) => self.bind_service(&reference, binding),
        }
    }

    fn api(&mut self, reference: &Reference, namespace: &str) -> Option<usize> {
        let short = self.errors.len() >= MOST_HINTS;
        match reference.find(&self.known.apis, "ApiInstance", namespace, short) {
            Ok(index) => Some(index),
            Err((place, message)) => {
                self.refuse(place, message);
                None
            }
        }
    }

    fn select(&mut self, namespace: Option<&str>, labels: &BTreeMap<String, String>, binding: &Binding) -> Vec<usize> {
        let within = |api: &ApiDraft| {
            let metadata = api.metadata.as_ref();
            metadata.filter(|metadata| namespace.is_none_or(|namespace| namespace == metadata.namespace)).is_some()
        };
        let apis = self.drafts.apis.iter().enumerate().filter(|(_, api)| within(api));
        let chosen = apis.filter(|(_, api)| match_of(api, labels) == Match::Same).map(|(index, _)| index);
        let chosen: Vec<_> = chosen.take(MOST_SELECTED.saturating_sub(self.selected) + 1).collect();
        self.selected += chosen.len();
        if self.selected > MOST_SELECTED {
            let most = MOST_SELECTED;
            self.refuse(&binding.place, format!("all selectors together bind more than {most} policies; use fewer"));
            return Vec::new();
        }
        let apis = self.drafts.apis.iter().filter(|api| within(api));
        let nearly: Vec<_> = apis.filter_map(|api| match_of(api, labels).spelling(api)).collect();
        for message in &nearly {
            self.refuse(&binding.place, message.as_str());
        }
        if chosen.is_empty() && nearly.is_empty() {
            let said = nobody(&binding.metadata.shown(), namespace, labels);
            let mut warnings = self.warnings.borrow_mut();
            if warnings.len() < MAX_ERRORS {
                warnings.push(binding.place.error(said));
            }
        }
        chosen
    }

    fn bind_apis(&mut self, apis: &[usize], binding: Binding) {
        let Binding { metadata, bound, rank, place } = binding;
        match bound {
            Some(Bound::Service(..)) => self.refuse(&place, FOR_SERVICE),
            Some(mut bound) => {
                if let Bound::Route(Some(destination)) = &mut bound {
                    destination.to.service.namespace.get_or_insert_with(|| metadata.namespace.clone());
                }
                for index in apis {
                    self.drafts.apis[*index].bind(bound.clone(), rank.clone(), metadata.shown());
                }
            }
            None => {}
        }
    }

    fn bind_service(&mut self, reference: &Reference, binding: Binding) {
        let short = self.errors.len() >= MOST_HINTS;
        match (reference.find(&self.known.services, "Service", &binding.metadata.namespace, short), binding.bound) {
            (Err((place, message)), _) => self.refuse(place, message),
            (Ok(at), Some(Bound::Service(tls, place))) => {
                if let Some(message) = outbound(self.drafts.service(at), tls.as_ref()) {
                    self.refuse(&place, message);
                }
                self.drafts.service_mut(at).tls.push((tls, place));
            }
            (Ok(_), None | Some(Bound::Nothing)) => {}
            (Ok(_), Some(_)) => self.refuse(&binding.place, FOR_API),
        }
    }

    fn sign(&mut self, contract: ContractDraft) {
        let ContractDraft { metadata, api, contract, place } = contract;
        let (Some(metadata), Some(api)) = (metadata, api) else { return };
        let (Some(index), Some(contract)) = (self.api(&api, &metadata.namespace), contract) else { return };
        if self.signed.insert((index, contract.client_id.clone())) {
            self.drafts.apis[index].contracts.push(contract);
        } else {
            let id = show(&contract.client_id);
            self.refuse(&place, format!("client `{id}` has a contract with this API already; remove one"));
        }
    }

    fn order(&mut self) {
        for api in &mut self.drafts.apis {
            api.chain.sort_by(|a, b| (!a.policy.is_first(), &a.rank).cmp(&(!b.policy.is_first(), &b.rank)));
            // An API's own policy goes before those that a selector gives to many.
            api.logs.sort_by(|(a, _), (b, _)| a.cmp(b));
            api.traces.sort_by(|(a, _), (b, _)| a.cmp(b));
            api.destinations.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        }
    }

    /// An API must have routes, in one of the two ways, and each must lead to a service.
    fn routes(&mut self, index: usize) {
        let api = &self.drafts.apis[index];
        let Some(namespace) = api.metadata.as_ref().map(|metadata| metadata.namespace.as_str()) else { return };
        let mut errors = Vec::new();
        if let Some(message) = api.routes_are_wrong() {
            errors.push(api.services_place.error(message.to_owned()));
        }
        if api.has_no_route() && errors.is_empty() {
            let mut warnings = self.warnings.borrow_mut();
            if warnings.len() < MAX_ERRORS {
                let said =
                    "names no service: every request is answered 404; add `<name>: {address: \"http://host:port\"}`";
                warnings.push(api.services_place.error(said.to_owned()));
            }
        }
        for destination in api.destinations.iter().filter_map(|(.., destination)| destination.as_ref()) {
            let short = self.errors.len() + errors.len() >= MOST_HINTS;
            let found = destination.to.service.find(&self.known.services, "Service", namespace, short);
            errors.extend(found.err().map(|(place, message)| place.error(message)));
        }
        self.errors.extend(errors);
        self.errors.truncate(MAX_ERRORS);
    }

    /// What asks for the consumer must stand after what says who that is: before it, all would be one.
    fn check_consumer_order(&mut self, index: usize) {
        let chain = &self.drafts.apis[index].chain;
        let first = chain.iter().position(|bound| bound.policy.identifies()).unwrap_or(chain.len());
        let early = chain[..first].iter().filter(|bound| bound.policy.asks_who());
        let message = "asks for the consumer before any policy says who that is; bind one with a lower `order`";
        self.errors.extend(early.map(|bound| bound.place.error(message.to_owned())));
        self.errors.truncate(MAX_ERRORS);
    }
}

/// Whether an API bears the labels of a selector.
#[derive(PartialEq)]
enum Match<'a> {
    Same,
    /// It would, if the label of this name were read as a boolean: `yes` is `true` to one reader of YAML and a text to
    /// another. Here labels are texts.
    IfBoolean {
        name: &'a str,
        asked: &'a str,
        borne: &'a str,
    },
    Other,
}

impl Match<'_> {
    /// What to say where spelling alone decides.
    fn spelling(&self, api: &ApiDraft) -> Option<String> {
        let Self::IfBoolean { name, asked, borne } = self else { return None };
        let api = api.metadata.as_ref().map(Metadata::shown).unwrap_or_default();
        let (name, asked, borne) = (show(name), show(asked), show(borne));
        Some(format!(
            "asks for the label `{name}: {asked}`, and ApiInstance `{api}` bears `{name}: {borne}`; labels are compared as \
             texts: spell both the same, or unmistakably apart"
        ))
    }
}

fn match_of<'a>(api: &'a ApiDraft, labels: &'a BTreeMap<String, String>) -> Match<'a> {
    let Some(metadata) = &api.metadata else { return Match::Other };
    let mut found = Match::Same;
    for (name, asked) in labels {
        match metadata.labels.get(name) {
            Some(borne) if borne == asked => {}
            Some(borne) if boolean(borne).is_some_and(|truth| boolean(asked) == Some(truth)) => {
                found = Match::IfBoolean { name, asked, borne };
            }
            _ => return Match::Other,
        }
    }
    found
}

/// A boolean to some reader of YAML 1.1 or 1.2.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

fn nobody(binding: &str, namespace: Option<&str>, labels: &BTreeMap<String, String>) -> String {
    let mut asked: Vec<_> = labels.iter().map(|(name, value)| format!("`{}: {}`", show(name), show(value))).collect();
    asked.extend(namespace.map(|namespace| format!("namespace `{namespace}`")));
    let asked = if asked.is_empty() { String::new() } else { format!(" with {}", asked.join(", ")) };
    format!("the selector of `{binding}` matches no API: there is no ApiInstance{asked}; the policy protects nothing")
}

/// A binding whose name and target could be read.
struct Binding {
    metadata: Metadata,
    bound: Option<Bound>,
    rank: Rank,
    place: Place,
}

fn rank(order: u32, metadata: &Metadata) -> Rank {
    (order, true, 0, format!("{}/{}", metadata.namespace, metadata.name))
}

/// What speaks against a `tls-outbound` of a service.
fn outbound(service: &ServiceDraft, tls: Option<&TlsOutbound>) -> Option<String> {
    tls?;
    if let Some((_, first)) = service.tls.first() {
        return Some(format!("the Service has a `tls-outbound` already, at {first}; remove one"));
    }
    let address = service.address.as_ref().filter(|address| address.scheme != Scheme::Https)?;
    Some(format!("the Service is at `{address}`, without TLS; write `https`, or remove the binding"))
}
