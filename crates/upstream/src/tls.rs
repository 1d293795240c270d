//! Outbound TLS: what the gateway speaks to services of `https`, by a `tls-outbound` of their own or by the default:
//! the system's roots, read when first needed.
//!
//! Reading the system's roots costs about 20 ms and 2 MiB, which a gateway without an `https` upstream does not
//! pay. `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured, as OpenSSL does.

use crate::own_authority::OwnAuthority;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion, version,
};
use std::sync::{Arc, OnceLock};
use weir_config::policy::{Alpn, Cipher, TlsOutbound, TlsVersion, Verify};
use weir_config::{Authorities, ConfigError};
use weir_transport::{client_tls, system_roots};

/// Where the roots come from, and the configuration made of them.
#[derive(Debug, Default)]
pub struct TlsRoots {
    config: OnceLock<Arc<ClientConfig>>,
}

/// Why an `https` upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    Client(#[from] weir_transport::TlsError),
    #[error("`{host}` is neither a DNS name nor an IP address")]
    Name { host: String },
    /// What only a TLS library finds wrong in a `tls-outbound`.
    #[error(transparent)]
    Config(Box<ConfigError>),
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl TlsRoots {
    /// What to speak to a service of `https` with. That of a service without settings of its own is made once.
    pub(crate) fn client_config(&self, settings: Option<&TlsOutbound>) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(settings) = settings {
            return Ok(Arc::new(with_settings(settings)?));
        }
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(with_system_roots()?);
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}

fn with_system_roots() -> Result<ClientConfig, TlsError> {
    let mut config = client_tls(None, None)?;
    config.alpn_protocols = [Alpn::H2, Alpn::Http11].map(|protocol| protocol.as_bytes().to_vec()).into();
    Ok(config)
}

fn with_settings(settings: &TlsOutbound) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(provider(&settings.offer.ciphers));
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(settings.offer.min, settings.offer.max))?;
    let builder = match &settings.verify {
        Verify::System => builder.with_root_certificates(system_roots().map_err(weir_transport::TlsError::from)?),
        Verify::By(authorities) => {
            let roots = Arc::new(roots(authorities)?);
            let wrong = |error| {
                TlsError::Config(Box::new(authorities.place.error(format!("{error}; give X.509 certificates"))))
            };
            let library = WebPkiServerVerifier::builder_with_provider(roots, provider).build().map_err(wrong)?;
            let trusted = authorities.certificates.clone();
            builder.dangerous().with_custom_certificate_verifier(Arc::new(OwnAuthority { library, trusted }))
        }
        Verify::Nothing => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody { provider })),
    };
    let mut config = match &settings.certificate {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let wrong = |error| TlsError::Config(Box::new(pair.place.error(explain(&error))));
            builder.with_client_auth_cert(pair.chain.clone(), pair.key.clone_key()).map_err(wrong)?
        }
    };
    config.alpn_protocols = settings.offer.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(config)
}

fn roots(authorities: &Authorities) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in &authorities.certificates {
        let wrong = |error| format!("no authority to verify the service by: {error}; give X.509 certificates");
        roots
            .add(certificate.clone())
            .map_err(|error| TlsError::Config(Box::new(authorities.place.error(wrong(error)))))?;
    }
    Ok(roots)
}

/// What is wrong with a certificate and its key, and the fix.
pub fn explain(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            "the key is not that of the certificate; give the two that were made together".to_owned()
        }
        rustls::Error::InvalidCertificate(why) => {
            format!("the certificate cannot be read ({why:?}); give an X.509 certificate, the owner's own first")
        }
        other => format!("the certificate or its key cannot be used: {other}; make them anew"),
    }
}

/// The provider with these suites of TLS 1.2, all of TLS 1.3, and hybrid post-quantum key exchange preferred
/// (draft-ietf-tls-ecdhe-mlkem).
pub fn provider(ciphers: &[Cipher]) -> CryptoProvider {
    let of_13 = [
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    let cipher_suites = of_13.into_iter().chain(ciphers.iter().copied().map(suite)).collect();
    let kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    CryptoProvider { cipher_suites, kx_groups, ..aws_lc_rs::default_provider() }
}

fn suite(cipher: Cipher) -> SupportedCipherSuite {
    match cipher {
        Cipher::EcdheEcdsaAes256Gcm => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        Cipher::EcdheEcdsaAes128Gcm => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        Cipher::EcdheEcdsaChacha20 => cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        Cipher::EcdheRsaAes256Gcm => cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        Cipher::EcdheRsaAes128Gcm => cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        Cipher::EcdheRsaChacha20 => cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

/// The versions of TLS from `min` to `max`.
pub fn versions(min: TlsVersion, max: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(TlsVersion::Tls13, &version::TLS13), (TlsVersion::Tls12, &version::TLS12)];
    all.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, version)| version).collect()
}

/// Believes whoever answers (`skipValidation`); that it holds the key of the certificate that it shows is still asked.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
