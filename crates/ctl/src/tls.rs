//! How weirctl and what it asks believe each other, over https.

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use std::path::{Path, PathBuf};
use weir_transport::{NoRoots, client_tls};

#[derive(clap::Args)]
#[command(next_help_heading = "TLS, for addresses of https")]
pub struct TlsOptions {
    /// PEM file of the authorities that vouch for what is asked, in place of those that the system trusts.
    #[arg(long, value_name = "FILE", env = "WEIR_TLS_CA", global = true)]
    pub tls_ca: Option<PathBuf>,
    /// PEM file of the certificate to show, and those that vouch for it; with --tls-key.
    #[arg(long, value_name = "FILE", env = "WEIR_TLS_CERTIFICATE", global = true)]
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of the certificate's private key.
    #[arg(long, value_name = "FILE", env = "WEIR_TLS_KEY", global = true)]
    pub tls_key: Option<PathBuf>,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("`{}` of {option} holds no {what} as PEM: {why}", path.display())]
    Pem { option: &'static str, what: &'static str, path: PathBuf, why: pem::Error },
    #[error("--tls-certificate and --tls-key go together: give both, or none")]
    Half,
    #[error("the certificates cannot be used: {0}")]
    Refused(rustls::Error),
    #[error(transparent)]
    NoRoots(NoRoots),
}

impl From<weir_transport::TlsError> for TlsError {
    fn from(error: weir_transport::TlsError) -> Self {
        match error {
            weir_transport::TlsError::NoRoots(error) => Self::NoRoots(error),
            weir_transport::TlsError::Refused(error) => Self::Refused(error),
        }
    }
}

impl TlsOptions {
    /// What they ask for; none where they ask for nothing.
    pub fn config(&self) -> Result<Option<ClientConfig>, TlsError> {
        let identity = match (&self.tls_certificate, &self.tls_key) {
            (None, None) if self.tls_ca.is_none() => return Ok(None),
            (None, None) => None,
            (Some(certificate), Some(key)) => {
                Some((certificates("--tls-certificate", certificate)?, private_key(key)?))
            }
            _ => return Err(TlsError::Half),
        };
        let authorities = self.tls_ca.as_deref().map(|path| certificates("--tls-ca", path)).transpose()?;
        let identity = identity.as_ref().map(|(chain, key)| (&**chain, key));
        Ok(Some(client_tls(authorities.as_deref(), identity)?))
    }
}

fn certificates(option: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |why| TlsError::Pem { option, what: "certificate", path: path.to_owned(), why };
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
    if found.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let failed = |why| TlsError::Pem { option: "--tls-key", what: "private key", path: path.to_owned(), why };
    PrivateKeyDer::from_pem_file(path).map_err(failed)
}
