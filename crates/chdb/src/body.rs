//! The bridge between HTTP bodies, which are asynchronous, and the engine, which blocks a thread.
//!
//! Both directions are short channels of pieces: that is the back-pressure. A statement reads its
//! request and writes its response from its own thread; neither body is ever held as a whole.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// Pieces in flight, either way.
const PIECES: usize = 4;
/// The most of a result that is one piece: a block of the engine may be many MiB.
const PIECE: usize = 256 << 10;
/// What is read and thrown away of a body that the statement does not want, so that the client
/// can finish writing and read the answer.
const DRAIN_BYTES: usize = 64 << 20;

/// Reads a request body from a blocking thread.
pub struct BodyReader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl BodyReader {
    /// Starts to pass on `body`; each piece must come within `limit`.
    pub fn start(body: Incoming, limit: Duration) -> BodyReader {
        let (sender, pieces) = mpsc::channel(PIECES);
        tokio::spawn(forward(body, sender, limit));
        BodyReader { pieces, current: Bytes::new() }
    }

    /// A body that is at hand.
    pub fn of(bytes: Bytes) -> BodyReader {
        let (_, pieces) = mpsc::channel(1);
        BodyReader { pieces, current: bytes }
    }
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.current = piece?,
            }
        }
        let count = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}

async fn forward(mut body: Incoming, sender: mpsc::Sender<io::Result<Bytes>>, limit: Duration) {
    loop {
        let piece = match timeout(limit, body.frame()).await {
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no data of the request body for {} s", limit.as_secs()),
            )),
            Ok(None) => return,
            Ok(Some(Err(error))) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ok(data),
                Err(_trailers) => continue,
            },
        };
        let failed = piece.is_err();
        if sender.send(piece).await.is_err() {
            return drain(body, limit).await;
        }
        if failed {
            return;
        }
    }
}

async fn drain(mut body: Incoming, limit: Duration) {
    let deadline = Instant::now() + limit;
    let mut left = DRAIN_BYTES;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout_at(deadline, body.frame()).await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

enum Piece {
    Data(Bytes),
    /// The response cannot be completed: the connection is cut, so that nobody takes it for whole.
    Cut,
}

/// Writes a response body from a blocking thread. Fails when the client is gone or does not read.
#[derive(Clone)]
pub struct BodyWriter {
    pieces: mpsc::Sender<Piece>,
    runtime: Handle,
    limit: Duration,
}

impl BodyWriter {
    fn send(&self, piece: Piece) -> io::Result<()> {
        match self.runtime.block_on(timeout(self.limit, self.pieces.send(piece))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client is gone")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read the response")),
        }
    }

    /// Marks the response as incomplete.
    pub fn cut(&self) -> io::Result<()> {
        self.send(Piece::Cut)
    }
}

impl Write for BodyWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let piece = &data[..data.len().min(PIECE)];
        if !piece.is_empty() {
            self.send(Piece::Data(Bytes::copy_from_slice(piece)))?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A response body: at hand, or in pieces from a [`BodyWriter`].
pub struct Reply(Source);

enum Source {
    Whole(Bytes),
    Pieces { pieces: mpsc::Receiver<Piece>, cutting: bool },
}

/// The statement broke off after its response had begun.
#[derive(Debug, thiserror::Error)]
#[error("the statement failed after its response had begun")]
pub struct CutOff;

impl Reply {
    pub fn whole(bytes: impl Into<Bytes>) -> Reply {
        Reply(Source::Whole(bytes.into()))
    }

    /// A body in pieces; each must be taken within `limit`.
    pub fn pieces(runtime: Handle, limit: Duration) -> (BodyWriter, Reply) {
        let (sender, pieces) = mpsc::channel(PIECES);
        let writer = BodyWriter { pieces: sender, runtime, limit };
        (writer, Reply(Source::Pieces { pieces, cutting: false }))
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match &mut self.0 {
            Source::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Pieces { cutting: true, .. } => Poll::Ready(Some(Err(CutOff))),
            Source::Pieces { pieces, cutting } => match std::task::ready!(pieces.poll_recv(cx)) {
                None => Poll::Ready(None),
                Some(Piece::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Piece::Cut) => {
                    // One round more, so that hyper flushes what it has: the error's text is in it.
                    *cutting = true;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Source::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Pieces { .. } => SizeHint::default(),
        }
    }
}
