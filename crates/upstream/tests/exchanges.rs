//! Requests and responses over connections to an upstream that does what a test says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use bytes::Bytes;
use common::{Frames, TIMEOUTS, content, head};
use http::{HeaderValue, Method};
use http_body::Frame;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir_config::{Cluster, Scheme, UpstreamAddress};
use weir_event::Instant;
use weir_event::{Attempt, Reason};
use weir_http1::Fields;
use weir_upstream::{Connection, Content, Failure, InFlight, Origin, Origins, Pool, Unanswered};

fn origin(port: u16) -> Arc<Origin> {
    let address = UpstreamAddress { scheme: Scheme::Http, host: "127.0.0.1".into(), port };
    Origins::default().origin(&address, None, &Cluster::default()).unwrap()
}

async fn connected() -> (Arc<Origin>, Pool, Connection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = origin(listener.local_addr().unwrap().port());
    let pool = Pool::new(Arc::default());
    let mut attempt = Attempt::new();
    let (connection, peer) = tokio::join!(pool.connect(&origin, &TIMEOUTS, &mut attempt), listener.accept());
    assert_eq!(attempt.address.map(|address| address.port()), Some(origin.address.port));
    (origin, pool, connection.unwrap(), peer.unwrap().0)
}

fn send(connection: Connection, method: &Method, frames: Frames) -> InFlight<Frames> {
    let mut fields = Fields::new();
    fields.append("host", b"test").unwrap();
    if !frames.is_end() {
        fields.append("transfer-encoding", b"chunked").unwrap();
    }
    InFlight::send(connection, (method, "/", &fields), frames)
}

/// Reads up to `end`.
async fn read_to(peer: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let mut byte = [0];
        assert_eq!(peer.read(&mut byte).await.unwrap(), 1, "{}", read.escape_ascii());
        read.extend(byte);
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn a_connection_is_used_again_until_its_upstream_closes() {
    let (origin, pool, mut connection, mut peer) = connected().await;
    for _ in 0..3 {
        let mut sent = send(connection, &Method::GET, Frames::default());
        peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        assert_eq!(head(&mut sent).await.unwrap().fields.get("content-length"), Some(&b"2"[..]));
        assert_eq!(content(&mut sent).await.0, b"ok");
        assert_eq!(read_to(&mut peer, "\r\n\r\n").await, "GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        pool.give_back(sent.finish().unwrap(), Instant::now());
        connection = pool.checkout(&origin, Instant::now(), &TIMEOUTS).unwrap();
    }
    pool.give_back(connection, Instant::now());
    drop(peer);
    while pool.idle() > 0 {
        tokio::task::yield_now().await;
        pool.evict(Instant::now(), &TIMEOUTS);
    }
    assert!(pool.checkout(&origin, Instant::now(), &TIMEOUTS).is_none());
}

#[tokio::test]
async fn a_connection_is_kept_only_behind_a_whole_exchange_that_says_so() {
    for (response, keeps) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", true),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", false),
        ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\nok", false),
    ] {
        let (_, _, connection, mut peer) = connected().await;
        let mut sent = send(connection, &Method::GET, Frames::default());
        let answer = async {
            read_to(&mut peer, "\r\n\r\n").await;
            peer.write_all(response.as_bytes()).await.unwrap();
            peer.shutdown().await.unwrap();
        };
        let (answered, ()) = tokio::join!(head(&mut sent), answer);
        let status = answered.unwrap().status;
        let (data, trailers) = content(&mut sent).await;
        assert_eq!(data, if status == 204 { b"" } else { &b"ok"[..] }, "{response}");
        assert_eq!(trailers.len(), usize::from(response.contains("chunked")));
        assert_eq!(sent.finish().is_some(), keeps, "{response}");
    }
}

#[tokio::test]
async fn an_idle_connection_ages_out() {
    let (_origin, pool, connection, _peer) = connected().await;
    let now = Instant::now();
    pool.give_back(connection, now);
    pool.evict(now + Duration::from_secs(59), &TIMEOUTS);
    assert_eq!(pool.idle(), 1);
    pool.evict(now + Duration::from_secs(61), &TIMEOUTS);
    assert_eq!(pool.idle(), 0);
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = origin(listener.local_addr().unwrap().port());
    drop(listener);
    let failure = Pool::new(Arc::default()).connect(&origin, &TIMEOUTS, &mut Attempt::new()).await.err().unwrap();
    assert_eq!(failure.reason(), Reason::ConnectionRefused);
}

#[tokio::test]
async fn what_is_no_response_has_its_reason() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(65 * 1024));
    for (response, reason) in [
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", Reason::UpstreamProtocolError),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", Reason::UpstreamProtocolError),
        (&long, Reason::UpstreamHeadersTooLarge),
        ("HTTP/1.1 200 OK\r\n", Reason::ConnectionTerminated),
        ("", Reason::ConnectionTerminated),
    ] {
        let (_, _, connection, mut peer) = connected().await;
        let mut sent = send(connection, &Method::GET, Frames::default());
        let answer = async {
            read_to(&mut peer, "\r\n\r\n").await;
            peer.write_all(response.as_bytes()).await.unwrap();
            drop(peer);
        };
        let (answered, ()) = tokio::join!(head(&mut sent), answer);
        assert!(!sent.is_unsent());
        assert_eq!(Failure::of_exchange("t".into(), answered.err().unwrap()).reason(), reason, "{response:.40}");
    }
}

#[tokio::test]
async fn content_goes_out_in_chunks_with_its_trailers() {
    let (_, _, connection, mut peer) = connected().await;
    let mut frames = Frames::of(&["one", "", "three"]);
    // What frames a message or asks for something is no trailer: it is left out, and no other with it.
    let trailers = [("expect", "100-continue"), ("x-sum", "1"), ("keep-alive", "1"), ("content-length", "3")];
    let trailers = trailers.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
    frames.0.push_back(Frame::trailers(trailers.into_iter().collect()));
    let mut sent = send(connection, &Method::POST, frames);
    let answer = async {
        let read = read_to(&mut peer, "x-sum: 1\r\n\r\n").await;
        assert_eq!(read.split_once("\r\n\r\n").unwrap().1, "3\r\none\r\n5\r\nthree\r\n0\r\nx-sum: 1\r\n\r\n");
        peer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    };
    let (answered, ()) = tokio::join!(head(&mut sent), answer);
    assert_eq!(answered.unwrap().status, 204);
    assert!(sent.finish().is_some());
}

/// An upstream that has heard enough answers and closes: the answer counts, not the write that fails.
#[tokio::test]
async fn a_response_counts_though_its_request_was_not_taken() {
    let (_, _, connection, mut peer) = connected().await;
    let mut frames = Frames::default();
    let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
    frames.0.extend((0..64).map(|_| Frame::data(piece.clone())));
    let mut sent = send(connection, &Method::POST, frames);
    let answer = async {
        read_to(&mut peer, "\r\n\r\n").await;
        peer.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
        peer.shutdown().await.unwrap();
        peer
    };
    let (answered, peer) = tokio::join!(head(&mut sent), answer);
    assert_eq!(answered.unwrap().status, 413);
    assert_eq!(content(&mut sent).await.0, b"no");
    assert!(sent.finish().is_none(), "its request is not whole");
    drop(peer);
}

#[tokio::test]
async fn a_request_of_which_nothing_was_written_can_be_sent_again_whole() {
    let (_, _, connection, peer) = connected().await;
    // Closed with a reset, which the gateway's machine knows of before it writes.
    peer.set_zero_linger().unwrap();
    drop(peer);
    let mut connection = Some(connection);
    let (_origin, pool, ..) = connected().await;
    pool.give_back(connection.take().unwrap(), Instant::now());
    while pool.idle() > 0 {
        tokio::task::yield_now().await;
        pool.evict(Instant::now(), &TIMEOUTS);
    }
    // One that looks open still, as in the moment between a look at it and its use.
    let (_, _, connection, peer) = connected().await;
    peer.set_zero_linger().unwrap();
    drop(peer);
    let mut sent = send(connection, &Method::POST, Frames::of(&["one", "two"]));
    assert!(matches!(head(&mut sent).await, Err(Unanswered::Closed(_))));
    assert!(sent.is_unsent());
    assert_eq!(sent.into_content().unwrap().whole(), b"onetwo");
}
