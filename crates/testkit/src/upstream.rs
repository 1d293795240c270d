//! An upstream with endpoints of different speed, size and failure. What it answers follows from the request alone.
//!
//! | path | answer |
//! |---|---|
//! | `/fast…` | 200, 1 KiB, at once |
//! | `/slow?ms=N` | 200 after N ms (at most 10,000; 80 unless said) |
//! | `/large?kib=N` | 200 and N KiB (at most 65,536; 256 unless said) |
//! | `/status/N` | status N |
//! | `/flaky?percent=N` | 503 for N in a hundred (10 unless said), by a hash of the request's trace id; else 200 |
//! | `/broken` | says 100 bytes, sends 10 and closes |
//! | `/echo` | 200 and the request's body |

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::channel::Channel;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

type Body = BoxBody<Bytes, io::Error>;

/// Serves on `listener` until dropped.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        connections.spawn(async move { drop(served.await) });
        while connections.try_join_next().is_some() {}
    }
}

/// Listens on `address` and serves in the background. Ends with the runtime.
pub async fn spawn(address: &str) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener));
    Ok(address)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let number = |name: &str, otherwise: u64, most: u64| parameter(&request, name).unwrap_or(otherwise).min(most);
    let response = match path.split('/').nth(1).unwrap_or_default() {
        "slow" => {
            tokio::time::sleep(Duration::from_millis(number("ms", 80, 10_000))).await;
            whole(StatusCode::OK, vec![b's'; 64])
        }
        "large" => whole(StatusCode::OK, vec![b'l'; number("kib", 256, 65_536) as usize * 1024]),
        "status" => {
            let status = path.rsplit('/').next().and_then(|code| code.parse().ok()).unwrap_or(200);
            whole(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), Vec::new())
        }
        "flaky" if is_unlucky(&request, number("percent", 10, 100)) => {
            whole(StatusCode::SERVICE_UNAVAILABLE, b"try again".to_vec())
        }
        "broken" => broken(),
        "echo" => Response::new(request.into_body().map_err(io::Error::other).boxed()),
        _ => whole(StatusCode::OK, vec![b'f'; 1024]),
    };
    Ok(response)
}

fn parameter(request: &Request<Incoming>, name: &str) -> Option<u64> {
    let pairs = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name)?.1.parse().ok()
}

/// By the trace id, so that whoever sent the request can know beforehand.
fn is_unlucky(request: &Request<Incoming>, percent: u64) -> bool {
    let trace = request.headers().get("traceparent").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let hash = trace
        .get(3..35)
        .unwrap_or_default()
        .bytes()
        .fold(0u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    hash % 100 < percent
}

fn whole(status: StatusCode, bytes: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}

fn broken() -> Response<Body> {
    let (mut sender, body) = Channel::<Bytes, io::Error>::new(1);
    tokio::spawn(async move {
        // The client has left already if this fails.
        let _ = sender.send_data(Bytes::from_static(b"ten bytes.")).await;
        // Long enough for the head and the ten bytes to go out before the end of them.
        tokio::time::sleep(Duration::from_millis(5)).await;
        sender.abort(io::Error::other("broken on purpose"));
    });
    let mut response = Response::new(body.boxed());
    response.headers_mut().insert("content-length", http::HeaderValue::from_static("100"));
    response
}
