//! A policy as it is bound - `policyRef`, `config`, `rules` - the same within an ApiInstance and in a PolicyBinding.

use super::{name, rules::rules};
use crate::logging::RequestLines;
use crate::pattern::Rule;
use crate::policy::{self, Policy, Read, RouteTo, Tls, TlsOutbound};
use crate::read::{Cursor, Mapping, Place};
use crate::tracing::ApiTracing;

/// A bound policy, by where it belongs. `None` inside is one that could not be read, which is reported already.
#[derive(Clone)]
pub(crate) enum Bound {
    Chain {
        policy: Policy,
        rules: Vec<Rule>,
        place: Place,
    },
    Route(Option<Destination>),
    Log(Option<RequestLines>),
    Traces(Option<ApiTracing>),
    Port(Option<Tls>, Place),
    Service(Option<TlsOutbound>, Place),
    /// A policy that does nothing here.
    Nothing,
}

impl Bound {
    /// Whether it can be bound to services alone.
    pub fn is_for_service(&self) -> bool {
        match self {
            Self::Service(..) => true,
            Self::Chain { policy, .. } => policy.is_outbound(),
            _ => false,
        }
    }
}

/// A route to a Service of its own resource.
#[derive(Clone)]
pub(crate) struct Destination {
    pub to: RouteTo,
    pub rules: Vec<Rule>,
}

/// What decides the order of policies: `order`, then what is written within the API before what is bound to it, then
/// the place in its list, or the namespace and the name of the binding.
pub(crate) type Rank = (u32, bool, usize, String);

/// A policy of the chain.
#[derive(Clone)]
pub(crate) struct ChainDraft {
    pub rank: Rank,
    /// The name of the binding, or the one that Flex gives to a policy within an API.
    pub name: String,
    pub policy: Policy,
    pub rules: Vec<Rule>,
    pub place: Place,
}

/// Reads the three keys from `fields`, which are those of `at`.
pub(super) fn read(at: &Cursor<'_>, fields: &mut Mapping<'_>) -> Option<Bound> {
    fields.mean([
        ("policyRef", "Which policy it is"),
        ("config", "Its settings (`docs/policies.md`); `$NAME` is an environment variable"),
        ("rules", "The policy applies to requests that match one of them; without rules, to all"),
    ]);
    let reference = fields.required("policyRef", policy_ref);
    let config = fields.take_map("config").with_env();
    let ruled = fields.take("rules");
    let rules = ruled.as_ref().and_then(rules).unwrap_or_default();
    let unruled = |name| {
        if let Some(at) = &ruled {
            at.refuse::<()>(format!("cannot be: `{name}` knows no requests, only connections; remove them"));
        }
    };
    let of_all = |name| {
        if let Some(at) = &ruled {
            at.refuse::<()>(format!("cannot be: `{name}` is for all requests of the API; remove them"));
        }
    };
    let Some(entry) = reference? else { return Some(Bound::Nothing) };
    match entry.read() {
        Read::Chain(read) => read(&config).map(|policy| Bound::Chain { policy, rules, place: at.place() }),
        Read::Route(read) => Some(Bound::Route(read(&config).map(|to| Destination { to, rules }))),
        Read::Log(read) => {
            of_all(entry.name());
            Some(Bound::Log(read(&config)))
        }
        Read::Traces(read) => {
            of_all(entry.name());
            Some(Bound::Traces(read(&config)))
        }
        Read::Port(read) => {
            unruled(entry.name());
            Some(Bound::Port(read(&config), at.place()))
        }
        Read::Service(read) => {
            unruled(entry.name());
            Some(Bound::Service(read(&config), at.place()))
        }
    }
}

/// The catalogue name. Policies of Flex are in the namespace `default`, where they are also found when none is named.
fn policy_ref(at: &Cursor<'_>) -> Option<Option<policy::Entry>> {
    let mut fields = at.fields()?;
    fields.mean([("name", "Its name"), ("namespace", "`default`"), ("kind", "`Extension`")]);
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
