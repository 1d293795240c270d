//! `header-removal-flex`: header fields that no request, or no response, keeps.

use http::HeaderName;
use serde_json::{Value, json};

use super::PolicySpec;
use super::headers::{self, counted};
use crate::pattern::Pattern;
use crate::read::Cursor;

/// What is taken from requests on their way to the upstream, and from responses on their way to the client.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderRemoval {
    pub inbound: Vec<Removed>,
    pub outbound: Vec<Removed>,
}

/// One field, or all whose whole name a pattern matches, in any case.
#[derive(Debug, Clone, PartialEq)]
pub enum Removed {
    Name(HeaderName),
    Pattern(Pattern),
}

impl HeaderRemoval {
    /// Whether a field stays whatever is asked for: the message would not be the same without it.
    pub fn is_kept(name: &HeaderName) -> bool {
        matches!(name.as_str(), "accept" | "content-type" | "date") || headers::owner(name).is_some()
    }
}

impl PolicySpec for HeaderRemoval {
    const NAME: &'static str = "header-removal-flex";

    fn read(at: &Cursor<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        let mut count = 0;
        let inbound = fields.optional("inboundHeaders", |at| at.items(counted(&mut count, removed)));
        let outbound = fields.optional("outboundHeaders", |at| at.items(counted(&mut count, removed)));
        fields.finish();
        let (inbound, outbound) = (inbound.unwrap_or_default(), outbound.unwrap_or_default());
        if count == 0 {
            return at.refuse("removes nothing; write `inboundHeaders` or `outboundHeaders` as a list of names");
        }
        Some(Self { inbound, outbound })
    }

    fn view(&self) -> Value {
        let Self { inbound, outbound } = self;
        let text = |removed: &Removed| match removed {
            Removed::Name(name) => name.to_string(),
            Removed::Pattern(pattern) => pattern.source().to_owned(),
        };
        let texts = |list: &[Removed]| list.iter().map(text).collect::<Vec<_>>();
        json!({"inbound": texts(inbound), "outbound": texts(outbound)})
    }
}

fn removed(at: &Cursor<'_>) -> Option<Removed> {
    let text = at.filled()?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !is_plain {
        return at.parse(Pattern::ignoring_case, "write a header name or a regular expression").map(Removed::Pattern);
    }
    let name = headers::name(at)?;
    if HeaderRemoval::is_kept(&name) {
        at.warn(format!("has no effect: `{name}` is never removed"));
    }
    Some(Removed::Name(name))
}
