//! What a request must satisfy before it goes on: one file a policy, each with one shape.
//!
//! A policy decides and says its [`Decision`]; it never measures or logs, and never talks to a network on
//! the request path. The chain in the proxy runs the policies, times them and books what they said, so that a
//! new policy gets its telemetry without writing a line of it.

mod basic_auth;
mod client_id;
mod credentials;
mod expression;
mod limiter;
mod rate_limit;
#[cfg(test)]
mod testing;

pub use limiter::Limiters;

use basic_auth::BasicAuth;
use bytes::Bytes;
use client_id::ClientId;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use rate_limit::RateLimiter;
use std::time::Instant;
use weir_config::{Api, PolicyBinding};
use weir_event::{AuthKind, RateLimitState, Reason};

/// What a policy sees of a request. Headers may be changed; all else is only read.
pub struct RequestView<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    /// As sent, without the `?`.
    pub query: Option<&'a str>,
    pub headers: &'a mut HeaderMap,
    /// Whom a policy before this one has identified.
    pub consumer: Option<&'a Authenticated>,
    pub now: Instant,
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
    /// Go on, within limits.
    Limited(Limited),
    /// Do not go on; answer this.
    Reject(Rejection),
}

/// Headers that a policy puts into the response.
pub type ResponseHeaders = Vec<(HeaderName, HeaderValue)>;

/// How a request stands to its limits.
#[derive(Debug)]
pub struct Limited {
    pub state: RateLimitState,
    /// For the response, whoever gives it.
    pub headers: ResponseHeaders,
}

/// The answer in the upstream's place.
#[derive(Debug)]
pub struct Rejection {
    pub reason: Reason,
    pub status: StatusCode,
    pub body: Body,
    /// What the status asks for.
    pub headers: ResponseHeaders,
    /// `None` unless it was a limit that decided.
    pub rate_limit: RateLimitState,
}

impl Rejection {
    /// With the status that belongs to the reason.
    fn new(reason: Reason, body: Body) -> Self {
        let headers = ResponseHeaders::new();
        Self { reason, status: reason.status(), body, headers, rate_limit: RateLimitState::None }
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// What a rejection says. No internals, and nothing of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// `application/problem+json` with this sentence.
    Problem(&'static str),
    /// The same, with a member `error` beside those of RFC 9457: the words by which clients of Flex know it.
    FlexProblem { detail: &'static str, error: &'static str },
    /// `application/json`, whole: where clients know Flex's own words.
    Json(&'static str),
}

/// A policy, compiled at load so that evaluating it cannot fail.
#[derive(Debug)]
pub enum Policy {
    BasicAuth(BasicAuth),
    ClientId(ClientId),
    RateLimit(RateLimiter),
}

impl Policy {
    /// Compiles a policy of an API. What it counts is in `limiters`, which outlive a reload.
    pub fn compile(binding: &PolicyBinding, api: &Api, limiters: &Limiters) -> Self {
        match &binding.policy {
            weir_config::Policy::ClientIdEnforcement(spec) => Self::ClientId(ClientId::new(spec, &api.contracts)),
            weir_config::Policy::HttpBasicAuthentication(spec) => Self::BasicAuth(BasicAuth::new(spec)),
            weir_config::Policy::RateLimiting(spec) => Self::RateLimit(RateLimiter::new(spec, &binding.id, limiters)),
        }
    }

    /// The request side.
    pub fn on_request(&self, request: &mut RequestView<'_>) -> Decision {
        match self {
            Self::BasicAuth(policy) => policy.on_request(request),
            Self::ClientId(policy) => policy.on_request(request),
            Self::RateLimit(policy) => policy.on_request(request),
        }
    }
}
