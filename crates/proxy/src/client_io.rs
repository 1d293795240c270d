//! The socket of an HTTP/1.1 client as hyper sees it, with an ear on it.
//!
//! hyper answers a head that it cannot parse by itself, with a bare status and without telling the service. Those
//! requests are owed an event and a body like any other, and the thin check that could find them in front of
//! hyper would parse every head twice. So this wrapper watches for the one thing that gives hyper away: bytes
//! written while no exchange is open and everything before them was flushed. They are replaced by an answer of
//! our own. (An answer that hyper appends to one still unflushed - a pipelined, malformed head - goes out bare;
//! it is counted all the same, from the connection's error.)

use crate::connection::{Connection, edited};
use crate::stream::Stream;
use bytes::{Buf, Bytes};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a request that was refused which are read before its connection is closed.
const MOST_WASTE: usize = 256 * 1024;

/// A client's socket.
pub(crate) struct ClientIo {
    inner: Stream,
    /// What was read before hyper came: it is read first.
    ahead: Bytes,
    /// The rest of what was written otherwise for hyper, and for which there was no room.
    edited: Bytes,
    connection: Rc<Connection>,
    /// How much of what comes after our end may still be read.
    to_waste: usize,
    /// The rest of an answer of ours that stands for one of hyper's.
    instead: Option<Bytes>,
}

impl ClientIo {
    pub(crate) fn new(stream: Stream, ahead: Bytes, connection: Rc<Connection>) -> Self {
        Self { inner: stream, ahead, edited: Bytes::new(), connection, to_waste: MOST_WASTE, instead: None }
    }

    /// Writes our answer, and then says that all of hyper's was written.
    fn poll_instead(&mut self, cx: &mut Context<'_>, hypers: usize) -> Poll<io::Result<usize>> {
        while let Some(ours) = self.instead.as_mut().filter(bytes::Buf::has_remaining) {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, ours))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => ours.advance(written),
            }
        }
        self.instead = None;
        Poll::Ready(Ok(hypers))
    }

    /// Reads what the client still sends and throws it away, up to its end or a bound; the worker's sweep bounds the
    /// time.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waste = [0; 4096];
        while self.to_waste > 0 {
            let mut buffer = ReadBuf::new(&mut waste);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
            match buffer.filled().len() {
                0 => return Poll::Ready(Ok(())),
                read => self.to_waste = self.to_waste.saturating_sub(read),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn is_ours_to_answer(&mut self, head: &[u8]) -> bool {
        if self.instead.is_none() {
            self.instead = self.connection.http1_answer_for_hyper(head);
        }
        self.instead.is_some()
    }
}

/// Of what was read ahead, as much as there is room for.
pub(crate) fn take_ahead(ahead: &mut Bytes, room: usize) -> Bytes {
    let piece = ahead.split_to(ahead.len().min(room));
    if ahead.is_empty() {
        // Its memory goes now, not with the connection.
        *ahead = Bytes::new();
    }
    piece
}

impl AsyncRead for ClientIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.connection.http1_is_in_doubt() {
            // Nothing more is read, ever: an error here would end the connection before its answer is written.
            return Poll::Pending;
        }
        if !this.edited.is_empty() {
            buf.put_slice(&take_ahead(&mut this.edited, buf.remaining()));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = if this.ahead.is_empty() {
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))
        } else {
            buf.put_slice(&take_ahead(&mut this.ahead, buf.remaining()));
            Ok(())
        };
        if this.connection.http1_has_read(&buf.filled()[before..]) {
            this.edited = edited(&buf.filled()[before..], &this.connection.http1_take_edits()).into();
            buf.set_filled(before);
            buf.put_slice(&take_ahead(&mut this.edited, buf.remaining()));
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_ours_to_answer(buf) {
            return this.poll_instead(cx, buf.len());
        }
        let written = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.connection.http1_has_written(written.is_ready());
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_ours_to_answer(bufs.first().map_or(&[], |first| first)) {
            return this.poll_instead(cx, bufs.iter().map(|buf| buf.len()).sum());
        }
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.connection.http1_has_written(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.inner).poll_flush(cx);
        // Over TLS a write is done when it is encrypted; it is here that the client's socket is full.
        this.connection.http1_has_written(flushed.is_ready());
        if flushed.is_ready() {
            this.connection.http1_has_flushed();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        if this.connection.http1_must_linger() { this.poll_linger(cx) } else { Poll::Ready(Ok(())) }
    }
}
