//! hyper, fed from memory: its reading of the same bytes.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// Nothing here ever waits for anything but its own turn.
const MOST_POLLS: usize = 100_000;

/// A peer that has sent all it will send, and reads whatever comes.
struct Peer {
    sent: Bytes,
    /// Only once so much was written to it: a client takes no answer that comes before its request.
    hears: usize,
    heard: usize,
}

impl Read for Peer {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.heard < self.hears {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let len = self.sent.len().min(buf.remaining());
        buf.put_slice(&self.sent.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl Write for Peer {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.heard += buf.len();
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A message as hyper reads it, as far as it came.
pub struct Seen<T> {
    pub head: T,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    /// The body came to its end.
    pub is_whole: bool,
}

async fn collect(mut body: Incoming) -> (Vec<u8>, Option<HeaderMap>, bool) {
    let (mut data, mut trailers) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return (data, trailers, false) };
        match frame.into_data() {
            Ok(piece) => data.extend_from_slice(&piece),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    (data, trailers, true)
}

fn run<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    (0..MOST_POLLS).find_map(|_| match future.as_mut().poll(&mut cx) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    })
}

/// The requests of `wire`, as hyper's server reads them.
pub fn requests(wire: &[u8]) -> Vec<Seen<http::request::Parts>> {
    let seen = RefCell::new(Vec::new());
    let service = service_fn(|request: Request<Incoming>| async {
        let (head, body) = request.into_parts();
        let (body, trailers, is_whole) = collect(body).await;
        seen.borrow_mut().push(Seen { head, body, trailers, is_whole });
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let peer = Peer { sent: Bytes::copy_from_slice(wire), hears: 0, heard: 0 };
    let connection = hyper::server::conn::http1::Builder::new().half_close(true).serve_connection(peer, service);
    // Its errors are refusals: what was read before one is read.
    let _ = run(connection);
    seen.into_inner()
}

/// The response of `wire` to a request with this method, as hyper's client reads it.
pub fn response(method: &str, wire: &[u8]) -> Option<Seen<http::response::Parts>> {
    let peer = Peer { sent: Bytes::copy_from_slice(wire), hears: 1, heard: 0 };
    let answered = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(peer).await.ok()?;
        let target = if method == "CONNECT" { "a:80" } else { "/" };
        let request =
            Request::builder().method(method).uri(target).header("host", "a").body(Empty::<Bytes>::new()).ok()?;
        let exchange = async {
            let (head, body) = sender.send_request(request).await.ok()?.into_parts();
            let (body, trailers, is_whole) = collect(body).await;
            Some(Seen { head, body, trailers, is_whole })
        };
        let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
        std::future::poll_fn(|cx| {
            let _ = connection.as_mut().poll(cx);
            exchange.as_mut().poll(cx)
        })
        .await
    };
    run(answered).flatten()
}
