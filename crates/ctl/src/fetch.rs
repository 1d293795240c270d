//! GET over http or https, with errors that say what could not be reached and what to do.

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::error::Error;
use std::time::Duration;

/// How long an answer's head may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The largest answer that is read whole.
const MOST: usize = 64 * 1024 * 1024;

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("`{url}` is not a URL; write it as http://HOST:PORT")]
    Url { url: String },
    #[error("cannot reach {url}: {cause}; is it running, and is this its address?")]
    Unreachable { url: String, cause: String },
    #[error("no answer from {url} within {} s", LIMIT.as_secs())]
    Silent { url: String },
    #[error("{url} broke off its answer: {cause}")]
    Broken { url: String, cause: String },
    #[error("{url} answered {status}: {body}")]
    Refused { url: String, status: StatusCode, body: String },
}

/// The head of the answer to `GET base/path`, whatever its status.
pub async fn open(base: &str, path: &str) -> Result<(String, Response<Incoming>), FetchError> {
    let url = format!("{}{path}", base.trim_end_matches('/'));
    let uri: Uri = url.parse().map_err(|_| FetchError::Url { url: url.clone() })?;
    if uri.authority().is_none() {
        return Err(FetchError::Url { url });
    }
    let unreachable = |cause: &dyn Error| FetchError::Unreachable { url: url.clone(), cause: root(cause) };
    let https = HttpsConnectorBuilder::new().with_native_roots().map_err(|error| unreachable(&error))?;
    let client = Client::builder(TokioExecutor::new()).build(https.https_or_http().enable_http1().build());
    let request = Request::get(uri).body(Empty::<Bytes>::new()).map_err(|error| unreachable(&error))?;
    match tokio::time::timeout(LIMIT, client.request(request)).await {
        Ok(Ok(response)) => Ok((url, response)),
        Ok(Err(error)) => Err(unreachable(&error)),
        Err(_) => Err(FetchError::Silent { url }),
    }
}

/// A whole answer, with its status.
pub async fn get(base: &str, path: &str) -> Result<(String, StatusCode, String), FetchError> {
    let (url, response) = open(base, path).await?;
    let status = response.status();
    let body = tokio::time::timeout(LIMIT, Limited::new(response.into_body(), MOST).collect()).await;
    match body {
        Ok(Ok(body)) => Ok((url, status, String::from_utf8_lossy(&body.to_bytes()).into_owned())),
        Ok(Err(error)) => Err(FetchError::Broken { url, cause: error.to_string() }),
        Err(_) => Err(FetchError::Silent { url }),
    }
}

/// A whole answer that must be 200.
pub async fn get_ok(base: &str, path: &str) -> Result<(String, String), FetchError> {
    let (url, status, body) = get(base, path).await?;
    if status == StatusCode::OK {
        return Ok((url, body));
    }
    Err(FetchError::Refused { url, status, body: body.trim().to_owned() })
}

/// The innermost cause: "connection refused" says more than "client error (Connect)".
fn root(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
