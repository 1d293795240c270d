//! Requests, responses and policies for the tests of policies.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use crate::{AttemptView, Authenticated, Carried, Message, Outcome, Policy, RequestView, ResponseView, Services, Step};
use http::{Method, StatusCode, Uri};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use weir_config::{Api, load_text};
use weir_event::Instant;
use weir_http1::Fields;

pub(crate) struct Request {
    method: Method,
    target: Uri,
    pub headers: Fields,
    pub now: Instant,
    consumer: Option<Authenticated>,
    pub messages: Vec<Message>,
}

impl Request {
    pub fn get(target: &str) -> Self {
        Self::of(Method::GET, target)
    }

    pub fn of(method: Method, target: &str) -> Self {
        let (headers, now) = (Fields::new(), Instant::now());
        Self { method, target: target.parse().unwrap(), headers, now, consumer: None, messages: Vec::new() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.append(name, value.as_bytes()).unwrap();
        self
    }

    pub fn from(self, who: Authenticated) -> Self {
        Self { consumer: Some(who), ..self }
    }

    pub fn view(&mut self) -> RequestView<'_> {
        RequestView {
            method: &self.method,
            path: self.target.path(),
            query: self.target.query(),
            headers: &mut self.headers,
            // Of the addresses for documentation (RFC 5737).
            client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            consumer: self.consumer.as_ref(),
            now: self.now,
            has_content: self.method != Method::GET,
            messages: &mut self.messages,
        }
    }

    pub fn fields(&self) -> Vec<(String, String)> {
        listed(&self.headers)
    }
}

/// The policy `name` with this `config`, as an operator writes it.
pub(crate) fn compiled(name: &str, config: &str) -> Policy {
    let api = api(name, config);
    Policy::compile(&api.policies[0], &api, &Services::default())
}

/// An API with that policy.
pub(crate) fn api(name: &str, config: &str) -> Api {
    let text = format!(
        "apiVersion: gateway.weir.dev/v1\nkind: ApiInstance\nmetadata: {{name: a}}\nspec: {{address: \"http://0.0.0.0:80\", \
         services: {{s: {{address: http://b}}}}, policies: [{{policyRef: {{name: {name}}}, config: {config}}}]}}\n"
    );
    let config = load_text(Path::new("test"), &text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
    config.apis.into_iter().next().unwrap()
}

/// What an attempt has after the policy `name` of a service with this `config`.
pub(crate) fn attempt(name: &str, config: &str, given: &[(&str, &str)]) -> Vec<(String, String)> {
    let text = format!(
        "apiVersion: gateway.weir.dev/v1\nkind: Service\nmetadata: {{name: s}}\nspec: {{address: \"http://b\"}}\n---\n\
         apiVersion: gateway.weir.dev/v1\nkind: ApiInstance\nmetadata: {{name: a}}\nspec: {{address: \"http://0.0.0.0:80\", \
         policies: [{{policyRef: {{name: route}}, config: {{destinationRef: {{name: s}}}}}}]}}\n---\n\
         apiVersion: gateway.weir.dev/v1\nkind: PolicyBinding\nmetadata: {{name: p}}\nspec: {{targetRef: {{kind: Service, \
         name: s}}, policyRef: {{name: {name}}}, config: {config}}}\n"
    );
    let config = load_text(Path::new("test"), &text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
    let api = &config.apis[0];
    let policy = Policy::compile(&api.services[0].policies[0], api, &Services::default());
    let mut request = given.iter().fold(Request::get("/"), |request, (name, value)| request.with(name, value));
    let authority = http::HeaderValue::from_static("b");
    let step = policy.on_attempt(&mut AttemptView {
        method: &request.method,
        target: "/",
        headers: &mut request.headers,
        authority: &authority,
        number: 1,
        now: request.now,
        messages: &mut request.messages,
    });
    assert!(matches!(done(step).decision, crate::Decision::Continue));
    request.fields()
}

/// What a policy answers that does not wait.
pub(crate) fn done(step: Step) -> Outcome {
    match step {
        Step::Done(outcome) => outcome,
        Step::Wait(_) | Step::Content | Step::Stream(_) => panic!("it has not done"),
    }
}

/// What a response has after the policy, sorted; the values of one name are joined.
pub(crate) fn response(
    policy: &Policy,
    status: u16,
    given: &[(&str, &str)],
    carried: Option<Carried>,
) -> Vec<(String, String)> {
    let mut request = given.iter().fold(Request::get("/"), |request, (name, value)| request.with(name, value));
    let (status, headers) = (StatusCode::from_u16(status).unwrap(), &mut request.headers);
    policy.on_response(&mut ResponseView { status, headers, carried, messages: &mut Vec::new() });
    request.fields()
}

/// All fields, sorted; the values of one name are joined.
pub(crate) fn listed(headers: &Fields) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().to_owned();
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for field in headers.iter() {
        fields.entry(text(field.name)).or_default().push(text(field.value));
    }
    fields.into_iter().map(|(name, values)| (name, values.join(","))).collect()
}

/// What is expected of [`listed`].
pub(crate) fn fields(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut fields: Vec<_> = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    fields.sort();
    fields
}
