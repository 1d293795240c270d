//! One POST to the ingestor: HTTP/1.1 over connections that are kept, TLS as the endpoint says.
//!
//! Small on purpose: at most a few requests at a time to one host. What an answer means is [`crate::answer`]'s.

use crate::endpoint::Endpoint;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::set_tcp_user_timeout;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tracing::{Instrument, info_span};
use weir_api::ingest::{PROTOCOL, PROTOCOL_HEADER, SENT_HEADER};
use weir_event::clock::system_us;
use weir_transport::{client_tls, lookup};

/// Connecting, sending and the answer together.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Data that the other side does not confirm for this long ends a connection, so that one that a firewall has
/// forgotten leaves time for a new one.
const UNCONFIRMED: Duration = Duration::from_secs(8);
const MAX_ANSWER: usize = 256 * 1024;

type Connection = SendRequest<Full<Bytes>>;

pub(crate) struct Client {
    endpoint: Endpoint,
    idle: Mutex<Vec<Connection>>,
    tls: Mutex<Option<Arc<ClientConfig>>>,
    timeout: Duration,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The beginning of what it says, for people.
    pub(crate) fn text(&self) -> String {
        let said = serde_json::from_slice::<serde_json::Value>(&self.body).ok();
        let error = said.as_ref().and_then(|said| said.get("error")?.as_str()).map(str::to_owned);
        let text = error.unwrap_or_else(|| String::from_utf8_lossy(&self.body).into_owned());
        text.chars().take(200).collect::<String>().replace(char::is_control, " ")
    }
}

/// Why no answer came. Whether the request was heard is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error("no answer from `{endpoint}` within 30 s")]
    Timeout { endpoint: Endpoint },
    #[error("cannot connect to `{endpoint}`: {error}")]
    Connect { endpoint: Endpoint, error: io::Error },
    #[error("`{endpoint}` broke off: {error}")]
    Broken { endpoint: Endpoint, error: hyper::Error },
    #[error("the request to `{endpoint}` cannot be made: {error}")]
    Request { endpoint: Endpoint, error: http::Error },
}

impl Client {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, idle: Mutex::new(Vec::new()), tls: Mutex::new(None), timeout: TIMEOUT }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Posts `body` to `path` under the endpoint.
    pub(crate) async fn post(&self, path: &str, content_type: &str, body: Bytes) -> Result<Answer, PostError> {
        // What the program does, for its own trace: the name is that of `weir_program::operations`.
        let operation = info_span!(target: "weir::operation", "ship", path, bytes = body.len());
        let exchange = self.exchange(path, content_type, body).instrument(operation);
        let posted = tokio::time::timeout(self.timeout, exchange).await;
        if !matches!(posted, Ok(Ok(_))) {
            // What happened to one kept connection has happened to all: a firewall forgets them together.
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        posted.map_err(|_| PostError::Timeout { endpoint: self.endpoint.clone() })?
    }

    async fn exchange(&self, path: &str, content_type: &str, body: Bytes) -> Result<Answer, PostError> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(connection) = kept.filter(|connection| !connection.is_closed()) {
            // The other side may have closed it a moment ago: one more try on a new one, for a chunk bears a resend.
            if let Ok(answer) = self.send(connection, path, content_type, body.clone()).await {
                return Ok(answer);
            }
        }
        let connection = self.connect().await?;
        self.send(connection, path, content_type, body).await
    }

    async fn send(
        &self,
        mut connection: Connection,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Answer, PostError> {
        let broken = |error| PostError::Broken { endpoint: self.endpoint.clone(), error };
        let request = Request::post(format!("{}{path}", self.endpoint.base))
            .header(HOST, self.endpoint.authority.clone())
            .header(AUTHORIZATION, self.endpoint.bearer.clone())
            .header(CONTENT_TYPE, content_type)
            .header(PROTOCOL_HEADER, HeaderValue::from(PROTOCOL))
            .header(SENT_HEADER, system_us())
            .body(Full::new(body))
            .map_err(|error| PostError::Request { endpoint: self.endpoint.clone(), error })?;
        connection.ready().await.map_err(broken)?;
        let response = connection.send_request(request).await.map_err(broken)?;
        let (answer, whole) = read(response).await;
        if whole && !connection.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        Ok(answer)
    }

    async fn connect(&self) -> Result<Connection, PostError> {
        let endpoint = &self.endpoint;
        let failed = |error| PostError::Connect { endpoint: endpoint.clone(), error };
        let stream = connect(&endpoint.host, endpoint.port).await.map_err(failed)?;
        stream.set_nodelay(true).ok();
        set_tcp_user_timeout(&stream, UNCONFIRMED.as_millis() as u32).ok();
        if !endpoint.https {
            return self.shake(stream).await;
        }
        let config = self.tls_config().map_err(failed)?;
        let name = ServerName::try_from(endpoint.host.clone());
        let name = name.map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        self.shake(TlsConnector::from(config).connect(name, stream).await.map_err(failed)?).await
    }

    async fn shake<S>(&self, stream: S) -> Result<Connection, PostError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shaken = handshake(TokioIo::new(stream)).await;
        let (sender, connection) =
            shaken.map_err(|error| PostError::Broken { endpoint: self.endpoint.clone(), error })?;
        // How it ends is asked to whoever sends on it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn tls_config(&self) -> io::Result<Arc<ClientConfig>> {
        if let Some(config) = &self.endpoint.tls {
            return Ok(Arc::clone(config));
        }
        let mut kept = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = &*kept {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(system_tls()?);
        *kept = Some(Arc::clone(&config));
        Ok(config)
    }
}

/// To the first address of the name that answers.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup(host, port).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn system_tls() -> io::Result<ClientConfig> {
    let mut config = client_tls(None, None).map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The answer, and whether its body came whole - the status counts in any case.
async fn read(response: Response<Incoming>) -> (Answer, bool) {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    let whole = body.is_ok();
    // A document that was cut off is none.
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    (Answer { status, retry_after, body }, whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Connections that a firewall has forgotten: each answers once, and never again. One time-out is enough.
    #[tokio::test]
    async fn one_time_out_empties_the_pool() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::new(&format!("http://{}", listener.local_addr().unwrap()), "t").unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&accepted);
        tokio::spawn(async move {
            let mut forgotten = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let mut head = [0; 4096];
                drop(stream.read(&mut head).await);
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await);
                forgotten.push(stream);
            }
        });
        let client = Client { timeout: Duration::from_millis(500), ..Client::new(endpoint) };
        let post = || client.post("/", "text/plain", Bytes::from_static(b"x"));
        let first = tokio::join!(post(), post(), post(), post());
        assert!(first.0.is_ok() && first.1.is_ok() && first.2.is_ok() && first.3.is_ok());
        assert!(matches!(post().await, Err(PostError::Timeout { .. })));
        assert!(post().await.is_ok(), "over a new connection, and not another forgotten one");
        assert_eq!(accepted.load(Ordering::Relaxed), 5);
    }
}
