//! GET and POST over http or https, or at a gateway's Unix socket, with errors that say what could not be reached and
//! what to do.

use crate::terminal::excerpt;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::request::Builder;
use http::uri::Scheme;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use std::error::Error;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::net::UnixStream;
use weir_transport::client_tls;

/// What an address begins with that is a Unix socket.
const SOCKET: &str = "unix:";

/// How long the head of an answer may take that is at hand.
const LIMIT: Duration = Duration::from_secs(10);
/// How long an answer may take that is made of rows: a ledger counts the rows of a day first.
const ANSWER: Duration = Duration::from_secs(60);
/// How long a POST may take: weir-analytics reads every row of a day for some.
const LONG: Duration = Duration::from_secs(600);
/// The largest answer that is read whole.
const MOST: usize = 64 * 1024 * 1024;

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("`{url}` is not a URL; write it as http://HOST:PORT, or unix:PATH for a gateway's socket")]
    Url { url: String },
    #[error("cannot reach {url}: {cause}; does the gateway run, is this its socket, and are you its user?")]
    Socket { url: String, cause: io::Error },
    #[error("cannot reach {url}: {cause}; is it running, and is this its address?")]
    Unreachable { url: String, cause: String },
    #[error("no answer from {url} within {} s", .limit.as_secs())]
    Silent { url: String, limit: Duration },
    #[error("{url} broke off its answer: {cause}")]
    Broken { url: String, cause: String },
    #[error("{url} answered with `{kind}`, which is no tail of events; is this a gateway's admin address?")]
    NoTail { url: String, kind: String },
    #[error("{url} answered with no metrics of a gateway; is this its admin address?")]
    NoMetrics { url: String },
    #[error("{url} answered {status}: {body}")]
    Refused { url: String, status: StatusCode, body: String },
}

/// Of all requests, where the command line says it.
static TLS: OnceLock<ClientConfig> = OnceLock::new();

/// From the first request on, https is spoken by `config`.
pub fn speak_by(config: ClientConfig) {
    // Called once.
    drop(TLS.set(config));
}

/// The head of the answer to `GET base/path`, whatever its status.
pub async fn open(base: &str, path: &str) -> Result<(String, Response<Incoming>), FetchError> {
    ask(base, path, LIMIT, Request::get("/").body(Full::default())).await
}

/// A gateway's tail: its answer goes on until one of the two leaves.
pub async fn tail(base: &str) -> Result<(String, Incoming), FetchError> {
    let (url, response) = open(base, "/tail").await?;
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("nothing").to_owned();
    if response.status() != StatusCode::OK {
        let (url, status, body) = whole(url, response, LIMIT).await?;
        return Err(FetchError::Refused { url, status, body: excerpt(&body) });
    }
    if kind != "application/x-ndjson" {
        return Err(FetchError::NoTail { url, kind });
    }
    Ok((url, response.into_body()))
}

/// `request` to `base/path`, and the head of its answer.
async fn ask(
    base: &str,
    path: &str,
    limit: Duration,
    request: http::Result<Request<Full<Bytes>>>,
) -> Result<(String, Response<Incoming>), FetchError> {
    let url = format!("{}{path}", base.trim_end_matches('/'));
    if let Some(socket) = base.strip_prefix(SOCKET) {
        let asked = ask_at_socket(socket, &url, path, request);
        return match tokio::time::timeout(limit, asked).await {
            Ok(response) => response.map(|response| (url, response)),
            Err(_) => Err(FetchError::Silent { url, limit }),
        };
    }
    let uri: Uri = url.parse().map_err(|_| FetchError::Url { url: url.clone() })?;
    if uri.authority().is_none() {
        return Err(FetchError::Url { url });
    }
    let unreachable = |cause: &dyn Error| FetchError::Unreachable { url: url.clone(), cause: root(cause) };
    let config = match TLS.get() {
        Some(config) => config.clone(),
        None => {
            // Over http a machine without authorities will do.
            let nobody = (uri.scheme() != Some(&Scheme::HTTPS)).then_some(&[][..]);
            client_tls(nobody, None).map_err(|error| unreachable(&error))?
        }
    };
    let https = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
    let client = Client::builder(TokioExecutor::new()).build(https);
    let mut request = request.map_err(|error| unreachable(&error))?;
    *request.uri_mut() = uri;
    match tokio::time::timeout(limit, client.request(request)).await {
        Ok(Ok(response)) => Ok((url, response)),
        Ok(Err(error)) => Err(unreachable(&error)),
        Err(_) => Err(FetchError::Silent { url, limit }),
    }
}

/// As [`ask`], at a Unix socket.
async fn ask_at_socket(
    socket: &str,
    url: &str,
    path: &str,
    request: http::Result<Request<Full<Bytes>>>,
) -> Result<Response<Incoming>, FetchError> {
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|cause| FetchError::Socket { url: url.to_owned(), cause })?;
    let unreachable = |cause: &dyn Error| FetchError::Unreachable { url: url.to_owned(), cause: root(cause) };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
    // Ends with the answer, or with this program.
    tokio::spawn(connection);
    let mut request = request.map_err(|error| unreachable(&error))?;
    *request.uri_mut() = path.parse().map_err(|_| FetchError::Url { url: url.to_owned() })?;
    request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
    sender.send_request(request).await.map_err(|error| unreachable(&error))
}

/// A whole answer, with its status.
pub async fn get(base: &str, path: &str) -> Result<(String, StatusCode, String), FetchError> {
    let (url, response) = open(base, path).await?;
    whole(url, response, LIMIT).await
}

/// As [`get`], with a token where there is one.
pub async fn get_any_as(
    base: &str,
    path: &str,
    token: Option<&str>,
) -> Result<(String, StatusCode, String), FetchError> {
    let (url, response) = ask(base, path, LIMIT, with_token(Request::get("/"), token).body(Full::default())).await?;
    whole(url, response, LIMIT).await
}

fn with_token(request: Builder, token: Option<&str>) -> Builder {
    match token {
        Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
        None => request,
    }
}

/// A whole answer that must be 200, with a token where there is one.
pub async fn get_as(base: &str, path: &str, token: Option<&str>) -> Result<(String, String), FetchError> {
    let request = with_token(Request::get("/"), token);
    let (url, response) = ask(base, path, ANSWER, request.body(Full::default())).await?;
    let (url, status, body) = whole(url, response, ANSWER).await?;
    accepted(url, status, body)
}

/// The whole answer to a GET with these fields, whatever it is, and its own.
pub async fn get_with(
    base: &str,
    path: &str,
    fields: &[(&str, &str)],
) -> Result<(String, StatusCode, HeaderMap, String), FetchError> {
    let request = fields.iter().fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
    let (url, response) = ask(base, path, LIMIT, request.body(Full::default())).await?;
    let fields = response.headers().clone();
    let (url, status, body) = whole(url, response, LIMIT).await?;
    Ok((url, status, fields, body))
}

/// The answer to a POST of JSON, which must be 200. The administrator's token goes with it where there is one.
pub async fn post(base: &str, path: &str, token: Option<&str>, body: String) -> Result<(String, String), FetchError> {
    let (url, status, body) = posted(base, path, token, body).await?;
    accepted(url, status, body)
}

/// The answer to a POST of nothing, whatever its status.
pub async fn post_any(base: &str, path: &str, token: Option<&str>) -> Result<(String, StatusCode, String), FetchError> {
    posted(base, path, token, String::new()).await
}

async fn posted(
    base: &str,
    path: &str,
    token: Option<&str>,
    body: String,
) -> Result<(String, StatusCode, String), FetchError> {
    let request = with_token(Request::post("/").header(CONTENT_TYPE, "application/json"), token);
    let (url, response) = ask(base, path, LONG, request.body(Full::from(body))).await?;
    whole(url, response, LONG).await
}

async fn whole(
    url: String,
    response: Response<Incoming>,
    limit: Duration,
) -> Result<(String, StatusCode, String), FetchError> {
    let status = response.status();
    let body = tokio::time::timeout(limit, Limited::new(response.into_body(), MOST).collect()).await;
    match body {
        Ok(Ok(body)) => Ok((url, status, String::from_utf8_lossy(&body.to_bytes()).into_owned())),
        Ok(Err(error)) => Err(FetchError::Broken { url, cause: error.to_string() }),
        Err(_) => Err(FetchError::Silent { url, limit }),
    }
}

/// A whole answer that must be 200.
pub async fn get_ok(base: &str, path: &str) -> Result<(String, String), FetchError> {
    get_as(base, path, None).await
}

fn accepted(url: String, status: StatusCode, body: String) -> Result<(String, String), FetchError> {
    if status == StatusCode::OK {
        return Ok((url, body));
    }
    Err(FetchError::Refused { url, status, body: excerpt(&body) })
}

/// The innermost cause: "connection refused" says more than "client error (Connect)".
fn root(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
