//! The certificates of all (made anew for each run), and the bench's own client, which believes anybody: what is priced is
//! the proxy's side.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// What a certificate's key is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    P256,
    Rsa2048,
}

impl Key {
    /// For `openssl req`.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::P256 => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
            Self::Rsa2048 => &["-newkey", "rsa:2048"],
        }
    }
}

/// What a handshake is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    Tls13P256,
    Tls13Rsa,
    Tls12Rsa,
}

impl Terms {
    pub fn key(self) -> Key {
        match self {
            Self::Tls13P256 => Key::P256,
            Self::Tls13Rsa | Self::Tls12Rsa => Key::Rsa2048,
        }
    }

    fn version(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls13P256 | Self::Tls13Rsa => &rustls::version::TLS13,
            Self::Tls12Rsa => &rustls::version::TLS12,
        }
    }

    /// Of TLS 1.2 the ticket is a part of the handshake (RFC 5077 3.1).
    pub fn tickets_come_after(self) -> bool {
        self != Self::Tls12Rsa
    }
}

/// A folder with `cert.pem`, `key.pem` and `both.pem`.
pub struct Certificates(PathBuf);

impl Certificates {
    pub fn make(dir: &Path, kind: Key) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "2"])
            .args(kind.options())
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&cert)
            .output()
            .map_err(|error| io::Error::new(error.kind(), format!("openssl: {error}; `make tools` installs it")))?;
        if !made.status.success() {
            return Err(io::Error::other(format!("openssl: {}", String::from_utf8_lossy(&made.stderr))));
        }
        let both = std::fs::read_to_string(&cert)? + &std::fs::read_to_string(&key)?;
        std::fs::write(dir.join("both.pem"), both)?;
        Ok(Self(dir.to_owned()))
    }

    pub fn copy_to(&self, dir: &Path) -> io::Result<()> {
        ["cert.pem", "key.pem", "both.pem"]
            .iter()
            .try_for_each(|file| std::fs::copy(self.0.join(file), dir.join(file)).map(drop))
    }
}

/// A client of one version and X25519 alone, so that all contenders do the same handshake.
pub fn client(terms: Terms, resumes: bool) -> Result<Arc<ClientConfig>, Error> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[terms.version()])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(BelieveAnybody))
        .with_no_client_auth();
    config.resumption =
        if resumes { Resumption::store(Arc::new(ClientSessionMemoryCache::new(32))) } else { Resumption::disabled() };
    Ok(Arc::new(config))
}

pub fn server_name() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("`localhost` is a name")
}

#[derive(Debug)]
struct BelieveAnybody;

impl ServerCertVerifier for BelieveAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256]
    }
}
