//! What a request must satisfy before it goes on: one file a policy, each with one shape.
//!
//! A policy decides and says its [`Decision`]; it never measures, counts or logs, and never talks to a network on
//! the request path. The chain in the proxy runs the policies, times them and books what they said, so that a
//! new policy gets its telemetry without writing a line of it.

mod basic_auth;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use weir_event::{AuthKind, Reason};

/// What a policy sees of a request. Headers may be changed; all else is only read.
pub struct RequestView<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    pub headers: &'a mut HeaderMap,
}

/// Who the request comes from. Only an authentication policy makes one, and what depends on a proven consumer
/// asks for this type and not for a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    consumer: Bytes,
    kind: AuthKind,
}

impl Authenticated {
    fn new(consumer: Bytes, kind: AuthKind) -> Self {
        Self { consumer, kind }
    }

    /// The name under which the consumer is known.
    pub fn consumer(&self) -> &Bytes {
        &self.consumer
    }

    /// How it was proven.
    pub fn kind(&self) -> AuthKind {
        self.kind
    }
}

/// What a policy says of a request.
#[derive(Debug)]
pub enum Decision {
    /// Go on.
    Continue,
    /// Go on, as this consumer.
    Identified(Authenticated),
    /// Do not go on; answer this.
    Reject(Rejection),
}

/// The answer in the upstream's place.
#[derive(Debug)]
pub struct Rejection {
    pub reason: Reason,
    pub status: StatusCode,
    /// One sentence for the client; no internals.
    pub detail: &'static str,
    /// A header that the status asks for.
    pub header: Option<(http::HeaderName, HeaderValue)>,
}

/// A policy, compiled at load so that evaluating it cannot fail.
#[derive(Debug)]
pub enum Policy {
    BasicAuth(basic_auth::BasicAuth),
}

impl Policy {
    /// Compiles a checked configuration.
    pub fn compile(config: &weir_config::Policy) -> Self {
        match config {
            weir_config::Policy::HttpBasicAuthentication(spec) => Self::BasicAuth(basic_auth::BasicAuth::new(spec)),
        }
    }

    /// The request side.
    pub fn on_request(&self, request: &mut RequestView<'_>) -> Decision {
        match self {
            Self::BasicAuth(policy) => policy.on_request(request),
        }
    }
}
