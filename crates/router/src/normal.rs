//! The one spelling of a path, made once and used for routing, for the rules of policies and for what is forwarded: two
//! spellings of one path must not be let in by one rule and kept out by another.
//!
//! RFC 3986 6.2.2, and one step more: escapes of unreserved characters are undone and the others written in capitals,
//! what may not stand in a path is escaped, dot segments are resolved, and slashes that follow each other are one. An escaped slash (`%2F`) is *not* a slash: it
//! is data within a segment, here and for the upstream. What no upstream should be asked to understand is refused.

use std::borrow::Cow;

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    Escape,
    Nul,
    Backslash,
    AboveRoot,
}

impl PathError {
    /// For the client.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Escape => "the path has a percent sign that begins no escape",
            Self::Nul => "the path has a NUL",
            Self::Backslash => "the path has a backslash",
            Self::AboveRoot => "the path leads above the root",
        }
    }
}

/// The normal form of `path`, which begins with a slash; borrowed where it is that already. Anything else, such as the
/// `*` of OPTIONS, is left alone.
pub fn normalize(path: &str) -> Result<Cow<'_, str>, PathError> {
    if !path.starts_with('/') || is_plain(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let unescaped = unescape(path.as_bytes())?;
    let normal = resolve(&unescaped)?;
    // Bytes beyond ASCII only ever pass through as they came.
    Ok(match String::from_utf8(normal) {
        Ok(normal) if normal != path => Cow::Owned(normal),
        _ => Cow::Borrowed(path),
    })
}

/// Nothing in it can need a change: no escape, no backslash, no two slashes, no segment that begins with a dot.
fn is_plain(path: &[u8]) -> bool {
    let mut after_slash = false;
    path.iter().all(|byte| {
        let plain = match byte {
            b'/' | b'.' => !after_slash,
            byte => may_stand(*byte),
        };
        after_slash = *byte == b'/';
        plain
    })
}

fn unescape(path: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            0 => return Err(PathError::Nul),
            b'\\' => return Err(PathError::Backslash),
            b'%' => {
                let (digits, after) = rest.split_at_checked(2).ok_or(PathError::Escape)?;
                let byte = hex(digits[0]).zip(hex(digits[1])).map(|(high, low)| high * 16 + low);
                rest = after;
                match byte.ok_or(PathError::Escape)? {
                    0 => return Err(PathError::Nul),
                    byte if is_unreserved(byte) => out.push(byte),
                    _ => out.extend([b'%', digits[0].to_ascii_uppercase(), digits[1].to_ascii_uppercase()]),
                }
            }
            byte if *byte == b'/' || may_stand(*byte) => out.push(*byte),
            byte => out.extend([b'%', digit(byte >> 4), digit(byte & 15)]),
        }
    }
    Ok(out)
}

fn digit(value: u8) -> u8 {
    b"0123456789ABCDEF"[usize::from(value & 15)]
}

/// A character of a segment as it is (RFC 3986 3.3, `pchar` without escapes).
fn may_stand(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@".contains(&byte)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Dot segments (RFC 3986 5.2.4) and slashes that follow each other.
fn resolve(path: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut segments = path[1..].split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"" | b"." => {}
            b".." => {
                let parent = out.iter().rposition(|byte| *byte == b'/').ok_or(PathError::AboveRoot)?;
                out.truncate(parent);
            }
            segment => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
        // A path that ended with a slash, or with what stands for one, still does.
        if last && matches!(segment, b"" | b"." | b"..") {
            out.push(b'/');
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/...", "/a/..."),
            ("//", "/"),
            ("//a///b//", "/a/b/"),
            ("/a/./b/.", "/a/b/"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/..", "/"),
            ("/a//../b", "/b"),
            ("/%61dmin", "/admin"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/%2e/b", "/a/b"),
            ("/a%2fb", "/a%2Fb"),
            ("/a/..%2fb", "/a/..%2Fb"),
            ("/a%5cb", "/a%5Cb"),
            ("/%252e%252e/b", "/%252e%252e/b"),
            ("/a%20b%c3%a9", "/a%20b%C3%A9"),
            ("/a;x=..;/b", "/a;x=..;/b"),
            ("/\u{e9}", "/%C3%A9"),
            ("/{a}|\"b\"", "/%7Ba%7D%7C%22b%22"),
            ("/a:b@c%3Ad", "/a:b@c%3Ad"),
            ("*", "*"),
            ("", ""),
        ] {
            let normal = normalize(path).unwrap();
            assert_eq!(normal, expected, "{path}");
            assert!(matches!(normalize(&normal), Ok(Cow::Borrowed(_))), "{path}: normal is normal");
        }
    }

    #[test]
    fn what_nobody_should_be_asked_to_understand() {
        for (path, error) in [
            ("/..", PathError::AboveRoot),
            ("/a/../..", PathError::AboveRoot),
            ("/%2e%2e/etc", PathError::AboveRoot),
            ("/a%", PathError::Escape),
            ("/a%2", PathError::Escape),
            ("/a%zz", PathError::Escape),
            ("/a%+1", PathError::Escape),
            ("/a%00b", PathError::Nul),
            ("/a\0b", PathError::Nul),
            ("/a\\..\\b", PathError::Backslash),
        ] {
            assert_eq!(normalize(path), Err(error), "{path}");
        }
    }
}
