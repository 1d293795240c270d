//! The policies that can be bound: one file a policy, and the catalogue of their names.
//!
//! A policy here is its checked configuration. What it decides is in the policies crate.

mod http_basic_authentication;

pub use http_basic_authentication::HttpBasicAuthentication;

/// A policy with its checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub enum Policy {
    HttpBasicAuthentication(HttpBasicAuthentication),
}

impl Policy {
    /// The policy's name in YAML, in metrics and in events: `http-basic-authentication-flex`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::HttpBasicAuthentication(_) => HttpBasicAuthentication::NAME,
        }
    }
}
