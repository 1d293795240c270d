//! `credential-injection-basic-auth-flex`: the gateway's own credentials for a service (RFC 7617).
//!
//! They are put into each attempt, so that a retry at another address has them as well, and never into anything that goes
//! back to the client.

use crate::Services;
use crate::contract::{AttemptView, Compiled, Outcome, Stages, Step};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use weir_config::Api;
use weir_config::policy;

/// The compiled policy.
#[derive(Debug)]
pub struct CredentialInjection {
    header: HeaderName,
    value: HeaderValue,
    overwrite: bool,
}

impl Compiled for CredentialInjection {
    type Spec = policy::CredentialInjection;
    const STAGES: Stages = Stages::ATTEMPT;

    fn compile(spec: &Self::Spec, _: &str, _: &Api, _: &Services) -> Self {
        let credentials = format!("{}:{}", spec.username, spec.password.expose());
        let mut value =
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials))).expect("base64 is visible ASCII");
        // Over HTTP/2 it is in no table that others share (RFC 7541 7.1.3).
        value.set_sensitive(true);
        Self { header: spec.header.clone(), value, overwrite: spec.overwrite }
    }

    fn on_attempt(&self, attempt: &mut AttemptView<'_>) -> Step {
        if self.overwrite || attempt.headers.get(&self.header).is_none() {
            attempt.headers.put(&self.header, &self.value);
        }
        Outcome::go_on().into()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{attempt, fields};

    const NAME: &str = "credential-injection-basic-auth-flex";
    /// Of RFC 7617, section 2.
    const ALADDIN: &str = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";

    #[test]
    fn table() {
        let config = |more: &str| format!("{{username: Aladdin, password: open sesame{more}}}");
        let theirs = ("authorization", "Bearer theirs");
        for (more, given, expected) in [
            ("", vec![], vec![("authorization", ALADDIN)]),
            ("", vec![theirs, ("accept", "*/*")], vec![("accept", "*/*"), ("authorization", ALADDIN)]),
            (", overwrite: true", vec![theirs], vec![("authorization", ALADDIN)]),
            (", overwrite: false", vec![theirs], vec![theirs]),
            (", overwrite: false", vec![], vec![("authorization", ALADDIN)]),
            (", customHeader: X-Credentials", vec![theirs], vec![theirs, ("x-credentials", ALADDIN)]),
            (
                ", customHeader: x-credentials, overwrite: false",
                vec![("x-credentials", "a"), ("x-credentials", "b")],
                vec![("x-credentials", "a,b")],
            ),
            (", customHeader: x-credentials", vec![("x-credentials", "a")], vec![("x-credentials", ALADDIN)]),
        ] {
            assert_eq!(attempt(NAME, &config(more), &given), fields(&expected), "{more} {given:?}");
        }
    }
}
