//! A request's head as the pipeline takes it, and what is wrong with it.

use crate::accept::Arrived;
use crate::answer::Refusal;
use crate::escape::escaped;
use crate::upload::Incoming;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri, Version};
use weir_event::Reason;
use weir_http1::{Form, HeadError, Request, Version as Minor};

/// The request, with what is wrong with its framing or its host. `None` where too little of it could be read to answer it
/// as a request.
pub(super) fn arrived(request: &mut Request, fault: Option<HeadError>, tunnel: Option<Incoming>) -> Option<Arrived> {
    let method = Method::from_bytes(request.method()).ok()?;
    let version = match request.version() {
        Minor::Http10 => Version::HTTP_10,
        Minor::Http11 => Version::HTTP_11,
    };
    let target = escaped(request.target_shared());
    let uri = match request.form() {
        Form::Origin => PathAndQuery::from_maybe_shared(target).map(Uri::from).ok(),
        _ => Uri::from_maybe_shared(target).ok(),
    };
    let fault = match (&uri, fault) {
        (_, Some(fault)) => Some(refusal(fault)),
        (None, _) => Some(closing(Reason::MalformedRequest, "the target of the request is not a valid one")),
        _ => None,
    };
    let headers = std::mem::take(&mut request.fields);
    Some(Arrived { method, uri: uri.unwrap_or_default(), version, headers, fault, tunnel })
}

/// Where such a request ends is in doubt, or whom it is for: it is refused, and its connection closed (RFC 9112 6.1, 6.3,
/// 11.2).
fn refusal(fault: HeadError) -> Refusal {
    let status = StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::BAD_REQUEST);
    closing(Reason::MalformedRequest, detail(fault)).with_status(status)
}

fn closing(reason: Reason, detail: &'static str) -> Refusal {
    Refusal::new(reason, detail).closing()
}

/// The reason of a head that is refused.
pub(super) fn reason(fault: HeadError) -> Reason {
    match fault {
        HeadError::LineTooLong | HeadError::TooLarge | HeadError::TooManyFields => Reason::HeadersTooLarge,
        _ => Reason::MalformedRequest,
    }
}

/// What the client is told of it.
pub(super) fn detail(fault: HeadError) -> &'static str {
    match fault {
        HeadError::TooLarge => "the head of the request is larger than 60 KiB",
        HeadError::TooManyFields => "the head of the request has more fields than limits.headerFields",
        HeadError::LineTooLong => "the target of the request is too long",
        HeadError::Version | HeadError::Http2Preface => "this port speaks HTTP/1.1 and HTTP/2",
        HeadError::HostMissing => "the request has no Host header",
        HeadError::HostRepeated => "the request has more than one Host header",
        HeadError::Host => "the host of the request is not a valid one",
        HeadError::LengthAndCoding => "the request has both a Content-Length and a Transfer-Encoding",
        HeadError::Length => "the request has no single Content-Length",
        HeadError::Coding => "the request's Transfer-Encoding does not say where it ends",
        HeadError::CodingNotImplemented => "the only transfer coding of requests is chunked",
        HeadError::CodingInHttp10 => "a request of HTTP/1.0 has no Transfer-Encoding",
        HeadError::Padded => "a line of the head that says where the request ends is too long",
        HeadError::ConnectContent => "a CONNECT has no content",
        HeadError::Target => "the target of the request is not a valid one",
        HeadError::LineEnd => "a line of the head ends without a carriage return",
        HeadError::FieldName => "a field name of the request is malformed",
        HeadError::FieldValue => "a field of the request has a control character",
        _ => "the head of the request is not HTTP/1.1",
    }
}
