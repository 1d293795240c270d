//! A client's socket that does not wait for ever: what is written must be taken.
//!
//! A client that takes nothing for [`STALL`], or is behind for [`BEHIND`] altogether, is gone for us: its connection ends,
//! and with it whatever its answer holds. Under TLS it stands below the encryption, so that it sees the socket itself.

use super::places::Shared;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The longest that a client may take no byte of what waits for it.
const STALL: Duration = Duration::from_secs(10);
/// The longest that a client may be behind without a break, however many bytes it takes.
const BEHIND: Duration = Duration::from_secs(60);

pub(super) struct Guarded<S> {
    socket: S,
    shared: Arc<Shared>,
    /// Since when the client has not caught up.
    behind: Option<Instant>,
    /// Ends the present wait.
    limit: Option<Pin<Box<Sleep>>>,
}

impl<S> Guarded<S> {
    pub(super) fn new(socket: S, shared: Arc<Shared>) -> Self {
        Self { socket, shared, behind: None, limit: None }
    }

    /// The socket takes nothing now.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let behind = *self.behind.get_or_insert_with(Instant::now);
        self.shared.behind.store(true, Ordering::Relaxed);
        let limit = self
            .limit
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until((behind + BEHIND).min(Instant::now() + STALL))));
        ready!(limit.as_mut().poll(context));
        self.shared.unread.store(true, Ordering::Relaxed);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answers")))
    }

    fn written<T>(&mut self, done: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if done.is_pending() {
            return self.wait(context);
        }
        self.limit = None;
        done
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.written(done, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.socket).poll_write_vectored(context, pieces);
        this.written(done, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// Called when everything is written: the client has caught up.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let done = Pin::new(&mut this.socket).poll_flush(context);
        if done.is_ready() {
            (this.behind, this.limit) = (None, None);
            this.shared.behind.store(false, Ordering::Relaxed);
        }
        done
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (_client, server) = tokio::io::duplex(16);
        let shared = Arc::<Shared>::default();
        let mut guarded = Guarded::new(server, Arc::clone(&shared));
        guarded.write_all(&[0; 16]).await.unwrap();
        guarded.flush().await.unwrap();
        assert!(!shared.behind.load(Ordering::Relaxed));
        let began = Instant::now();
        let error = guarded.write_all(&[0; 1]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, STALL.as_secs()));
        assert!(shared.behind.load(Ordering::Relaxed) && shared.unread.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_byte_now_and_then_is_given_up_as_well() {
        let (mut client, server) = tokio::io::duplex(16);
        let mut guarded = Guarded::new(server, Arc::default());
        let reading = tokio::spawn(async move {
            while client.read_u8().await.is_ok() {
                tokio::time::sleep(STALL / 2).await;
            }
        });
        let began = Instant::now();
        assert!(guarded.write_all(&[0; 1000]).await.is_err());
        let took = began.elapsed();
        assert!(took >= BEHIND - STALL && took <= BEHIND + STALL, "{took:?}");
        reading.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_that_catches_up_is_served() {
        let (mut client, server) = tokio::io::duplex(16);
        let shared = Arc::<Shared>::default();
        let mut guarded = Guarded::new(server, Arc::clone(&shared));
        let reading = tokio::spawn(async move {
            let mut answer = [0; 24];
            for _ in 0..10 {
                tokio::time::sleep(STALL - Duration::from_secs(1)).await;
                client.read_exact(&mut answer).await.unwrap();
            }
        });
        for _ in 0..10 {
            guarded.write_all(&[0; 24]).await.unwrap();
            guarded.flush().await.unwrap();
        }
        reading.await.unwrap();
        assert!(!shared.behind.load(Ordering::Relaxed));
    }
}
