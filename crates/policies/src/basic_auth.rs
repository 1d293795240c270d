//! `http-basic-authentication-flex`: one user and password from the configuration, asked for as RFC 7617 says.
//!
//! It decides whether `Authorization: Basic` carries exactly these credentials. It never tells which half was
//! wrong, neither in words nor in time; and it never sends the credentials on: the upstream has its own.

use crate::{Authenticated, Decision, Rejection, RequestView};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use subtle::ConstantTimeEq;
use weir_config::policy::HttpBasicAuthentication;
use weir_event::{AuthKind, Reason};

/// Credentials longer than this, in base64, are wrong without being decoded.
const MAX_ENCODED: usize = 4096;
/// The realm that Flex names.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"mule-realm\"");

/// The compiled policy.
#[derive(Debug)]
pub struct BasicAuth {
    username: Bytes,
    /// `user:password`, padded to compare at one length whatever a client sends.
    expected: Vec<u8>,
}

impl BasicAuth {
    /// From its checked configuration.
    pub fn new(spec: &HttpBasicAuthentication) -> Self {
        let username = Bytes::copy_from_slice(spec.username.as_bytes());
        let expected = format!("{}:{}", spec.username, spec.password.expose()).into_bytes();
        Self { username, expected }
    }

    /// The request side.
    pub fn on_request(&self, request: &mut RequestView<'_>) -> Decision {
        let presented = request.headers.get(AUTHORIZATION).and_then(decode);
        match presented {
            Some(presented) if self.holds(&presented) => {
                request.headers.remove(AUTHORIZATION);
                Decision::Identified(Authenticated::new(self.username.clone(), AuthKind::Basic))
            }
            Some(_) => reject("the credentials are not right"),
            None => reject("credentials are missing: send `Authorization: Basic`"),
        }
    }

    /// In a time that depends on what the client sent and not on what is expected.
    fn holds(&self, presented: &[u8]) -> bool {
        let mut padded = vec![0; presented.len()];
        let shared = self.expected.len().min(presented.len());
        padded[..shared].copy_from_slice(&self.expected[..shared]);
        let same_length = (self.expected.len() as u64).ct_eq(&(presented.len() as u64));
        (padded.ct_eq(presented) & same_length).into()
    }
}

/// The scheme's name has no case (RFC 9110 11.1); exactly one header line counts.
fn decode(value: &HeaderValue) -> Option<Vec<u8>> {
    let value = value.as_bytes();
    let (scheme, encoded) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") || encoded.len() > MAX_ENCODED {
        return None;
    }
    STANDARD.decode(encoded.trim_ascii()).ok()
}

fn reject(detail: &'static str) -> Decision {
    Decision::Reject(Rejection {
        reason: Reason::AuthenticationFailed,
        status: Reason::AuthenticationFailed.status(),
        detail,
        header: Some((WWW_AUTHENTICATE, CHALLENGE)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method};
    use weir_config::Secret;

    fn decide(authorization: Option<&str>) -> (Decision, HeaderMap) {
        let policy =
            BasicAuth::new(&HttpBasicAuthentication { username: "chris".into(), password: Secret::new("ad:min") });
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        let decision = policy.on_request(&mut RequestView { method: &Method::GET, path: "/", headers: &mut headers });
        (decision, headers)
    }

    fn basic(credentials: &str) -> String {
        format!("Basic {}", STANDARD.encode(credentials))
    }

    #[test]
    fn the_right_credentials_name_the_consumer_and_go_no_further() {
        for scheme in ["Basic", "basic", "BASIC"] {
            let (decision, headers) = decide(Some(&basic("chris:ad:min").replace("Basic", scheme)));
            let Decision::Identified(who) = decision else { panic!("{scheme}: {decision:?}") };
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
            let (decision, _) = decide(Some(&value));
            let Decision::Reject(rejection) = decision else { panic!("{value}: {decision:?}") };
            assert_eq!(rejection.status, 401);
            assert_eq!(rejection.header.unwrap().1, "Basic realm=\"mule-realm\"");
        }
        assert!(matches!(decide(None).0, Decision::Reject(_)));
    }
}
