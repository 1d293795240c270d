//! The first line of a message: request line (RFC 9112 3) and status line (RFC 9112 4).
//!
//! Read by our own code: `httparse` refuses targets that are not UTF-8 and minor versions above 1, and says of HTTP/0.9
//! and of HTTP/2 only that a byte is wrong.

use crate::error::HeadError;
use crate::grammar::{end_of_target, end_of_value, is_token_byte};

/// The version of a message. A minor version above 1 is treated as 1.1 (RFC 9110 2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

/// Where the parts of a request line stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestLine {
    pub(crate) method: usize,
    /// Of the target: it begins one byte behind the method.
    pub(crate) target_end: usize,
    pub(crate) version: Version,
    /// Behind the line's CR LF.
    pub(crate) end: usize,
}

/// What a status line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatusLine {
    pub(crate) version: Version,
    pub(crate) status: u16,
    pub(crate) reason: (usize, usize),
    pub(crate) end: usize,
}

/// The request line at the beginning of `bytes`, or `None` while it is not whole.
pub(crate) fn request_line(bytes: &[u8]) -> Result<Option<RequestLine>, HeadError> {
    let method = bytes.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(bytes.len());
    match bytes.get(method) {
        None => return Ok(None),
        Some(b' ') if method > 0 => {}
        Some(_) => return Err(HeadError::Line),
    }
    let target = method + 1;
    let target_end = target + end_of_target(&bytes[target..]);
    match bytes.get(target_end) {
        None => return Ok(None),
        Some(_) if target_end == target => return Err(HeadError::Line),
        Some(b' ') => {}
        Some(b'\r' | b'\n') => return Err(HeadError::Http09),
        Some(_) => return Err(HeadError::Target),
    }
    let rest = &bytes[target_end + 1..];
    if &bytes[..target_end] == b"PRI *" {
        match rest.strip_prefix(b"HTTP/2.0") {
            Some([b'\r', b'\n', ..]) => return Err(HeadError::Http2Preface),
            Some([] | [b'\r']) => return Ok(None),
            _ => {}
        }
    }
    let Some((version, len)) = version(rest)? else { return Ok(None) };
    let end = target_end + 1 + len;
    Ok(line_end(&bytes[end..])?.map(|len| RequestLine { method, target_end, version, end: end + len }))
}

/// The status line at the beginning of `bytes`, or `None` while it is not whole. A line without a reason may lack the
/// blank in front of it, too: so do some servers, and it can be read in one way only.
pub(crate) fn status_line(bytes: &[u8]) -> Result<Option<StatusLine>, HeadError> {
    let Some((version, len)) = version(bytes)? else { return Ok(None) };
    let Some(rest) = bytes[len..].strip_prefix(b" ") else {
        return if bytes.len() == len { Ok(None) } else { Err(HeadError::Line) };
    };
    let mut status = 0;
    for at in 0..3 {
        match rest.get(at) {
            None => return Ok(None),
            Some(digit @ b'0'..=b'9') => status = status * 10 + u16::from(digit - b'0'),
            Some(_) => return Err(HeadError::Line),
        }
    }
    if status < 100 {
        return Err(HeadError::Line);
    }
    let mut reason = len + 4;
    match bytes.get(reason) {
        None => return Ok(None),
        Some(b' ') => reason += 1,
        Some(b'\r' | b'\n') => {}
        Some(_) => return Err(HeadError::Line),
    }
    let reason_end = reason + end_of_value(&bytes[reason..]);
    let line = |len| StatusLine { version, status, reason: (reason, reason_end), end: reason_end + len };
    Ok(line_end(&bytes[reason_end..])?.map(line))
}

/// `HTTP/1.1` and how long it is. A number of several digits is no version (RFC 9112 2.3).
fn version(bytes: &[u8]) -> Result<Option<(Version, usize)>, HeadError> {
    match bytes.first_chunk::<8>() {
        Some(b"HTTP/1.1") => Ok(Some((Version::Http11, 8))),
        Some(b"HTTP/1.0") => Ok(Some((Version::Http10, 8))),
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            match (major, bytes.get(8)) {
                (b'1', _) => Ok(Some((Version::Http11, 8))),
                (_, None) => Ok(None),
                (_, Some(b'\r' | b' ')) => Err(HeadError::Version),
                _ => Err(HeadError::Line),
            }
        }
        Some(_) => Err(HeadError::Line),
        None if b"HTTP/".starts_with(&bytes[..bytes.len().min(5)]) => Ok(None),
        None => Err(HeadError::Line),
    }
}

/// CR LF, and how long it is.
fn line_end(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
    match bytes {
        [b'\r', b'\n', ..] => Ok(Some(2)),
        [] | [b'\r'] => Ok(None),
        [b'\r' | b'\n', ..] => Err(HeadError::LineEnd),
        _ => Err(HeadError::Line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_line_is_no_fault() {
        for line in ["GET /a?b HTTP/1.1\r\n", "PATCH http://a/ HTTP/1.0\r\n"] {
            for at in 0..line.len() {
                assert_eq!(request_line(&line.as_bytes()[..at]), Ok(None), "{:?}", &line[..at]);
            }
            assert_eq!(request_line(line.as_bytes()).unwrap().unwrap().end, line.len());
        }
        for line in ["HTTP/1.1 200 OK\r\n", "HTTP/1.0 404 \r\n", "HTTP/1.1 204\r\n"] {
            for at in 0..line.len() {
                assert_eq!(status_line(&line.as_bytes()[..at]), Ok(None), "{:?}", &line[..at]);
            }
            assert_eq!(status_line(line.as_bytes()).unwrap().unwrap().end, line.len());
        }
    }

    #[test]
    fn the_parts_of_a_request_line() {
        let line = request_line(b"GET /a HTTP/1.7\r\nrest").unwrap().unwrap();
        assert_eq!(line, RequestLine { method: 3, target_end: 6, version: Version::Http11, end: 17 });
        assert_eq!(request_line(b"GET / HTTP/1.0\r\n").unwrap().unwrap().version, Version::Http10);
    }

    #[test]
    fn what_is_wrong_with_a_request_line() {
        let cases: [(&str, HeadError); 18] = [
            ("GET /\r\n", HeadError::Http09),
            ("GET /\n", HeadError::Http09),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HeadError::Http2Preface),
            ("GET / HTTP/2.0\r\n", HeadError::Version),
            ("GET / HTTP/3.0\r\n", HeadError::Version),
            ("GET / HTTP/0.9\r\n", HeadError::Version),
            ("GET / HTTP/1.12\r\n", HeadError::Line),
            ("GET / HTTP/11.1\r\n", HeadError::Line),
            ("GET / http/1.1\r\n", HeadError::Line),
            ("GET  /  HTTP/1.1\r\n", HeadError::Line),
            ("GET /  HTTP/1.1\r\n", HeadError::Line),
            ("GET\t/ HTTP/1.1\r\n", HeadError::Line),
            ("GE:T / HTTP/1.1\r\n", HeadError::Line),
            (" GET / HTTP/1.1\r\n", HeadError::Line),
            ("\x16\x03\x01", HeadError::Line),
            ("GET /\0 HTTP/1.1\r\n", HeadError::Target),
            ("GET / HTTP/1.1\n", HeadError::LineEnd),
            ("GET / HTTP/1.1\rX", HeadError::LineEnd),
        ];
        for (line, wanted) in cases {
            assert_eq!(request_line(line.as_bytes()), Err(wanted), "{line:?}");
        }
    }

    #[test]
    fn a_status_line_may_have_no_reason() {
        let reason = |line: &'static str| {
            let parsed = status_line(line.as_bytes()).unwrap().unwrap();
            (parsed.status, &line[parsed.reason.0..parsed.reason.1])
        };
        assert_eq!(reason("HTTP/1.1 200 All is well\r\n"), (200, "All is well"));
        assert_eq!(reason("HTTP/1.1 999 \r\n"), (999, ""));
        assert_eq!(reason("HTTP/1.1 204\r\n"), (204, ""));
        for (line, wanted) in [
            ("HTTP/1.1  200 OK\r\n", HeadError::Line),
            ("HTTP/1.1 20 OK\r\n", HeadError::Line),
            ("HTTP/1.1 2000 OK\r\n", HeadError::Line),
            ("HTTP/1.1 099 OK\r\n", HeadError::Line),
            ("HTTP/1.1 +20 OK\r\n", HeadError::Line),
            ("HTTP/2.0 200 OK\r\n", HeadError::Version),
            ("ICY 200 OK\r\n", HeadError::Line),
            ("HTTP/1.1 200 O\0K\r\n", HeadError::Line),
            ("HTTP/1.1 200 OK\n", HeadError::LineEnd),
            ("HTTP/1.1 200 OK\rX", HeadError::LineEnd),
        ] {
            assert_eq!(status_line(line.as_bytes()), Err(wanted), "{line:?}");
        }
    }
}
