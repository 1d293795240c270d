//! Where Envoy's telemetry goes: an OTLP collector over gRPC that counts log records and spans and keeps nothing.
//!
//! It reads as much of protobuf as counting takes, and runs on the load's core.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

/// What has arrived.
#[derive(Default)]
pub struct Counts {
    pub records: AtomicU64,
    pub spans: AtomicU64,
}

/// A collector on a port of its own choice, for as long as the bench runs.
pub struct Sink {
    address: SocketAddr,
    current: Arc<Mutex<Arc<Counts>>>,
}

impl Sink {
    pub fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let current: Arc<Mutex<Arc<Counts>>> = Arc::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let counts = current.clone();
        std::thread::Builder::new().name("sink".into()).spawn(move || runtime.block_on(serve(listener, counts)))?;
        Ok(Self { address, current })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What connects from now on is counted anew.
    pub fn fresh(&self) -> Arc<Counts> {
        let counts = Arc::new(Counts::default());
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = counts.clone();
        counts
    }
}

async fn serve(listener: std::net::TcpListener, current: Arc<Mutex<Arc<Counts>>>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let counts = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let service = service_fn(move |request| receive(request, counts.clone()));
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let connection = server.serve_connection(TokioIo::new(stream), service);
        // Ends when the contender breaks the connection off.
        tokio::spawn(async move { connection.await.unwrap_or_default() });
    }
}

/// gRPC as far as OTLP exports use it: a message in frames of five bytes and a length, an empty one back. Envoy's
/// access logger keeps one stream open for as long as it lives, so messages are counted as they come.
async fn receive(request: Request<Incoming>, counts: Arc<Counts>) -> Result<Response<Trailers>, Infallible> {
    let count = if request.uri().path().ends_with("LogsService/Export") { &counts.records } else { &counts.spans };
    let (mut body, mut held) = (request.into_body(), Vec::new());
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            held.extend_from_slice(&data);
            count.fetch_add(take_messages(&mut held), Relaxed);
        }
    }
    let mut response = Response::new(Trailers(0));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}

/// An empty message, and the trailers that say that all is well.
struct Trailers(u8);

impl Body for Trailers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0 += 1;
        Poll::Ready(match self.0 {
            1 => Some(Ok(Frame::data(Bytes::from_static(&[0; 5])))),
            2 => Some(Ok(Frame::trailers(HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-status"),
                HeaderValue::from_static("0"),
            )])))),
            _ => None,
        })
    }
}

/// Takes what is whole of the messages held; the records in them.
fn take_messages(held: &mut Vec<u8>) -> u64 {
    let (mut records, mut at) = (0, 0);
    while let Some([_, a, b, c, d]) = held.get(at..at + 5).and_then(|head| <[u8; 5]>::try_from(head).ok()) {
        let end = at + 5 + u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(message) = held.get(at + 5..end) else { break };
        records += nested(message, 3);
        at = end;
    }
    held.drain(..at);
    records
}

/// The fields at `depth` under `message`: resource (1) → scope (2) → record (2), for logs as for spans.
fn nested(message: &[u8], depth: u8) -> u64 {
    let (wanted, mut rest, mut count) = (if depth == 3 { 1 } else { 2 }, message, 0);
    while let Some((field, value)) = next_field(&mut rest) {
        if field == wanted {
            count += if depth == 1 { 1 } else { nested(value, depth - 1) };
        }
    }
    count
}

/// The next field's number and, of one with a length, its bytes. None at the end or at what is no protobuf.
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let key = varint(rest)?;
    let length = match key & 7 {
        0 => return varint(rest).map(|_| (key >> 3, &rest[..0])),
        1 => 8,
        2 => usize::try_from(varint(rest)?).ok()?,
        5 => 4,
        _ => return None,
    };
    let value = rest.get(..length)?;
    *rest = &rest[length..];
    Some((key >> 3, value))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, more) = rest.split_first()?;
        *rest = more;
        value |= u64::from(byte & 127) << shift;
        if byte & 128 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, value.len() as u8], value].concat()
    }

    #[test]
    fn records_are_counted_through_frames_that_come_in_parts() {
        let record = field(2, &[0x0d, 1, 2, 3, 4, 0x10, 0x96, 0x01]);
        let scope = field(2, &[field(1, b"scope"), record.clone(), record].concat());
        let message = [field(1, &scope), field(1, &scope)].concat();
        let mut wire = vec![0];
        wire.extend((message.len() as u32).to_be_bytes());
        wire.extend(&message);
        let mut held = Vec::new();
        let counted: u64 = wire
            .chunks(7)
            .map(|part| {
                held.extend(part);
                take_messages(&mut held)
            })
            .sum();
        assert_eq!((counted, held.len()), (4, 0));
    }

    #[test]
    fn what_is_no_protobuf_counts_nothing() {
        assert_eq!(nested(&[0xff; 40], 3), 0);
        assert_eq!(nested(&[0x0a, 0x7f], 3), 0);
    }
}
