//! Answers: JSON, text, errors with a fix.

use crate::query::events::FileKind;
use crate::store::StoreError;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use serde::Serialize;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use weir_api::{ErrorDocument, OPENAPI_ANALYTICS};

pub(super) type Answer = Response<AnswerBody>;

/// What is answered: known from the beginning, or made while it is read.
pub(super) enum AnswerBody {
    Whole(Full<Bytes>),
    /// It ends with the channel. An error breaks the connection off, so that nobody takes a part for the whole.
    Pieces(mpsc::Receiver<Result<Bytes, StoreError>>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Pieces(pieces) => pieces.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(Full::new(body.into())));
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
    attached(answer(StatusCode::OK, "text/csv; charset=utf-8; header=present", body), &format!("{name}.csv"))
}

/// A file that is made while it is read.
pub(super) fn file(kind: FileKind, name: &str, pieces: mpsc::Receiver<Result<Bytes, StoreError>>) -> Answer {
    let (content_type, ending) = match kind {
        FileKind::Csv => ("text/csv; charset=utf-8; header=present", "csv"),
        FileKind::Lines => ("application/x-ndjson", "ndjson"),
    };
    let mut answer = attached(answer(StatusCode::OK, content_type, ""), &format!("{name}.{ending}"));
    *answer.body_mut() = AnswerBody::Pieces(pieces);
    answer
}

fn attached(mut answer: Answer, name: &str) -> Answer {
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
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
