//! The expressions that a policy may ask a request for: five forms of DataWeave's, and no others.
//!
//! What they answer is in the policies crate. Anything else is refused at load: an expression that is silently taken
//! for a text would switch a policy off.

use std::fmt;

use http::HeaderName;

use crate::read::{Cursor, show};

/// Something that a request has, or has not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expression {
    /// `#[attributes.headers['x']]`: the first value of a header, whatever its case.
    Header(HeaderName),
    /// `#[attributes.queryParams['x']]`: the first value of a parameter, decoded.
    QueryParam(String),
    /// `#[attributes.method]`.
    Method,
    /// `#[attributes.requestPath]`: the path without its query, as it is routed.
    RequestPath,
    /// `#[attributes.remoteAddress]`: the address of the client, as the event has it, without a port. That of the
    /// connection, or what a peer of `trustedPeers` says.
    RemoteAddress,
}

const CURE: &str = "write `#[attributes.headers['name']]`, `#[attributes.queryParams['name']]`, `#[attributes.method]`, \
                    `#[attributes.requestPath]` or `#[attributes.remoteAddress]`";

impl Expression {
    pub(crate) fn read(at: &Cursor<'_>) -> Option<Self> {
        let text = at.filled()?;
        Self::parse(&text).or_else(|| {
            at.refuse(format!("`{}` is no expression that this version of weir knows; {CURE}", show(&text)))
        })
    }
}

impl Expression {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        parse(text)
    }
}

/// As it is written.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "#[attributes.headers['{name}']]"),
            Self::QueryParam(name) => write!(f, "#[attributes.queryParams['{name}']]"),
            Self::Method => f.write_str("#[attributes.method]"),
            Self::RequestPath => f.write_str("#[attributes.requestPath]"),
            Self::RemoteAddress => f.write_str("#[attributes.remoteAddress]"),
        }
    }
}

fn parse(text: &str) -> Option<Expression> {
    let inner = text.trim().strip_prefix("#[")?.strip_suffix(']')?.trim();
    let attribute = inner.strip_prefix("attributes.")?;
    match attribute {
        "method" => Some(Expression::Method),
        "requestPath" => Some(Expression::RequestPath),
        "remoteAddress" => Some(Expression::RemoteAddress),
        _ => {
            if let Some(rest) = attribute.strip_prefix("headers") {
                return HeaderName::try_from(key(rest)?).ok().map(Expression::Header);
            }
            key(attribute.strip_prefix("queryParams")?).map(|name| Expression::QueryParam(name.to_owned()))
        }
    }
}

/// `['name']` or `["name"]`, of a name without quotes.
fn key(text: &str) -> Option<&str> {
    let quoted = text.strip_prefix('[')?.strip_suffix(']')?.trim();
    let single = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let name = single.or_else(|| quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')))?;
    (!name.is_empty() && !name.contains(['\'', '"', '\\'])).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_forms() {
        let header = Expression::Header(HeaderName::from_static("client_id"));
        assert_eq!(parse("#[attributes.headers['client_id']]"), Some(header.clone()));
        assert_eq!(parse(" #[ attributes.headers[\"Client_Id\"] ] "), Some(header));
        assert_eq!(parse("#[attributes.queryParams['a b']]"), Some(Expression::QueryParam("a b".to_owned())));
        assert_eq!(parse("#[attributes.method]"), Some(Expression::Method));
        assert_eq!(parse("#[attributes.requestPath]"), Some(Expression::RequestPath));
        assert_eq!(parse("#[attributes.remoteAddress]"), Some(Expression::RemoteAddress));
    }

    #[test]
    fn and_no_others() {
        for text in [
            "client_id",
            "attributes.method",
            "#[attributes.method",
            "#[]",
            "#[attributes.requestUri]",
            "#[attributes.headers.client_id]",
            "#[attributes.headers['a'] ++ attributes.headers['b']]",
            "#[attributes.headers['a' ++ 'b']]",
            "#[attributes.headers['']]",
            "#[attributes.headers['a b']]",
            "#[attributes.headers['a\"]]",
            "#[attributes.headers['a'] default 'x']",
            "#[authentication.clientId]",
            "#[payload]",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
