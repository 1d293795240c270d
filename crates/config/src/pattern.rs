//! Rules: the conditions under which a route or a policy applies. Compiled here, matched by the router.

use http::HeaderName;
use regex::{Regex, RegexBuilder};
use thiserror::Error;

/// One entry of a `rules` list. All of its conditions must hold; one that is absent always holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rule {
    /// Against the path after the base path, without the query. Capture groups rewrite the forwarded path.
    pub path: Option<Pattern>,
    /// Against the method, such as `GET|POST`.
    pub methods: Option<Pattern>,
    /// Against the host, whatever its case.
    pub host: Option<Pattern>,
    /// Each against some value of that header.
    pub headers: Vec<(HeaderName, Pattern)>,
}

/// A regular expression that must match the *whole* text: `/cats` does not match `/cats/1`.
///
/// Linear time whatever the text (no back-references, no look-around), at most 1 MiB compiled.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: String,
    ignores_case: bool,
    regex: Regex,
}

/// Two patterns are equal when they are written the same.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (&self.source, self.ignores_case) == (&other.source, other.ignores_case)
    }
}

/// Why a pattern is refused, with the column (from 1, in characters) within it where that is known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct PatternError {
    pub column: Option<usize>,
    pub message: String,
}

/// The most that one compiled pattern may take, in bytes.
const SIZE_LIMIT: usize = 1 << 20;

impl Pattern {
    /// Compiles `source`, case-sensitive.
    ///
    /// # Errors
    /// A syntax error, or a pattern that compiles to more than 1 MiB.
    pub fn new(source: &str) -> Result<Self, PatternError> {
        Self::compile(source, false)
    }

    /// Compiles `source` for host names, which have no case.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn ignoring_case(source: &str) -> Result<Self, PatternError> {
        Self::compile(source, true)
    }

    /// The pattern as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it was made by [`Pattern::ignoring_case`].
    pub fn ignores_case(&self) -> bool {
        self.ignores_case
    }

    /// The compiled pattern, anchored at both ends. Its capture groups are those of the source, from 1.
    pub fn regex(&self) -> &Regex {
        &self.regex
    }

    /// Whether the whole of `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    fn compile(source: &str, ignore_case: bool) -> Result<Self, PatternError> {
        let build = |text: &str| RegexBuilder::new(text).case_insensitive(ignore_case).size_limit(SIZE_LIMIT).build();
        // Alone first: `a)(b` is wrong, though the anchors around it would make it right.
        build(source).map_err(|error| explain(source, &error))?;
        let regex = build(&format!(r"\A(?:{source})\z")).map_err(|error| explain(source, &error))?;
        Ok(Self { source: source.to_owned(), ignores_case: ignore_case, regex })
    }
}

/// `regex` draws a picture over several lines: keep its sentence, and the column of its mark.
fn explain(source: &str, error: &regex::Error) -> PatternError {
    let text = error.to_string();
    if let regex::Error::CompiledTooBig(limit) = error {
        return PatternError { column: None, message: format!("compiles to more than {limit} bytes; make it simpler") };
    }
    let sentence = text.lines().last().unwrap_or(&text).trim().trim_start_matches("error: ").to_owned();
    let mark = text.lines().find(|line| line.trim_start().starts_with('^')).and_then(|line| line.find('^'));
    // The picture is indented by four blanks; a pattern of several lines has another picture, without a usable mark.
    let column = mark.filter(|_| !source.contains('\n')).map(|at| at.saturating_sub(4) + 1);
    PatternError { column, message: cure(&sentence) }
}

fn cure(sentence: &str) -> String {
    if sentence.contains("look-around") {
        "look-around such as `(?!…)` is not supported yet by this version of weir; write the paths that should match"
            .to_owned()
    } else if sentence.contains("backreferences") {
        "back-references are not supported; write the text twice".to_owned()
    } else {
        sentence.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_whole_text_only() {
        let pattern = Pattern::new("a|ab").unwrap();
        assert!(pattern.is_match("ab") && pattern.is_match("a"));
        assert!(!pattern.is_match("abc") && !pattern.is_match("xa"));
    }

    #[test]
    fn says_where_a_mistake_is() {
        let error = Pattern::new("/api(/.*").unwrap_err();
        assert_eq!(error, PatternError { column: Some(5), message: "unclosed group".to_owned() });
        assert!(Pattern::new("a)(b").is_err());
        assert!(Pattern::new("(?!x)").unwrap_err().message.contains("not supported yet"));
        assert!(Pattern::new("(.{500}){500}").unwrap_err().message.contains("simpler"));
    }

    #[test]
    fn hosts_have_no_case() {
        assert!(Pattern::ignoring_case("api[.]example").unwrap().is_match("API.Example"));
    }
}
