//! One connection of HTTP/2, and the places that requests take on it.

use super::driver::Driver;
use super::io::Heard;
use super::vital::Vital;
use crate::descriptors::Descriptor;
use crate::lifetime::Lifetime;
use crate::line::MAX_HEAD;
use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Error, SendStream};
use http::Request;
use http::uri::Scheme;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant as Clock;
use weir_event::Instant;
use weir_transport::Stream;

/// Requests at once on one connection, whatever more its peer takes.
const MOST_REQUESTS: u32 = 128;
/// What may come of one response before its client has taken it. Bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// What may come of all of them: clients that are slow must not keep the responses of others from coming (RFC 9113 5.2.2),
/// so there is room for every stream. Bytes.
const CONNECTION_WINDOW: u32 = MOST_REQUESTS * STREAM_WINDOW;
/// What is kept of one request that the upstream does not take. Bytes.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// A request that waited for so long without a byte from its peer makes its connection doubtful.
const DOUBTFUL: Duration = Duration::from_secs(5);

/// A connection.
pub(crate) struct Session {
    pub(super) scheme: Scheme,
    /// Fields that the head of a response may have.
    pub(super) fields: usize,
    life: Lifetime,
    send: RefCell<SendRequest<Bytes>>,
    vital: Rc<Vital>,
    /// Requests that are open on it go on; no other is sent.
    is_retired: Cell<bool>,
    idle_since: Cell<Instant>,
}

impl Session {
    /// Begins to speak HTTP/2 on `stream`. The task of the connection runs on this thread. `fields`: how many the head of
    /// a response may have.
    ///
    /// # Errors
    /// The preface could not be written.
    pub(crate) async fn begin(
        life: Lifetime,
        stream: Stream,
        fields: usize,
        descriptor: Descriptor,
    ) -> Result<Rc<Self>, Error> {
        let now = Clock::now();
        let vital = Rc::new(Vital { open: Cell::new(0), heard: Cell::new(now), is_closed: Cell::new(false) });
        let scheme = if matches!(stream, Stream::Tls(_)) { Scheme::HTTPS } else { Scheme::HTTP };
        let heard = Heard::new(stream, Rc::clone(&vital));
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(MAX_SEND_BUFFER)
            // Twice of what is taken: up to there the refusal has its own reason.
            .max_header_list_size(2 * MAX_HEAD as u32);
        let (send, connection) = builder.handshake(heard).await?;
        tokio::task::spawn_local(Driver::new(connection, Rc::clone(&vital), descriptor));
        Ok(Rc::new(Self {
            scheme,
            fields,
            life,
            send: RefCell::new(send),
            vital,
            is_retired: Cell::new(false),
            idle_since: Cell::new(Instant::from_std(now.into_std())),
        }))
    }

    /// Whether requests can be sent on it: it is not too old, leads to where the name is, and the peer has neither closed it
    /// nor said GOAWAY.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut is_ended = || matches!(self.send.borrow_mut().poll_ready(&mut cx), Poll::Ready(Err(_)));
        !self.is_retired.get() && !self.life.is_over(now) && !self.vital.is_closed.get() && !is_ended()
    }

    /// No request is sent on it any more.
    pub(super) fn retire(&self) {
        self.is_retired.set(true);
    }

    /// A place for a request, unless its peer takes no more.
    pub(crate) fn place(self: &Rc<Self>) -> Option<Place> {
        let most = self.send.borrow().current_max_send_streams().min(MOST_REQUESTS as usize);
        (self.vital.open.get() < most).then(|| Place::new(Rc::clone(self)))
    }

    /// How long it has carried no request; `None` while it carries one.
    pub(crate) fn idle_for(&self, now: Instant) -> Option<Duration> {
        (self.vital.open.get() == 0).then(|| now.saturating_duration_since(self.idle_since.get()))
    }
}

/// A request's place on a connection, as long as this lives.
pub(crate) struct Place {
    session: Rc<Session>,
    since: Clock,
    /// Something has come for it.
    pub(super) is_answered: bool,
}

impl Place {
    fn new(session: Rc<Session>) -> Self {
        session.vital.open.set(session.vital.open.get() + 1);
        Self { session, since: Clock::now(), is_answered: false }
    }

    /// The peer.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.session.life.address
    }

    pub(crate) fn session(&self) -> &Rc<Session> {
        &self.session
    }

    /// Sends a head.
    pub(super) fn send(&self, head: Request<()>, ends: bool) -> Result<(ResponseFuture, SendStream<Bytes>), Error> {
        // A handle of its own: the shared one would refuse what has to wait for its turn.
        let mut send = self.session.send.borrow().clone();
        send.send_request(head, ends)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Session { vital, idle_since, .. } = &*self.session;
        let now = Clock::now();
        vital.open.set(vital.open.get().saturating_sub(1));
        idle_since.set(Instant::from_std(now.into_std()));
        // Whoever waited has given up, and nothing has come for anybody: the peer may be gone without a word, which its
        // PING tells late. The next request does not wait for that.
        let was_silent = vital.heard.get() < self.since && now.saturating_duration_since(self.since) >= DOUBTFUL;
        if !self.is_answered && was_silent {
            self.session.retire();
        }
    }
}
