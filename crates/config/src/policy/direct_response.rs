//! `direct-response`: an answer of the configuration's own, in the service's place. Weir's; Flex has no word for it.

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::{PolicySpec, headers};
use crate::read::Cursor;

/// Bytes of a body at most: it is in memory once a route.
const MOST: usize = 64 * 1024;

/// What requests are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectResponse {
    /// 200 to 599.
    pub status: StatusCode,
    /// Default `text/plain; charset=utf-8`.
    pub content_type: HeaderValue,
    /// May be empty.
    pub body: String,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl PolicySpec for DirectResponse {
    const NAME: &'static str = "direct-response";

    fn read(at: &Cursor<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        let status = fields.required("status", |at| at.integer(200..=599));
        let content_type = fields.take("contentType");
        let plain = Some(HeaderValue::from_static("text/plain; charset=utf-8"));
        let content_type = content_type.map_or(plain, |at| value(&at));
        let body = fields.take("body").map_or(Some(String::new()), |at| body(&at));
        let headers = fields.optional("headers", |at| at.entries(header)).unwrap_or_default();
        fields.finish();
        Some(Self {
            status: StatusCode::from_u16(u16::try_from(status?).ok()?).ok()?,
            content_type: content_type?,
            body: body?,
            headers,
        })
    }

    fn view(&self) -> Value {
        let Self { status, content_type, body, headers } = self;
        let headers: serde_json::Map<_, _> =
            headers.iter().map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap_or_default()))).collect();
        let content_type = content_type.to_str().unwrap_or_default();
        json!({"status": status.as_u16(), "content_type": content_type, "body": body, "headers": headers})
    }
}

fn body(at: &Cursor<'_>) -> Option<String> {
    let text = at.text()?;
    if text.len() > MOST { at.refuse("has more than 64 KiB; let a service answer it") } else { Some(text) }
}

fn value(at: &Cursor<'_>) -> Option<HeaderValue> {
    at.parse(HeaderValue::from_str, "write one line, as in `application/json`")
}

fn header(name: &str, at: &Cursor<'_>) -> Option<(HeaderName, HeaderValue)> {
    let Ok(parsed) = HeaderName::try_from(name) else {
        return at.refuse("is no header name; use letters, digits and `-`");
    };
    if let Some(owner) = headers::owner(&parsed) {
        return at.refuse(format!("{owner}; remove it"));
    }
    Some((parsed, value(at)?))
}
