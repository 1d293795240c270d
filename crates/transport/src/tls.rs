//! TLS of a client: the library's provider and versions, and the authorities of the system.

use rustls::client::WantsClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
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

/// A configuration that trusts `roots`, with TLS 1.2 and 1.3 (RFC 5246, RFC 8446); it lacks the client's own certificate,
/// or that it has none.
///
/// # Errors
/// The provider has no cipher suite of these versions.
pub fn client_config(roots: RootCertStore) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots))
}
