//! `Service`: an upstream in a resource of its own, which routes of several APIs may go to.

use super::bound::ChainDraft;
use super::{Metadata, cluster};
use crate::api::Endpoint;
use crate::cluster::Cluster;
use crate::policy::TlsOutbound;
use crate::read::{Cursor, Mapping, Place};

/// A service as far as it could be read, in its own resource or within an ApiInstance.
pub(crate) struct ServiceDraft {
    pub metadata: Option<Metadata>,
    pub upstream: UpstreamDraft,
    /// Each `tls-outbound` that is bound to it, as far as it could be read, with its place.
    pub tls: Vec<(Option<TlsOutbound>, Place)>,
    /// The policies of attempts there.
    pub chain: Vec<ChainDraft>,
}

/// Where a service is, and how it is reached.
pub(crate) struct UpstreamDraft {
    /// At least one, all with one scheme; `None` where they could not be read.
    pub endpoints: Option<Vec<Endpoint>>,
    /// The path of its addresses, put before those of its requests; empty for none.
    pub prefix: String,
    pub cluster: Cluster,
    /// Whether a Weir gateway answers there.
    pub is_peer: bool,
}

impl UpstreamDraft {
    /// Reads its keys, the same in a Service and within an ApiInstance.
    pub(super) fn read(fields: &mut Mapping<'_>) -> Self {
        let (endpoints, prefix) = cluster::endpoints(fields);
        let count = endpoints.as_ref().map_or(0, Vec::len);
        Self { endpoints, prefix, cluster: cluster::settings(fields, count), is_peer: is_peer(fields) }
    }
}

pub(super) fn read(spec: &Cursor<'_>, metadata: Option<Metadata>) -> Option<ServiceDraft> {
    let mut fields = spec.fields()?;
    let upstream = UpstreamDraft::read(&mut fields);
    fields.finish();
    Some(ServiceDraft { metadata, upstream, tls: Vec::new(), chain: Vec::new() })
}

/// Whether a Weir gateway answers there, which is believed what it says of its own time.
fn is_peer(fields: &mut Mapping<'_>) -> bool {
    fields.mean([(
        "peerGateway",
        "Whether the service is a Weir gateway: the time on the link to it is measured (`docs/tracing.md`)",
    )]);
    fields.take_weir("peerGateway").and_then(|at| at.boolean()).unwrap_or(false)
}
