//! `http-basic-authentication-flex`: one name and one password for the whole API.

use serde_json::{Value, json};

use super::PolicySpec;
use crate::read::Cursor;
use crate::units::Secret;
use crate::view::REDACTED;

/// What a request must present in `Authorization: Basic`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpBasicAuthentication {
    /// Without a colon, which RFC 7617 could not carry.
    pub username: String,
    pub password: Secret,
}

impl HttpBasicAuthentication {
    /// A name that basic authentication can carry.
    pub(super) fn read_username(at: &Cursor<'_>) -> Option<String> {
        let name = at.filled()?;
        if name.contains(':') {
            at.refuse("contains `:`, which basic authentication cannot carry; remove it")
        } else {
            Some(name)
        }
    }
}

impl PolicySpec for HttpBasicAuthentication {
    const NAME: &'static str = "http-basic-authentication-flex";

    fn read(at: &Cursor<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        let username = fields.required("username", Self::read_username);
        let password = fields.required("password", Cursor::secret);
        fields.finish();
        Some(Self { username: username?, password: password? })
    }

    fn view(&self) -> Value {
        let Self { username, password: _ } = self;
        json!({"username": username, "password": REDACTED})
    }

    fn secrets(&self) -> Vec<&str> {
        vec![self.password.expose()]
    }

    fn identifies(&self) -> bool {
        true
    }
}
