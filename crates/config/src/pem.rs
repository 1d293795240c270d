//! Certificates and keys: PEM text, in the YAML itself or in a file beside it, read to DER once.
//!
//! What is inside a certificate is not looked at here: whoever compiles the configuration has a TLS library, and tells
//! what that refuses at the [`Place`] that is kept.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::pem::{Error, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::read::{At, Fields, Place};

/// A certificate with its key.
#[derive(Clone)]
pub struct KeyPair {
    /// The certificate itself first, then those that vouch for it. Never empty.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: Arc<PrivateKeyDer<'static>>,
    /// Where it was written, for what a TLS library finds wrong in it.
    pub place: Place,
}

/// Where it stands is no part of what it says: a line inserted above it changes nothing.
impl PartialEq for KeyPair {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain && self.key == other.key
    }
}

impl Eq for KeyPair {}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("certificates", &self.chain.len()).field("place", &self.place).finish()
    }
}

/// Authorities that vouch for others' certificates.
#[derive(Clone)]
pub struct Authorities {
    /// Never empty.
    pub certificates: Vec<CertificateDer<'static>>,
    pub place: Place,
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Eq for Authorities {}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities")
            .field("certificates", &self.certificates.len())
            .field("place", &self.place)
            .finish()
    }
}

/// `{key, crt}`, either of them as `keyFile`, `crtFile` under `gateway.weir.dev/v1`.
pub(crate) fn key_pair(at: &At<'_>) -> Option<KeyPair> {
    let mut fields = at.fields()?;
    let chain = required(&mut fields, "crt", "crtFile", certificates);
    let key = required(&mut fields, "key", "keyFile", private_key);
    fields.finish();
    Some(KeyPair { chain: chain?, key: Arc::new(key?), place: at.place() })
}

/// `trustedCA`, or `trustedCAFile` under `gateway.weir.dev/v1`. The outer `None`: neither is there.
pub(crate) fn authorities(fields: &mut Fields<'_>) -> Option<Option<Authorities>> {
    let read = |at: &At<'_>, text: &str| Some(Authorities { certificates: certificates(at, text)?, place: at.place() });
    either(fields, "trustedCA", "trustedCAFile", read)
}

fn required<T>(
    fields: &mut Fields<'_>,
    inline: &'static str,
    file: &'static str,
    read: impl FnOnce(&At<'_>, &str) -> Option<T>,
) -> Option<T> {
    either(fields, inline, file, read).unwrap_or_else(|| fields.missing(inline, "add its PEM text"))
}

/// The PEM text of a field, or of the file that another one names. The outer `None`: neither is there.
fn either<T>(
    fields: &mut Fields<'_>,
    inline: &'static str,
    file: &'static str,
    read: impl FnOnce(&At<'_>, &str) -> Option<T>,
) -> Option<Option<T>> {
    let there = fields.has(file);
    let inner = fields.take(inline).map(|at| (at.filled(), at));
    let outer = fields.take_weir(file).map(|at| (path_of(&at), at));
    match (inner, outer) {
        (Some(_), Some((_, at))) => Some(at.refuse(format!("is here beside `{inline}`; remove one of them"))),
        (Some((text, at)), None) => Some(text.and_then(|text| read(&at, &text))),
        (None, Some((path, at))) => Some(path.and_then(|path| at.file(&path)).and_then(|text| read(&at, &text))),
        (None, None) => there.then_some(None),
    }
}

fn path_of(at: &At<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(at.filled()?);
    if path.is_absolute() { Some(path) } else { at.refuse("is not an absolute path; begin it with `/`") }
}

fn certificates(at: &At<'_>, text: &str) -> Option<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => {
            at.refuse("holds no certificate; write PEM text that begins with `-----BEGIN CERTIFICATE-----`")
        }
        Ok(certificates) => Some(certificates),
        Err(error) => at.refuse(format!("{}; write it as its issuer gave it, line by line", explain(&error))),
    }
}

fn private_key(at: &At<'_>, text: &str) -> Option<PrivateKeyDer<'static>> {
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return at.refuse("is an encrypted key, which cannot be read without its password; write it decrypted");
    }
    let mut keys = PrivateKeyDer::pem_slice_iter(text.as_bytes());
    match (keys.next(), keys.next()) {
        (Some(Ok(key)), None) => Some(key),
        (Some(Ok(_)), Some(_)) => at.refuse("holds more than one key; keep that of the certificate"),
        (Some(Err(error)), _) => at.refuse(format!("{}; write it as it was made, line by line", explain(&error))),
        (None, _) => at.refuse("holds no private key; write PEM text that begins with `-----BEGIN PRIVATE KEY-----`"),
    }
}

/// Nothing of the text is repeated: it may be a key.
fn explain(error: &Error) -> &'static str {
    match error {
        Error::MissingSectionEnd { .. } => "breaks off before its `-----END`",
        Error::IllegalSectionStart { .. } => "has a `-----BEGIN` that is no PEM",
        Error::Base64Decode(_) => "is not base64 between its `-----BEGIN` and `-----END`",
        _ => "is no PEM text",
    }
}
