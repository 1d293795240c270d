//! How weirctl and what it asks believe each other, over https.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use weir_transport::{NoRoots, client_config, system_roots};

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
    Refused(#[from] rustls::Error),
    #[error(transparent)]
    NoRoots(#[from] NoRoots),
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
        let roots = match &self.tls_ca {
            Some(path) => {
                let mut roots = RootCertStore::empty();
                certificates("--tls-ca", path)?.into_iter().try_for_each(|authority| roots.add(authority))?;
                roots
            }
            None => system_roots()?,
        };
        let builder = client_config(roots)?;
        Ok(Some(match identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
            None => builder.with_no_client_auth(),
        }))
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
