//! Where chunks go: the ingestor's address and the token that says who sends them.

use http::uri::Authority;
use http::{HeaderValue, Uri};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::IpAddr;
use std::sync::Arc;
use weir_transport::{NoRoots, TlsError, client_tls};

/// An ingestor. Its token is never shown: `Debug` leaves it out.
#[derive(Clone)]
pub struct Endpoint {
    pub(crate) https: bool,
    pub(crate) authority: HeaderValue,
    /// Before `/v1/chunks`, without a slash at its end.
    pub(crate) base: Box<str>,
    pub(crate) bearer: HeaderValue,
    /// In place of the system's.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// Why an endpoint cannot be used.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum EndpointError {
    #[error("analytics endpoint `{0}` is not a URI; write it as `https://host:port`")]
    Uri(String),
    #[error("analytics endpoint `{0}` is plain http to another machine; use https, or an address of loopback")]
    Plain(String),
    #[error("the analytics token holds characters that a header cannot; paste it again without line breaks")]
    Token,
    #[error("the analytics token is empty; set `WEIR_ANALYTICS_TOKEN`")]
    NoToken,
    #[error("the certificates of `analytics.tls` cannot be used: {0}")]
    Tls(rustls::Error),
    #[error(transparent)]
    NoRoots(NoRoots),
    #[error("`analytics.tls` is for https, and analytics endpoint `{0}` is plain http; use https, or remove it")]
    TlsOverPlain(String),
}

impl From<TlsError> for EndpointError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::NoRoots(error) => Self::NoRoots(error),
            TlsError::Refused(error) => Self::Tls(error),
        }
    }
}

impl Endpoint {
    /// Checks `uri` (`https`, or `http` to loopback) and the bearer `token`.
    pub fn new(uri: &str, token: &str) -> Result<Self, EndpointError> {
        let bad = || EndpointError::Uri(uri.to_owned());
        let parsed: Uri = uri.parse().map_err(|_| bad())?;
        let https = match parsed.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad()),
        };
        let authority = parsed.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(bad)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if !https && !is_loopback(host) {
            return Err(EndpointError::Plain(uri.to_owned()));
        }
        Ok(Self {
            https,
            authority: header(authority).ok_or_else(bad)?,
            base: parsed.path().trim_end_matches('/').into(),
            bearer: bearer(token)?,
            tls: None,
        })
    }

    /// Believes the ingestor if one of `authorities` vouches for it (those of the system, where there are none), and shows
    /// the certificate of `identity`, a chain and its key.
    pub fn with_tls(
        self,
        authorities: Option<&[CertificateDer<'static>]>,
        identity: Option<(&[CertificateDer<'static>], &PrivateKeyDer<'static>)>,
    ) -> Result<Self, EndpointError> {
        if !self.https {
            return Err(EndpointError::TlsOverPlain(self.to_string()));
        }
        let mut config = client_tls(authorities, identity)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: Some(Arc::new(config)), ..self })
    }
}

fn header(authority: &Authority) -> Option<HeaderValue> {
    HeaderValue::from_str(authority.as_str()).ok()
}

fn bearer(token: &str) -> Result<HeaderValue, EndpointError> {
    if token.trim().is_empty() {
        return Err(EndpointError::NoToken);
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_| EndpointError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority.to_str().unwrap_or_default(), self.base)
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_to_loopback_only() {
        for uri in ["http://127.0.0.1:8686", "http://[::1]:8686/", "http://localhost", "https://weir.example/a/"] {
            assert!(Endpoint::new(uri, "t").is_ok(), "{uri}");
        }
        let refused = |uri: &str| Endpoint::new(uri, "t").unwrap_err();
        assert_eq!(refused("http://weir.example"), EndpointError::Plain("http://weir.example".into()));
        assert_eq!(refused("ftp://weir.example"), EndpointError::Uri("ftp://weir.example".into()));
        assert_eq!(refused("weir.example:80"), EndpointError::Uri("weir.example:80".into()));
        assert_eq!(Endpoint::new("https://weir.example", " ").unwrap_err(), EndpointError::NoToken);
        assert_eq!(Endpoint::new("https://weir.example", "a\nb").unwrap_err(), EndpointError::Token);
    }

    #[test]
    fn the_token_is_not_shown() {
        let endpoint = Endpoint::new("https://weir.example:8443/a/", "s3cret").unwrap();
        assert_eq!(format!("{endpoint:?}"), "https://weir.example:8443/a");
    }
}
