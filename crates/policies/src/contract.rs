//! What a policy is asked, and what it may answer: the contract between a policy and the chain that runs it.
//!
//! A policy takes part in the stages that its type names, and in each it answers an [`Outcome`]: whether the request goes
//! on, and what else is to happen. Nothing here waits, and nothing allocates unless a policy has something to say.

use crate::Services;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use std::any::Any;
use std::net::IpAddr;
use std::pin::Pin;
use weir_config::Api;
use weir_config::policy::LogLevel;
use weir_event::Instant;
use weir_event::{AuthKind, RateLimitState, Reason};
use weir_http1::Fields;

/// The points in the life of a request at which a policy is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages(u8);

impl Stages {
    /// The request belongs to the API, and which of its routes it takes is not yet known: perhaps none.
    pub const BEFORE_ROUTE: Self = Self(1);
    /// The route is known.
    pub const REQUEST: Self = Self(1 << 1);
    /// A response is about to be sent, whoever made it: the upstream, a policy behind this one, or the gateway.
    pub const RESPONSE: Self = Self(1 << 2);

    /// The request is about to be sent to an endpoint of a service, for the first time or again. Policies of this stage are
    /// bound to services.
    pub const ATTEMPT: Self = Self(1 << 3);

    pub const REQUEST_AND_RESPONSE: Self = Self::REQUEST.and(Self::RESPONSE);

    /// These and `other`.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `stages` are among these.
    pub const fn has(self, stages: Self) -> bool {
        self.0 & stages.0 == stages.0
    }
}

/// A policy that is compiled from its checked configuration, so that evaluating it cannot fail.
///
/// Of the four stages, those that are not in `STAGES` are never called.
pub(crate) trait Compiled: Sized {
    /// Its checked configuration.
    type Spec;
    const STAGES: Stages;

    /// `id` is what the policy is known by over reloads, `api` the API that it is bound to.
    fn compile(spec: &Self::Spec, id: &str, api: &Api, services: &Services) -> Self;

    fn before_route(&self, _request: &mut RequestView<'_>) -> Step {
        Outcome::go_on().into()
    }

    fn on_request(&self, _request: &mut RequestView<'_>) -> Step {
        Outcome::go_on().into()
    }

    /// What it may ask for of a request's content: known at load.
    fn needs(&self) -> Need {
        Need::None
    }

    /// As [`Compiled::on_request`], which has answered [`Step::Content`], with all of it.
    fn on_content(&self, _request: &mut RequestView<'_>, _content: &Bytes) -> Step {
        Outcome::go_on().into()
    }

    /// It may wait, as [`Compiled::on_request`] may; of its effects those that change the request's headers count, and they
    /// hold for this attempt.
    fn on_attempt(&self, _attempt: &mut AttemptView<'_>) -> Step {
        Outcome::go_on().into()
    }

    fn on_response(&self, _response: &mut ResponseView<'_>) {}
}

/// What a policy sees of a request. Headers may be changed; all else is only read.
pub struct RequestView<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    /// As sent, without the `?`.
    pub query: Option<&'a str>,
    pub headers: &'a mut Fields,
    /// The address of the client, as the event has it: of the connection, or what a trusted peer says.
    pub client: IpAddr,
    /// Whom a policy before this one has identified.
    pub consumer: Option<&'a Authenticated>,
    pub now: Instant,
    /// Whether content comes behind its head.
    pub has_content: bool,
    /// What the policy wants written in the log of requests.
    pub messages: &'a mut Vec<Message>,
}

/// What a policy sees of an attempt. Headers may be changed: they are this attempt's.
pub struct AttemptView<'a> {
    pub method: &'a Method,
    /// What the service is asked for, with its query.
    pub target: &'a str,
    pub headers: &'a mut Fields,
    /// The endpoint's host and port.
    pub authority: &'a HeaderValue,
    /// 1 of the first.
    pub number: usize,
    pub now: Instant,
    /// What the policy wants written in the log of requests.
    pub messages: &'a mut Vec<Message>,
}

/// What a policy sees of a response. Headers may be changed; hop-by-hop fields are gone by then.
pub struct ResponseView<'a> {
    pub status: StatusCode,
    pub headers: &'a mut Fields,
    /// What the policy left of the request for its response side.
    pub carried: Option<Carried>,
    /// What the policy wants written in the log of requests.
    pub messages: &'a mut Vec<Message>,
}

/// A line in the log of requests, in the operator's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub level: LogLevel,
    /// May be empty.
    pub category: String,
    pub text: String,
}

/// What a policy carries from the request to the response.
pub type Carried = Box<dyn Any>;

/// Who the request comes from. Only an authentication policy makes one, and what depends on a proven consumer
/// asks for this type and not for a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    consumer: Bytes,
    kind: AuthKind,
}

impl Authenticated {
    pub(crate) fn new(consumer: Bytes, kind: AuthKind) -> Self {
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

/// What a policy answers, at once or later.
pub enum Step {
    Done(Outcome),
    /// It asks somebody else, who may take his time: that is not the gateway's. Dropped when the client goes away.
    Wait(Waiting),
    /// It must see the content of the request first, as its needs say. Answered at the stage of the request alone.
    Content,
    /// Go on, and this looks at the content of the request as it passes. Answered at the stage of the request alone.
    Stream(Box<dyn ContentReader>),
}

/// What looks at the content of one request as it passes.
pub trait ContentReader {
    /// The next bytes, in their order.
    ///
    /// # Errors
    /// Why the request ends here. Its attempt is broken off; where the response has begun, so is that.
    fn data(&mut self, data: &Bytes) -> Result<(), Reason>;
}

/// What a policy may ask for of the content of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    None,
    /// Each piece, as it passes.
    Stream,
    /// All of it, before anything is sent on. Larger ones are refused.
    Whole {
        /// Bytes at most.
        most: usize,
    },
}

/// It has what it needs, and borrows nothing of the request: its effects name what it changes.
pub type Waiting = Pin<Box<dyn Future<Output = Outcome>>>;

impl From<Outcome> for Step {
    fn from(outcome: Outcome) -> Self {
        Self::Done(outcome)
    }
}

/// What a policy says of a request.
#[derive(Debug)]
pub struct Outcome {
    pub decision: Decision,
    pub effects: Effects,
}

/// Whether the request goes on.
#[derive(Debug)]
pub enum Decision {
    /// To the next policy.
    Continue,
    /// No further: this is the answer, and nothing has failed.
    Respond(Answer),
    /// No further: the request is refused, and this says why.
    Reject(Answer),
}

/// What else is to happen, whatever the decision is.
#[derive(Debug, Default)]
pub struct Effects {
    /// The request is from this consumer.
    pub identity: Option<Authenticated>,
    /// How the request stands to its limits; `None` unless a limit was asked.
    pub rate_limit: RateLimitState,
    /// Set in the request, or removed from it where there is no value. A policy that does not wait may change the headers
    /// of its [`RequestView`] instead.
    pub request_headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// Set in the response, whoever gives it. Of two policies that set the same field, the first one's stands.
    pub response_headers: ResponseHeaders,
    /// Handed to the response side of this policy.
    pub carried: Option<Carried>,
}

impl Outcome {
    /// Go on, and that is all.
    pub(crate) fn go_on() -> Self {
        Effects::default().go_on()
    }

    /// What a policy has said that goes on and looks at the content as it passes.
    pub fn passed() -> Self {
        Self::go_on()
    }

    /// Go on, as this consumer.
    pub(crate) fn identified(who: Authenticated) -> Self {
        Effects { identity: Some(who), ..Effects::default() }.go_on()
    }

    /// Do not go on: this is the answer.
    pub(crate) fn respond(answer: Answer) -> Self {
        Self { decision: Decision::Respond(answer), effects: Effects::default() }
    }

    /// Do not go on, and nothing else.
    pub(crate) fn reject(answer: Answer) -> Self {
        Self { decision: Decision::Reject(answer), effects: Effects::default() }
    }
}

impl Effects {
    /// With these effects, go on.
    pub(crate) fn go_on(self) -> Outcome {
        Outcome { decision: Decision::Continue, effects: self }
    }
}

/// Header fields that a policy puts into the response.
pub type ResponseHeaders = Vec<(HeaderName, HeaderValue)>;

/// The answer in the upstream's place.
#[derive(Debug)]
pub struct Answer {
    /// [`Reason::PolicyAnswered`] of one that is no refusal.
    pub reason: Reason,
    pub status: StatusCode,
    pub body: Body,
    /// What the status asks for.
    pub headers: ResponseHeaders,
}

impl Answer {
    /// A refusal, with the status that belongs to the reason.
    pub(crate) fn refusal(reason: Reason, body: Body) -> Self {
        Self { reason, status: reason.status(), body, headers: ResponseHeaders::new() }
    }

    /// An answer without a body that is no refusal.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { reason: Reason::PolicyAnswered, status, body: Body::Empty, headers: ResponseHeaders::new() }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// What an answer says. No internals, and nothing of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Empty,
    /// `application/problem+json` with this sentence.
    Problem(&'static str),
    /// The same, with a member `error` beside those of RFC 9457: the words by which clients of Flex know it.
    FlexProblem {
        detail: &'static str,
        error: &'static str,
    },
    /// `application/json`, whole: where clients know Flex's own words.
    Json(&'static str),
    /// Made while the gateway runs: what another server answered, or what was kept of it.
    Content(Box<Content>),
}

/// What was made while the gateway runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The media type.
    pub kind: HeaderValue,
    pub bytes: Bytes,
}
