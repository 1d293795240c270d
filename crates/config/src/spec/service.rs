//! `Service`: an upstream in a resource of its own, which routes of several APIs may go to.

use super::Metadata;
use crate::address;
use crate::api::UpstreamAddress;
use crate::policy::TlsOutbound;
use crate::read::{At, Place};

/// A service as far as it could be read, in its own resource or within an ApiInstance.
pub(crate) struct ServiceDraft {
    pub metadata: Option<Metadata>,
    pub address: Option<UpstreamAddress>,
    /// Each `tls-outbound` that is bound to it, as far as it could be read, with its place.
    pub tls: Vec<(Option<TlsOutbound>, Place)>,
}

pub(super) fn read(spec: &At<'_>, metadata: Option<Metadata>) -> Option<ServiceDraft> {
    let mut fields = spec.fields()?;
    let address = fields.required("address", |at| at.parse_cured(address::upstream));
    fields.finish();
    Some(ServiceDraft { metadata, address, tls: Vec::new() })
}
