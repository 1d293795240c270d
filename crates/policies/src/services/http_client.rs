//! Documents that a policy reads from somebody else's server: one answer, of bounded size and time.

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;
use weir_transport::{Resolver, TlsError, causes, client_tls, connector};

/// Why a document was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{0}")]
    Connection(String),
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("the answer broke off, or is larger than {0} bytes")]
    Body(usize),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("the answer is {0}")]
    Unreadable(&'static str),
}

/// A client of its own for each that reads again and again: what it trusts is read when it is first used.
#[derive(Debug, Default)]
pub(crate) struct Fetch {
    client: tokio::sync::OnceCell<HttpsClient>,
}

impl Fetch {
    /// The whole answer to a GET, if it is 200. No redirect is followed: it would lead where nobody has configured.
    pub(crate) async fn get(&self, url: &Uri, timeout: Duration, most: usize) -> Result<Bytes, FetchError> {
        match tokio::time::timeout(timeout, self.answer(url, most)).await {
            Ok(answer) => answer,
            Err(_) => Err(FetchError::Timeout(timeout)),
        }
    }

    async fn answer(&self, url: &Uri, most: usize) -> Result<Bytes, FetchError> {
        let client = self.client.get_or_try_init(|| async { client() }).await?;
        let request = Request::get(url.clone()).header(header::ACCEPT, "application/json");
        let request = request.body(Empty::new()).map_err(|error| FetchError::Connection(error.to_string()))?;
        let answer = client.request(request).await.map_err(|error| FetchError::Connection(causes(&error)))?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), most).collect().await.map_err(|_| FetchError::Body(most))?;
        Ok(body.to_bytes())
    }
}

type HttpsClient = Client<HttpsConnector<HttpConnector<Resolver>>, Empty<Bytes>>;

fn client() -> Result<HttpsClient, FetchError> {
    let https = HttpsConnectorBuilder::new().with_tls_config(client_tls(None, None)?).https_or_http().enable_http1();
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(https.wrap_connector(connector())))
}
