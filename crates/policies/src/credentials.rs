//! What authentication policies share: reading `Authorization: Basic`, and comparing without telling by time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use smallvec::SmallVec;
use subtle::ConstantTimeEq;

/// Credentials longer than this, in base64, are wrong without being decoded.
pub(crate) const MAX_ENCODED: usize = 4096;
/// The realm that Flex names.
pub(crate) const BASIC_CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"mule-realm\"");

/// `user:password`.
pub(crate) fn decode_basic(value: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(encoded_basic(value)?).ok()
}

/// The same, as it is sent. The scheme's name has no case (RFC 9110 11.1).
pub(crate) fn encoded_basic(value: &[u8]) -> Option<&[u8]> {
    let (scheme, encoded) = value.split_at_checked(6)?;
    let sound = scheme.eq_ignore_ascii_case(b"basic ") && encoded.len() <= MAX_ENCODED;
    sound.then(|| encoded.trim_ascii())
}

/// Whether they are the same, in a time that depends on what the client sent and not on what is expected.
pub(crate) fn same(expected: &[u8], presented: &[u8]) -> bool {
    let mut padded: SmallVec<[u8; 128]> = SmallVec::from_elem(0, presented.len());
    let shared = expected.len().min(presented.len());
    padded[..shared].copy_from_slice(&expected[..shared]);
    let same_length = (expected.len() as u64).ct_eq(&(presented.len() as u64));
    // Eight at a time.
    let (words, rest) = padded.as_chunks();
    let (presented_words, presented_rest) = presented.as_chunks();
    let is_same = |(one, other): (&[u8; 8], &[u8; 8])| u64::from_ne_bytes(*one).ct_eq(&u64::from_ne_bytes(*other));
    let same_words = words.iter().zip(presented_words).fold(same_length, |all, pair| all & is_same(pair));
    (same_words & rest.ct_eq(presented_rest)).into()
}
