//! `request-size-limit`: how large the content of a request may be. Weir's; Flex has no word for it.

use serde_json::{Value, json};

use super::PolicySpec;
use crate::read::Cursor;
use crate::units::ByteSize;

/// The bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSizeLimit {
    /// Bytes of content; 0: none at all.
    pub most: ByteSize,
}

impl PolicySpec for RequestSizeLimit {
    const NAME: &'static str = "request-size-limit";

    fn read(at: &Cursor<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        let most = fields.required("maxBodySize", |at| at.parse(str::parse::<ByteSize>, "as in `10MiB`"));
        fields.finish();
        Some(Self { most: most? })
    }

    fn view(&self) -> Value {
        let Self { most } = self;
        json!({"most": most.to_string()})
    }
}
