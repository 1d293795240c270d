//! The resources as users write them: the envelope, and one file a kind.
//!
//! What is known of Flex but not done yet is refused by name, never ignored.

mod api_instance;
mod bound;
mod client_tls;
mod cluster;
mod configuration;
mod contract;
mod logging;
mod otlp;
mod output;
mod policy_binding;
mod rules;
mod service;
mod settings;
mod tracing;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use crate::key::{Key, ServiceAt};
use crate::read::{Cursor, Errors, LoadContext, Place, Scope, did_you_mean, show};
use crate::tree::{Node, Value};

pub(crate) use api_instance::ApiDraft;
pub(crate) use bound::{Bound, ChainDraft, Rank};
pub(crate) use configuration::read as settings;
pub(crate) use contract::ContractDraft;
pub(crate) use logging::{filters as line_filters, view as access_log_view};
pub(crate) use policy_binding::{BindingDraft, Target};
pub(crate) use service::{ServiceDraft, UpstreamDraft};
pub(crate) use settings::Settings;
pub(crate) use tracing::{labels as trace_labels, sampling as trace_sampling, view as api_tracing_view};

const MULESOFT: [&str; 2] = ["gateway.mulesoft.com/v1alpha1", "gateway.mulesoft.com/v1beta1"];
const WEIR: &str = "gateway.weir.dev/v1";
/// What `kubectl get -o yaml` writes beside what somebody wrote.
const OF_THE_CLUSTER: [&str; 8] = [
    "creationTimestamp",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "uid",
];

/// What all files together say, before it is held against itself.
#[derive(Default)]
pub(crate) struct Drafts {
    pub apis: Vec<ApiDraft>,
    pub services: Vec<ServiceDraft>,
    pub bindings: Vec<BindingDraft>,
    pub contracts: Vec<ContractDraft>,
    pub settings: Settings,
    /// Names by kind, as they come.
    pub names: Vec<(&'static str, Key, Place)>,
}

impl Drafts {
    pub fn service(&self, at: ServiceAt) -> &ServiceDraft {
        match at {
            ServiceAt::Shared(index) => &self.services[index],
            ServiceAt::Within(api, index) => &self.apis[api].services[index],
        }
    }

    pub fn service_mut(&mut self, at: ServiceAt) -> &mut ServiceDraft {
        match at {
            ServiceAt::Shared(index) => &mut self.services[index],
            ServiceAt::Within(api, index) => &mut self.apis[api].services[index],
        }
    }
}

/// `metadata`, with the place of the name.
#[derive(Clone)]
pub(crate) struct Metadata {
    pub name: String,
    pub namespace: String,
    pub labels: BTreeMap<String, String>,
    pub place: Place,
}

impl Metadata {
    pub fn key(&self) -> Key {
        (self.namespace.clone(), self.name.clone())
    }

    /// The name, with the namespace before it where that is not the default one.
    pub fn shown(&self) -> String {
        if self.namespace == "default" { self.name.clone() } else { format!("{}/{}", self.namespace, self.name) }
    }

    /// Of something within the resource.
    pub fn named(&self, name: String) -> Self {
        Self { name, ..self.clone() }
    }
}

/// Reads one resource into `drafts`.
pub(crate) fn resource(file: &Path, node: &Node, world: LoadContext<'_>, errors: &Errors, drafts: &mut Drafts) {
    if let Some(items) = list_items(node) {
        for item in items {
            resource(file, item, world, errors, drafts);
        }
        return;
    }
    let keys = RefCell::default();
    let scope = Scope { file, resource: title(node), world, errors, is_weir: Cell::default(), recorder: None, keys };
    document(&Cursor::new(&scope, node), node, drafts);
    scope.tell_missing();
}

fn document(at: &Cursor<'_>, node: &Node, drafts: &mut Drafts) {
    if let Some(version) = foreign(node) {
        return at.warn(format!("is of `{}`, which is no resource of the gateway; it is passed over", show(version)));
    }
    let Some(mut fields) = at.fields() else { return };
    let version = fields.required("apiVersion", api_version);
    at.set_weir(version == Some(Version::Weir));
    let kind = match fields.take("Kind") {
        Some(at) if !fields.has("kind") => {
            at.warn("is written `kind`; it is taken as that");
            kind(&at)
        }
        Some(at) => at.refuse("is `kind`, which is here too; remove one"),
        None => fields.required("kind", kind),
    };
    if kind == Some(Kind::Secret) {
        return at.warn("has no effect: it is for a gateway that is connected to the platform");
    }
    let metadata = fields.required("metadata", metadata);
    if kind == Some(Kind::Extension) {
        return metadata.into_iter().for_each(|Metadata { name, place, .. }| at.custom_policy(name, place));
    }
    // What the cluster says of the resource.
    fields.take("status");
    let spec = fields.take("spec").map(Cursor::rooted);
    if spec.is_none() && kind.is_some() {
        fields.missing::<()>("spec", "add it");
    }
    fields.finish();
    let (Some(_), Some(kind), Some(spec)) = (version, kind, spec) else { return };
    if let (Some(metadata), Some(kind)) = (&metadata, kind.unique()) {
        drafts.names.push((kind, metadata.key(), metadata.place.clone()));
    }
    match kind {
        Kind::ApiInstance => drafts.apis.extend(api_instance::read(&spec, metadata)),
        Kind::Service => drafts.services.extend(service::read(&spec, metadata)),
        Kind::PolicyBinding => drafts.bindings.extend(policy_binding::read(&spec, metadata)),
        Kind::Contract => drafts.contracts.extend(contract::read(&spec, metadata)),
        Kind::Configuration => configuration::read(&spec, &mut drafts.settings),
        Kind::Secret | Kind::Extension => {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Mulesoft,
    Weir,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ApiInstance,
    Service,
    PolicyBinding,
    Contract,
    Configuration,
    /// Of the platform, without an effect here.
    Secret,
    /// A custom policy.
    Extension,
}

const KINDS: [(&str, Kind); 5] = [
    ("ApiInstance", Kind::ApiInstance),
    ("Service", Kind::Service),
    ("PolicyBinding", Kind::PolicyBinding),
    ("Contract", Kind::Contract),
    ("Configuration", Kind::Configuration),
];

impl Kind {
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().map(|(_, kind)| *kind)
    }

    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Reads only for what is asked for.
    pub fn describe(self, spec: &Cursor<'_>) {
        match self {
            Self::ApiInstance => drop(api_instance::read(spec, None)),
            Self::Service => drop(service::read(spec, None)),
            Self::PolicyBinding => drop(policy_binding::read(spec, None)),
            Self::Contract => drop(contract::read(spec, None)),
            Self::Configuration => configuration::read(spec, &mut Settings::to_be_described()),
            Self::Secret | Self::Extension => {}
        }
    }

    /// Its name where one of a name may be there once. Of `Configuration` it is each setting that is there once.
    fn unique(self) -> Option<&'static str> {
        (self != Self::Configuration).then(|| self.name())
    }
}

fn api_version(at: &Cursor<'_>) -> Option<Version> {
    let text = at.text()?;
    match text.as_str() {
        WEIR => Some(Version::Weir),
        text if MULESOFT.contains(&text) => Some(Version::Mulesoft),
        _ => {
            let hint = did_you_mean(&text, MULESOFT.into_iter().chain([WEIR]));
            at.refuse(format!("unknown apiVersion `{}`; {hint}", show(&text)))
        }
    }
}

fn kind(at: &Cursor<'_>) -> Option<Kind> {
    let text = at.text()?;
    if let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == text) {
        return Some(*kind);
    }
    if text == "Secret" {
        return Some(Kind::Secret);
    }
    if text == "Extension" {
        return Some(Kind::Extension);
    }
    let hint = did_you_mean(&text, KINDS.iter().map(|(name, _)| *name));
    at.refuse(format!("unknown kind `{}`; {hint}", show(&text)))
}

/// As written in `apiVersion`.
pub(crate) fn api_versions() -> impl Iterator<Item = &'static str> {
    MULESOFT.into_iter().chain([WEIR])
}

/// Reads only for what is asked for.
pub(crate) fn describe_metadata(at: &Cursor<'_>) {
    metadata(at);
}

fn metadata(at: &Cursor<'_>) -> Option<Metadata> {
    let mut fields = at.fields()?;
    fields.mean([
        ("name", "1 to 253 of letters, digits, `.`, `_` and `-`; unique within its kind and namespace"),
        ("namespace", "Default `default`"),
        ("labels", "Labels for selectors"),
        ("annotations", "Notes of other tools; no effect"),
    ]);
    let name = fields.required("name", |at| Some((name(at)?, at.place())));
    let namespace = fields.optional("namespace", self::name).unwrap_or_else(|| "default".to_owned());
    let labels = fields.optional("labels", labels);
    // Notes of other tools, without a meaning here by their very nature.
    fields.optional("annotations", |at| at.entries(|_, _| Some(())));
    for name in OF_THE_CLUSTER {
        fields.take(name);
    }
    fields.finish();
    let (name, place) = name?;
    Some(Metadata { name, namespace, labels: labels.unwrap_or_default(), place })
}

fn labels(at: &Cursor<'_>) -> Option<BTreeMap<String, String>> {
    let labels = at.entries(|key, value| Some((key.to_owned(), value.text()?)))?;
    Some(labels.into_iter().collect())
}

/// A name that may become part of metric labels and routes.
pub(crate) fn name(at: &Cursor<'_>) -> Option<String> {
    let text = at.text()?;
    check_name(at, &text).then_some(text)
}

/// Tells when `name` is no name: 1 to 253 characters of `A-Za-z0-9._-`.
pub(crate) fn check_name(at: &Cursor<'_>, name: &str) -> bool {
    let well =
        (1..=253).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !well {
        at.refuse::<()>(format!("`{}` is no name; use 1 to 253 of letters, digits, `.`, `_` and `-`", show(name)));
    }
    well
}

/// The items of a `List`, as `kubectl get -o yaml` writes several resources.
fn list_items(node: &Node) -> Option<&[Rc<Node>]> {
    let is_list = entry(node, "kind").and_then(|node| scalar(node)) == Some("List");
    match entry(node, "items").filter(|_| is_list).map(|node| &node.value) {
        Some(Value::List(items)) => Some(items),
        _ => None,
    }
}

/// The `apiVersion` of a document that is for somebody else, as a ConfigMap or a Deployment in the same folder: no
/// misspelling of ours.
fn foreign(node: &Node) -> Option<&str> {
    let version = entry(node, "apiVersion").and_then(|node| scalar(node))?;
    let (group, number) = version.split_once('/').unwrap_or(("", version));
    let is_version = number.starts_with('v') && number[1..].starts_with(|c: char| c.is_ascii_digit());
    let ours = ["gateway", "mulesoft", "weir"].iter().any(|word| group.to_ascii_lowercase().contains(word));
    (is_version && !ours).then_some(version)
}

/// `Kind "name"` as far as the document says so, however wrong the rest of it is.
fn title(node: &Node) -> String {
    let kind = entry(node, "kind").and_then(|node| scalar(node));
    let name = entry(node, "metadata").and_then(|node| entry(node, "name")).and_then(|node| scalar(node));
    match (kind, name) {
        (Some(kind), Some(name)) => format!("{} \"{}\"", show(kind), show(name)),
        (Some(kind), None) => show(kind),
        (None, Some(name)) => format!("\"{}\"", show(name)),
        (None, None) => String::new(),
    }
}

fn entry<'a>(node: &'a Node, name: &str) -> Option<&'a Rc<Node>> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
}

fn scalar(node: &Node) -> Option<&str> {
    if let Value::Scalar(text) = &node.value { Some(text) } else { None }
}
