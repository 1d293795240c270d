//! `PolicyBinding`: a policy, and the APIs or the service that it is bound to.

use std::collections::BTreeMap;

use super::bound::{self, Bound};
use super::{Metadata, labels, name};
use crate::policy::{Reference, name_or_none};
use crate::read::{Cursor, Mapping, Place};

/// Where a binding without an `order` stands, and the policies that are written within an ApiInstance.
pub(crate) const DEFAULT_ORDER: u32 = 50;
/// Flex's own router stands at the last number.
const LAST_ORDER: u64 = 2_147_483_646;

/// A binding as far as it could be read.
pub(crate) struct BindingDraft {
    pub metadata: Option<Metadata>,
    pub target: Option<Target>,
    pub bound: Option<Bound>,
    pub order: u32,
    pub place: Place,
}

/// What a binding is for.
pub(crate) enum Target {
    Api(Reference),
    Service(Reference),
    /// All APIs that bear these labels, of one namespace or of all.
    Selector {
        namespace: Option<String>,
        labels: BTreeMap<String, String>,
    },
}

pub(super) fn read(spec: &Cursor<'_>, metadata: Option<Metadata>) -> Option<BindingDraft> {
    let mut fields = spec.fields()?;
    fields.mean([
        ("targetRef", "What the policy is bound to"),
        ("order", "Where it stands among the policies of an API: lower numbers first on requests and last on responses; default 50"),
    ]);
    let target = fields.required("targetRef", target);
    let bound = bound::read(spec, &mut fields);
    let order = fields.optional("order", |at| at.integer(0..=LAST_ORDER)).and_then(|order| u32::try_from(order).ok());
    fields.finish();
    let order = order.unwrap_or(DEFAULT_ORDER);
    Some(BindingDraft { metadata, target, bound, order, place: spec.place() })
}

#[derive(Clone, Copy)]
enum Kind {
    Api,
    Service,
    Selector,
}

const KINDS: [(&str, Kind); 3] = [("ApiInstance", Kind::Api), ("Service", Kind::Service), ("Selector", Kind::Selector)];

fn target(at: &Cursor<'_>) -> Option<Target> {
    let mut fields = at.fields()?;
    fields.mean([
        ("kind", "`ApiInstance` (default), `Service` (for `tls-outbound` and `credential-injection-basic-auth-flex`), or `Selector`"),
        ("name", "Of an ApiInstance or a Service"),
        ("namespace", "Its namespace; by default that of the binding"),
        ("selector", "Every API that it finds"),
    ]);
    let kind = fields.take("kind");
    let kind = kind.as_ref().map_or(Some(Kind::Api), |at| at.choice(&KINDS));
    let name = fields.take("name").map(|at| (at.clone(), name(&at)));
    let namespace = fields.optional("namespace", name_or_none).flatten();
    let chosen = fields.take("selector").map(|at| (at.clone(), selector(&at)));
    let reference = |fields: &Mapping<'_>, name: Option<(Cursor<'_>, Option<String>)>| {
        let (at, name) = name.or_else(|| fields.missing("name", "add it"))?;
        Some(Reference { name: name?, namespace: namespace.clone(), place: at.place() })
    };
    let target = kind.and_then(|kind| match (kind, chosen) {
        (Kind::Selector, Some((_, labels))) => match name {
            Some((at, _)) => at.refuse("cannot be beside a selector; remove it, or `kind: Selector`"),
            None => labels.map(|labels| Target::Selector { namespace: namespace.clone(), labels }),
        },
        (Kind::Selector, None) => fields.missing("selector", "add it, as in `selector: {labels: {team: red}}`"),
        (_, Some((at, _))) => at.refuse("is for `kind: Selector`; write that, or remove it"),
        (Kind::Api, None) => reference(&fields, name).map(Target::Api),
        (Kind::Service, None) => reference(&fields, name).map(Target::Service),
    });
    fields.finish();
    target
}

fn selector(at: &Cursor<'_>) -> Option<BTreeMap<String, String>> {
    let mut fields = at.fields()?;
    fields.mean([("kind", "`ApiInstance`"), ("labels", "APIs that have all of these; without any: all APIs")]);
    fields.optional("kind", |at| at.choice(&[("ApiInstance", ())]));
    let labels = fields.take("labels").map_or_else(|| Some(BTreeMap::new()), |at| labels(&at));
    fields.finish();
    labels
}
