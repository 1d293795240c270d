//! TLS of a client: the library's provider and versions, whom it trusts, and the certificate that it shows.

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// The system has no authority that a certificate could be checked with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no root certificate found on this system, so that no `https` can be verified{detail}; install the package \
     `ca-certificates`, or name a file in `SSL_CERT_FILE`"
)]
pub struct NoRoots {
    detail: String,
}

/// Why a client cannot speak TLS.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    NoRoots(#[from] NoRoots),
    /// The library refuses an authority, the client's certificate or its key.
    #[error("TLS cannot be set up: {0}")]
    Refused(#[from] rustls::Error),
}

/// The authorities that the system trusts, read now.
///
/// # Errors
/// There are none.
pub fn system_roots() -> Result<RootCertStore, NoRoots> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let detail = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(NoRoots { detail });
    }
    Ok(roots)
}

/// A client with TLS 1.2 and 1.3 (RFC 5246, RFC 8446) that trusts `authorities`, or whom the system trusts where there are
/// none, and shows the certificate of `identity`: a chain, the owner's own certificate first, and its private key.
///
/// A client that speaks no TLS gives an empty list of authorities: nothing is read, and nobody is trusted.
///
/// # Errors
/// The system trusts nobody, an authority is no X.509 certificate, or the key is not that of the certificate.
pub fn client_tls(
    authorities: Option<&[CertificateDer<'static>]>,
    identity: Option<(&[CertificateDer<'static>], &PrivateKeyDer<'static>)>,
) -> Result<ClientConfig, TlsError> {
    let roots = match authorities {
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            authorities.iter().try_for_each(|authority| roots.add(authority.clone()))?;
            roots
        }
        None => system_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots);
    Ok(match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain.to_vec(), key.clone_key())?,
        None => builder.with_no_client_auth(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_no_authority() {
        assert!(client_tls(Some(&[]), None).is_ok(), "nobody is trusted");
        let no_certificate = CertificateDer::from(vec![0x30, 0]);
        assert!(matches!(client_tls(Some(&[no_certificate]), None), Err(TlsError::Refused(_))));
    }
}
