//! `rules`, of routes and of policies alike.

use http::HeaderName;

use crate::pattern::{Pattern, PatternError, Rule};
use crate::read::Cursor;

/// A list of rules; an empty one means every request.
pub(crate) fn rules(at: &Cursor<'_>) -> Option<Vec<Rule>> {
    at.items(rule)
}

fn rule(at: &Cursor<'_>) -> Option<Rule> {
    let mut fields = at.fields()?;
    fields.mean([
        (
            "path",
            "A regular expression for the path after the base path; what its groups match is the path that is sent on",
        ),
        ("methods", "A regular expression, as in `GET|POST`"),
        ("host", "A regular expression for the host, whatever its case"),
        ("headers", "By name, a regular expression for the value; all must match"),
    ]);
    let rule = Rule {
        path: fields.optional("path", |at| pattern(at, Pattern::new)),
        methods: fields.optional("methods", |at| pattern(at, Pattern::new)),
        host: fields.optional("host", |at| pattern(at, Pattern::ignoring_case)),
        headers: fields.optional("headers", |at| at.entries(header)).unwrap_or_default(),
    };
    fields.finish();
    Some(rule)
}

fn header(name: &str, at: &Cursor<'_>) -> Option<(HeaderName, Pattern)> {
    let pattern = pattern(at, Pattern::new);
    match HeaderName::try_from(name) {
        Ok(name) => Some((name, pattern?)),
        Err(_) => at.refuse("is no name of a header; use letters, digits and `-`"),
    }
}

fn pattern(at: &Cursor<'_>, compile: impl FnOnce(&str) -> Result<Pattern, PatternError>) -> Option<Pattern> {
    match compile(&at.text()?) {
        Ok(pattern) => Some(pattern),
        Err(PatternError { column: Some(column), message }) => {
            at.refuse(format!("{message}; fix the pattern at its column {column}"))
        }
        Err(PatternError { column: None, message }) => at.refuse(message),
    }
}
