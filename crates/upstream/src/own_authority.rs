//! A service that shows a certificate which is its own authority, and is named as such in `trustedCA`: what
//! `openssl req -x509` makes. The library refuses it, because it is an authority's (RFC 5280 6.1.4 asks that only of those
//! above the last certificate); OpenSSL and those built on it take it.
//!
//! Who trusts exactly this certificate trusts whoever holds its key. What is asked beside that: that it vouches for itself,
//! that it is in its time, that it may be a server's, and that it is for the name that was asked, if it names any.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::Arc;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_SERVER_AUTH};
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName};

/// Asks the library, and takes the certificates of `trusted` that are a service's own.
#[derive(Debug)]
pub(crate) struct OwnAuthority {
    pub(crate) library: Arc<dyn ServerCertVerifier>,
    pub(crate) trusted: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for OwnAuthority {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refused = match self.library.verify_server_cert(certificate, chain, name, ocsp, now) {
            Ok(verified) => return Ok(verified),
            Err(refused) => refused,
        };
        let read = Certificate::from_der(certificate).ok();
        match read.filter(|read| self.trusted.contains(certificate) && vouches_for_itself(read)) {
            Some(read) => suits(&read, certificate, name, now).map(|()| ServerCertVerified::assertion()),
            None => Err(refused),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.library.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.library.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.library.supported_verify_schemes()
    }
}

fn vouches_for_itself(certificate: &Certificate) -> bool {
    certificate.tbs_certificate.issuer == certificate.tbs_certificate.subject
}

fn suits(
    read: &Certificate,
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), Error> {
    let content = &read.tbs_certificate;
    let refused = |why| Err(Error::InvalidCertificate(why));
    let (from, until) = (content.validity.not_before, content.validity.not_after);
    if now.as_secs() < from.to_unix_duration().as_secs() {
        return refused(CertificateError::NotValidYet);
    }
    if now.as_secs() > until.to_unix_duration().as_secs() {
        return refused(CertificateError::Expired);
    }
    let Ok(usages) = content.get::<ExtendedKeyUsage>() else { return refused(CertificateError::BadEncoding) };
    let of_servers = |(_, usages): (bool, ExtendedKeyUsage)| {
        usages.0.iter().any(|usage| [ID_KP_SERVER_AUTH, ANY_EXTENDED_KEY_USAGE].contains(usage))
    };
    let Ok(key) = content.get::<KeyUsage>() else { return refused(CertificateError::BadEncoding) };
    let of_handshakes = |(_, usage): (bool, KeyUsage)| {
        let any = KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment | KeyUsages::KeyAgreement;
        !(usage.0 & any).is_empty()
    };
    if !usages.is_none_or(of_servers) || !key.is_none_or(of_handshakes) {
        return refused(CertificateError::InvalidPurpose);
    }
    match content.get::<SubjectAltName>() {
        // It says of no name that it is for it: who named it in the configuration said whose it is.
        Ok(None) => Ok(()),
        Ok(Some(_)) => rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name),
        Err(_) => refused(CertificateError::BadEncoding),
    }
}
