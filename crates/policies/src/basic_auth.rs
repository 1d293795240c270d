//! `http-basic-authentication-flex`: one user and password from the configuration, asked for as RFC 7617 says.
//!
//! It decides whether `Authorization: Basic` carries exactly these credentials. It never tells which half was
//! wrong, neither in words nor in time; and it never sends the credentials on: the upstream has its own.

use crate::Services;
use crate::contract::{Answer, Authenticated, Body, Compiled, Outcome, RequestView, Stages, Step};
use crate::credentials::{BASIC_CHALLENGE, decode_basic, encoded_basic, same};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use weir_config::Api;
use weir_config::policy::HttpBasicAuthentication;
use weir_event::{AuthKind, Reason};
use weir_http1::Known;

/// Flex's own words.
const WRONG_CREDENTIALS: &str = "Authentication Attempt Failed";
const NO_CREDENTIALS: &str = "Registered authentication is set to HTTP basic authentication but there was no security \
                              context on the session.";

/// The compiled policy.
#[derive(Debug)]
pub struct BasicAuth {
    username: Bytes,
    /// `user:password`, and as clients send it.
    expected: Vec<u8>,
    encoded: Vec<u8>,
}

impl Compiled for BasicAuth {
    type Spec = HttpBasicAuthentication;
    const STAGES: Stages = Stages::REQUEST;

    fn compile(spec: &Self::Spec, _: &str, _: &Api, _: &Services) -> Self {
        let username = Bytes::copy_from_slice(spec.username.as_bytes());
        let expected = format!("{}:{}", spec.username, spec.password.expose()).into_bytes();
        let encoded = STANDARD.encode(&expected).into_bytes();
        Self { username, expected, encoded }
    }

    fn on_request(&self, request: &mut RequestView<'_>) -> Step {
        let Some(value) = request.headers.get(Known::Authorization) else { return missing() };
        // Whoever knows the credentials sends this very text, which need not be decoded to be known: 70 ns of 330.
        let known = encoded_basic(value).is_some_and(|encoded| same(&self.encoded, encoded));
        if !known {
            let Some(presented) = decode_basic(value) else { return missing() };
            if !same(&self.expected, &presented) {
                return reject("the credentials are not right", WRONG_CREDENTIALS);
            }
        }
        request.headers.remove(Known::Authorization);
        Outcome::identified(Authenticated::new(self.username.clone(), AuthKind::Basic)).into()
    }
}

fn missing() -> Step {
    reject("credentials are missing: send `Authorization: Basic`", NO_CREDENTIALS)
}

fn reject(detail: &'static str, error: &'static str) -> Step {
    let refusal = Answer::refusal(Reason::AuthenticationFailed, Body::FlexProblem { detail, error });
    Outcome::reject(refusal.with(WWW_AUTHENTICATE, BASIC_CHALLENGE)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Decision;
    use crate::credentials::MAX_ENCODED;
    use crate::testing::{Request, compiled, done};
    use weir_http1::Fields;

    fn decide(authorization: Option<&str>) -> (Outcome, Fields) {
        let policy = compiled("http-basic-authentication-flex", "{username: chris, password: 'ad:min'}");
        let request = Request::get("/");
        let mut request =
            authorization.into_iter().fold(request, |request, value| request.with("authorization", value));
        let outcome = done(policy.on_request(&mut request.view()));
        (outcome, request.headers)
    }

    fn basic(credentials: &str) -> String {
        format!("Basic {}", STANDARD.encode(credentials))
    }

    #[test]
    fn the_right_credentials_name_the_consumer_and_go_no_further() {
        for scheme in ["Basic", "basic", "BASIC"] {
            let (outcome, headers) = decide(Some(&basic("chris:ad:min").replace("Basic", scheme)));
            let Some(who) = outcome.effects.identity else { panic!("{scheme}: {:?}", outcome.decision) };
            assert_eq!((who.consumer().as_ref(), who.kind()), (b"chris".as_slice(), AuthKind::Basic));
            assert!(headers.is_empty());
        }
    }

    #[test]
    fn everything_else_is_401_with_a_challenge() {
        let wrong = ["chris:admin", "chris:ad:mi", "chris:ad:min ", "chris:ad:min\0", "chriz:ad:min", ":", ""];
        let values = wrong.iter().map(|credentials| basic(credentials));
        let odd = ["Basic", "Basic ", "Basic !!!", "Bearer abc", ""].map(str::to_owned);
        let long = format!("Basic {}", "A".repeat(MAX_ENCODED + 4));
        for value in values.chain(odd).chain([long]) {
            let decision = decide(Some(&value)).0.decision;
            let Decision::Reject(rejection) = decision else { panic!("{value}: {decision:?}") };
            assert_eq!(rejection.status, 401);
            assert_eq!(rejection.headers[0].1, "Basic realm=\"mule-realm\"");
            assert!(matches!(rejection.body, Body::FlexProblem { .. }));
        }
        let Decision::Reject(wrong) = decide(Some(&basic("chris:no"))).0.decision else { panic!("refused") };
        let Decision::Reject(missing) = decide(None).0.decision else { panic!("refused") };
        let errors =
            [wrong.body, missing.body].map(|body| if let Body::FlexProblem { error, .. } = body { error } else { "" });
        assert_eq!(errors, [WRONG_CREDENTIALS, NO_CREDENTIALS]);
    }
}
