//! Which resources there are, by namespace and name; and what to say of one that is not.

use std::collections::HashMap;

use crate::key::{Key, ServiceAt};
use crate::policy::Reference;
use crate::read::{Place, did_you_mean, show};
use crate::resources::{Drafts, Metadata};

/// Resources that others may name.
pub(crate) struct ResourceIndex {
    pub apis: HashMap<Key, usize>,
    pub services: HashMap<Key, ServiceAt>,
}

impl ResourceIndex {
    pub fn new(drafts: &Drafts) -> Self {
        let key = |metadata: &Option<Metadata>| metadata.as_ref().map(Metadata::key);
        let apis = drafts.apis.iter().enumerate();
        let apis = apis.filter_map(|(index, api)| Some((key(&api.metadata)?, index))).collect();
        let shared = drafts.services.iter().enumerate();
        let shared = shared.filter_map(|(n, service)| Some((key(&service.metadata)?, ServiceAt::Shared(n))));
        let within = within(drafts).map(|(at, metadata)| (metadata.key(), at));
        Self { apis, services: within.chain(shared).collect() }
    }

    /// The service that `reference` names.
    pub fn service(&self, reference: &Reference, namespace: &str) -> Option<ServiceAt> {
        self.services.get(&reference.key(namespace)).copied()
    }
}

impl Reference {
    /// The namespace that goes without saying is that of the resource which names it.
    fn key(&self, namespace: &str) -> Key {
        (self.namespace.clone().unwrap_or_else(|| namespace.to_owned()), self.name.clone())
    }

    /// What it names among `known`, or what to say: with the nearest name, unless the account is `short`.
    pub fn find<T: Copy>(
        &self,
        known: &HashMap<Key, T>,
        kind: &str,
        namespace: &str,
        short: bool,
    ) -> Result<T, (&Place, String)> {
        let key @ (namespace, name) = &self.key(namespace);
        known.get(key).copied().ok_or_else(|| {
            let fix = if short { "correct the name".to_owned() } else { fix(known.keys(), kind, key) };
            (&self.place, format!("there is no {kind} `{}` in namespace `{namespace}`; {fix}", show(name)))
        })
    }
}

/// Names the nearest one, and says it where the name is right and the namespace is not.
fn fix<'a>(known: impl Iterator<Item = &'a Key> + Clone, kind: &str, (namespace, name): &Key) -> String {
    if let Some((other, _)) = known.clone().filter(|(_, other)| other == name).min() {
        return format!("there is one in namespace `{other}`: write `namespace: {other}`");
    }
    let mut names: Vec<_> = known.filter(|(other, _)| other == namespace).map(|(_, name)| name.as_str()).collect();
    if names.is_empty() {
        return format!("add the {kind}, or remove this");
    }
    names.sort_unstable();
    let hint = did_you_mean(name, names.iter().copied());
    // A list of hundreds helps nobody.
    if names.len() > 10 && !hint.starts_with("did") { "correct the name".to_owned() } else { hint }
}

/// The services within APIs, by the names that they get.
pub(crate) fn within(drafts: &Drafts) -> impl Iterator<Item = (ServiceAt, &Metadata)> {
    drafts.apis.iter().enumerate().flat_map(|(index, api)| {
        let services = api.services.iter().enumerate();
        services.filter_map(move |(n, service)| Some((ServiceAt::Within(index, n), service.metadata.as_ref()?)))
    })
}
