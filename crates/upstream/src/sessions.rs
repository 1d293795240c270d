//! The connections of HTTP/2 to one origin, which the requests of a worker share.
//!
//! A request takes a place on the first connection that has one; another connection is opened when all are full. One
//! opens at a time: whoever comes meanwhile waits for its places. Where TLS decides whether HTTP/2 is spoken, that is known
//! from the last handshake.

use crate::http2::{Place, Session};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Mutex;
use weir_event::Instant;

/// The connections.
#[derive(Default)]
pub(crate) struct Sessions {
    kept: Vec<Rc<Session>>,
    /// Held by whoever opens one.
    opening: Rc<Mutex<()>>,
    /// The last handshake chose HTTP/1.1.
    pub(crate) is_http1: bool,
}

impl Sessions {
    /// A place on a connection that is open.
    pub(crate) fn place(&mut self, now: Instant) -> Option<Place> {
        self.kept.retain(|session| session.is_open(now));
        self.kept.iter().find_map(Session::place)
    }

    /// Keeps the connection of `place` for others.
    pub(crate) fn keep(&mut self, place: &Place) {
        self.is_http1 = false;
        self.kept.push(Rc::clone(place.session()));
    }

    /// What to hold while one is opened.
    pub(crate) fn opening(&self) -> Rc<Mutex<()>> {
        Rc::clone(&self.opening)
    }

    /// Lets go of what is over, and of what carried no request for so long. Requests that are open go on.
    pub(crate) fn evict(&mut self, now: Instant, idle: Duration) {
        self.kept.retain(|session| session.is_open(now) && session.idle_for(now).is_none_or(|age| age < idle));
    }

    /// Connections without a request.
    pub(crate) fn idle(&self, now: Instant) -> usize {
        self.kept.iter().filter(|session| session.idle_for(now).is_some()).count()
    }
}
