//! What clients connect to: it passes on to the engine's HTTP listener what cannot end the engine.
//!
//! ClickHouse's listeners in this library end the whole process when the head of a request is malformed, or when its
//! connection ends or falls silent within it: the exception of the reader meets a handler that aborts (engine 26.7.2.1;
//! a server's own program installs another one). A port scan is enough. So a head is passed on when it is whole and
//! beyond doubt ([`crate::framing`]). All else, bodies and answers, goes through as it comes, byte by byte.

use crate::framing::{Passage, Refused};
use bytes::BytesMut;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// Read at once.
const PIECE: usize = 64 << 10;
/// A client that is still sending when its answer is over may read it for so long.
const LINGER: Duration = Duration::from_secs(2);

/// Serves `max_connections` at once until `stop` says so, then takes no further one. A connection may be without a
/// request, or within the head of one, for `idle`.
pub async fn serve(
    listener: TcpListener,
    engine: SocketAddr,
    max_connections: u64,
    idle: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(usize::try_from(max_connections).unwrap_or(Semaphore::MAX_PERMITS)));
    loop {
        let accept = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            both = accept => both,
            _ = stop.wait_for(|stopping| *stopping) => return,
        };
        match accepted {
            Ok((client, peer)) => {
                tokio::spawn(async move {
                    if let Err(error) = connection(client, engine, idle).await {
                        tracing::debug!(%peer, %error, "a connection ended early");
                    }
                    drop(place);
                });
            }
            // No descriptor now, or the client has left again: neither concerns the next one.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// What a client has sent and what of it may pass.
struct Requests {
    client: OwnedReadHalf,
    read: BytesMut,
    passage: Passage,
    idle: Duration,
}

/// Why nothing more of a client passes.
enum End {
    /// It has ended its side, or fell silent within a head.
    Closed,
    Refused(Refused),
    Failed(io::Error),
}

impl Requests {
    /// Waits until something may pass.
    async fn next(&mut self, is_first: bool) -> Result<BytesMut, End> {
        loop {
            if let Some(passed) = self.passage.next(&mut self.read).map_err(End::Refused)? {
                return Ok(passed);
            }
            self.read.reserve(PIECE);
            // Between requests the engine keeps the time: it knows whether an answer is under way.
            let limited = self.passage.expects_head() && (is_first || !self.read.is_empty());
            let reading = self.client.read_buf(&mut self.read);
            let read = if limited { timeout(self.idle, reading).await.unwrap_or(Ok(0)) } else { reading.await };
            match read {
                Ok(0) => return Err(End::Closed),
                Ok(_) => {}
                Err(error) => return Err(End::Failed(error)),
            }
        }
    }

    async fn pass(&mut self, first: BytesMut, engine: &mut OwnedWriteHalf) -> End {
        let mut next = Ok(first);
        loop {
            let passed = match next {
                Ok(passed) => passed,
                Err(end) => return end,
            };
            if let Err(error) = engine.write_all(&passed).await {
                return End::Failed(error);
            }
            next = self.next(false).await;
        }
    }
}

async fn connection(client: TcpStream, engine: SocketAddr, idle: Duration) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (client, mut answers) = client.into_split();
    let mut requests = Requests { client, read: BytesMut::new(), passage: Passage::default(), idle };
    let first = match requests.next(true).await {
        Ok(passed) => passed,
        Err(End::Closed) => return Ok(()),
        Err(End::Refused(refused)) => return refuse(refused, &mut answers).await,
        Err(End::Failed(error)) => return Err(error),
    };
    let behind = match TcpStream::connect(engine).await {
        Ok(behind) => behind,
        Err(error) => {
            answers
                .write_all(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .await?;
            return Err(error);
        }
    };
    behind.set_nodelay(true)?;
    let (mut from_engine, mut to_engine) = behind.into_split();
    // The first that is over, and how; an engine that has closed is None.
    let end = {
        let up = async {
            let end = requests.pass(first, &mut to_engine).await;
            // The end of a connection between requests, or within a body, is what the engine expects.
            let _engine_has_closed = to_engine.shutdown().await;
            end
        };
        let down = tokio::io::copy(&mut from_engine, &mut answers);
        tokio::pin!(up, down);
        tokio::select! {
            end = &mut up => {
                down.await?;
                Some(end)
            }
            copied = &mut down => {
                copied?;
                None
            }
        }
    };
    match end {
        Some(End::Closed) => Ok(()),
        // After the answers to what came before it.
        Some(End::Refused(refused)) => refuse(refused, &mut answers).await,
        Some(End::Failed(error)) => Err(error),
        None => {
            answers.shutdown().await?;
            linger(requests.client).await;
            Ok(())
        }
    }
}

/// Who is still sending would lose the answer to a reset.
async fn linger(mut client: OwnedReadHalf) {
    let rest = async { while client.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {} };
    let _sends_on = timeout(LINGER, rest).await;
}

async fn refuse(refused: Refused, answers: &mut OwnedWriteHalf) -> io::Result<()> {
    let (status, text) = refused.answer();
    let length = text.len() + 1;
    let answer = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{text}\n"
    );
    answers.write_all(answer.as_bytes()).await?;
    answers.shutdown().await
}
