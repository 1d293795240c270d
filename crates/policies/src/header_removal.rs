//! `header-removal-flex`: takes header fields from requests and responses, by name or by a pattern of names.
//!
//! What the message would not be the same without stays, whatever the patterns match: see
//! [`HeaderRemoval::is_kept`](weir_config::policy::HeaderRemoval::is_kept).

use crate::Services;
use crate::contract::{Compiled, Outcome, RequestView, ResponseView, Stages, Step};
use http::header::HeaderName;
use weir_config::policy::{self, Removed};
use weir_config::{Api, Pattern};
use weir_http1::Fields;

/// The compiled policy.
#[derive(Debug)]
pub struct HeaderRemoval {
    inbound: Unwanted,
    outbound: Unwanted,
}

#[derive(Debug)]
struct Unwanted {
    names: Vec<HeaderName>,
    patterns: Vec<Pattern>,
}

impl Unwanted {
    fn new(removed: &[Removed]) -> Self {
        let (mut names, mut patterns) = (Vec::new(), Vec::new());
        for removed in removed {
            match removed {
                Removed::Name(name) if policy::HeaderRemoval::is_kept(name) => {}
                Removed::Name(name) => names.push(name.clone()),
                Removed::Pattern(pattern) => patterns.push(pattern.clone()),
            }
        }
        Self { names, patterns }
    }

    fn remove_from(&self, headers: &mut Fields) {
        for name in &self.names {
            headers.remove(name);
        }
        if self.patterns.is_empty() {
            return;
        }
        headers.retain(|field| match HeaderName::from_bytes(field.name) {
            Ok(name) => {
                policy::HeaderRemoval::is_kept(&name)
                    || !self.patterns.iter().any(|pattern| pattern.is_match(name.as_str()))
            }
            Err(_) => true,
        });
    }
}

impl Compiled for HeaderRemoval {
    type Spec = policy::HeaderRemoval;
    const STAGES: Stages = Stages::REQUEST_AND_RESPONSE;

    fn compile(spec: &Self::Spec, _: &str, _: &Api, _: &Services) -> Self {
        Self { inbound: Unwanted::new(&spec.inbound), outbound: Unwanted::new(&spec.outbound) }
    }

    fn on_request(&self, request: &mut RequestView<'_>) -> Step {
        self.inbound.remove_from(request.headers);
        Outcome::go_on().into()
    }

    fn on_response(&self, response: &mut ResponseView<'_>) {
        self.outbound.remove_from(response.headers);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Request, compiled, done, fields, response};

    /// Of each configuration: the fields that are there, and those that stay, the same for requests and responses.
    #[test]
    fn by_name_and_by_pattern() {
        let all = [
            "authorization",
            "x-debug-a",
            "x-debug-b",
            "x-debugging",
            "accept",
            "content-type",
            "date",
            "x-request-id",
            "via",
        ];
        let all: Vec<_> = all.iter().map(|name| (*name, "v")).collect();
        let without =
            |gone: &[&str]| fields(&all.iter().copied().filter(|(name, _)| !gone.contains(name)).collect::<Vec<_>>());
        for (removed, gone) in [
            ("[authorization]", &["authorization"][..]),
            ("[Authorization, X-Debug-A, x-none]", &["authorization", "x-debug-a"]),
            ("[x-debug-.*]", &["x-debug-a", "x-debug-b"]),
            ("[\"X-DEBUG.*\"]", &["x-debug-a", "x-debug-b", "x-debugging"]),
            ("[\"debug.*\"]", &[]),
            ("[\"x-(debug-a|debugging)\", date]", &["x-debug-a", "x-debugging"]),
            ("[\".*\"]", &["authorization", "x-debug-a", "x-debug-b", "x-debugging"]),
            ("[accept, content-type, via]", &[]),
        ] {
            let policy =
                compiled("header-removal-flex", &format!("{{inboundHeaders: {removed}, outboundHeaders: {removed}}}"));
            let mut request = all.iter().fold(Request::get("/"), |request, (name, value)| request.with(name, value));
            done(policy.on_request(&mut request.view()));
            assert_eq!(request.fields(), without(gone), "{removed}");
            assert_eq!(response(&policy, 200, &all, None), without(gone), "{removed}");
        }
    }

    #[test]
    fn one_direction_leaves_the_other_alone() {
        let policy = compiled("header-removal-flex", "{inboundHeaders: [x-a]}");
        assert_eq!(response(&policy, 200, &[("x-a", "1")], None), fields(&[("x-a", "1")]));
        let policy = compiled("header-removal-flex", "{outboundHeaders: [x-a]}");
        let mut request = Request::get("/").with("x-a", "1");
        done(policy.on_request(&mut request.view()));
        assert_eq!(request.fields(), fields(&[("x-a", "1")]));
    }
}
