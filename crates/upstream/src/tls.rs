//! Outbound TLS: one client configuration for the process, with the system's roots, built when first needed.
//!
//! Reading the system's roots costs about 20 ms and 2 MiB, which a gateway without an `https` upstream does not
//! pay. `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured, as OpenSSL does.

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, OnceLock};

/// Where the roots come from, and the configuration made of them.
#[derive(Debug, Default)]
pub struct TlsRoots {
    config: OnceLock<Arc<ClientConfig>>,
}

/// Why an `https` upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(
        "no root certificate found on this system, so that no `https` upstream can be verified{detail}; install the package `ca-certificates`, or name a file in `SSL_CERT_FILE`"
    )]
    NoRoots { detail: String },
    #[error("`{host}` is neither a DNS name nor an IP address")]
    Name { host: String },
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl TlsRoots {
    /// The configuration; made at the first call.
    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(build()?);
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}

fn build() -> Result<ClientConfig, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let detail = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(TlsError::NoRoots { detail });
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
