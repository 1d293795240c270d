//! Where a program's own spans go, as OpenTelemetry's variables say it, and the connections to it.
//!
//! TLS is what `OTEL_EXPORTER_OTLP_CERTIFICATE`, `_CLIENT_CERTIFICATE` and `_CLIENT_KEY` say, over gRPC and over HTTP alike:
//! both protocols get their connections from here, and not from their libraries.

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tower_service::Service;
use weir_transport::{Resolver, TlsError, client_tls, connector};

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    Http,
}

/// Where spans go.
#[derive(Clone, Debug)]
pub struct Receiver {
    pub protocol: Protocol,
    /// `http://` or `https://`, with host and port; over HTTP with the path.
    pub endpoint: String,
    /// Sent with each request.
    pub headers: Vec<(String, String)>,
    pub timeout: Duration,
    /// Whom it is believed to be by, and what the program proves itself by, over `https`.
    pub tls: Arc<ClientConfig>,
}

/// Why the receiver that the variables name cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    #[error("{variable}: `{file}`: {error}; name a file in PEM that can be read")]
    File { variable: String, file: String, error: pem::Error },
    #[error("{variable}: `{file}` has no certificate; name a file in PEM that has one")]
    Empty { variable: String, file: String },
    #[error("{variable} is missing: a client's certificate and its key go together; set both, or none")]
    Alone { variable: String },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A variable of traces, or the one of all signals, with its name.
fn variable(name: &str) -> Option<(String, String)> {
    let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), format!("OTEL_EXPORTER_OTLP_{name}")];
    names.into_iter().find_map(|name| {
        let value = std::env::var(&name).ok()?;
        // An empty one counts as absent, as the specification asks.
        (!value.trim().is_empty()).then(|| (name, value.trim().to_owned()))
    })
}

impl Receiver {
    /// What `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and its kin say; `None` where they name no receiver.
    ///
    /// # Errors
    /// Its certificates cannot be read or used.
    pub fn of_environment() -> Result<Option<Self>, ReceiverError> {
        let is_true = |name| std::env::var(name).is_ok_and(|value: String| value.eq_ignore_ascii_case("true"));
        if is_true("OTEL_SDK_DISABLED") || std::env::var("OTEL_TRACES_EXPORTER").is_ok_and(|name| name == "none") {
            return Ok(None);
        }
        let value = |name| variable(name).map(|(_, value)| value);
        let protocol = match value("PROTOCOL").as_deref() {
            Some("grpc") => Protocol::Grpc,
            Some("http/protobuf") | None => Protocol::Http,
            Some(_) => return Ok(None),
        };
        let endpoint = match (std::env::var("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), protocol) {
            (Ok(whole), Protocol::Http) if !whole.is_empty() => Some(whole),
            // OTLP, "Endpoint URLs for OTLP/HTTP".
            (_, Protocol::Http) => value("ENDPOINT").map(|base| format!("{}/v1/traces", base.trim_end_matches('/'))),
            (_, Protocol::Grpc) => value("ENDPOINT"),
        };
        let Some(endpoint) = endpoint else { return Ok(None) };
        let pairs = value("HEADERS").unwrap_or_default();
        let pairs = pairs.split(',').filter_map(|pair| pair.split_once('='));
        let headers = pairs.map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned())).collect();
        let timeout = value("TIMEOUT").and_then(|ms| ms.parse().ok()).unwrap_or(10_000);
        let tls = Arc::new(tls(endpoint.starts_with("https:"))?);
        Ok(Some(Self { protocol, endpoint, headers, timeout: Duration::from_millis(timeout), tls }))
    }

    /// Connections for HTTP/1.1.
    pub(crate) fn http1(&self) -> HttpsConnector<HttpConnector<Resolver>> {
        let builder = HttpsConnectorBuilder::new().with_tls_config((*self.tls).clone()).https_or_http();
        builder.enable_http1().wrap_connector(connector())
    }

    /// Connections for HTTP/2.
    pub(crate) fn http2(&self) -> ForGrpc {
        let builder = HttpsConnectorBuilder::new().with_tls_config((*self.tls).clone()).https_or_http();
        let is_tls = self.endpoint.starts_with("https:");
        ForGrpc { connector: builder.enable_http2().wrap_connector(connector()), is_tls }
    }
}

/// Authorities of the variables or of the system, and the certificate of the variables.
fn tls(is_https: bool) -> Result<ClientConfig, ReceiverError> {
    let named = variable("CERTIFICATE").map(certificates).transpose()?;
    let authorities = named.as_deref().or((!is_https).then_some(&[]));
    let missing = |name: &str| ReceiverError::Alone { variable: format!("OTEL_EXPORTER_OTLP_{name}") };
    let identity = match (variable("CLIENT_CERTIFICATE"), variable("CLIENT_KEY")) {
        (None, None) => None,
        (Some(chain), Some((variable, file))) => {
            let key = PrivateKeyDer::from_pem_file(&file);
            Some((certificates(chain)?, key.map_err(|error| ReceiverError::File { variable, file, error })?))
        }
        (Some(_), None) => return Err(missing("CLIENT_KEY")),
        (None, Some(_)) => return Err(missing("CLIENT_CERTIFICATE")),
    };
    Ok(client_tls(authorities, identity.as_ref().map(|(chain, key)| (&**chain, key)))?)
}

fn certificates((variable, file): (String, String)) -> Result<Vec<CertificateDer<'static>>, ReceiverError> {
    let read = CertificateDer::pem_file_iter(&file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(ReceiverError::Empty { variable, file }),
        Ok(found) => Ok(found),
        Err(error) => Err(ReceiverError::File { variable, file, error }),
    }
}

/// Connections that tonic takes for those of clear text: it would add TLS of its own to others.
#[derive(Clone)]
pub(crate) struct ForGrpc {
    connector: HttpsConnector<HttpConnector<Resolver>>,
    is_tls: bool,
}

impl Service<Uri> for ForGrpc {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let uri = if self.is_tls { with_scheme(uri, "https") } else { uri };
        Box::pin(self.connector.call(uri))
    }
}

/// The same place under another scheme.
pub(crate) fn with_scheme(uri: Uri, scheme: &str) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.scheme = scheme.parse().ok();
    Uri::from_parts(parts).unwrap_or(uri)
}
