//! `jwt-validation-flex`: only requests with a JSON Web Token (RFC 7519) that a known key has signed and that holds now.
//!
//! It decides by the signature and the claims. The algorithm is the configuration's, and a key is used for that algorithm
//! alone (RFC 8725 3.1). It does not say what is wrong with a token. It waits only for keys that were never read, or for
//! one that a token names and nobody knows yet; keys that could not be read again are used as they are.

mod claims;
mod jwks;

use crate::Services;
use crate::contract::{Answer, Authenticated, Body, Compiled, Effects, Outcome, RequestView, Stages, Step};
use crate::expression::evaluate;
use bytes::Bytes;
use claims::Claims;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use jwks::Jwks;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use weir_config::Api;
use weir_config::policy::{JwtAlgorithm, JwtKeys, JwtValidation};
use weir_event::{AuthKind, Reason};
use weir_http1::Known;

const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer");
/// Flex's own words.
const MISSING: &str = r#"{"error":"JWT Token is required."}"#;
const INVALID: &str = r#"{"error":"Invalid token."}"#;

/// The compiled policy.
#[derive(Debug)]
pub struct Jwt(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spec: JwtValidation,
    verification: Validation,
    keys: Source,
    /// The clients that have a contract with the API, where one is needed.
    clients: Option<HashSet<String>>,
}

enum Source {
    /// `None` of a key that the library does not take after all: then no token holds.
    One(Option<DecodingKey>),
    Sets(Arc<Jwks>),
}

impl Compiled for Jwt {
    type Spec = JwtValidation;
    const STAGES: Stages = Stages::REQUEST;

    fn compile(spec: &Self::Spec, _: &str, api: &Api, services: &Services) -> Self {
        let keys = match &spec.keys {
            JwtKeys::Secret(secret) => Source::One(Some(DecodingKey::from_secret(secret.expose().as_bytes()))),
            JwtKeys::Public(pem) => Source::One(match spec.algorithm {
                JwtAlgorithm::Es256 | JwtAlgorithm::Es384 => DecodingKey::from_ec_pem(pem.as_bytes()).ok(),
                _ => DecodingKey::from_rsa_pem(pem.as_bytes()).ok(),
            }),
            JwtKeys::Sets(sets) => Source::Sets(services.key_sets(sets)),
        };
        let clients = api.contracts.iter().map(|contract| contract.client_id.clone());
        let clients = spec.needs_contract.then(|| clients.collect());
        Self(Arc::new(Inner { spec: spec.clone(), verification: verification(spec.algorithm), keys, clients }))
    }

    fn on_request(&self, request: &mut RequestView<'_>) -> Step {
        let inner = &self.0;
        let Some(token) = inner.token(request) else { return refusal(StatusCode::BAD_REQUEST, MISSING).into() };
        let Some(header) = inner.header(&token) else { return invalid().into() };
        match &inner.keys {
            Source::One(key) => inner.judge(&token, key.as_ref()).into(),
            Source::Sets(sets) => match sets.keys() {
                Some(keys) if keys.has(header.kid.as_deref()) || !sets.may_be_asked(request.now) => {
                    inner.judge(&token, keys.for_token(&header, inner.verification.algorithms[0])).into()
                }
                None if !sets.may_be_asked(request.now) => no_keys().into(),
                _ => inner.when_read(sets, token, header),
            },
        }
    }
}

impl Inner {
    fn token(&self, request: &RequestView<'_>) -> Option<String> {
        let text = match &self.spec.token {
            Some(expression) => String::from_utf8(evaluate(expression, request)?.into_owned()).ok()?,
            None => {
                let value = std::str::from_utf8(request.headers.get(Known::Authorization)?).ok()?;
                let (scheme, token) = value.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())?
            }
        };
        (!text.is_empty()).then_some(text)
    }

    /// Of a token of this algorithm that asks for nothing that is not known (RFC 7515 4.1.11).
    fn header(&self, token: &str) -> Option<Header> {
        let header = decode_header(token).ok()?;
        (header.alg == self.verification.algorithms[0] && header.crit.is_none()).then_some(header)
    }

    /// With the key sets read anew: the wait for somebody else.
    fn when_read(self: &Arc<Self>, sets: &Arc<Jwks>, token: String, header: Header) -> Step {
        let (inner, sets, read) = (Arc::clone(self), Arc::clone(sets), sets.read_anew());
        Step::Wait(Box::pin(async move {
            read.await;
            match sets.keys() {
                Some(keys) => inner.judge(&token, keys.for_token(&header, inner.verification.algorithms[0])),
                None => no_keys(),
            }
        }))
    }

    /// Whether one of the keys has signed the token, and what it says is so now.
    fn judge<'k>(&self, token: &str, keys: impl IntoIterator<Item = &'k DecodingKey>) -> Outcome {
        let mut verified = keys.into_iter().filter_map(|key| decode::<Claims>(token, key, &self.verification).ok());
        let Some(claims) = verified.next().map(|verified| verified.claims) else { return invalid() };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if !claims.hold(&self.spec, now) {
            return invalid();
        }
        let client = claims.text(&self.spec.client_id);
        if self.clients.as_ref().is_some_and(|clients| client.is_none_or(|client| !clients.contains(client))) {
            return invalid();
        }
        let consumer = client.or_else(|| claims.text("sub")).unwrap_or_default();
        let identity = Authenticated::new(Bytes::copy_from_slice(consumer.as_bytes()), AuthKind::Jwt);
        Effects { identity: Some(identity), request_headers: self.forwarded(&claims), ..Effects::default() }.go_on()
    }

    /// A field that the token does not fill is taken away: nobody else may fill it.
    fn forwarded(&self, claims: &Claims) -> Vec<(HeaderName, Option<HeaderValue>)> {
        let value = |claim: &str| HeaderValue::from_bytes(claims.shown(claim)?.as_bytes()).ok();
        self.spec.forwarded.iter().map(|(claim, name)| (name.clone(), value(claim))).collect()
    }
}

/// Of the signature; the claims are looked at here.
fn verification(algorithm: JwtAlgorithm) -> Validation {
    let mut verification = Validation::new(match algorithm {
        JwtAlgorithm::Hs256 => Algorithm::HS256,
        JwtAlgorithm::Hs384 => Algorithm::HS384,
        JwtAlgorithm::Hs512 => Algorithm::HS512,
        JwtAlgorithm::Rs256 => Algorithm::RS256,
        JwtAlgorithm::Rs384 => Algorithm::RS384,
        JwtAlgorithm::Rs512 => Algorithm::RS512,
        JwtAlgorithm::Es256 => Algorithm::ES256,
        JwtAlgorithm::Es384 => Algorithm::ES384,
    });
    verification.required_spec_claims.clear();
    (verification.validate_exp, verification.validate_nbf, verification.validate_aud) = (false, false, false);
    verification
}

fn invalid() -> Outcome {
    refusal(StatusCode::UNAUTHORIZED, INVALID)
}

fn refusal(status: StatusCode, body: &'static str) -> Outcome {
    let refusal = Answer::refusal(Reason::AuthenticationFailed, Body::Json(body));
    let refusal = Answer { status, ..refusal };
    Outcome::reject(if status == StatusCode::UNAUTHORIZED {
        refusal.with(WWW_AUTHENTICATE, CHALLENGE)
    } else {
        refusal
    })
}

fn no_keys() -> Outcome {
    let body = Body::Problem("the keys that tokens are checked with could not be read; try again later");
    Outcome::reject(Answer::refusal(Reason::IdentityProviderUnavailable, body))
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::One(_) => "One",
            Self::Sets(_) => "Sets",
        })
    }
}

#[cfg(test)]
mod tests;
