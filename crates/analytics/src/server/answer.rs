//! Answers: JSON, text, errors with a fix.

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use std::io::Write;
use weir_api::{ErrorDocument, OPENAPI_ANALYTICS};

pub(super) type Answer = Response<Full<Bytes>>;

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

pub(super) fn text(status: StatusCode, said: &str) -> Answer {
    answer(status, "text/plain; charset=utf-8", format!("{said}\n"))
}

/// 405, with the methods that are taken there (RFC 9110 15.5.6).
pub(super) fn not_allowed(allowed: &str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, &format!("this address takes {allowed}"));
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        answer.headers_mut().insert(http::header::ALLOW, allowed);
    }
    answer
}

/// The description of these APIs.
pub(super) fn described() -> Answer {
    answer(StatusCode::OK, "application/json", OPENAPI_ANALYTICS)
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => answer(status, "application/json", body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// JSON that is written already.
pub(super) fn json_bytes(body: Bytes) -> Answer {
    answer(StatusCode::OK, "application/json", body)
}

/// A file of comma-separated values. Its name is ours: letters, digits and dashes.
pub(super) fn csv(name: &str, body: String) -> Answer {
    let mut answer = answer(StatusCode::OK, "text/csv; charset=utf-8; header=present", body);
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}.csv\"")) {
        answer.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    answer
}

/// Metrics, in a format of Prometheus; with `gzip` compressed.
pub(super) fn metrics(content_type: &'static str, body: Vec<u8>, gzip: bool) -> Answer {
    let compressed = gzip.then(|| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&body).and_then(|()| gzip.finish())
    });
    let (body, is_compressed) = match compressed {
        Some(Ok(compressed)) => (compressed, true),
        _ => (body, false),
    };
    let mut answer = answer(StatusCode::OK, content_type, body);
    let mut set = |name, value| drop(answer.headers_mut().insert(name, HeaderValue::from_static(value)));
    set(VARY, "accept, accept-encoding");
    if is_compressed {
        set(CONTENT_ENCODING, "gzip");
    }
    answer
}

pub(super) fn html(body: impl Into<Bytes>) -> Answer {
    answer(StatusCode::OK, "text/html; charset=utf-8", body)
}

/// `{"error": …}`.
pub(super) fn refused(status: StatusCode, why: &str) -> Answer {
    json(status, &ErrorDocument { error: why.to_owned() })
}

/// 503, and after how many seconds the same may be accepted.
pub(super) fn again(why: &str, seconds: u16) -> Answer {
    let mut answer = refused(StatusCode::SERVICE_UNAVAILABLE, why);
    answer.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
    answer
}
