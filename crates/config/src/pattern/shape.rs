//! Recognises patterns that need no regular expression.
//!
//! Only what is certain: everything else is [`Shape::Other`] and keeps its regex.

/// What a pattern's text says, where it is one of the usual shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// `a`, `a|b`: one of these texts.
    OneOf(Vec<String>),
    /// `a.*`: begins with this text.
    Prefix(String),
    /// `a(b.*)`: begins with `a` and `b`, and the group is what follows `a`. `a(b.*)?` also matches `a` alone.
    Tail { before: String, after: String, optional: bool },
    /// None of these: only the regular expression says what it matches.
    Other,
}

impl Shape {
    pub(super) fn of(source: &str) -> Self {
        one_of(source).or_else(|| prefix(source)).or_else(|| tail(source)).unwrap_or(Self::Other)
    }
}

fn one_of(source: &str) -> Option<Shape> {
    source.split('|').map(literal).collect::<Option<Vec<_>>>().map(Shape::OneOf)
}

fn prefix(source: &str) -> Option<Shape> {
    source.strip_suffix(".*").and_then(literal).map(Shape::Prefix)
}

fn tail(source: &str) -> Option<Shape> {
    let (source, optional) = match source.strip_suffix('?') {
        Some(source) => (source, true),
        None => (source, false),
    };
    let (before, group) = source.strip_suffix(".*)")?.split_once('(')?;
    Some(Shape::Tail { before: literal(before)?, after: literal(group)?, optional })
}

/// The text that `source` stands for, if it stands for one only. `\.` is a dot; other escapes are left to the regex.
fn literal(source: &str) -> Option<String> {
    let mut text = String::with_capacity(source.len());
    let mut chars = source.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                match chars.next()? {
                    c @ ('.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' | '\\' | '/'
                    | '-') => text.push(c),
                    _ => return None,
                }
            }
            '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            c => text.push(c),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let one_of = |texts: &[&str]| Shape::OneOf(texts.iter().map(|text| (*text).to_owned()).collect());
        let tail =
            |before: &str, after: &str, optional| Shape::Tail { before: before.into(), after: after.into(), optional };
        for (source, shape) in [
            ("/cats", one_of(&["/cats"])),
            ("", one_of(&[""])),
            ("GET|POST", one_of(&["GET", "POST"])),
            (r"/v1\.0", one_of(&["/v1.0"])),
            (".*", Shape::Prefix(String::new())),
            ("/cats/.*", Shape::Prefix("/cats/".into())),
            ("/cats(/.*)", tail("/cats", "/", false)),
            ("(/.*)", tail("", "/", false)),
            ("/cats(/.*)?", tail("/cats", "/", true)),
        ] {
            assert_eq!(Shape::of(source), shape, "{source}");
        }
        for source in [
            "/a|/b.*",
            "/a(?:/.*)",
            "/a(/.*)|b",
            "(/a)(/.*)",
            r"/\d",
            "/a+",
            "/a(/.*)??",
            "a(?i).*",
            "/a(.)/b(.*)",
            r"a\.*",
            r"/a\(/.*)",
            "/a.?",
        ] {
            assert_eq!(Shape::of(source), Shape::Other, "{source}");
        }
    }
}
