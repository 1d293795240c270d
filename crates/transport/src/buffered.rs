//! A connection with what was read and is not used yet, and what is to be written.
//!
//! A protocol without I/O of its own takes messages out of [`Buffered::input`] and appends others to
//! [`Buffered::output`]. A connection at rest holds no memory for either.

use crate::stream::Stream;
use bytes::{Buf, Bytes, BytesMut};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncReadExt, AsyncWrite};

/// What is read at once at first: most heads whole. Bytes.
const FIRST_READ: usize = 4 * 1024;
/// What is read at once at most, of a body that comes quickly. Bytes.
const MOST_READ: usize = 64 * 1024;
/// Content that is copied behind what stands in front of it, rather than written where it lies. Bytes.
const COPIED: usize = 2 * 1024;

/// A stream with its buffers.
pub struct Buffered {
    stream: Stream,
    input: BytesMut,
    /// How much is read at once.
    room: usize,
    /// All that had come was read: nothing is there until the socket says so.
    drained: bool,
    output: BytesMut,
    /// Of `output`, what is written already.
    written: usize,
    /// Content that goes out behind `output`, and what goes out behind that.
    content: Bytes,
    tail: &'static [u8],
    /// The stream was written to and not flushed.
    unflushed: bool,
    /// The peer has taken something since this was asked the last time.
    progressed: bool,
    /// Bytes that the stream has taken.
    taken: u64,
}

impl Buffered {
    /// With `ahead`, which was read of the stream already.
    pub fn new(stream: Stream, ahead: BytesMut) -> Self {
        Self {
            stream,
            input: ahead,
            room: FIRST_READ,
            drained: false,
            output: BytesMut::new(),
            written: 0,
            content: Bytes::new(),
            tail: b"",
            unflushed: false,
            progressed: false,
            taken: 0,
        }
    }

    /// What was read and is not used yet.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Whether nothing was read that is not used yet.
    pub fn is_input_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// The stream itself.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Reads more into the input. Answers how many bytes; 0 is the end of the stream.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let is_plain = matches!(self.stream, Stream::Plain(_));
        let is_short = self.input.capacity() - self.input.len() < self.room;
        let waits = is_plain || self.drained && is_short;
        // No memory is taken for what has not come.
        if waits && self.stream.socket().poll_read_ready(cx)?.is_pending() {
            if self.input.is_empty() && !(self.drained && is_short) {
                self.input = BytesMut::new();
            }
            self.drained = true;
            return Poll::Pending;
        }
        self.input.reserve(self.room);
        let room = self.input.capacity() - self.input.len();
        let read = match &mut self.stream {
            Stream::Plain(socket) => socket.poll_read_more(&mut self.input, cx),
            // It has no state: what it has not read, the next one reads.
            Stream::Tls(tls) => pin!(tls.read_buf(&mut self.input)).poll(cx),
        };
        // Of TLS the end may have come with the last data: nothing tells but another read.
        self.drained = match read {
            Poll::Pending => true,
            Poll::Ready(Ok(len)) => len > 0 && len < room && matches!(self.stream, Stream::Plain(_)),
            Poll::Ready(Err(_)) => false,
        };
        match read {
            Poll::Ready(Ok(len)) if len == room => self.room = (self.room * 4).min(MOST_READ),
            Poll::Pending if self.input.is_empty() => self.input = BytesMut::new(),
            _ => {}
        }
        read
    }

    /// Whether the peer has neither sent anything nor ended: nothing is read where it has not. What the peer may send
    /// without being asked - a session ticket of TLS - is passed over.
    pub fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        if self.drained && !self.stream.socket().is_readable() {
            return self.input.is_empty();
        }
        self.poll_fill(&mut cx).is_pending() && self.input.is_empty()
    }

    /// Where messages are appended that go out with the next [`Self::poll_flush`]. Not while there is
    /// [`Self::has_content`]: that goes out behind all that is appended.
    pub fn output(&mut self) -> &mut BytesMut {
        debug_assert!(self.content.is_empty(), "what is appended now would go out in front of the content");
        &mut self.output
    }

    /// Sends content behind what was appended, and `tail` behind it; a small piece is copied. Not while there is
    /// [`Self::has_content`].
    pub fn push(&mut self, content: Bytes, tail: &'static [u8]) {
        debug_assert!(self.content.is_empty(), "one piece of content at a time");
        if content.len() <= COPIED {
            self.output.extend_from_slice(&content);
            self.output.extend_from_slice(tail);
        } else {
            (self.content, self.tail) = (content, tail);
        }
    }

    /// Whether content waits that was not copied: then all must be written before more is appended.
    pub fn has_content(&self) -> bool {
        !self.content.is_empty()
    }

    /// Bytes that are not written yet.
    pub fn unwritten(&self) -> usize {
        self.output.len() - self.written + self.content.len() + self.tail.len()
    }

    /// Bytes of memory that are kept for messages that are to be written.
    pub fn output_capacity(&self) -> usize {
        self.output.capacity()
    }

    /// Bytes that the stream has taken since it is one.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether everything is on its way.
    pub fn is_flushed(&self) -> bool {
        !self.unflushed && self.unwritten() == 0
    }

    /// Whether the peer has taken something since this was asked the last time.
    pub fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progressed)
    }

    /// Writes all that is to be written.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unwritten() > 0 {
            let ours = &self.output[self.written..];
            let stream = Pin::new(&mut self.stream);
            let len = ready!(match (ours, &self.content[..]) {
                (_, []) => stream.poll_write(cx, ours),
                (_, content) => {
                    let parts = [ours, content, self.tail].map(IoSlice::new);
                    let from = usize::from(ours.is_empty());
                    stream.poll_write_vectored(cx, &parts[from..3 - usize::from(self.tail.is_empty())])
                }
            })?;
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.take(len);
        }
        if self.written > 0 {
            self.output.clear();
            self.written = 0;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
            self.progressed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, len: usize) {
        let of_ours = len.min(self.output.len() - self.written);
        self.written += of_ours;
        let rest = len - of_ours;
        if rest < self.content.len() {
            self.content.advance(rest);
        } else if !self.content.is_empty() {
            // An empty slice would keep the memory.
            let of_tail = rest - std::mem::take(&mut self.content).len();
            self.output.clear();
            self.written = 0;
            self.output.extend_from_slice(&std::mem::take(&mut self.tail)[of_tail..]);
        }
        self.taken += len as u64;
        // Over TLS a write is done when it is encrypted; it is in the flush that the peer's socket is full.
        self.unflushed = self.stream.must_flush();
        self.progressed |= !self.unflushed;
    }

    /// Ends the sending side.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Gives the memory of empty buffers back: nothing comes for a while.
    pub fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
            self.room = FIRST_READ;
        }
        if self.is_flushed() {
            self.output = BytesMut::new();
        }
    }

    /// The stream, and what was read of it and not used.
    pub fn into_parts(self) -> (Stream, BytesMut) {
        (self.stream, self.input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Socket;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    async fn pair() -> (Buffered, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (Buffered::new(Stream::Plain(Socket::from(ours.unwrap())), BytesMut::new()), theirs.unwrap().0)
    }

    fn bytes(len: usize) -> Bytes {
        (0..len).map(|at| (at % 251) as u8).collect()
    }

    #[tokio::test]
    async fn what_is_appended_and_pushed_comes_whole_and_in_order() {
        let (mut ours, mut peer) = pair().await;
        let mut wanted = Vec::new();
        let write = async {
            // More than the sockets hold, so that it goes out in parts.
            for len in [0, 1, COPIED, COPIED + 1, 5_000_000, 3] {
                ours.output().extend_from_slice(b"head");
                ours.push(bytes(len), b"\r\n");
                assert_eq!(ours.has_content(), len > COPIED);
                wanted.extend([b"head", &bytes(len)[..], b"\r\n"].concat());
                poll_fn(|cx| ours.poll_flush(cx)).await.unwrap();
                assert!(ours.is_flushed() && ours.take_progress() && !ours.take_progress());
            }
            assert_eq!(ours.taken(), wanted.len() as u64);
            poll_fn(|cx| ours.poll_shutdown(cx)).await.unwrap();
        };
        let mut read = Vec::new();
        let (_, whole) = tokio::join!(write, peer.read_to_end(&mut read));
        whole.unwrap();
        assert!(read == wanted);
    }

    #[tokio::test]
    async fn a_peer_is_quiet_until_it_sends_or_ends() {
        let (mut ours, mut peer) = pair().await;
        assert!(ours.is_quiet());
        peer.write_all(b"x").await.unwrap();
        ours.stream().socket().readable().await.unwrap();
        assert!(!ours.is_quiet(), "it has sent something");
        ours.input().clear();
        drop(peer);
        ours.stream().socket().readable().await.unwrap();
        assert!(!ours.is_quiet(), "it has ended");
        assert_eq!(poll_fn(|cx| ours.poll_fill(cx)).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_connection_at_rest_holds_no_memory() {
        let (mut ours, mut peer) = pair().await;
        peer.write_all(b"x").await.unwrap();
        assert_eq!(poll_fn(|cx| ours.poll_fill(cx)).await.unwrap(), 1);
        assert_eq!(ours.input().split().freeze(), "x");
        ours.output().extend_from_slice(b"y");
        poll_fn(|cx| ours.poll_flush(cx)).await.unwrap();
        ours.rest();
        assert_eq!((ours.input.capacity(), ours.output.capacity()), (0, 0));
        let waits = poll_fn(|cx| Poll::Ready(ours.poll_fill(cx).is_pending())).await;
        assert!(waits && ours.input.capacity() == 0);
    }
}
