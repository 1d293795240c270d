//! Header fields that no policy may write or take away.

use http::HeaderName;

use crate::read::Cursor;

/// Why a field is not a policy's.
pub(super) fn owner(name: &HeaderName) -> Option<&'static str> {
    match name.as_str() {
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "upgrade" => {
            Some("belongs to one connection (RFC 9110 7.6.1)")
        }
        "content-length" | "transfer-encoding" => Some("says where the message ends (RFC 9112 6)"),
        "host" => Some("says which server is asked; set `upstreamHost` in the Configuration"),
        "via" | "x-request-id" | "traceparent" | "tracestate" => Some("is written by the gateway"),
        "forwarded" | "x-real-ip" => Some("says where the request came from, which the gateway writes"),
        name if name.starts_with("x-forwarded-") => Some("says where the request came from, which the gateway writes"),
        _ => None,
    }
}

/// A field name as it is written in a configuration.
pub(super) fn name(at: &Cursor<'_>) -> Option<HeaderName> {
    let read = |text: &str| HeaderName::try_from(text).map_err(|_| "is no header name");
    at.parse(read, "use letters, digits and `-`")
}

/// Reads an item by `read`, and counts it, right or wrong.
pub(super) fn counted<T>(
    count: &mut usize,
    read: impl Fn(&Cursor<'_>) -> Option<T>,
) -> impl FnMut(&Cursor<'_>) -> Option<T> {
    move |at| {
        *count += 1;
        read(at)
    }
}
