//! `http-basic-authentication-flex`: one name and one password for the whole API.

use crate::units::Secret;

/// What a request must present in `Authorization: Basic`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpBasicAuthentication {
    pub username: String,
    pub password: Secret,
}

impl HttpBasicAuthentication {
    /// Flex's name for it.
    pub const NAME: &'static str = "http-basic-authentication-flex";
}
