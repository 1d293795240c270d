//! One GET over loopback: all that a test or the demo needs of an HTTP client.

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use std::io;
use tokio::net::TcpStream;

/// The status and the body of `GET url`, which is `http://ADDRESS/…`.
pub async fn get(url: &str) -> io::Result<(u16, String)> {
    let url: Uri = url.parse().map_err(io::Error::other)?;
    let authority = url.authority().ok_or_else(|| io::Error::other("the URL has no host"))?.as_str();
    let stream = TcpStream::connect(authority).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let driver = tokio::spawn(connection);
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let request =
        Request::get(target).header("host", authority).body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    drop(sender);
    driver.abort();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
