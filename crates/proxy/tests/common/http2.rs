//! Clients of HTTP/2: `h2`'s, and one that sends exact frames.

use super::{DEADLINE, Gateway, Upstream};
use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{Request, Response};
use std::future::Future;
use std::io::{Read, Write};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Runs a test's client, within the time that a test may take.
pub fn run<T>(client: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, client).await }).expect("the client comes to an end")
}

/// Speaks HTTP/2 at once (prior knowledge). The second answer is how the connection ends.
pub async fn connect(address: SocketAddr) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    // A connection's window that one stream alone cannot fill.
    let (client, connection) =
        h2::client::Builder::new().initial_connection_window_size(1 << 20).handshake(stream).await.unwrap();
    (client, tokio::spawn(connection))
}

pub fn get(address: SocketAddr, path: &str) -> Request<()> {
    Request::get(format!("http://{address}{path}")).body(()).unwrap()
}

pub async fn body(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    Ok(all)
}

pub async fn ask(client: &mut SendRequest<Bytes>, request: Request<()>) -> Response<RecvStream> {
    let mut client = client.clone().ready().await.unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    response.await.unwrap()
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header field as a literal that nobody indexes (RFC 7541 6.2.2), short enough for one byte of length each.
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    let len = |text: &str| u8::try_from(text.len()).unwrap();
    [&[0, len(name)], name.as_bytes(), &[len(value)], value.as_bytes()].concat()
}

pub fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

pub const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Sends bytes as long as the gateway takes them, then reads until it closes. Answers what it read.
pub fn raw(gateway: &Gateway, pieces: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut client = gateway.connect();
    client.send(&[PREFACE, &SETTINGS].concat());
    let mut reader = client.stream.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        // A reset is an end as well.
        drop(reader.read_to_end(&mut all));
        all
    });
    for piece in pieces {
        if client.stream.write_all(&piece).is_err() {
            break;
        }
    }
    reading.join().unwrap()
}

/// The kinds of the frames in `bytes`.
pub fn kinds(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while bytes.len() >= 9 {
        let len = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        kinds.push(bytes[3]);
        bytes = bytes.get(9 + len..).unwrap_or_default();
    }
    kinds
}

/// Until a request has reached the upstream.
pub async fn held_request(upstream: &Upstream) {
    while upstream.try_request().is_none() {
        tokio::task::yield_now().await;
    }
}
