//! `access-log`: which requests of an API have a line in the access log, whatever the gateway's configuration says.
//!
//! Where lines go and how they are written is in `Configuration.logging`. Of several at one API, the one of the lowest
//! `order` counts.

use crate::logging::{AccessLog, RequestLines};
use crate::read::Cursor;
use crate::resources::line_filters;

/// The policy.
pub(crate) struct RequestLog;

impl RequestLog {
    pub const NAME: &'static str = "access-log";
    /// As Flex's other policies are named.
    pub const OF_FLEX: &'static str = "access-log-flex";

    pub fn read(at: &Cursor<'_>) -> Option<RequestLines> {
        let mut fields = at.fields()?;
        fields.mean([
            ("enabled", "`false`: no request of the API has a line"),
            ("filters", "Which requests have a line: those that match one of the filters; without any: all"),
            ("perSecond", "Maximum number of lines a second; the number of omitted lines is logged"),
            ("format", "Flex's; has no effect: how a line is written belongs to its output"),
        ]);
        let enabled = fields.optional("enabled", Cursor::boolean);
        let filters = fields.optional("filters", line_filters);
        let per_second = fields.optional("perSecond", |at| at.integer(1..=10_000_000));
        if let Some(at) = fields.take("format") {
            at.text()?;
            at.warn("has no effect: how a line is written belongs to its output; write it in `Configuration.logging.outputs`");
        }
        fields.finish();
        let per_second = per_second.and_then(|count| u32::try_from(count).ok());
        let log = AccessLog { filters: filters.unwrap_or_default(), per_second };
        Some(RequestLines { of_all: Some(enabled.unwrap_or(true)), log })
    }
}
