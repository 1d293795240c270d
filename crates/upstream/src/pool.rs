//! One worker's connections: those in hand, and those kept for the next request.
//!
//! Last in, first out: under falling load the same few connections stay warm and the others age until they are
//! closed. A connection carries one request at a time (HTTP/1.1); whoever checked it out gives it back when the
//! response is whole, or drops it, which closes it.

use crate::connect::{Timeouts, connect};
use crate::connection::Connection;
use crate::descriptors::Descriptors;
use crate::failure::Failure;
use crate::origin::Origin;
use http_body::Body;
use std::cell::RefCell;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;
use weir_event::Attempt;

/// Idle connections kept per origin and worker at most.
const MAX_IDLE: usize = 256;

/// The idle connections of one worker.
pub struct Pool<B> {
    idle: RefCell<Vec<Vec<Connection<B>>>>,
    descriptors: Arc<Descriptors>,
}

impl<B> Pool<B> {
    /// Empty; what it opens is counted.
    pub fn new(descriptors: Arc<Descriptors>) -> Self {
        Self { idle: RefCell::default(), descriptors }
    }

    /// Takes the connection to `origin` that was used last, if one is there that is still open.
    pub fn checkout(&self, origin: &Origin, now: Instant, timeouts: &Timeouts) -> Option<Connection<B>> {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(origin.id.0)?;
        while let Some(connection) = kept.pop() {
            let fresh = connection.idle_for(now).is_some_and(|age| age < timeouts.idle);
            if fresh && connection.0.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose response is whole for the next request.
    pub fn give_back(&self, mut connection: Connection<B>, now: Instant) {
        if connection.0.sender.is_closed() {
            return;
        }
        connection.0.idle_since = Some(now);
        let mut idle = self.idle.borrow_mut();
        let index = connection.0.origin.0;
        if idle.len() <= index {
            idle.resize_with(index + 1, Vec::new);
        }
        if idle[index].len() < MAX_IDLE {
            idle[index].push(connection);
        }
    }

    /// Closes what has been idle for too long, or was closed by its upstream. Called about once a second.
    pub fn evict(&self, now: Instant, timeouts: &Timeouts) {
        for kept in self.idle.borrow_mut().iter_mut() {
            kept.retain(|connection| {
                !connection.0.sender.is_closed() && connection.idle_for(now).is_some_and(|age| age < timeouts.idle)
            });
        }
    }

    /// Idle connections, over all origins.
    pub fn idle(&self) -> usize {
        self.idle.borrow().iter().map(Vec::len).sum()
    }
}

impl<B> Pool<B>
where
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    /// Opens a new connection and books its times and its address to `attempt`.
    pub async fn connect(
        &self,
        origin: &Origin,
        timeouts: &Timeouts,
        attempt: &mut Attempt,
    ) -> Result<Connection<B>, Failure> {
        let exhausted = || Failure::NoDescriptor { target: origin.address.to_string() };
        let descriptor = self.descriptors.upstream().ok_or_else(exhausted)?;
        connect(origin, timeouts, attempt, descriptor).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origins;
    use bytes::Bytes;
    use http::Request;
    use http_body_util::{BodyExt, Empty};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;
    use weir_config::{Scheme, UpstreamAddress};
    use weir_event::Reason;

    type TestPool = Pool<Empty<Bytes>>;

    const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(5), idle: Duration::from_secs(60), fields: 100 };

    fn origin(port: u16) -> Arc<Origin> {
        let address = UpstreamAddress { scheme: Scheme::Http, host: "127.0.0.1".into(), port };
        Origins::default().origin(&address, None).unwrap()
    }

    /// Answers every request on one connection with `answer`, `times` times, then closes.
    async fn upstream(answer: &'static [u8], times: usize) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            for _ in 0..times {
                assert!(stream.read(&mut buffer).await.unwrap() > 0);
                stream.write_all(answer).await.unwrap();
            }
        });
        port
    }

    fn request() -> Request<Empty<Bytes>> {
        Request::get("/").header("host", "test").body(Empty::new()).unwrap()
    }

    async fn get(connection: &mut Connection<Empty<Bytes>>) -> Bytes {
        let response = connection.send(request()).await.map_err(hyper::client::conn::TrySendError::into_error).unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    }

    async fn local(test: impl Future<Output = ()>) {
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn a_connection_is_used_again_until_its_upstream_closes() {
        local(async {
            let origin = origin(upstream(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 2).await);
            let pool = TestPool::new(Arc::default());
            let mut attempt = Attempt::new();
            let mut connection = pool.connect(&origin, &TIMEOUTS, &mut attempt).await.unwrap();
            assert_eq!(attempt.address.map(|address| address.port()), Some(origin.address.port));
            assert_eq!(get(&mut connection).await, "ok");
            pool.give_back(connection, Instant::now());
            let mut again = pool.checkout(&origin, Instant::now(), &TIMEOUTS).unwrap();
            assert!(again.idle_for(Instant::now()).is_some());
            assert_eq!(get(&mut again).await, "ok");
            while !again.0.sender.is_closed() {
                tokio::task::yield_now().await;
            }
            pool.give_back(again, Instant::now());
            assert!(pool.checkout(&origin, Instant::now(), &TIMEOUTS).is_none());
        })
        .await;
    }

    #[tokio::test]
    async fn an_idle_connection_ages_out() {
        local(async {
            let origin = origin(upstream(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 9).await);
            let pool = TestPool::new(Arc::default());
            let mut connection = pool.connect(&origin, &TIMEOUTS, &mut Attempt::new()).await.unwrap();
            get(&mut connection).await;
            let now = Instant::now();
            pool.give_back(connection, now);
            pool.evict(now + Duration::from_secs(59), &TIMEOUTS);
            assert_eq!(pool.idle(), 1);
            pool.evict(now + Duration::from_secs(61), &TIMEOUTS);
            assert_eq!(pool.idle(), 0);
        })
        .await;
    }

    #[tokio::test]
    async fn a_refused_connection_says_so() {
        local(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let origin = origin(listener.local_addr().unwrap().port());
            drop(listener);
            let failure =
                TestPool::new(Arc::default()).connect(&origin, &TIMEOUTS, &mut Attempt::new()).await.err().unwrap();
            assert_eq!(failure.reason(), Reason::ConnectionRefused);
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_not_http_is_a_protocol_error() {
        local(async {
            let origin = origin(upstream(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 1).await);
            let mut connection =
                TestPool::new(Arc::default()).connect(&origin, &TIMEOUTS, &mut Attempt::new()).await.unwrap();
            let error = connection.send(request()).await.err().unwrap().into_error();
            assert_eq!(Failure::of_exchange("t".into(), error).reason(), Reason::UpstreamProtocolError);
        })
        .await;
    }
}
