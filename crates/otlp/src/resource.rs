//! Who sends: the resource and the scope of every span, metric and log record, encoded once.

use crate::attributes::{Attributes, Limits};
use crate::client::{FRAME, frame};
use crate::protobuf::{WIDTH, bytes, close, message, open, size};
use bytes::Bytes;
use std::collections::BTreeMap;
use weir_config::OtlpTarget;
use weir_event::Identity;

/// The conventions that names of attributes are of.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

/// Fields of `TracesData`, `ResourceSpans`, `Resource`, `ScopeSpans` and `InstrumentationScope`. Those of metrics and of logs
/// have the same numbers.
const OF_RESOURCE: u32 = 1;
const RESOURCE: u32 = 1;
const OF_SCOPE: u32 = 2;
const SCHEMA_URL: u32 = 3;
const ATTRIBUTES: u32 = 1;
const SCOPE: u32 = 1;
const NAME: u32 = 1;
const VERSION: u32 = 2;

/// What stands around the items of a request.
pub(crate) struct Envelope {
    resource: Vec<u8>,
    scope: Vec<u8>,
}

impl Envelope {
    /// Of `identity` in its life `boot`.
    pub(crate) fn new((identity, boot, version): (&Identity, &str, &str), target: &OtlpTarget) -> Self {
        let service = target.service_name.as_deref().unwrap_or(&identity.gateway);
        let mut attributes = BTreeMap::from(
            [
                ("service.namespace", identity.organization.as_str()),
                ("service.name", service),
                ("service.instance.id", boot),
                ("service.version", version),
                ("deployment.environment.name", &identity.environment),
                ("weir.organization", &identity.organization),
                ("weir.site", &identity.site),
                ("weir.gateway", &identity.gateway),
                ("weir.replica", &identity.replica),
                ("telemetry.sdk.name", "weir"),
                ("telemetry.sdk.language", "rust"),
                ("telemetry.sdk.version", version),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        for (key, value) in &target.resource {
            // `service.name` has a variable and a setting of its own, which count before the list.
            if key != "service.name" || target.service_name.is_none() {
                attributes.insert(key.clone(), value.clone());
            }
        }
        let mut resource = Vec::new();
        message(&mut resource, RESOURCE, |out| {
            let mut written = Attributes::new(out, ATTRIBUTES, Limits { count: usize::MAX, length: usize::MAX });
            for (key, value) in &attributes {
                written.named(key, value.as_bytes());
            }
        });
        let mut scope = Vec::new();
        message(&mut scope, SCOPE, |out| {
            bytes(out, NAME, b"weir");
            bytes(out, VERSION, version.as_bytes());
        });
        Self { resource, scope }
    }

    /// Begins an `Export…ServiceRequest`, with room for gRPC's bytes before it: items follow, each a field of `Scope…`, in
    /// about `room` bytes, and then [`Envelope::close`]. Written in place, and not copied.
    pub(crate) fn open(&self, room: usize) -> Vec<u8> {
        let around = self.resource.len() + self.scope.len() + 2 * size(SCHEMA_URL, SCHEMA.len()) + 32;
        let mut out = Vec::with_capacity(room + around);
        out.extend_from_slice(&[0; FRAME]);
        open(&mut out, OF_RESOURCE);
        out.extend_from_slice(&self.resource);
        open(&mut out, OF_SCOPE);
        out.extend_from_slice(&self.scope);
        out
    }

    /// Ends what [`Envelope::open`] began.
    pub(crate) fn close(&self, mut out: Vec<u8>) -> Bytes {
        // Each after the key of one byte.
        let of_resource = FRAME + 1;
        let of_scope = of_resource + WIDTH + self.resource.len() + 1;
        bytes(&mut out, SCHEMA_URL, SCHEMA.as_bytes());
        close(&mut out, of_scope);
        bytes(&mut out, SCHEMA_URL, SCHEMA.as_bytes());
        close(&mut out, of_resource);
        frame(&mut out, false);
        out.into()
    }
}
