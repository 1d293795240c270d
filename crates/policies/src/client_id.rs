//! `client-id-enforcement-flex`: only clients that have a `Contract` with the API.
//!
//! It decides whether the request carries the id of a contract and, unless the policy says that the id is enough, its
//! secret. It does not tell an unknown id from a wrong secret, neither in words nor in time; and the secret goes no
//! further: the upstream learns who the client is, not how to be it. Statuses, challenges and bodies are those of Flex.

use crate::Services;
use crate::contract::{Answer, Authenticated, Body, Compiled, Outcome, RequestView, Stages, Step};
use crate::credentials::{BASIC_CHALLENGE, decode_basic, same};
use crate::expression::evaluate;
use bytes::Bytes;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use std::collections::HashMap;
use weir_config::policy::ClientIdEnforcement;
use weir_config::{Api, Contract, Expression, Secret};
use weir_event::{AuthKind, Reason};
use weir_http1::Known;

const CUSTOM_CHALLENGE: HeaderValue = HeaderValue::from_static("Client-ID-Enforcement");
const MISSING: &str = r#"{"error":"Client ID is not present"}"#;
const WRONG: &str = r#"{"error":"Authentication Attempt Failed"}"#;

/// The compiled policy.
#[derive(Debug)]
pub struct ClientId {
    origin: ClientIdEnforcement,
    contracts: HashMap<Bytes, Secret>,
}

/// What a request presents.
struct Presented {
    id: Bytes,
    /// `None` where none is asked for, or none was sent.
    secret: Option<Vec<u8>>,
}

impl Compiled for ClientId {
    type Spec = ClientIdEnforcement;
    const STAGES: Stages = Stages::REQUEST;

    fn compile(spec: &Self::Spec, _: &str, api: &Api, _: &Services) -> Self {
        Self::new(spec, &api.contracts)
    }

    fn on_request(&self, request: &mut RequestView<'_>) -> Step {
        let Some(presented) = self.read(request).filter(|presented| !presented.id.is_empty()) else {
            return self.reject(MISSING);
        };
        if !self.holds(&presented) {
            return self.reject(WRONG);
        }
        match &self.origin {
            ClientIdEnforcement::BasicHeader => drop(request.headers.remove(Known::Authorization)),
            ClientIdEnforcement::Expressions { secret: Some(Expression::Header(name)), .. } => {
                request.headers.remove(name);
            }
            ClientIdEnforcement::Expressions { .. } => {}
        }
        Outcome::identified(Authenticated::new(presented.id, AuthKind::ClientId)).into()
    }
}

impl ClientId {
    fn new(spec: &ClientIdEnforcement, contracts: &[Contract]) -> Self {
        let known = |contract: &Contract| (Bytes::from(contract.client_id.clone()), contract.secret.clone());
        Self { origin: spec.clone(), contracts: contracts.iter().map(known).collect() }
    }

    fn read(&self, request: &RequestView<'_>) -> Option<Presented> {
        match &self.origin {
            ClientIdEnforcement::BasicHeader => {
                let mut id = request.headers.get(Known::Authorization).and_then(decode_basic)?;
                let colon = id.iter().position(|byte| *byte == b':')?;
                let secret = id.split_off(colon + 1);
                id.truncate(colon);
                Some(Presented { id: id.into(), secret: Some(secret) })
            }
            ClientIdEnforcement::Expressions { id, secret } => {
                let id = Bytes::from(evaluate(id, request)?.into_owned());
                let secret = secret.as_ref().and_then(|secret| Some(evaluate(secret, request)?.into_owned()));
                Some(Presented { id, secret })
            }
        }
    }

    fn holds(&self, presented: &Presented) -> bool {
        let contract = self.contracts.get(&presented.id);
        if let ClientIdEnforcement::Expressions { secret: None, .. } = self.origin {
            return contract.is_some();
        }
        let secret = presented.secret.as_deref().unwrap_or_default();
        // Compared even where there is nobody to compare with, for the time that it takes.
        let expected = contract.map_or("", Secret::expose);
        same(expected.as_bytes(), secret) & contract.is_some()
    }

    fn reject(&self, body: &'static str) -> Step {
        let challenge = match self.origin {
            ClientIdEnforcement::BasicHeader => BASIC_CHALLENGE,
            ClientIdEnforcement::Expressions { .. } => CUSTOM_CHALLENGE,
        };
        let refusal = Answer::refusal(Reason::AuthenticationFailed, Body::Json(body));
        Outcome::reject(refusal.with(WWW_AUTHENTICATE, challenge)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Decision;
    use crate::testing::{Request, done};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use http::HeaderName;

    fn header(name: &'static str) -> Expression {
        Expression::Header(HeaderName::from_static(name))
    }

    fn policy(origin: ClientIdEnforcement) -> ClientId {
        let contract = |id: &str, secret: &str| Contract { client_id: id.to_owned(), secret: Secret::new(secret) };
        ClientId::new(&origin, &[contract("mobile", "s3cret"), contract("web", "other")])
    }

    fn custom(secret: Option<Expression>) -> ClientId {
        policy(ClientIdEnforcement::Expressions { id: header("client_id"), secret })
    }

    fn consumer(outcome: Outcome) -> Result<String, (&'static str, HeaderValue)> {
        match (outcome.decision, outcome.effects.identity) {
            (Decision::Continue, Some(who)) if who.kind() == AuthKind::ClientId => {
                Ok(String::from_utf8(who.consumer().to_vec()).unwrap())
            }
            (Decision::Reject(rejection), None) => {
                assert_eq!((rejection.status.as_u16(), rejection.reason), (401, Reason::AuthenticationFailed));
                let Body::Json(body) = rejection.body else { panic!("not the body of Flex") };
                Err((body, rejection.headers[0].1.clone()))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_client_with_a_contract_is_known_and_its_secret_goes_no_further() {
        let mut request = Request::get("/").with("client_id", "mobile").with("client_secret", "s3cret");
        let decision = done(custom(Some(header("client_secret"))).on_request(&mut request.view()));
        assert_eq!(consumer(decision).unwrap(), "mobile");
        assert_eq!(request.headers.iter().map(|field| field.name).collect::<Vec<_>>(), [b"client_id"]);
    }

    #[test]
    fn everybody_else_is_401_in_the_words_of_flex() {
        let policy = custom(Some(header("client_secret")));
        let custom = HeaderValue::from_static("Client-ID-Enforcement");
        for (id, secret, body) in [
            (None, None, MISSING),
            (None, Some("s3cret"), MISSING),
            (Some(""), Some("s3cret"), MISSING),
            (Some("mobile"), None, WRONG),
            (Some("mobile"), Some(""), WRONG),
            (Some("mobile"), Some("other"), WRONG),
            (Some("mobile"), Some("s3cretx"), WRONG),
            (Some("nobody"), Some("s3cret"), WRONG),
            (Some("nobody"), Some(""), WRONG),
            (Some("nobody"), None, WRONG),
        ] {
            let mut request = Request::get("/");
            for (name, value) in [("client_id", id), ("client_secret", secret)] {
                request = value.into_iter().fold(request, |request, value| request.with(name, value));
            }
            let decision = done(policy.on_request(&mut request.view()));
            assert_eq!(consumer(decision), Err((body, custom.clone())), "{id:?} {secret:?}");
        }
    }

    #[test]
    fn the_id_alone_may_be_enough() {
        let mut request = Request::get("/").with("client_id", "web");
        assert_eq!(consumer(done(custom(None).on_request(&mut request.view()))).unwrap(), "web");
        let mut request = Request::get("/").with("client_id", "nobody");
        assert!(consumer(done(custom(None).on_request(&mut request.view()))).is_err());
        let by_query = policy(ClientIdEnforcement::Expressions {
            id: Expression::QueryParam("id".to_owned()),
            secret: Some(Expression::QueryParam("key".to_owned())),
        });
        let mut request = Request::get("/?key=s%33cret&id=mobile");
        assert_eq!(consumer(done(by_query.on_request(&mut request.view()))).unwrap(), "mobile");
    }

    #[test]
    fn as_user_and_password() {
        let policy = policy(ClientIdEnforcement::BasicHeader);
        let decide = |credentials: &str| {
            let value = format!("Basic {}", STANDARD.encode(credentials));
            let mut request = Request::get("/").with("authorization", &value);
            let decision = done(policy.on_request(&mut request.view()));
            (consumer(decision), request.headers.len())
        };
        assert_eq!(decide("mobile:s3cret"), (Ok("mobile".to_owned()), 0));
        for (credentials, body) in
            [("mobile:x", WRONG), ("nobody:s3cret", WRONG), ("mobile", MISSING), (":s3cret", MISSING)]
        {
            assert_eq!(decide(credentials), (Err((body, BASIC_CHALLENGE)), 1), "{credentials}");
        }
    }
}
