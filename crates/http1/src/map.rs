//! Fields as the `http` crate's map, for code that serves HTTP/2 by the same means.
//!
//! A map knows names in small letters only, and of different names their order is the one in which they came first. What
//! it holds is valid, so that writing it can make no other message of it.

use crate::error::EditError;
use crate::fields::Fields;
use crate::message::Response;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

impl Fields {
    /// The fields as a map. A value is a part of the head that came, without a copy.
    ///
    /// `None` where a map cannot hold them: there are more than 24,576, or a name is longer than 65,535 bytes.
    pub fn to_map(&self) -> Option<HeaderMap> {
        let mut map = HeaderMap::try_with_capacity(self.len()).ok()?;
        for entry in &self.entries {
            let name = match entry.known {
                Some(known) => known.header_name(),
                None => HeaderName::from_bytes(self.name(entry)).ok()?,
            };
            let value = HeaderValue::from_maybe_shared(self.store.share(entry.place, entry.value)).ok()?;
            map.try_append(name, value).ok()?;
        }
        Some(map)
    }

    /// The fields of a map: trailers that are to be written.
    ///
    /// # Errors
    /// They are larger than 4 GiB, or a value has a control character: no value of a map has.
    pub fn of_map(map: &HeaderMap) -> Result<Self, EditError> {
        let mut fields = Self::new();
        for (name, value) in map {
            fields.append(name.as_str(), value.as_bytes())?;
        }
        Ok(fields)
    }
}

/// The words behind a status where they are not the usual ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonPhrase(Bytes);

impl Response {
    /// The words behind the status, where there are some that are not the usual ones.
    pub fn phrase(&self) -> Option<ReasonPhrase> {
        let reason = self.reason();
        if reason.is_empty() {
            return None;
        }
        let usual = StatusCode::from_u16(self.status()).ok().and_then(|status| status.canonical_reason());
        (usual.map(str::as_bytes) != Some(reason)).then(|| ReasonPhrase(Bytes::copy_from_slice(reason)))
    }
}

/// Appends the head of a request in origin form to `out` (RFC 9112 3.2.1), as HTTP/1.1.
pub fn write_request(method: &Method, target: &str, fields: &Fields, out: &mut BytesMut) {
    let method = method.as_str();
    out.reserve(method.len() + target.len() + 14 + fields.room());
    out.extend_from_slice(method.as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    fields.write(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends the status line of a response to `out`, as HTTP/1.1. It makes no room: [`Fields::room`] says what follows.
pub fn write_status(status: StatusCode, phrase: Option<&ReasonPhrase>, out: &mut BytesMut) {
    let phrase = phrase.map(|phrase| &phrase.0[..]);
    let phrase = phrase.unwrap_or_else(|| status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(phrase);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Asked, Reader};

    #[test]
    fn a_map_has_all_lines_in_their_order() {
        let mut fields = Fields::new();
        let lines = [("Host", "a"), ("X-One", "1"), ("ACCEPT", "\u{e9}"), ("x-one", ""), ("Weir-Link", "2")];
        for (name, value) in lines {
            fields.append(name, value.as_bytes()).unwrap();
        }
        let map = fields.to_map().unwrap();
        let mut out = BytesMut::new();
        Fields::of_map(&map).unwrap().write(&mut out);
        let written = std::str::from_utf8(&out).unwrap();
        assert_eq!(Fields::of_map(&map).unwrap().to_map().unwrap(), map);
        assert_eq!(written, "host: a\r\nx-one: 1\r\nx-one: \r\naccept: \u{e9}\r\nweir-link: 2\r\n");
    }

    #[test]
    fn heads_are_written_as_they_came() {
        for (head, written) in [
            ("HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
            ("HTTP/1.0 404 Nothing here\r\n\r\n", "HTTP/1.1 404 Nothing here\r\n"),
            ("HTTP/1.1 404\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"),
            ("HTTP/1.1 799 \r\n\r\n", "HTTP/1.1 799 \r\n"),
        ] {
            let (mut response, mut out) = (Response::default(), BytesMut::new());
            let read = Reader::default().response(&mut head.into(), &mut response, Asked::Other);
            assert!(read.unwrap().is_some());
            let status = StatusCode::from_u16(response.status()).unwrap();
            write_status(status, response.phrase().as_ref(), &mut out);
            assert_eq!(out, written);
        }
        let (mut out, mut fields) = (BytesMut::new(), Fields::new());
        fields.append("host", b"a").unwrap();
        write_request(&Method::GET, "/b?c", &fields, &mut out);
        assert_eq!(out, "GET /b?c HTTP/1.1\r\nhost: a\r\n\r\n");
    }
}
