//! What an expression of a policy says of a request.

use crate::RequestView;
use std::borrow::Cow;
use weir_config::Expression;

/// The value, or none where the request has no such thing.
pub(crate) fn evaluate<'a>(expression: &Expression, request: &'a RequestView<'_>) -> Option<Cow<'a, [u8]>> {
    match expression {
        Expression::Header(name) => request.headers.get(name).map(Cow::Borrowed),
        Expression::QueryParam(name) => query_param(request.query?, name),
        Expression::Method => Some(Cow::Borrowed(request.method.as_str().as_bytes())),
        Expression::RequestPath => Some(Cow::Borrowed(request.path.as_bytes())),
        Expression::RemoteAddress => Some(Cow::Owned(request.client.to_string().into_bytes())),
    }
}

fn query_param<'a>(query: &'a str, name: &str) -> Option<Cow<'a, [u8]>> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (_, value) = pairs.find(|(key, _)| key == name)?;
    Some(match value {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Request;
    use http::HeaderName;

    #[test]
    fn of_each_form() {
        let mut request = Request::get("/a/b?x=1%202&x=3&y=&%7A=z").with("x-key", "k").with("x-key", "l");
        let view = request.view();
        let value = |expression| evaluate(&expression, &view).map(Cow::into_owned);
        let param = |name: &str| value(Expression::QueryParam(name.to_owned()));
        assert_eq!(value(Expression::Header(HeaderName::from_static("x-key"))).unwrap(), b"k");
        assert_eq!(value(Expression::Header(HeaderName::from_static("x-none"))), None);
        assert_eq!(param("x").unwrap(), b"1 2");
        assert_eq!(param("y").unwrap(), b"");
        assert_eq!(param("z").unwrap(), b"z");
        assert_eq!(param("none"), None);
        assert_eq!(value(Expression::Method).unwrap(), b"GET");
        assert_eq!(value(Expression::RequestPath).unwrap(), b"/a/b");
        assert_eq!(value(Expression::RemoteAddress).unwrap(), b"192.0.2.1");
    }
}
