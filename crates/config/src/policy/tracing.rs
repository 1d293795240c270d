//! `tracing-flex`: how requests of one API are sampled, what their span is called, and its attributes.

use crate::read::Cursor;
use crate::resources::{trace_labels, trace_sampling};
use crate::tracing::{ApiTracing, Sampling};

/// The policy.
pub(crate) struct TracingPolicy;

impl TracingPolicy {
    pub const NAME: &'static str = "tracing-flex";
    /// As its asset is called.
    pub const OF_FLEX: &'static str = "tracing";

    pub fn read(at: &Cursor<'_>) -> Option<ApiTracing> {
        let mut fields = at.fields()?;
        fields.mean([
            (
                "sampling",
                "In place of the gateway's: percentages `client`, `random` and `overall`, 100 each unless said",
            ),
            ("spanName", "What the server span is called, in place of method and route"),
            ("labels", "Attributes of spans and of the event; one of the gateway's of the same name is replaced"),
        ]);
        let sampling = fields.take("sampling").map_or(Some(Sampling::default()), |at| trace_sampling(&at));
        let span_name = fields.optional("spanName", Cursor::filled);
        let labels = fields.optional("labels", trace_labels);
        fields.finish();
        Some(ApiTracing { sampling: sampling?, span_name, labels: labels.unwrap_or_default() })
    }
}
