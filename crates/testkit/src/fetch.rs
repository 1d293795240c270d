//! One request over loopback: all that a test or the demo needs of an HTTP client.

use bytes::Bytes;
use http::{HeaderMap, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use std::io;
use tokio::net::TcpStream;

/// The status and the body of `GET url`, which is `http://ADDRESS/…`.
pub async fn get(url: &str) -> io::Result<(u16, String)> {
    send(Request::get(url), Bytes::new()).await.map(without_headers)
}

/// As [`get`], with fields; also the answer's.
pub async fn get_with(url: &str, headers: &[(&str, &str)]) -> io::Result<(u16, HeaderMap, String)> {
    let request = headers.iter().fold(Request::get(url), |request, (name, value)| request.header(*name, *value));
    send(request, Bytes::new()).await
}

/// The status and the body of `POST url` with a body of the type `content_type`.
pub async fn post(url: &str, content_type: &str, body: impl Into<Bytes>) -> io::Result<(u16, String)> {
    send(Request::post(url).header("content-type", content_type), body.into()).await.map(without_headers)
}

fn without_headers((status, _, body): (u16, HeaderMap, String)) -> (u16, String) {
    (status, body)
}

async fn send(request: http::request::Builder, body: Bytes) -> io::Result<(u16, HeaderMap, String)> {
    let mut request = request.body(Full::new(body)).map_err(io::Error::other)?;
    let authority = request.uri().authority().ok_or_else(|| io::Error::other("the URL has no host"))?.to_string();
    let host = authority.parse().map_err(io::Error::other)?;
    request.headers_mut().insert("host", host);
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target.parse::<Uri>().map_err(io::Error::other)?;
    let stream = TcpStream::connect(&authority).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    drop(sender);
    driver.abort();
    Ok((status, headers, String::from_utf8_lossy(&body).into_owned()))
}
