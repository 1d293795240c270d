//! `credential-injection-basic-auth-flex`: what the gateway proves itself by to a service.
//!
//! Bound to a `Service`: it is no policy of an API's chain but of each attempt.

use http::HeaderName;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::{HttpBasicAuthentication, PolicySpec, headers};
use crate::read::Cursor;
use crate::units::Secret;
use crate::view::REDACTED;

/// Credentials that requests to a service carry (RFC 7617).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialInjection {
    /// Without a colon, which RFC 7617 could not carry.
    pub username: String,
    pub password: Secret,
    /// The field that they are in (`customHeader`). Default `authorization`.
    pub header: HeaderName,
    /// Whether they take the place of what the request has there. Default true.
    pub overwrite: bool,
}

impl PolicySpec for CredentialInjection {
    const NAME: &'static str = "credential-injection-basic-auth-flex";
    const IS_OUTBOUND: bool = true;

    fn read(at: &Cursor<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        let username = fields.required("username", HttpBasicAuthentication::read_username);
        let password = fields.required("password", Cursor::secret);
        let overwrite = fields.optional("overwrite", Cursor::boolean);
        let header = fields.take("customHeader");
        let header = header.map_or(Some(AUTHORIZATION), |at| field(&at));
        fields.finish();
        Some(Self { username: username?, password: password?, header: header?, overwrite: overwrite.unwrap_or(true) })
    }

    fn view(&self) -> Value {
        let Self { username, password: _, header, overwrite } = self;
        json!({"username": username, "password": REDACTED, "header": header.as_str(), "overwrite": overwrite})
    }

    fn secrets(&self) -> Vec<&str> {
        vec![self.password.expose()]
    }
}

fn field(at: &Cursor<'_>) -> Option<HeaderName> {
    let name =
        at.parse(|text| HeaderName::try_from(text.to_ascii_lowercase()), "write a name, as in `x-credentials`")?;
    match headers::owner(&name) {
        Some(owner) => at.refuse(format!("{owner}; write another field")),
        None => Some(name),
    }
}
