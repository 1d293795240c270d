//! One POST to the ingestor: HTTP/1.1 over connections that are kept, TLS as the endpoint says.
//!
//! Connections and their pool are hyper-util's. What it leaves to whoever uses it is here: one time limit for all of a
//! request, a bound for an answer, a second try where a connection breaks off (a chunk bears a resend), and that a failure
//! gives up all connections. What an answer means is [`crate::answer`]'s.

use crate::endpoint::Endpoint;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use std::error::Error;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tracing::{Instrument, info_span};
use weir_api::ingest::{PROTOCOL, PROTOCOL_HEADER, SENT_HEADER};
use weir_event::clock::system_us;
use weir_transport::{Resolver, TlsError, causes, client_tls, connector};

/// Connecting, sending and the answer together.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Data that the other side does not confirm for this long ends a connection, so that one that a firewall has
/// forgotten leaves time for a new one.
const UNCONFIRMED: Duration = Duration::from_secs(8);
/// Bytes.
const MAX_ANSWER: usize = 256 * 1024;

type Connector = HttpsConnector<HttpConnector<Resolver>>;
type Pool = HyperClient<Connector, Full<Bytes>>;

pub(crate) struct Client {
    endpoint: Endpoint,
    /// Made for the first request: it may have to read whom the system trusts.
    connector: OnceLock<Connector>,
    /// None before the first request, and after one that failed.
    pool: Mutex<Option<Pool>>,
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
    Timeout { endpoint: String },
    #[error("cannot connect to `{endpoint}`: {why}")]
    Connect { endpoint: String, why: String },
    #[error("`{endpoint}` broke off: {why}")]
    Broken { endpoint: String, why: String },
    #[error("the request to `{endpoint}` cannot be made: {error}")]
    Request { endpoint: String, error: http::Error },
}

impl Client {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, connector: OnceLock::new(), pool: Mutex::new(None), timeout: TIMEOUT }
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
            self.give_up_connections();
        }
        posted.map_err(|_| PostError::Timeout { endpoint: self.endpoint.to_string() })?
    }

    async fn exchange(&self, path: &str, content_type: &str, body: Bytes) -> Result<Answer, PostError> {
        match self.send(path, content_type, body.clone()).await {
            // The other side may have closed a kept connection a moment ago: one more try, on a new one.
            Err(PostError::Broken { .. }) => {
                self.give_up_connections();
                self.send(path, content_type, body).await
            }
            sent => sent,
        }
    }

    async fn send(&self, path: &str, content_type: &str, body: Bytes) -> Result<Answer, PostError> {
        let endpoint = &self.endpoint;
        let request = Request::post(format!("{endpoint}{path}"))
            .header(HOST, endpoint.authority.clone())
            .header(AUTHORIZATION, endpoint.bearer.clone())
            .header(CONTENT_TYPE, content_type)
            .header(PROTOCOL_HEADER, HeaderValue::from(PROTOCOL))
            .header(SENT_HEADER, system_us())
            .body(Full::new(body))
            .map_err(|error| PostError::Request { endpoint: endpoint.to_string(), error })?;
        let pool = self.pool();
        let pool =
            pool.map_err(|error| PostError::Connect { endpoint: endpoint.to_string(), why: error.to_string() })?;
        match pool.request(request).await {
            Ok(response) => Ok(read(response).await),
            Err(error) => {
                // The error itself says no more than which of the two it is.
                let why = error.source().map_or_else(|| error.to_string(), causes);
                let endpoint = endpoint.to_string();
                Err(if error.is_connect() {
                    PostError::Connect { endpoint, why }
                } else {
                    PostError::Broken { endpoint, why }
                })
            }
        }
    }

    fn pool(&self) -> Result<Pool, TlsError> {
        let mut kept = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = &*kept {
            return Ok(pool.clone());
        }
        let connector = match self.connector.get() {
            Some(connector) => connector.clone(),
            None => {
                let made = connector_to(&self.endpoint)?;
                self.connector.get_or_init(|| made).clone()
            }
        };
        let pool = HyperClient::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Ok(kept.insert(pool).clone())
    }

    /// What happened to one kept connection has happened to all: a firewall forgets them together. Requests that are under
    /// way go on.
    fn give_up_connections(&self) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn connector_to(endpoint: &Endpoint) -> Result<Connector, TlsError> {
    let mut tcp = connector();
    tcp.set_tcp_user_timeout(Some(UNCONFIRMED));
    let tls = match &endpoint.tls {
        Some(tls) => Arc::clone(tls),
        None => Arc::new(tls(endpoint)?),
    };
    Ok((tcp, tls).into())
}

/// Of an endpoint without settings of its own.
fn tls(endpoint: &Endpoint) -> Result<ClientConfig, TlsError> {
    let nobody = (!endpoint.https).then_some(&[][..]);
    let mut config = client_tls(nobody, None)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The answer. Its status counts in any case; a document that was cut off, or is too large, is none.
async fn read(response: Response<Incoming>) -> Answer {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    Answer { status, retry_after, body: body.map(http_body_util::Collected::to_bytes).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const EMPTY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

    async fn listen() -> (TcpListener, Endpoint) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::new(&format!("http://{}", listener.local_addr().unwrap()), "t").unwrap();
        (listener, endpoint)
    }

    /// Connections that a firewall has forgotten: each answers once, and never again. One time-out is enough.
    #[tokio::test]
    async fn one_time_out_empties_the_pool() {
        let (listener, endpoint) = listen().await;
        let accepted = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&accepted);
        tokio::spawn(async move {
            let mut forgotten = Vec::new();
            // Nobody is answered before all four are there, so that each has a connection of its own.
            for together in [4, 1] {
                let mut waiting = Vec::new();
                for _ in 0..together {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    counted.fetch_add(1, Ordering::Relaxed);
                    drop(stream.read(&mut [0; 4096]).await);
                    waiting.push(stream);
                }
                for mut stream in waiting {
                    drop(stream.write_all(EMPTY).await);
                    forgotten.push(stream);
                }
            }
            std::future::pending::<()>().await;
        });
        let client = Client { timeout: Duration::from_millis(500), ..Client::new(endpoint) };
        let post = || client.post("/", "text/plain", Bytes::from_static(b"x"));
        let first = tokio::join!(post(), post(), post(), post());
        assert!(first.0.is_ok() && first.1.is_ok() && first.2.is_ok() && first.3.is_ok());
        assert!(matches!(post().await, Err(PostError::Timeout { .. })));
        assert!(post().await.is_ok(), "over a new connection, and not another forgotten one");
        assert_eq!(accepted.load(Ordering::Relaxed), 5);
    }

    /// It closes the connection after the first answer, when it has read the next request.
    #[tokio::test]
    async fn a_connection_that_breaks_off_is_tried_once_more() {
        let (listener, endpoint) = listen().await;
        let heard = tokio::spawn(async move {
            let mut heard = Vec::new();
            for requests in [2, 1] {
                let (mut stream, _) = listener.accept().await.unwrap();
                for nth in 0..requests {
                    let mut head = [0; 4096];
                    let length = stream.read(&mut head).await.unwrap();
                    heard.push(String::from_utf8_lossy(&head[..length]).contains("host: 127.0.0.1:"));
                    if nth == 0 {
                        stream.write_all(EMPTY).await.unwrap();
                    }
                }
            }
            heard
        });
        let client = Client::new(endpoint);
        for _ in 0..2 {
            client.post("/", "text/plain", Bytes::from_static(b"x")).await.unwrap();
        }
        assert_eq!(heard.await.unwrap(), [true; 3], "the second request came twice");
        let refused = client.post("/", "text/plain", Bytes::from_static(b"x")).await;
        assert!(matches!(refused, Err(PostError::Connect { .. })), "nobody listens any more");
    }

    #[tokio::test]
    async fn an_answer_that_is_too_large_is_its_status() {
        let (listener, endpoint) = listen().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            drop(stream.read(&mut [0; 4096]).await);
            let head = format!("HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: {}\r\n\r\n", MAX_ANSWER + 1);
            drop(stream.write_all(head.as_bytes()).await);
            drop(stream.write_all(&vec![b'x'; MAX_ANSWER + 1]).await);
        });
        let answer = Client::new(endpoint).post("/", "text/plain", Bytes::from_static(b"x")).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.retry_after), (503, Some(Duration::from_secs(7))));
        assert!(answer.body.is_empty());
    }
}
