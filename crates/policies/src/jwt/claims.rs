//! What a token says, and whether it holds.

use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::time::Duration;
use weir_config::policy::{JwtValidation, Mandatory};

/// How far the clocks of who signs and who checks may be apart before a token is refused as too early.
const SKEW: Duration = Duration::from_secs(10);

/// The claims of a token whose signature is verified.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// Whether all that the configuration asks for is so at `now`, a time since the Unix epoch.
    pub(super) fn hold(&self, spec: &JwtValidation, now: Duration) -> bool {
        let Mandatory { audience, expiration, not_before } = spec.mandatory;
        self.time("exp", expiration, |until| now.as_secs_f64() < until)
            && self.time("nbf", not_before, |from| (now + SKEW).as_secs_f64() >= from)
            && self.is_for(&spec.audiences, audience)
            && spec.claims.iter().all(|claim| match self.shown(&claim.name) {
                Some(value) => value == claim.value,
                None => !claim.mandatory,
            })
    }

    /// A time that is there must be one (RFC 7519 2, NumericDate), and hold.
    fn time(&self, name: &str, mandatory: bool, holds: impl Fn(f64) -> bool) -> bool {
        match self.0.get(name) {
            None => !mandatory,
            Some(value) => value.as_f64().is_some_and(holds),
        }
    }

    /// RFC 7519 4.1.3: one text, or several.
    fn is_for(&self, audiences: &[String], mandatory: bool) -> bool {
        let Some(value) = self.0.get("aud") else { return !mandatory };
        let is_known = |value: &Value| value.as_str().is_some_and(|name| audiences.iter().any(|known| known == name));
        match value {
            _ if audiences.is_empty() => true,
            Value::Array(names) => names.iter().any(is_known),
            value => is_known(value),
        }
    }

    /// A claim that is a text of at least one character.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// A claim as text: of a number, a list and the rest, its JSON.
    pub(super) fn shown(&self, name: &str) -> Option<Cow<'_, str>> {
        Some(match self.0.get(name)? {
            Value::String(text) => Cow::Borrowed(text),
            other => Cow::Owned(other.to_string()),
        })
    }
}
