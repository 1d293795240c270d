//! The fields behind a chunked body (RFC 9112 7.1.2), read by the rules of a head.

use crate::error::{BodyError, HeadError};
use crate::fields::Fields;
use crate::known::{Known, KnownSet};
use crate::limits::Limits;
use bytes::Bytes;

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
