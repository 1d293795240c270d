//! Heads, from the gateway's lists of fields to HTTP/2 and back.

use crate::answer::Head;
use crate::line::MAX_HEAD;
use http::header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use weir_http1::{Fields, HeadError, Known};

/// What belongs to one connection of HTTP/1.1, and makes a message of HTTP/2 malformed (RFC 9113 8.2.2).
const OF_CONNECTION: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
];
/// What a field counts beside its name and its value (RFC 9113 6.5.2). Bytes.
const PER_FIELD: usize = 32;

/// The head of a request. `Host` becomes `:authority` (RFC 9113 8.3.1); of `TE` only `trailers` may be there.
///
/// # Errors
/// It cannot be said: the host is none, or there are more fields than a map takes.
pub(super) fn request(
    (method, target, fields): (&Method, &str, &Fields),
    scheme: &Scheme,
) -> Result<Request<()>, HeadError> {
    let mut headers = fields.to_map().ok_or(HeadError::TooManyFields)?;
    let host = headers.remove(HOST).ok_or(HeadError::HostMissing)?;
    for name in OF_CONNECTION {
        headers.remove(name);
    }
    if headers.remove(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| HeadError::Host)?);
    parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_| HeadError::Target)?);
    let mut request = Request::new(());
    *request.method_mut() = method.clone();
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| HeadError::Target)?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The head of a response, which may have so many `fields`.
///
/// # Errors
/// It is larger than a head may be, says that the protocol changes (RFC 9113 8.6), or how long it is in two ways.
pub(super) fn response<B>(response: &Response<B>, fields: usize) -> Result<Head, HeadError> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(HeadError::Line);
    }
    let headers = response.headers();
    if headers.len() > fields {
        return Err(HeadError::TooManyFields);
    }
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + PER_FIELD;
    if headers.iter().map(size).sum::<usize>() > MAX_HEAD {
        return Err(HeadError::TooLarge);
    }
    let fields = Fields::of_map(headers).map_err(|_| HeadError::TooLarge)?;
    length(&fields)?;
    Ok(Head { status: response.status(), phrase: None, fields })
}

/// Bytes of the content, where the head says how many (RFC 9110 8.6).
///
/// # Errors
/// It says so in two ways, or not in digits.
pub(super) fn length(fields: &Fields) -> Result<Option<u64>, HeadError> {
    let mut length = None;
    for line in fields.get_all(Known::ContentLength) {
        let digits = line.iter().all(u8::is_ascii_digit);
        let said = std::str::from_utf8(line).ok().filter(|_| digits).and_then(|text| text.parse().ok());
        let said: u64 = said.ok_or(HeadError::Length)?;
        if length.is_some_and(|length| length != said) {
            return Err(HeadError::Length);
        }
        length = Some(said);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        lines.iter().for_each(|(name, value)| fields.append(*name, value.as_bytes()).unwrap());
        fields
    }

    #[test]
    fn what_belongs_to_a_connection_stays_behind() {
        let lines = fields(&[
            ("host", "api.example:8080"),
            ("Connection", "x-own"),
            ("Keep-Alive", "5"),
            ("Proxy-Connection", "close"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "websocket"),
            ("HTTP2-Settings", "AA"),
            ("TE", "trailers"),
            ("X-A", "1"),
        ]);
        let request = request((&Method::POST, "/a?b", &lines), &Scheme::HTTPS).unwrap();
        assert_eq!(request.uri(), "https://api.example:8080/a?b");
        let names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-a", "te"]);
    }

    #[test]
    fn te_says_trailers_or_nothing() {
        for (te, there) in [("trailers", true), ("Trailers", true), ("gzip", false), ("trailers, gzip", false)] {
            let lines = fields(&[("host", "a"), ("te", te)]);
            let request = request((&Method::GET, "/", &lines), &Scheme::HTTP).unwrap();
            assert_eq!(request.headers().contains_key(TE), there, "{te}");
        }
    }

    #[test]
    fn a_request_that_cannot_be_said_is_refused() {
        let of = |lines: &[(&str, &str)]| request((&Method::GET, "/", &fields(lines)), &Scheme::HTTP).err();
        assert_eq!(of(&[]), Some(HeadError::HostMissing));
        assert_eq!(of(&[("host", "a b")]), Some(HeadError::Host));
    }

    #[test]
    fn a_response_says_one_length_at_most() {
        let of = |lengths: &[&str]| {
            let mut made = Response::builder();
            for length in lengths {
                made = made.header("content-length", *length);
            }
            response(&made.body(()).unwrap(), 100).map(|head| length(&head.fields).unwrap())
        };
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&["5", "5"]).unwrap(), Some(5));
        for lengths in [&["5", "6"][..], &["5, 5"], &["+5"], &["99999999999999999999"]] {
            assert_eq!(of(lengths).err(), Some(HeadError::Length), "{lengths:?}");
        }
    }

    #[test]
    fn a_head_has_its_bounds() {
        let with = |count: usize, size: usize| {
            let mut made = Response::builder();
            for index in 0..count {
                made = made.header(format!("x-{index}"), "x".repeat(size));
            }
            response(&made.body(()).unwrap(), 100).err()
        };
        assert_eq!(with(100, 1), None);
        assert_eq!(with(101, 1), Some(HeadError::TooManyFields));
        assert_eq!(with(2, 40 * 1024), Some(HeadError::TooLarge));
        let switched = Response::builder().status(101).body(()).unwrap();
        assert_eq!(response(&switched, 100).err(), Some(HeadError::Line));
    }
}
