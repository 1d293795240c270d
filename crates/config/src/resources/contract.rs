//! `Contract`: a client that may use an API, with what it proves itself by.

use super::Metadata;
use crate::api::Contract;
use crate::policy::Reference;
use crate::read::{Cursor, Place};
use crate::resources::name;

/// A contract as far as it could be read.
pub(crate) struct ContractDraft {
    pub metadata: Option<Metadata>,
    pub api: Option<Reference>,
    pub contract: Option<Contract>,
    /// That of the client's id.
    pub place: Place,
}

pub(super) fn read(spec: &Cursor<'_>, metadata: Option<Metadata>) -> Option<ContractDraft> {
    let mut fields = spec.fields()?;
    fields.mean([("apiId", "The name of the ApiInstance"), ("client", "Who may use it")]);
    let api = fields.required("apiId", |at| Some(Reference { name: name(at)?, namespace: None, place: at.place() }));
    let client = fields.required("client", |at| Some((client(at), at.place())));
    fields.not_yet(&["sla"]);
    fields.finish();
    let (contract, place) = client.map_or_else(|| (None, spec.place()), |(contract, place)| (contract, place));
    Some(ContractDraft { metadata, api, contract, place })
}

/// `$NAME` stands for an environment variable under `gateway.weir.dev/v1` alone: Flex takes a secret as it is written.
fn client(at: &Cursor<'_>) -> Option<Contract> {
    let at = if at.is_weir() { at.clone().with_env() } else { at.clone() };
    let mut fields = at.fields()?;
    fields.mean([("id", "The client's id"), ("secret", "The client's secret")]);
    let client_id = fields.required("id", Cursor::filled);
    let secret = fields.required("secret", Cursor::secret);
    fields.finish();
    Some(Contract { client_id: client_id?, secret: secret? })
}
