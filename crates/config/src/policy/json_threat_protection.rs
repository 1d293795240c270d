//! `json-threat-protection-flex`: how large and how deep JSON in requests may be.

use serde_json::{Value, json};

use super::PolicySpec;
use crate::read::Cursor;
use crate::units::ByteSize;

/// Bounds on a document of JSON. `None`: no bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonThreatProtection {
    /// Objects and arrays within each other; 1 of a document that is one.
    pub depth: Option<u32>,
    /// Members of one object.
    pub members: Option<u32>,
    /// Characters of a member's name.
    pub name: Option<u32>,
    /// Elements of one array.
    pub elements: Option<u32>,
    /// Characters of a string.
    pub string: Option<u32>,
    /// Bytes of a document, which is in memory as long as it is looked at (`maxBodySize`, under `gateway.weir.dev/v1`).
    /// Default 1 MiB.
    pub body: ByteSize,
}

impl PolicySpec for JsonThreatProtection {
    const NAME: &'static str = "json-threat-protection-flex";

    fn read(at: &Cursor<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        let depth = fields.take("maxContainerDepth").map_or(Some(None), |at| bound(&at));
        let members = fields.take("maxObjectEntryCount").map_or(Some(None), |at| bound(&at));
        let name = fields.take("maxObjectEntryNameLength").map_or(Some(None), |at| bound(&at));
        let elements = fields.take("maxArrayElementCount").map_or(Some(None), |at| bound(&at));
        let string = fields.take("maxStringValueLength").map_or(Some(None), |at| bound(&at));
        let body = fields.take_weir("maxBodySize").map_or(Some(ByteSize::mib(1)), |at| size(&at));
        fields.finish();
        Some(Self { depth: depth?, members: members?, name: name?, elements: elements?, string: string?, body: body? })
    }

    fn view(&self) -> Value {
        let Self { depth, members, name, elements, string, body } = self;
        json!({
            "depth": depth,
            "members": members,
            "name": name,
            "elements": elements,
            "string": string,
            "body": body.to_string(),
        })
    }
}

/// A number, of which -1 means none.
#[allow(clippy::option_option, reason = "outside: whether it could be read")]
fn bound(at: &Cursor<'_>) -> Option<Option<u32>> {
    if at.says("-1") {
        return Some(None);
    }
    let read = at.integer(0..=u64::from(u32::MAX))?;
    Some(u32::try_from(read).ok())
}

fn size(at: &Cursor<'_>) -> Option<ByteSize> {
    let size = at.parse(str::parse::<ByteSize>, "as in `1MiB`")?;
    if (ByteSize::kib(1)..=ByteSize::mib(64)).contains(&size) {
        Some(size)
    } else {
        at.refuse("is out of range; write `1KiB` to `64MiB`")
    }
}
