//! Rules: the conditions under which a route or a policy applies. Compiled here, matched by the router.

mod shape;

use http::HeaderName;
use regex::{Regex, RegexBuilder};
use std::sync::{Arc, OnceLock};
use thiserror::Error;

pub use shape::Shape;

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
/// Linear time whatever the text (no back-references, no look-around), at most 1 MiB compiled. A pattern of one of the
/// usual shapes is certain to compile, and is compiled only if somebody asks for its regular expression: that is most of
/// the time and memory of a load with thousands of routes. Clones share what is compiled.
#[derive(Debug, Clone)]
pub struct Pattern(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: String,
    ignores_case: bool,
    shape: Shape,
    regex: OnceLock<Regex>,
}

/// Two patterns are equal when they are written the same.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (self.source(), self.ignores_case()) == (other.source(), other.ignores_case())
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
/// A pattern of one of the usual shapes that is no longer than this, in bytes, compiles to far less than the limit.
const SURE: usize = 1024;

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
        &self.0.source
    }

    /// Whether it was made by [`Pattern::ignoring_case`].
    pub fn ignores_case(&self) -> bool {
        self.0.ignores_case
    }

    /// What the text says where it is of a usual shape; always [`Shape::Other`] for text that does not fit the others.
    pub fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// The compiled pattern, anchored at both ends. Its capture groups are those of the source, from 1.
    pub fn regex(&self) -> &Regex {
        let compiled = || anchored(&self.0.source, self.0.ignores_case);
        self.0.regex.get_or_init(|| compiled().expect("a short pattern of a usual shape compiles"))
    }

    /// Whether the whole of `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex().is_match(text)
    }

    fn compile(source: &str, ignores_case: bool) -> Result<Self, PatternError> {
        let (shape, regex) = (Shape::of(source), OnceLock::new());
        if shape == Shape::Other || source.len() > SURE {
            // Parsed alone first: `a)(b` is wrong, though the anchors around it would make it right.
            regex_syntax::parse(source).map_err(|error| explain(source, &error.to_string()))?;
            let compiled = anchored(source, ignores_case).map_err(|error| match error {
                regex::Error::CompiledTooBig(limit) => {
                    let message = format!("compiles to more than {limit} bytes; make it simpler");
                    PatternError { column: None, message }
                }
                error => explain(source, &error.to_string()),
            })?;
            drop(regex.set(compiled));
        }
        Ok(Self(Arc::new(Inner { source: source.to_owned(), ignores_case, shape, regex })))
    }
}

fn anchored(source: &str, ignores_case: bool) -> Result<Regex, regex::Error> {
    let anchored = format!(r"\A(?:{source})\z");
    RegexBuilder::new(&anchored).case_insensitive(ignores_case).size_limit(SIZE_LIMIT).build()
}

/// `regex` draws a picture over several lines: keep its sentence, and the column of its mark.
fn explain(source: &str, text: &str) -> PatternError {
    let sentence = text.lines().last().unwrap_or(text).trim().trim_start_matches("error: ").to_owned();
    let mark = text.lines().find(|line| line.trim_start().starts_with('^')).and_then(|line| line.find('^'));
    // The picture is indented by four blanks; a pattern of several lines has another picture, without a usable mark.
    let column = mark.filter(|_| !source.contains('\n')).map(|at| at.saturating_sub(4) + 1);
    PatternError { column, message: fix(&sentence) }
}

fn fix(sentence: &str) -> String {
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
    fn a_usual_shape_is_compiled_when_asked_for() {
        for source in ["/cats", "/cats/.*", "/cats(/.*)?", "GET|POST", r"/v1\.0", ""] {
            let pattern = Pattern::new(source).unwrap();
            assert!(pattern.0.regex.get().is_none(), "{source}");
            assert_eq!(pattern.regex().as_str(), format!(r"\A(?:{source})\z"));
        }
        // The longest that is not compiled at once, of characters of which each is four bytes, and in any case.
        let longest = "\u{10428}".repeat(SURE / 4);
        for pattern in [Pattern::new(&longest).unwrap(), Pattern::ignoring_case(&longest).unwrap()] {
            assert!(pattern.0.regex.get().is_none() && pattern.is_match(&longest));
        }
        assert!(Pattern::new(r"/\d").unwrap().0.regex.get().is_some());
        assert!(Pattern::new(&"x".repeat(1 << 20)).unwrap_err().message.contains("simpler"));
    }

    #[test]
    fn hosts_have_no_case() {
        assert!(Pattern::ignoring_case("api[.]example").unwrap().is_match("API.Example"));
    }
}
