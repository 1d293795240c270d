//! Matching paths, and what they are forwarded as.

use std::borrow::Cow;

use bytes::BufMut;
use regex::Regex;
use smallvec::{SmallVec, smallvec};
use weir_config::{Pattern, Shape};

/// The pieces of a path, borrowed from the request. More than four capture groups allocate.
pub(crate) type Pieces<'a> = SmallVec<[&'a str; 4]>;

/// A compiled path [`Pattern`]. Full match.
#[derive(Debug, Clone)]
pub(crate) enum PathMatcher {
    Any,
    OneOf(Vec<Box<str>>),
    Prefix(Box<str>),
    /// The text begins with `literal`; what is forwarded begins at `tail`, which is within it. If `optional`, the
    /// first `tail` bytes of it are also enough, and nothing is forwarded.
    Tail {
        literal: Box<str>,
        tail: usize,
        optional: bool,
    },
    /// Without capture groups.
    Regex(Regex),
    /// With capture groups.
    Rewriting(Regex),
}

impl PathMatcher {
    pub fn compile(pattern: &Pattern) -> Self {
        match pattern.shape() {
            _ if pattern.ignores_case() => Self::of_regex(pattern.regex().clone()),
            Shape::Prefix(text) if text.is_empty() => Self::Any,
            Shape::Prefix(text) => Self::Prefix(text.as_str().into()),
            Shape::OneOf(texts) => Self::OneOf(boxed(texts)),
            Shape::Tail { before, after, optional } => {
                Self::Tail { tail: before.len(), literal: [&**before, after].concat().into(), optional: *optional }
            }
            Shape::Other => Self::of_regex(pattern.regex().clone()),
        }
    }

    /// Without any of the fast paths.
    pub fn of_regex(regex: Regex) -> Self {
        if regex.captures_len() > 1 { Self::Rewriting(regex) } else { Self::Regex(regex) }
    }

    pub fn is_match(&self, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(texts) => texts.iter().any(|known| **known == *path),
            Self::Prefix(prefix) => path.starts_with(&**prefix),
            Self::Tail { literal, tail, optional } => {
                path.starts_with(&**literal) || (*optional && *path == literal[..*tail])
            }
            Self::Regex(regex) | Self::Rewriting(regex) => regex.is_match(path),
        }
    }

    /// What of a path that matches is forwarded: all its capture groups one after the other, or all of it where the
    /// pattern has no group. A group that took no part gives nothing.
    pub fn forwarded<'a>(&self, path: &'a str) -> Pieces<'a> {
        match self {
            Self::Any | Self::OneOf(_) | Self::Prefix(_) | Self::Regex(_) => smallvec![path],
            Self::Tail { tail, .. } => smallvec![path.get(*tail..).unwrap_or_default()],
            Self::Rewriting(regex) => match regex.captures(path) {
                Some(captures) => captures.iter().skip(1).flatten().map(|group| group.as_str()).collect(),
                None => Pieces::new(),
            },
        }
    }
}

pub(crate) fn boxed(texts: &[String]) -> Vec<Box<str>> {
    texts.iter().map(|text| text.as_str().into()).collect()
}

/// The path to send upstream, without the query: written without allocation, and always beginning with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded<'a> {
    pieces: Pieces<'a>,
}

impl<'a> Forwarded<'a> {
    /// `destination` before `pieces`. Where these do not begin with a slash, one is put between: a rule such as
    /// `/api/(.*)` forwards `/x` and not `x`, and `/orders/x` and not `/ordersx`.
    pub(crate) fn new(destination: Option<&'a str>, pieces: Pieces<'a>) -> Self {
        let mut all = Pieces::new();
        all.extend(destination);
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        let mut bare = true;
        for piece in pieces {
            if bare && !piece.starts_with('/') {
                all.push("/");
            }
            bare = false;
            all.push(piece);
        }
        if all.is_empty() {
            all.push("/");
        }
        Self { pieces: all }
    }

    /// The parts, to be written one after the other.
    pub fn pieces(&self) -> impl Iterator<Item = &'a str> {
        self.pieces.iter().copied()
    }

    /// The length of all pieces, in bytes; at least 1.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }

    /// Appends the path to a buffer, such as a `BytesMut` or a `Vec<u8>`.
    pub fn append_to(&self, out: &mut impl BufMut) {
        for piece in &self.pieces {
            out.put_slice(piece.as_bytes());
        }
    }

    /// The path as one text: borrowed where it is a part of the request's, which is the usual case.
    pub fn to_cow(&self) -> Cow<'a, str> {
        match &self.pieces[..] {
            [only] => Cow::Borrowed(only),
            pieces => Cow::Owned(pieces.concat()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarded_path_begins_with_a_slash() {
        for (destination, pieces, path) in [
            (None, vec!["/a"], "/a"),
            (None, vec![], "/"),
            (None, vec![""], "/"),
            (None, vec!["a", "b"], "/ab"),
            (None, vec!["", "/a", "b"], "/ab"),
            (Some("/o"), vec![""], "/o"),
            (Some("/o"), vec!["/"], "/o/"),
            (Some("/o"), vec!["a"], "/o/a"),
            (Some("/o"), vec!["/a", "/b"], "/o/a/b"),
        ] {
            let forwarded = Forwarded::new(destination, pieces.into_iter().collect());
            let mut out = Vec::new();
            forwarded.append_to(&mut out);
            assert_eq!(forwarded.to_cow(), path);
            assert_eq!((out.as_slice(), forwarded.len()), (path.as_bytes(), path.len()));
        }
        assert!(matches!(Forwarded::new(None, smallvec!["/a"]).to_cow(), Cow::Borrowed("/a")));
    }
}
