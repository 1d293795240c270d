//! What authentication policies share: reading `Authorization: Basic`, and comparing without telling by time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use subtle::ConstantTimeEq;

/// Credentials longer than this, in base64, are wrong without being decoded.
pub(crate) const MAX_ENCODED: usize = 4096;
/// The realm that Flex names.
pub(crate) const BASIC_CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"mule-realm\"");

/// `user:password`. The scheme's name has no case (RFC 9110 11.1).
pub(crate) fn decode_basic(value: &HeaderValue) -> Option<Vec<u8>> {
    let value = value.as_bytes();
    let (scheme, encoded) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") || encoded.len() > MAX_ENCODED {
        return None;
    }
    STANDARD.decode(encoded.trim_ascii()).ok()
}

/// Whether they are the same, in a time that depends on what the client sent and not on what is expected.
pub(crate) fn same(expected: &[u8], presented: &[u8]) -> bool {
    let mut padded = vec![0; presented.len()];
    let shared = expected.len().min(presented.len());
    padded[..shared].copy_from_slice(&expected[..shared]);
    let same_length = (expected.len() as u64).ct_eq(&(presented.len() as u64));
    (padded.ct_eq(presented) & same_length).into()
}
