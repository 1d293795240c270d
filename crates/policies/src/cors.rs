//! `cors-flex`: tells browsers which pages of other origins may call the API (WHATWG Fetch, 3.2).
//!
//! It answers preflights itself, before a route is looked for, and writes the `Access-Control-*` fields of every other
//! response, in place of the upstream's. It refuses nothing: a browser does that, and others do not ask. A request whose
//! origin is not allowed is served without these fields, as every server does that knows nothing of CORS.

use crate::Services;
use crate::contract::{Answer, Carried, Compiled, Effects, Outcome, RequestView, ResponseView, Stages, Step};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{Method, StatusCode};
use weir_config::Api;
use weir_config::policy::{self, Group, MaxAge, Origin, Origins};
use weir_http1::{Fields, Known};

const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");
/// Methods for which browsers ask for no permission: listed all the same, for people who read the answer.
const SAFELISTED: [Method; 3] = [Method::GET, Method::HEAD, Method::POST];
/// The fields of a response that are this policy's alone.
const OURS: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// The compiled policy.
#[derive(Debug)]
pub struct Cors {
    /// `None`: every origin may do everything.
    groups: Option<Vec<Permission>>,
    credentials: bool,
}

/// What the origins of a group may do.
#[derive(Debug)]
struct Permission {
    origins: Vec<Origin>,
    max_age: HeaderValue,
    methods: HeaderValue,
    headers: Option<HeaderValue>,
    exposed: Option<HeaderValue>,
}

/// The group that a request's origin is in, and the origin as a response repeats it.
struct Granted {
    group: usize,
    origin: HeaderValue,
}

impl Compiled for Cors {
    type Spec = policy::Cors;
    const STAGES: Stages = Stages::BEFORE_ROUTE.and(Stages::RESPONSE);

    fn compile(spec: &Self::Spec, _: &str, _: &Api, _: &Services) -> Self {
        let groups = match &spec.origins {
            Origins::Every => None,
            Origins::Groups(groups) => Some(groups.iter().map(Permission::new).collect()),
        };
        Self { groups, credentials: spec.credentials }
    }

    fn before_route(&self, request: &mut RequestView<'_>) -> Step {
        let Some(origin) = request.headers.get_value(Known::Origin) else { return Outcome::go_on().into() };
        let granted = self.grant(&origin);
        if request.method == Method::OPTIONS
            && let Some(method) = request.headers.get_value(&ACCESS_CONTROL_REQUEST_METHOD)
        {
            let headers = request.headers.get_value(&ACCESS_CONTROL_REQUEST_HEADERS);
            return Outcome::respond(self.preflight(granted, method, headers)).into();
        }
        Effects { carried: granted.map(|granted| Box::new(granted) as Carried), ..Effects::default() }.go_on().into()
    }

    fn on_response(&self, response: &mut ResponseView<'_>) {
        for name in &OURS {
            response.headers.remove(name);
        }
        let Some(groups) = &self.groups else {
            response.headers.put(&ACCESS_CONTROL_ALLOW_ORIGIN, &ANY);
            return;
        };
        vary_by_origin(response.headers);
        let granted = response.carried.take().and_then(|carried| carried.downcast::<Granted>().ok());
        let Some(granted) = granted else { return };
        response.headers.put(&ACCESS_CONTROL_ALLOW_ORIGIN, &granted.origin);
        if self.credentials {
            response.headers.put(&ACCESS_CONTROL_ALLOW_CREDENTIALS, &TRUE);
        }
        if let Some(exposed) = groups.get(granted.group).and_then(|group| group.exposed.as_ref()) {
            response.headers.put(&ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
}

impl Cors {
    /// The first group that the origin is in by its name, or the one for any.
    fn grant(&self, origin: &HeaderValue) -> Option<Granted> {
        let groups = self.groups.as_ref()?;
        let is_named = |known: &Origin| matches!(known, Origin::Of(known) if origin.as_bytes().eq_ignore_ascii_case(known.as_bytes()));
        let by = |is: &dyn Fn(&Origin) -> bool| groups.iter().position(|group| group.origins.iter().any(is));
        match by(&is_named) {
            Some(group) => Some(Granted { group, origin: origin.clone() }),
            None => by(&|known| *known == Origin::Any).map(|group| Granted { group, origin: ANY }),
        }
    }

    /// The answer to a browser that asks beforehand. Without permission it says nothing of what would be allowed.
    fn preflight(&self, granted: Option<Granted>, method: HeaderValue, headers: Option<HeaderValue>) -> Answer {
        let answer = Answer::empty(StatusCode::NO_CONTENT);
        let Some(groups) = &self.groups else {
            let answer = answer
                .with(ACCESS_CONTROL_ALLOW_ORIGIN, ANY)
                .with(ACCESS_CONTROL_ALLOW_METHODS, method)
                .with(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(MaxAge::default().0));
            return optional(answer, ACCESS_CONTROL_ALLOW_HEADERS, headers);
        };
        let answer = answer.with(VARY, HeaderValue::from_name(ORIGIN));
        let Some(Granted { group, origin }) = granted else { return answer };
        let group = &groups[group];
        let answer = answer
            .with(ACCESS_CONTROL_ALLOW_ORIGIN, origin)
            .with(ACCESS_CONTROL_ALLOW_METHODS, group.methods.clone())
            .with(ACCESS_CONTROL_MAX_AGE, group.max_age.clone());
        let answer = optional(answer, ACCESS_CONTROL_ALLOW_HEADERS, group.headers.clone());
        optional(answer, ACCESS_CONTROL_ALLOW_CREDENTIALS, self.credentials.then_some(TRUE))
    }
}

impl Permission {
    fn new(group: &Group) -> Self {
        let methods: Vec<_> = SAFELISTED
            .iter()
            .chain(group.methods.iter().filter(|method| !SAFELISTED.contains(method)))
            .map(Method::as_str)
            .collect();
        let names = |names: &[HeaderName]| list(&names.iter().map(HeaderName::as_str).collect::<Vec<_>>());
        Self {
            origins: group.origins.clone(),
            max_age: HeaderValue::from(group.max_age.0),
            methods: list(&methods).unwrap_or(ANY),
            headers: names(&group.headers),
            exposed: names(&group.exposed),
        }
    }
}

/// Names, as the value of one field. All of them are tokens, which a field can carry.
fn list(names: &[&str]) -> Option<HeaderValue> {
    HeaderValue::from_str(&names.join(", ")).ok().filter(|value| !value.is_empty())
}

fn optional(answer: Answer, name: HeaderName, value: Option<HeaderValue>) -> Answer {
    match value {
        Some(value) => answer.with(name, value),
        None => answer,
    }
}

/// A cache must not give one origin what was answered to another (RFC 9110 12.5.5).
fn vary_by_origin(headers: &mut Fields) {
    if !headers.members(Known::Vary).any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin")) {
        headers.add(Known::Vary, &HeaderValue::from_name(ORIGIN));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;
    use crate::contract::Decision;
    use crate::testing::{Request, compiled, done, fields, response};
    use weir_event::Reason;

    const GROUPS: &str = "{publicResource: false, supportCredentials: true, originGroups: [\
        {origins: ['https://app.example.com', 'http://localhost:3000'], accessControlMaxAge: 600, \
         allowedMethods: [{methodName: GET}, {methodName: PUT, isAllowed: true}, {methodName: DELETE, isAllowed: false}], \
         headers: [X-Token, content-type], exposedHeaders: [x-total]}, \
        {origins: ['https://partner.example.org:443']}]}";

    fn groups() -> Policy {
        compiled("cors-flex", GROUPS)
    }

    fn public() -> Policy {
        compiled("cors-flex", "{}")
    }

    fn preflight(policy: &Policy, origin: &str, method: &str, headers: Option<&str>) -> Vec<(String, String)> {
        let mut request =
            Request::of(Method::OPTIONS, "/").with("origin", origin).with("access-control-request-method", method);
        request =
            headers.into_iter().fold(request, |request, names| request.with("access-control-request-headers", names));
        let Decision::Respond(answer) = done(policy.before_route(&mut request.view())).decision else {
            panic!("{origin}: no answer")
        };
        assert_eq!(
            (answer.status, answer.reason, answer.body),
            (StatusCode::NO_CONTENT, Reason::PolicyAnswered, crate::Body::Empty)
        );
        let mut headers = Fields::new();
        headers.extend(answer.headers);
        crate::testing::listed(&headers)
    }

    #[test]
    fn preflights() {
        let allowed = |origin, methods, max_age| {
            vec![
                ("access-control-allow-origin", origin),
                ("access-control-allow-methods", methods),
                ("access-control-max-age", max_age),
                ("access-control-allow-credentials", "true"),
                ("vary", "origin"),
            ]
        };
        let mut app = allowed("https://app.example.com", "GET, HEAD, POST, PUT", "600");
        app.push(("access-control-allow-headers", "x-token, content-type"));
        for (origin, expected) in [
            ("https://app.example.com", app),
            ("https://partner.example.org", allowed("https://partner.example.org", "GET, HEAD, POST", "30")),
            ("https://evil.example", vec![("vary", "origin")]),
            ("https://app.example.com.evil.example", vec![("vary", "origin")]),
            ("http://app.example.com", vec![("vary", "origin")]),
            ("https://app.example.com:8443", vec![("vary", "origin")]),
            ("null", vec![("vary", "origin")]),
            ("", vec![("vary", "origin")]),
        ] {
            assert_eq!(preflight(&groups(), origin, "DELETE", Some("x-token")), fields(&expected), "{origin}");
        }
    }

    #[test]
    fn a_public_resource_lets_everybody_ask_for_everything() {
        let mut expected = vec![
            ("access-control-allow-origin", "*"),
            ("access-control-allow-methods", "PATCH"),
            ("access-control-max-age", "30"),
        ];
        assert_eq!(preflight(&public(), "null", "PATCH", None), fields(&expected));
        expected.push(("access-control-allow-headers", "x-a,x-b"));
        assert_eq!(preflight(&public(), "https://a.example", "PATCH", Some("x-a,x-b")), fields(&expected));
    }

    /// What is no preflight goes on: an `OPTIONS` of the API's own, and everything else.
    #[test]
    fn only_preflights_are_answered() {
        for policy in [groups(), public()] {
            let with_origin = |request: Request| request.with("origin", "https://app.example.com");
            for mut request in [
                Request::of(Method::OPTIONS, "/"),
                with_origin(Request::of(Method::OPTIONS, "/")),
                Request::of(Method::OPTIONS, "/").with("access-control-request-method", "PUT"),
                with_origin(Request::get("/").with("access-control-request-method", "PUT")),
            ] {
                let outcome = done(policy.before_route(&mut request.view()));
                assert!(matches!(outcome.decision, Decision::Continue));
            }
        }
    }

    #[test]
    fn responses() {
        let upstream = [
            ("access-control-allow-origin", "https://evil.example"),
            ("access-control-max-age", "9"),
            ("vary", "accept"),
        ];
        for (origin, expected) in [
            (
                Some("https://app.example.com"),
                &[
                    ("vary", "accept,origin"),
                    ("access-control-allow-origin", "https://app.example.com"),
                    ("access-control-allow-credentials", "true"),
                    ("access-control-expose-headers", "x-total"),
                ][..],
            ),
            (
                Some("HTTPS://PARTNER.example.org"),
                &[
                    ("vary", "accept,origin"),
                    ("access-control-allow-origin", "HTTPS://PARTNER.example.org"),
                    ("access-control-allow-credentials", "true"),
                ],
            ),
            (Some("https://evil.example"), &[("vary", "accept,origin")]),
            (None, &[("vary", "accept,origin")]),
        ] {
            let policy = groups();
            let mut request =
                origin.into_iter().fold(Request::get("/"), |request, origin| request.with("origin", origin));
            let carried = done(policy.before_route(&mut request.view())).effects.carried;
            assert_eq!(response(&policy, 200, &upstream, carried), fields(expected), "{origin:?}");
        }
        let every = [("vary", "accept"), ("access-control-allow-origin", "*")];
        assert_eq!(response(&public(), 200, &upstream, None), fields(&every));
        for vary in ["*", "accept, Origin", "ORIGIN"] {
            assert_eq!(response(&groups(), 200, &[("vary", vary)], None), fields(&[("vary", vary)]));
        }
    }

    #[test]
    fn a_group_for_any_origin_is_for_those_that_no_other_names() {
        let config = "{publicResource: false, originGroups: [{origins: ['*']}, \
                      {origins: ['https://app.example.com'], accessControlMaxAge: 5}]}";
        let policy = compiled("cors-flex", config);
        let max_age = |origin| {
            let fields = preflight(&policy, origin, "GET", None);
            let value =
                |name| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default();
            (value("access-control-allow-origin"), value("access-control-max-age"))
        };
        assert_eq!(max_age("https://app.example.com"), ("https://app.example.com".to_owned(), "5".to_owned()));
        assert_eq!(max_age("https://other.example"), ("*".to_owned(), "30".to_owned()));
    }
}
