//! `direct-response`: answers in the service's place what the configuration says - a notice that an API is being
//! maintained, a file for crawlers, a route that has moved.

use crate::Services;
use crate::contract::{Answer, Body, Compiled, Content, Outcome, RequestView, Stages, Step};
use bytes::Bytes;
use weir_config::Api;
use weir_config::policy;
use weir_event::Reason;

/// The compiled policy.
#[derive(Debug)]
pub struct DirectResponse {
    spec: policy::DirectResponse,
    body: Bytes,
}

impl Compiled for DirectResponse {
    type Spec = policy::DirectResponse;
    const STAGES: Stages = Stages::REQUEST;

    fn compile(spec: &Self::Spec, _: &str, _: &Api, _: &Services) -> Self {
        Self { spec: spec.clone(), body: Bytes::copy_from_slice(spec.body.as_bytes()) }
    }

    fn on_request(&self, _: &mut RequestView<'_>) -> Step {
        let content = Content { kind: self.spec.content_type.clone(), bytes: self.body.clone() };
        let body = if self.body.is_empty() { Body::Empty } else { Body::Content(Box::new(content)) };
        let answer = Answer {
            reason: Reason::PolicyAnswered,
            status: self.spec.status,
            body,
            headers: self.spec.headers.clone(),
        };
        Outcome::respond(answer).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Decision;
    use crate::testing::{Request, compiled, done};

    #[test]
    fn table() {
        let nothing: &[(&str, &str)] = &[];
        for (config, status, content, headers) in [
            ("{status: 204}", 204, None, nothing),
            ("{status: 503, body: back at 9}", 503, Some(("text/plain; charset=utf-8", "back at 9")), nothing),
            (
                "{status: 301, contentType: text/html, body: \"<p>moved\", headers: {Location: /new, x-a: '1'}}",
                301,
                Some(("text/html", "<p>moved")),
                &[("location", "/new"), ("x-a", "1")],
            ),
        ] {
            let policy = compiled("direct-response", config);
            let outcome = done(policy.on_request(&mut Request::get("/").view()));
            let Decision::Respond(answer) = outcome.decision else { panic!("{config}") };
            assert_eq!((answer.status.as_u16(), answer.reason), (status, Reason::PolicyAnswered), "{config}");
            let given = match &answer.body {
                Body::Content(content) => Some((content.kind.to_str().unwrap(), &content.bytes[..])),
                Body::Empty => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(given, content.map(|(kind, text)| (kind, text.as_bytes())), "{config}");
            let named: Vec<_> =
                answer.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            assert_eq!(named, headers, "{config}");
        }
    }
}
