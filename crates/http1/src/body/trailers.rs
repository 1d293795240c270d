//! The fields behind a chunked body (RFC 9112 7.1.2), read by the rules of a head.

use crate::error::{BodyError, HeadError};
use crate::fields::Fields;
use crate::known::{Known, KnownSet};
use crate::limits::Limits;
use bytes::Bytes;
use http::{HeaderMap, HeaderName};

/// Fields that frame a message, route it or are of its connection: they cannot be in a trailer section (RFC 9110 6.5.1),
/// because a reader that merges them into the head would see another message.
const FORBIDDEN: KnownSet = KnownSet::new(&[
    Known::Connection,
    Known::ContentLength,
    Known::Expect,
    Known::Host,
    Known::Http2Settings,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Te,
    Known::Trailer,
    Known::TransferEncoding,
    Known::Upgrade,
]);

/// The section at the beginning of `bytes` and how long it is, or `None` while it is not whole.
pub(crate) fn trailers(bytes: &[u8], limits: &Limits) -> Result<Option<(Fields, usize)>, BodyError> {
    let mut fields = Fields::new();
    let end = match fields.read(bytes, 0, limits.fields) {
        Ok(None) if bytes.len() > limits.trailers => return Err(BodyError::TrailersTooLarge),
        Ok(None) => return Ok(None),
        Ok(Some(end)) if end > limits.trailers => return Err(BodyError::TrailersTooLarge),
        Ok(Some(end)) => end,
        Err(HeadError::Line) => return Err(BodyError::Trailer(HeadError::LineEnd)),
        Err(error) => return Err(BodyError::Trailer(error)),
    };
    if !are_trailers(&fields) {
        return Err(BodyError::TrailerForbidden);
    }
    fields.store.head = Bytes::copy_from_slice(&bytes[..end]);
    Ok(Some((fields, end)))
}

/// Whether none of `fields` is forbidden.
pub(crate) fn are_trailers(fields: &Fields) -> bool {
    !fields.present().meets(FORBIDDEN)
}

/// `trailers` without what frames a message, routes it or is of its connection, whatever protocol they came over: such a
/// field cannot be in a trailer section (RFC 9110 6.5.1, RFC 9113 8.2.2), and any recipient may ignore trailers.
pub fn content_only(mut trailers: HeaderMap) -> HeaderMap {
    let is_forbidden =
        |name: &HeaderName| Known::of(name.as_str().as_bytes()).is_some_and(|known| FORBIDDEN.has(known));
    if trailers.keys().any(is_forbidden) {
        let forbidden: Vec<_> = trailers.keys().filter(|name| is_forbidden(name)).cloned().collect();
        forbidden.into_iter().for_each(|name| drop(trailers.remove(name)));
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_is_forbidden_is_left_out_and_the_others_stay() {
        let names = ["connection", "content-length", "expect", "host", "http2-settings", "keep-alive"];
        let more = ["proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];
        let value = HeaderValue::from_static("1");
        let stay = ["x-sum", "grpc-status", "x-sum"];
        let mut trailers = HeaderMap::new();
        for name in stay.iter().chain(&names).chain(&more) {
            trailers.append(HeaderName::from_static(name), value.clone());
        }
        let trailers = content_only(trailers);
        let left: Vec<_> = trailers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(left, ["x-sum", "x-sum", "grpc-status"]);
        assert!(are_trailers(&Fields::of_map(&trailers).unwrap()));
    }
}
