//! `header-injection-flex`: adds header fields to requests and responses.
//!
//! A field is added beside those of its name that are there, but for two of which there can be one only, which it
//! replaces. A value that the request or response does not have adds nothing. A value that no header can carry - a
//! query parameter with a line break in it - refuses the request: it must not become a field of its own.

use crate::Services;
use crate::contract::{Answer, Body, Compiled, Outcome, RequestView, ResponseView, Stages, Step};
use crate::expression::evaluate;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, HeaderName, HeaderValue};
use weir_config::policy::{self, HeaderValueOf, Injected};
use weir_config::{Api, Expression};
use weir_event::Reason;
use weir_http1::Fields;

/// The compiled policy.
#[derive(Debug)]
pub struct HeaderInjection {
    inbound: Vec<Injected>,
    outbound: Vec<Injected>,
}

impl Compiled for HeaderInjection {
    type Spec = policy::HeaderInjection;
    const STAGES: Stages = Stages::REQUEST_AND_RESPONSE;

    fn compile(spec: &Self::Spec, _: &str, _: &Api, _: &Services) -> Self {
        Self { inbound: spec.inbound.clone(), outbound: spec.outbound.clone() }
    }

    fn on_request(&self, request: &mut RequestView<'_>) -> Step {
        for field in &self.inbound {
            let value = match &field.value {
                HeaderValueOf::Text(value) => Some(value.clone()),
                HeaderValueOf::Expression(expression) => {
                    match evaluate(expression, request).map(|value| HeaderValue::from_bytes(&value)) {
                        Some(Err(_)) => return refused(),
                        value => value.and_then(Result::ok),
                    }
                }
            };
            if let Some(value) = value {
                inject(request.headers, &field.name, &value);
            }
        }
        Outcome::go_on().into()
    }

    fn on_response(&self, response: &mut ResponseView<'_>) {
        for field in &self.outbound {
            let value = match &field.value {
                HeaderValueOf::Text(value) => Some(value.clone()),
                HeaderValueOf::Expression(Expression::Header(name)) => response.headers.get_value(name),
                // Refused at load: a response has none of these.
                HeaderValueOf::Expression(_) => None,
            };
            if let Some(value) = value {
                inject(response.headers, &field.name, &value);
            }
        }
    }
}

fn inject(headers: &mut Fields, name: &HeaderName, value: &HeaderValue) {
    if *name == CONTENT_TYPE || *name == ACCESS_CONTROL_ALLOW_ORIGIN {
        headers.put(name, value);
    } else {
        headers.add(name, value);
    }
}

fn refused() -> Step {
    let body =
        Body::Problem("a part of the request that is copied into a header has characters that no header can carry");
    Outcome::reject(Answer::refusal(Reason::MalformedRequest, body)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Decision;
    use crate::testing::{Request, compiled, done, response};

    const CONFIG: &str = "{inboundHeaders: [{key: x-static, value: fixed}, {key: X-From, value: \"#[attributes.headers['x-key']]\"}, \
                          {key: x-param, value: \"#[attributes.queryParams['p']]\"}, {key: x-method, value: '#[attributes.method]'}, \
                          {key: content-type, value: text/plain}], \
                          outboundHeaders: [{key: x-served-by, value: weir}, {key: x-copy, value: \"#[attributes.headers['etag']]\"}]}";

    /// Of each request: what it has, and what it goes on with.
    #[test]
    fn requests() {
        let policy = compiled("header-injection-flex", CONFIG);
        for (target, given, expected) in [
            ("/", &[][..], &[("x-static", "fixed"), ("x-method", "GET"), ("content-type", "text/plain")][..]),
            (
                "/?p=a%20b",
                &[("x-key", "k"), ("x-static", "own"), ("content-type", "a/b")],
                &[
                    ("x-key", "k"),
                    ("x-static", "own,fixed"),
                    ("content-type", "text/plain"),
                    ("x-from", "k"),
                    ("x-param", "a b"),
                    ("x-method", "GET"),
                ],
            ),
            (
                "/?p=",
                &[],
                &[("x-static", "fixed"), ("x-param", ""), ("x-method", "GET"), ("content-type", "text/plain")],
            ),
        ] {
            let mut request =
                given.iter().fold(Request::get(target), |request, (name, value)| request.with(name, value));
            let outcome = done(policy.on_request(&mut request.view()));
            assert!(matches!(outcome.decision, Decision::Continue), "{target}");
            assert_eq!(request.fields(), crate::testing::fields(expected), "{target}");
        }
    }

    #[test]
    fn no_request_makes_a_field_of_its_own() {
        let policy = compiled("header-injection-flex", CONFIG);
        for target in ["/?p=a%0d%0aX-Admin:%20true", "/?p=%00", "/?p=%0a"] {
            let mut request = Request::get(target);
            let Decision::Reject(answer) = done(policy.on_request(&mut request.view())).decision else {
                panic!("{target}")
            };
            assert_eq!((answer.status.as_u16(), answer.reason), (400, Reason::MalformedRequest));
            assert!(!request.headers.contains("x-admin"));
        }
    }

    #[test]
    fn responses() {
        let policy = compiled("header-injection-flex", CONFIG);
        for (given, expected) in [
            (&[][..], &[("x-served-by", "weir")][..]),
            (&[("etag", "1"), ("x-served-by", "up")], &[("etag", "1"), ("x-served-by", "up,weir"), ("x-copy", "1")]),
        ] {
            assert_eq!(response(&policy, 200, given, None), crate::testing::fields(expected));
        }
    }
}
