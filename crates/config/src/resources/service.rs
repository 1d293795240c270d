//! `Service`: an upstream in a resource of its own, which routes of several APIs may go to.

use super::Metadata;
use crate::address;
use crate::api::UpstreamAddress;
use crate::policy::TlsOutbound;
use crate::read::{Cursor, Mapping, Place};

/// A service as far as it could be read, in its own resource or within an ApiInstance.
pub(crate) struct ServiceDraft {
    pub metadata: Option<Metadata>,
    pub address: Option<UpstreamAddress>,
    /// The path of its address, put before those of its requests; empty for none.
    pub prefix: String,
    /// Whether a Weir gateway answers there.
    pub is_peer: bool,
    /// Each `tls-outbound` that is bound to it, as far as it could be read, with its place.
    pub tls: Vec<(Option<TlsOutbound>, Place)>,
}

pub(super) fn read(spec: &Cursor<'_>, metadata: Option<Metadata>) -> Option<ServiceDraft> {
    let mut fields = spec.fields()?;
    fields.mean([("address", "`http://host:port`, `https://…` or `h2://…` (HTTP/2 in clear text); a path is put before that of every request")]);
    let (address, prefix) = address(&mut fields);
    let is_peer = is_peer(&mut fields);
    fields.finish();
    Some(ServiceDraft { metadata, address, prefix, is_peer, tls: Vec::new() })
}

/// Whether a Weir gateway answers there, which is believed what it says of its own time.
pub(super) fn is_peer(fields: &mut Mapping<'_>) -> bool {
    fields.mean([(
        "peerGateway",
        "Whether a Weir gateway answers there: the time on the way to it is measured (`docs/tracing.md`)",
    )]);
    fields.take_weir("peerGateway").and_then(|at| at.boolean()).unwrap_or(false)
}

/// The address of a service, and its path.
pub(super) fn address(fields: &mut Mapping<'_>) -> (Option<UpstreamAddress>, String) {
    let read = fields.required("address", |at| {
        let (address, path) = at.parse_with_hint(address::upstream)?;
        if !path.is_empty() {
            at.warn(format!(
                "carries the path `{path}`, which is put before that of every request, as `destinationPath` is"
            ));
        }
        Some((address, path))
    });
    read.map_or((None, String::new()), |(address, path)| (Some(address), path))
}
