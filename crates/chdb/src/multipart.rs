//! `multipart/form-data` bodies, in which clients send a query with its parameters.
//!
//! What a field means is the business of [`crate::external`]. The whole body is in memory, so the caller bounds it.

use crate::exception::Exception;

/// The boundary of a multipart content type; `None` for any other.
pub fn boundary(content_type: &str) -> Option<String> {
    let (kind, rest) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = rest.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?;
    Some(value.trim_matches('"').to_owned())
}

/// The fields of a body, in their order.
///
/// # Errors
/// The body is not what its boundary says, or a field has no name.
pub fn fields<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<(String, &'a [u8])>, Exception> {
    let broken = || Exception::bad_arguments("the multipart body does not follow its boundary");
    let opening = format!("--{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(opening.as_bytes()).ok_or_else(broken)?;
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        rest = rest.strip_prefix(b"\r\n").ok_or_else(broken)?;
        let head = find(rest, b"\r\n\r\n").ok_or_else(broken)?;
        let end = find(&rest[head..], delimiter.as_bytes()).ok_or_else(broken)? + head;
        let name = name(&rest[..head]).ok_or_else(broken)?;
        // A field without content: its head's blank line is the delimiter's.
        let value = rest.get(head + 4..end).unwrap_or_default();
        fields.push((name, value));
        rest = &rest[end + delimiter.len()..];
    }
    Ok(fields)
}

fn name(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let name = line.split(';').find_map(|part| part.trim().strip_prefix("name="))?;
    Some(name.trim_matches('"').to_owned())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let body = b"--X\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT {a:String}\r\n--X\r\ncontent-disposition: form-data; name=param_a\r\n\r\n\r\n--X--\r\n";
        let expected = [("query".to_owned(), &b"SELECT {a:String}"[..]), ("param_a".to_owned(), b"")];
        assert_eq!(fields(body, "X").expect("fields"), expected);
        assert_eq!(boundary("multipart/form-data; boundary=\"X\"").as_deref(), Some("X"));
        assert_eq!(boundary("text/plain; charset=x"), None);
        for bad in [&b""[..], b"--X", b"--X\r\n\r\n", b"--X\r\nContent-Disposition: form-data; name=a\r\n\r\nx"] {
            assert!(fields(bad, "X").is_err());
        }
    }
}
