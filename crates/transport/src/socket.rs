//! A socket that sends what is small in one piece.
//!
//! `writev` costs the kernel 0.25 µs more than `send` (loopback, 300 to 4,000 bytes), and a proxied request writes twice: a
//! head, or a head and a body that often is small. So one piece is sent, and several small ones are copied into one;
//! what is larger goes out as it lies.
//!
//! What can be done at once is done without asking the runtime to wait for it first, which costs 70 instructions a call.

use bytes::BytesMut;
use rustix::net::{SendFlags, send};
use smallvec::SmallVec;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that are copied rather than written where they lie: about 0.05 µs.
const SMALL: usize = 2048;

/// A TCP connection.
pub struct Socket(TcpStream);

impl From<TcpStream> for Socket {
    fn from(tcp: TcpStream) -> Self {
        Self(tcp)
    }
}

impl Socket {
    /// Ready where a read would not wait: there is data, or an end.
    ///
    /// # Errors
    /// The runtime has ended.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx)
    }

    /// Whether a read would not wait, as far as the runtime knows. Nobody is woken.
    pub fn is_readable(&self) -> bool {
        self.0.try_io(Interest::READABLE, || Ok(())).is_ok()
    }

    /// Reads what there is room for in `buf`, after [`Self::poll_read_ready`], where a task yields that has had its share
    /// (`tokio::task::coop`). Answers how many bytes; 0 is the end of the stream.
    ///
    /// # Errors
    /// Those of the connection.
    pub(crate) fn poll_read_more(&self, buf: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            match self.0.try_read_buf(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.0.poll_read_ready(cx))?,
                Ok(len) => {
                    if len > 0 && buf.len() < buf.capacity() {
                        self.is_drained();
                    }
                    return Poll::Ready(Ok(len));
                }
                failed => return Poll::Ready(failed),
            }
        }
    }

    /// A read that was not filled has taken all that had come: the next one waits for the kernel's word, in place of
    /// asking it in vain.
    fn is_drained(&self) {
        let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        self.0.try_io(Interest::READABLE, nothing).unwrap_or_default();
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // Without the C library, whose calls can be cancelled: 40 instructions of 60.
        let sent = || send(&self.0, buf, SendFlags::NOSIGNAL).map_err(io::Error::from);
        match self.0.try_io(Interest::WRITABLE, sent) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Pin::new(&mut self.0).poll_write(cx, buf),
            done => Poll::Ready(done),
        }
    }

    /// Waits until a read would not wait.
    ///
    /// # Errors
    /// The runtime has ended.
    pub async fn readable(&self) -> io::Result<()> {
        self.0.readable().await
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        if let [only] = bufs {
            return socket.poll_write(cx, only);
        }
        if bufs.iter().map(|buf| buf.len()).sum::<usize>() > SMALL {
            return Pin::new(&mut socket.0).poll_write_vectored(cx, bufs);
        }
        let mut whole: SmallVec<[u8; SMALL]> = SmallVec::new();
        bufs.iter().for_each(|buf| whole.extend_from_slice(buf));
        socket.poll_write(cx, &whole)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn pieces_of_any_size_come_whole_and_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (mut socket, mut peer) = (Socket::from(ours.unwrap()), theirs.unwrap().0);
        for sizes in [vec![5], vec![300, 1024], vec![0, 1, 0], vec![SMALL - 1, 1], vec![SMALL, 1], vec![200, 60_000]] {
            let pieces: Vec<Vec<u8>> =
                sizes.iter().map(|size| (0..*size).map(|at| (at % 251) as u8).collect()).collect();
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let written = poll_fn(|cx| Pin::new(&mut socket).poll_write_vectored(cx, &slices)).await.unwrap();
            let whole = pieces.concat();
            assert!(written > 0 && (written == whole.len() || whole.len() > SMALL), "{written} of {sizes:?}");
            let mut read = vec![0; written];
            peer.read_exact(&mut read).await.unwrap();
            assert_eq!(read, whole[..written]);
        }
        socket.shutdown().await.unwrap();
        assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
    }
}
