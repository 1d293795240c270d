//! Inbound TLS: the checked configuration of a port becomes rustls', once a generation and not at all where nothing
//! of it has changed.
//!
//! All workers share one ticket key ring a port, so that a session resumes on whichever worker its next connection
//! lands, and it outlives reloads; not one that changes who is asked for a certificate, because a resumed session is
//! not verified again. Keys rotate every six hours and are never written anywhere (RFC 8446 C.4, RFC 5077 5.5).

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::ServerName;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use weir_config::policy::{ClientCertificates, Tls};
use weir_config::{ConfigError, KeyPair, Validity};
use weir_upstream::{explain, provider, versions};

/// What each port's TLS was compiled to, over reloads.
#[derive(Default)]
pub struct Acceptors {
    known: Mutex<HashMap<SocketAddr, Known>>,
}

struct Known {
    of: Arc<Tls>,
    config: Arc<ServerConfig>,
}

impl Acceptors {
    /// The configuration to accept with at `address`. The same one while nothing changes; the same ticket keys while
    /// the same certificates are asked of clients.
    pub(crate) fn compile(&self, address: SocketAddr, tls: &Arc<Tls>) -> Result<Arc<ServerConfig>, ConfigError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(&address);
        if let Some(before) = before.filter(|before| before.of == *tls) {
            return Ok(Arc::clone(&before.config));
        }
        let kept = before.filter(|before| before.of.client == tls.client).map(|before| before.config.ticketer.clone());
        let config = Arc::new(server_config(tls, kept)?);
        known.insert(address, Known { of: Arc::clone(tls), config: Arc::clone(&config) });
        Ok(config)
    }
}

fn server_config(tls: &Tls, ticketer: Option<Arc<dyn ProducesTickets>>) -> Result<ServerConfig, ConfigError> {
    let place = &tls.certificates[0].place;
    let refused = |error: rustls::Error| place.error(format!("TLS cannot be set up: {error}; check this policy"));
    let provider = Arc::new(provider(&tls.offer.ciphers));
    let certificates = Certificates::read(&tls.certificates, &provider)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(tls.offer.min, tls.offer.max))
        .map_err(refused)?;
    let builder = match &tls.client {
        ClientCertificates::Ignored => builder.with_no_client_auth(),
        ClientCertificates::Required(authorities) => {
            let wrong = |what: String| {
                authorities.place.error(format!("no authority to verify clients by: {what}; give X.509 certificates"))
            };
            let mut roots = RootCertStore::empty();
            for certificate in &authorities.certificates {
                roots.add(certificate.clone()).map_err(|error| wrong(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong(error.to_string()))?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = tls.offer.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    // Tickets alone: what they hold needs no table that workers would share.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = match ticketer {
        Some(kept) => kept,
        None => Ticketer::new().map_err(refused)?,
    };
    Ok(config)
}

/// A port's certificates; the client's server name picks one.
#[derive(Debug)]
struct Certificates {
    /// Never empty.
    keys: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    fn read(pairs: &[KeyPair], provider: &CryptoProvider) -> Result<Self, ConfigError> {
        let read = |pair: &KeyPair| {
            CertifiedKey::from_der(pair.chain.clone(), pair.key.clone_key(), provider)
                .map(Arc::new)
                .map_err(|error| pair.place.error(explain(&error)))
        };
        Ok(Self { keys: pairs.iter().map(read).collect::<Result<_, _>>()? })
    }
}

/// When each certificate of a port holds. One that cannot be read is left out: it was refused before this is asked.
pub(crate) fn validities(tls: &Tls) -> Vec<Validity> {
    tls.certificates.iter().filter_map(|pair| pair.validity).collect()
}

impl ResolvesServerCert for Certificates {
    /// Of the certificates for the name that the client asks for, otherwise of all: the first whose kind of key it takes.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let [first] = &self.keys[..] else {
            let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
            let is_taken = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
            let named = self.keys.iter().filter(|key| name.as_ref().is_some_and(|name| serves(key, name)));
            let fitting = named.clone().find(is_taken).or_else(|| named.clone().next());
            let any = || self.keys.iter().find(is_taken).or(self.keys.first());
            return fitting.or_else(any).map(Arc::clone);
        };
        Some(Arc::clone(first))
    }
}

fn serves(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = key.cert.first().and_then(|der| ParsedCertificate::try_from(der).ok());
    certificate.is_some_and(|parsed| rustls::client::verify_server_name(&parsed, name).is_ok())
}
