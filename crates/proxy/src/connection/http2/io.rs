//! The bytes of an HTTP/2 client.

use super::frames::Frames;
use crate::connection::Connection;
use bytes::{Buf, Bytes, BytesMut};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use weir_transport::Stream;

/// Frames that wait for the end of a turn, to be written together: as much as one TLS record takes. Bytes.
const GATHERED: usize = 16 * 1024;

/// On their way in, what was read ahead first, and the frames are followed; on their way out, the small frames of several streams gathered into one write, which is one TLS record and one system call.
pub(super) struct Watched {
    stream: Stream,
    ahead: Bytes,
    /// Frames that wait for a flush.
    gathered: BytesMut,
    frames: Rc<RefCell<Frames>>,
    connection: Rc<Connection>,
}

impl Watched {
    pub(super) fn new(stream: Stream, ahead: Bytes, frames: Rc<RefCell<Frames>>, connection: Rc<Connection>) -> Self {
        Self { stream, ahead, gathered: BytesMut::new(), frames, connection }
    }

    /// Writes what is gathered.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.gathered);
            self.connection.has_written(written.is_ready());
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => {
                    self.gathered.advance(written);
                    self.frames.borrow_mut().sent(written);
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.ahead.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        } else {
            buf.put_slice(&take_ahead(&mut this.ahead, buf.remaining()));
        }
        let clock = &this.connection.worker().clock;
        let passed = this.frames.borrow_mut().pass(&buf.filled()[before..], || clock.now());
        this.connection.http2.flooded.set(passed.is_err());
        Poll::Ready(passed.map_err(io::Error::other))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        if len <= GATHERED - this.gathered.len().min(GATHERED) {
            bufs.iter().for_each(|buf| this.gathered.extend_from_slice(buf));
            return Poll::Ready(Ok(len));
        }
        ready!(this.poll_drain(cx))?;
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.connection.has_written(written.is_ready());
        if let Poll::Ready(Ok(written)) = written {
            this.frames.borrow_mut().sent(written);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        // Over TLS a write is done when it is encrypted; it is here that the client's socket is full.
        this.connection.has_written(flushed.is_ready());
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

/// Of what was read ahead, as much as there is room for.
fn take_ahead(ahead: &mut Bytes, room: usize) -> Bytes {
    let piece = ahead.split_to(ahead.len().min(room));
    if ahead.is_empty() {
        // Its memory goes now, not with the connection.
        *ahead = Bytes::new();
    }
    piece
}
