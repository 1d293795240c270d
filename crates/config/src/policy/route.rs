//! `route`: an API's requests go to a Service of its own resource. One binding is one route of the API.

use crate::address;
use crate::read::{Cursor, Mapping, Place};
use crate::resources::name;

/// A resource named by another one.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub name: String,
    /// That of the resource which names it, unless said.
    pub namespace: Option<String>,
    pub place: Place,
}

/// Where the route goes.
#[derive(Debug, Clone)]
pub(crate) struct RouteTo {
    pub service: Reference,
    /// Put before the forwarded path. Begins with `/` and does not end with one.
    pub path: Option<String>,
}

impl RouteTo {
    pub const NAME: &'static str = "route";

    pub(super) fn read(at: &Cursor<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        let service = fields.required("destinationRef", destination);
        let path = fields.optional("destinationPath", |at| at.parse_with_hint(address::base_path));
        fields.finish();
        Some(Self { service: service?, path: path.filter(|path| !path.is_empty()) })
    }
}

fn destination(at: &Cursor<'_>) -> Option<Reference> {
    let mut fields = at.fields()?;
    fields.optional("kind", |at| at.choice(&[("Service", ())]));
    let reference = Reference::read(&mut fields);
    fields.finish();
    reference
}

impl Reference {
    /// The keys `name` and `namespace`.
    pub fn read(fields: &mut Mapping<'_>) -> Option<Self> {
        let written = fields.required("name", |at| Some((name(at)?, at.place())));
        let namespace = fields.optional("namespace", name_or_none).flatten();
        let (name, place) = written?;
        Some(Self { name, namespace, place })
    }
}

/// Flex writes `""` for none.
pub(crate) fn name_or_none(at: &Cursor<'_>) -> Option<Option<String>> {
    if at.text()?.is_empty() { Some(None) } else { name(at).map(Some) }
}
