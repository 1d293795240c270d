//! The server's certificate, and who may connect: from files that are read again when what is in them changes.

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read `{}` of {option}: {source}; give a readable file", path.display())]
    Read { option: &'static str, path: PathBuf, source: io::Error },
    #[error("`{}` of {option} holds no {what} as PEM: {why}", path.display())]
    Pem { option: &'static str, what: &'static str, path: PathBuf, why: pem::Error },
    #[error("--tls-key and --tls-certificate do not fit: {0}; give the key that the certificate was made for")]
    Pair(rustls::Error),
    #[error("an authority of --tls-client-ca cannot be used: {0}")]
    Authority(rustls::Error),
    #[error("--tls-client-ca cannot be used: {0}")]
    Verifier(#[from] VerifierBuilderError),
}

/// Where certificates are.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's own first, then those that vouch for it.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Who vouches for clients. Every client must show a certificate then.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    pub fn paths(&self) -> Vec<PathBuf> {
        [&self.certificate, &self.key].into_iter().chain(&self.client_ca).cloned().collect()
    }

    /// # Errors
    /// A file that cannot be read, is no PEM, or does not fit the others.
    pub fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = certificates("--tls-certificate", &self.certificate)?;
        let key = read("--tls-key", &self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|why| TlsError::Pem {
            option: "--tls-key",
            what: "private key",
            path: self.key.clone(),
            why,
        })?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Pair)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates("--tls-client-ca", path)? {
                    roots.add(authority).map_err(TlsError::Authority)?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn read(option: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { option, path: path.to_owned(), source })
}

fn certificates(option: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |why| TlsError::Pem { option, what: "certificate", path: path.to_owned(), why };
    let text = read(option, path)?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    if found.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(found) }
}
