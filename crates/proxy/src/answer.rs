//! The gateway's own answers: `application/problem+json` (RFC 9457) with the reason in Proxy-Status (RFC 9209).
//!
//! Nothing of the request is repeated in an answer, and no internals: a reason, a sentence, the trace id. Where clients know
//! Flex's own body for a refusal, it is that body.

use crate::body::Source;
use crate::flow::Flow;
use crate::grpc;
use crate::reply::Reply;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use weir_event::{Reason, TraceId};
use weir_http1::Known;
use weir_policies::{Answer, Body, ResponseHeaders};

pub(crate) const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Why a request goes no further: a refusal, or the answer of a policy ([`Reason::PolicyAnswered`]).
#[derive(Debug)]
pub(crate) struct Refusal {
    reason: Reason,
    status: StatusCode,
    body: Body,
    headers: ResponseHeaders,
}

impl Refusal {
    /// With the status that belongs to the reason.
    pub(crate) fn new(reason: Reason, detail: &'static str) -> Self {
        Self { reason, status: reason.status(), body: Body::Problem(detail), headers: ResponseHeaders::new() }
    }

    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    /// With another status than that of its reason.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Nothing more is read from the client: where this request ends is in doubt.
    pub(crate) fn closing(self) -> Self {
        self.with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// Books the refusal and makes the answer.
    pub(crate) fn answer(self, flow: &mut Flow) -> Reply<Source> {
        if flow.exchange.is_grpc() && self.status.as_u16() >= 400 {
            return self.answer_grpc(flow);
        }
        let mut exchange = flow.exchange.borrow_mut();
        exchange.blame(self.reason);
        exchange.status = self.status.as_u16();
        let (kind, body) = match self.body {
            Body::Empty => (None, Bytes::new()),
            Body::Problem(detail) => (Some(PROBLEM), problem(self.reason, self.status, detail, exchange.trace.trace)),
            Body::FlexProblem { detail, error } => {
                (Some(PROBLEM), with_error(&problem(self.reason, self.status, detail, exchange.trace.trace), error))
            }
            Body::Json(body) => (Some(JSON), Bytes::from_static(body.as_bytes())),
            Body::Content(content) => (Some(content.kind), content.bytes),
        };
        let mut reply = Reply::new(self.status, Source::fixed(body));
        reply.fields.extend(kind.map(|kind| (CONTENT_TYPE, kind)));
        reply.fields.extend(self.headers);
        if let Some(value) = proxy_status(&flow.exchange.snapshot().pseudonym, self.reason) {
            reply.fields.put(Known::ProxyStatus, &value);
        }
        reply
    }
}

impl Refusal {
    /// The same for a client of gRPC: a head of HTTP that succeeds, with a status of gRPC and nothing else.
    #[cold]
    fn answer_grpc(self, flow: &Flow) -> Reply<Source> {
        let detail = match self.body {
            Body::Problem(detail) | Body::FlexProblem { detail, .. } => detail,
            Body::Empty | Body::Json(_) | Body::Content(_) => self.status.canonical_reason().unwrap_or_default(),
        };
        let status = grpc::status_of_answer(self.status);
        let mut exchange = flow.exchange.borrow_mut();
        exchange.blame(self.reason);
        exchange.status = StatusCode::OK.as_u16();
        grpc::note(&mut exchange, status);
        drop(exchange);
        let mut reply = Reply::new(StatusCode::OK, Source::fixed(Bytes::new()));
        reply.fields.extend(self.headers);
        grpc::put_status(&mut reply.fields, status, detail);
        if let Some(value) = proxy_status(&flow.exchange.snapshot().pseudonym, self.reason) {
            reply.fields.put(Known::ProxyStatus, &value);
        }
        reply
    }
}

impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Self {
        Self { reason: answer.reason, status: answer.status, body: answer.body, headers: answer.headers }
    }
}

/// What Proxy-Status says of a refusal.
pub(crate) fn proxy_status(pseudonym: &str, reason: Reason) -> Option<HeaderValue> {
    let error = reason.proxy_status()?;
    // A name that is no structured-field token is sent as a string (RFC 9209 2).
    let token = pseudonym.starts_with(|first: char| first.is_ascii_alphabetic());
    let name = if token { pseudonym.to_owned() } else { format!("\"{pseudonym}\"") };
    HeaderValue::from_str(&format!("{name}; error={error}")).ok()
}

/// The body. Every part of it is the gateway's own text, so that nothing needs escaping.
pub(crate) fn problem(reason: Reason, status: StatusCode, detail: &str, trace: TraceId) -> Bytes {
    let title = status.canonical_reason().unwrap_or("Error");
    let code = status.as_u16();
    let body = format!(
        r#"{{"type":"about:blank","title":"{title}","status":{code},"detail":"{detail}","reason":"{reason}","trace_id":"{trace}"}}"#
    );
    Bytes::from(body)
}

/// A problem with a member more, `error`, which is where clients of Flex look.
fn with_error(problem: &[u8], error: &str) -> Bytes {
    let open = problem.strip_suffix(b"}").unwrap_or(problem);
    [open, b",\"error\":\"", error.as_bytes(), b"\"}"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_and_where_to_look() {
        let body = problem(Reason::NoRoute, StatusCode::NOT_FOUND, "no API", TraceId([0xab; 16]));
        let expected = format!(
            r#"{{"type":"about:blank","title":"Not Found","status":404,"detail":"no API","reason":"no_route","trace_id":"{}"}}"#,
            "ab".repeat(16)
        );
        assert_eq!(body, expected);
    }

    #[test]
    fn a_problem_may_have_the_words_of_flex() {
        let body = with_error(b"{\"status\":429}", "Too Many Requests");
        assert_eq!(body, r#"{"status":429,"error":"Too Many Requests"}"#);
    }

    #[test]
    fn proxy_status_quotes_a_name_that_is_no_token() {
        let value = |name| proxy_status(name, Reason::ConnectionRefused).unwrap();
        assert_eq!(value("edge-1"), "edge-1; error=connection_refused");
        assert_eq!(value("1edge"), "\"1edge\"; error=connection_refused");
    }
}
