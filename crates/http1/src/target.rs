//! The four forms of a request target (RFC 9112 3.2), and which of them a method may have.

use crate::error::HeadError;
use crate::host::{has_port, is_authority};
use memchr::{memchr, memchr2};

/// Bytes that are searched in less time than a call of `memchr` takes.
const SHORT: usize = 48;

/// The form of a request target (RFC 9112 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `/path?query` (3.2.1).
    #[default]
    Origin,
    /// `http://host/path?query` (3.2.2).
    Absolute,
    /// `host:port`, of CONNECT alone (3.2.3).
    Authority,
    /// `*`, of OPTIONS alone (3.2.4).
    Asterisk,
}

/// Where the parts of a target stand: offsets into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) form: Form,
    pub(crate) is_https: bool,
    /// Empty unless the target has one.
    pub(crate) authority: (usize, usize),
    pub(crate) path: (usize, usize),
    /// Behind the question mark.
    pub(crate) query: Option<(usize, usize)>,
    /// Where the target ends: a fragment, which no target has, is not a part of it.
    pub(crate) end: usize,
}

/// The parts of `target`, which has no control characters and no blanks.
pub(crate) fn target(method: &[u8], target: &[u8]) -> Result<Target, HeadError> {
    if method == b"CONNECT" {
        let whole = (0, target.len());
        let found = Target { form: Form::Authority, authority: whole, end: target.len(), ..Target::default() };
        return if is_authority(target) && has_port(target) { Ok(found) } else { Err(HeadError::Target) };
    }
    match target {
        [b'/', ..] => Ok(path_and_query(target, Target::default(), 0)),
        b"*" if method == b"OPTIONS" => Ok(Target { form: Form::Asterisk, path: (0, 1), end: 1, ..Target::default() }),
        _ => absolute(target),
    }
}

fn absolute(target: &[u8]) -> Result<Target, HeadError> {
    let scheme = |name: &[u8]| target.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    let (is_https, begin) = if scheme(b"http://") {
        (false, 7)
    } else if scheme(b"https://") {
        (true, 8)
    } else {
        return Err(HeadError::Target);
    };
    let rest = &target[begin..];
    let end = begin + rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    if !is_authority(&target[begin..end]) {
        return Err(HeadError::Host);
    }
    let found = Target { form: Form::Absolute, is_https, authority: (begin, end), ..Target::default() };
    Ok(path_and_query(target, found, end))
}

/// The path begins at `from`.
fn path_and_query(target: &[u8], mut found: Target, from: usize) -> Target {
    let path_end = end_of_path(&target[from..]).map_or(target.len(), |at| from + at);
    let end = match &target[path_end..] {
        [] => path_end,
        rest => memchr(b'#', rest).map_or(target.len(), |at| path_end + at),
    };
    found.path = (from, path_end);
    found.query = (path_end < end).then_some((path_end + 1, end));
    found.end = end;
    found
}

fn end_of_path(target: &[u8]) -> Option<usize> {
    if target.len() > SHORT {
        return memchr2(b'?', b'#', target);
    }
    target.iter().position(|byte| matches!(byte, b'?' | b'#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, text: &str) -> Result<(Form, String, String, Option<String>), HeadError> {
        let found = target(method.as_bytes(), text.as_bytes())?;
        let part = |(from, end): (usize, usize)| text[from..end].to_owned();
        Ok((found.form, part(found.authority), part(found.path), found.query.map(part)))
    }

    #[test]
    fn the_four_forms() {
        let of = |form, authority: &str, path: &str, query: Option<&str>| {
            Ok((form, authority.to_owned(), path.to_owned(), query.map(str::to_owned)))
        };
        assert_eq!(parts("GET", "/a/b?c=/d?e"), of(Form::Origin, "", "/a/b", Some("c=/d?e")));
        assert_eq!(parts("GET", "/a#b?c"), of(Form::Origin, "", "/a", None));
        assert_eq!(parts("GET", "/a?#b"), of(Form::Origin, "", "/a", Some("")));
        let long = format!("/{}", "x".repeat(100));
        assert_eq!(parts("GET", &format!("{long}?a")), of(Form::Origin, "", &long, Some("a")));
        assert_eq!(parts("GET", "//a"), of(Form::Origin, "", "//a", None));
        assert_eq!(parts("GET", "HTTP://a:80/x?y"), of(Form::Absolute, "a:80", "/x", Some("y")));
        assert_eq!(parts("GET", "https://[::1]"), of(Form::Absolute, "[::1]", "", None));
        assert_eq!(parts("GET", "http://a?y"), of(Form::Absolute, "a", "", Some("y")));
        assert_eq!(parts("CONNECT", "a:80"), of(Form::Authority, "a:80", "", None));
        assert_eq!(parts("OPTIONS", "*"), of(Form::Asterisk, "", "*", None));
        assert!(target(b"GET", b"https://a").unwrap().is_https);
        assert_eq!(target(b"GET", b"/a#b").unwrap().end, 2);
    }

    #[test]
    fn a_form_that_is_none_or_not_the_methods() {
        for (method, text) in [
            ("GET", "*"),
            ("GET", "a:80"),
            ("GET", "a/b"),
            ("GET", "ftp://a/"),
            ("GET", "http:/a"),
            ("GET", "?a"),
            ("CONNECT", "/"),
            ("CONNECT", "a"),
            ("CONNECT", "http://a:80/"),
            ("CONNECT", "u@a:80"),
        ] {
            assert_eq!(parts(method, text), Err(HeadError::Target), "{method} {text}");
        }
        for text in ["http://u:p@a/", "http:///x", "http://", "http://a:x/", "https://a b"] {
            assert_eq!(parts("GET", text), Err(HeadError::Host), "{text}");
        }
    }
}
