//! One connection of HTTP/1.1 to an upstream, in the hand of whoever has a request for it, or kept for the next one.

use crate::descriptors::Descriptor;
use crate::lifetime::Lifetime;
use crate::progress::Progress;
use bytes::BytesMut;
use std::net::SocketAddr;
use std::time::Duration;
use weir_event::Instant;
use weir_http1::{Asked, Framing, Limits, Reader, Response};
use weir_transport::{Buffered, Stream};

/// A response head larger than this, in bytes, is refused: as much as the gateway takes from a client.
pub(crate) const MAX_HEAD: usize = 64 * 1024;

/// A connection without a request. Boxed, because it changes hands half a dozen times a request.
pub(crate) struct Line(pub(crate) Box<State>);

pub(crate) struct State {
    pub(crate) life: Lifetime,
    pub(crate) io: Buffered,
    pub(crate) reader: Reader,
    pub(crate) limits: Limits,
    /// The head of the response, read into the same memory each time.
    pub(crate) head: Response,
    /// Of the exchange at hand.
    pub(crate) progress: Progress,
    idle_since: Option<Instant>,
    /// Counted for as long as the connection is open.
    _descriptor: Descriptor,
}

impl Line {
    /// `fields`: how many the head of a response may have.
    pub(crate) fn new(life: Lifetime, stream: Stream, fields: usize, descriptor: Descriptor) -> Self {
        let limits = Limits { head: MAX_HEAD, fields, ..Limits::default() };
        Self(Box::new(State {
            life,
            io: Buffered::new(stream, BytesMut::new()),
            reader: Reader::new(limits),
            limits,
            head: Response::default(),
            progress: Progress::new(Framing::None, Asked::Other, 0),
            idle_since: None,
            _descriptor: descriptor,
        }))
    }

    /// The peer.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.0.life.address
    }

    /// Whether the next request may go over it: it was used not long ago, is not too old, leads to where the name is, and
    /// its upstream has neither closed it nor sent anything. It may still be closed at this very moment.
    pub(crate) fn is_usable(&mut self, now: Instant, idle: Duration) -> bool {
        let State { life, io, idle_since, .. } = &mut *self.0;
        idle_since.is_some_and(|since| now.saturating_duration_since(since) < idle)
            && !life.is_over(now)
            && io.is_quiet()
    }

    /// It is kept from now on.
    pub(crate) fn is_idle_since(&mut self, now: Instant) {
        self.0.idle_since = Some(now);
    }

    /// It was not used for a while: its memory is given back.
    pub(crate) fn rest(&mut self) {
        self.0.io.rest();
    }
}
