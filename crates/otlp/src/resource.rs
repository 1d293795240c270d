//! Who sends: the resource and the scope of every span, encoded once.

use crate::attributes::{Attributes, Limits};
use crate::protobuf::{bytes, length, message, size};
use std::collections::BTreeMap;
use weir_config::TraceExport;
use weir_event::Identity;

/// The conventions that names of attributes are of.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

/// Fields of `TracesData`, `ResourceSpans`, `Resource`, `ScopeSpans` and `InstrumentationScope`.
const RESOURCE_SPANS: u32 = 1;
const RESOURCE: u32 = 1;
const SCOPE_SPANS: u32 = 2;
const SCHEMA_URL: u32 = 3;
const ATTRIBUTES: u32 = 1;
const SCOPE: u32 = 1;
const NAME: u32 = 1;
const VERSION: u32 = 2;

/// What stands around the spans of a request.
pub(crate) struct Envelope {
    resource: Vec<u8>,
    scope: Vec<u8>,
}

impl Envelope {
    pub(crate) fn new(identity: &Identity, boot: &str, version: &str, export: &TraceExport) -> Self {
        let service = export.service_name.as_deref().unwrap_or(&identity.gateway);
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
        for (key, value) in &export.resource {
            // `service.name` has a variable and a setting of its own, which count before the list.
            if key != "service.name" || export.service_name.is_none() {
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

    /// An `ExportTraceServiceRequest` with `spans`, each of which is a field of `ScopeSpans`.
    pub(crate) fn around(&self, spans: &[u8]) -> Vec<u8> {
        let schema = size(SCHEMA_URL, SCHEMA.len());
        let of_scope = self.scope.len() + spans.len() + schema;
        let of_resource = self.resource.len() + size(SCOPE_SPANS, of_scope) + schema;
        let mut out = Vec::with_capacity(size(RESOURCE_SPANS, of_resource));
        length(&mut out, RESOURCE_SPANS, of_resource);
        out.extend_from_slice(&self.resource);
        length(&mut out, SCOPE_SPANS, of_scope);
        out.extend_from_slice(&self.scope);
        out.extend_from_slice(spans);
        bytes(&mut out, SCHEMA_URL, SCHEMA.as_bytes());
        bytes(&mut out, SCHEMA_URL, SCHEMA.as_bytes());
        out
    }
}
