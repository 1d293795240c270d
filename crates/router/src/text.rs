//! Matching methods, hosts and header values.

use regex::Regex;
use weir_config::{Pattern, Shape};

use crate::path::boxed;

/// A compiled [`Pattern`] for text that is not rewritten. Full match, as the pattern.
#[derive(Debug, Clone)]
pub(crate) enum TextMatcher {
    Any,
    OneOf(Vec<Box<str>>),
    OneOfIgnoringCase(Vec<Box<str>>),
    Prefix(Box<str>),
    Regex(Regex),
}

impl TextMatcher {
    pub fn compile(pattern: &Pattern) -> Self {
        match (pattern.shape(), pattern.ignores_case()) {
            (Shape::Prefix(text), _) if text.is_empty() => Self::Any,
            (Shape::OneOf(texts), false) => Self::OneOf(boxed(texts)),
            (Shape::OneOf(texts), true) if texts.iter().all(|text| text.is_ascii()) => {
                Self::OneOfIgnoringCase(boxed(texts))
            }
            (Shape::Prefix(text), false) => Self::Prefix(text.as_str().into()),
            _ => Self::Regex(pattern.regex().clone()),
        }
    }

    pub fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(texts) => texts.iter().any(|known| **known == *text),
            Self::OneOfIgnoringCase(texts) => texts.iter().any(|known| known.eq_ignore_ascii_case(text)),
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Regex(regex) => regex.is_match(text),
        }
    }

    /// Header values are bytes: those that are not UTF-8 match `.*` alone.
    pub fn is_match_bytes(&self, bytes: &[u8]) -> bool {
        matches!(self, Self::Any) || std::str::from_utf8(bytes).is_ok_and(|text| self.is_match(text))
    }
}
