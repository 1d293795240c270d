//! Certificates and keys: PEM text, in the YAML itself or in a file beside it, read to DER once.
//!
//! Of what is inside a certificate, only that is looked at here which makes clients refuse it, for a warning. Whether it
//! can be used is said by whoever compiles the configuration with a TLS library, at the [`Place`] that is kept.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls_pki_types::pem::{Error, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use x509_cert::der::Decode;
use x509_cert::time::Time;
use x509_cert::{Certificate, TbsCertificate};

use crate::read::{Cursor, Mapping, Place};

/// A certificate with its key.
#[derive(Clone)]
pub struct KeyPair {
    /// The certificate itself first, then those that vouch for it. Never empty.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: Arc<PrivateKeyDer<'static>>,
    /// `None` where the certificate cannot be read.
    pub validity: Option<Validity>,
    /// Where it was written, for what a TLS library finds wrong in it.
    pub place: Place,
}

/// When a certificate holds: seconds since the Unix epoch, both included (RFC 5280 4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub not_before: u64,
    pub not_after: u64,
}

impl Validity {
    /// Whether it holds at this second.
    pub fn holds(self, now: u64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
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

/// How the gateway and a server that it sends its telemetry to believe each other, over `https`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnalyticsTls {
    /// These vouch for the server, in place of the authorities that the system trusts.
    pub authorities: Option<Authorities>,
    /// What the gateway proves itself by.
    pub certificate: Option<KeyPair>,
}

/// `{key, crt}`, either of them as `keyFile`, `crtFile` under `gateway.weir.dev/v1`.
pub(crate) fn key_pair(at: &Cursor<'_>) -> Option<KeyPair> {
    let mut fields = at.fields()?;
    fields.mean([
        ("crt", "The certificate and its chain in PEM"),
        ("crtFile", "The same, in a file that is read again when it changes"),
        ("key", "Its private key in PEM"),
        ("keyFile", "The same, in a file that is read again when it changes"),
    ]);
    let chain = required(&mut fields, "crt", "crtFile", certificates);
    let key = required(&mut fields, "key", "keyFile", private_key);
    fields.finish();
    let (chain, key) = (chain?, Arc::new(key?));
    let certificate = chain.first().and_then(|first| Certificate::from_der(first).ok());
    if let Some(certificate) = &certificate {
        doubts(&certificate.tbs_certificate, chain.len() > 1).iter().for_each(|doubt| at.warn(doubt));
    }
    let validity = certificate.map(|certificate| {
        let validity = certificate.tbs_certificate.validity;
        Validity { not_before: seconds(validity.not_before), not_after: seconds(validity.not_after) }
    });
    Some(KeyPair { chain, key, validity, place: at.place() })
}

/// Why clients refuse the certificate, or some of them.
fn doubts(certificate: &TbsCertificate, chained: bool) -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (not_before, not_after) = (certificate.validity.not_before, certificate.validity.not_after);
    let mut doubts = Vec::new();
    if seconds(not_after) < now {
        doubts.push(format!("the certificate has expired at {not_after}: peers refuse it; renew it"));
    }
    if seconds(not_before) > now {
        doubts.push(format!("the certificate is not valid before {not_before}: peers refuse it until then"));
    }
    if !chained && certificate.issuer != certificate.subject {
        doubts.push(format!(
            "the certificate comes without that of its issuer `{}`: peers that do not have it refuse the connection; append it",
            certificate.issuer
        ));
    }
    doubts
}

fn seconds(time: Time) -> u64 {
    time.to_unix_duration().as_secs()
}

/// `trustedCA`, or `trustedCAFile` under `gateway.weir.dev/v1`. The outer `None`: neither is there.
pub(crate) fn authorities(fields: &mut Mapping<'_>) -> Option<Option<Authorities>> {
    let read =
        |at: &Cursor<'_>, text: &str| Some(Authorities { certificates: certificates(at, text)?, place: at.place() });
    either(fields, "trustedCA", "trustedCAFile", read)
}

fn required<T>(
    fields: &mut Mapping<'_>,
    inline: &'static str,
    file: &'static str,
    read: impl FnOnce(&Cursor<'_>, &str) -> Option<T>,
) -> Option<T> {
    either(fields, inline, file, read).unwrap_or_else(|| fields.missing(inline, "add its PEM text"))
}

/// The PEM text of a field, or of the file that another one names. The outer `None`: neither is there.
fn either<T>(
    fields: &mut Mapping<'_>,
    inline: &'static str,
    file: &'static str,
    read: impl FnOnce(&Cursor<'_>, &str) -> Option<T>,
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

fn path_of(at: &Cursor<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(at.filled()?);
    if path.is_absolute() { Some(path) } else { at.refuse("is not an absolute path; begin it with `/`") }
}

fn certificates(at: &Cursor<'_>, text: &str) -> Option<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => {
            at.refuse("holds no certificate; write PEM text that begins with `-----BEGIN CERTIFICATE-----`")
        }
        Ok(certificates) => Some(certificates),
        Err(error) => at.refuse(format!("{}; write it as its issuer gave it, line by line", explain(&error))),
    }
}

fn private_key(at: &Cursor<'_>, text: &str) -> Option<PrivateKeyDer<'static>> {
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

/// Authorities out of a file that an environment variable names.
pub(crate) fn authorities_of_file(path: &str) -> Option<Authorities> {
    let text = std::fs::read(path).ok()?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().ok()?;
    (!certificates.is_empty()).then(|| Authorities { certificates, place: Place::of_file(path) })
}

/// A certificate and its key, each out of a file that an environment variable names.
pub(crate) fn key_pair_of_files(chain: &str, key: &str) -> Option<KeyPair> {
    let (text, key) = (std::fs::read(chain).ok()?, std::fs::read(key).ok()?);
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().ok()?;
    let key = Arc::new(PrivateKeyDer::pem_slice_iter(&key).next()?.ok()?);
    (!certificates.is_empty()).then(|| KeyPair {
        chain: certificates,
        key,
        validity: None,
        place: Place::of_file(chain),
    })
}

/// What stands in the place of a secret.
pub const REDACTED: &str = "(redacted)";

/// Certificates that vouch for others.
pub fn authorities_view(Authorities { certificates, place }: &Authorities) -> Value {
    json!({"certificates": certificates.len(), "written_at": place.to_string()})
}

/// A certificate with its key.
pub fn key_pair_view(KeyPair { chain, key: _, validity: _, place }: &KeyPair) -> Value {
    json!({"certificates": chain.len(), "key": REDACTED, "written_at": place.to_string()})
}
