//! One worker's connections: those in hand, and those kept for the next request.
//!
//! Those of HTTP/1.1 last in, first out: under falling load the same few connections stay warm and the others age until
//! they are closed. Each carries one request at a time; whoever checked it out gives it back when the
//! response is whole, or drops it, which closes it. Those of HTTP/2 are shared (`sessions`).

use crate::connect::{Timeouts, connect};
use crate::connection::{Connection, Either};
use crate::descriptors::Descriptors;
use crate::failure::Failure;
use crate::line::Line;
use crate::origin::{Origin, Speaks};
use crate::sessions::Sessions;
use std::cell::{RefCell, RefMut};
use std::sync::Arc;
use tokio::time::timeout_at;
use weir_event::Instant;
use weir_event::{Attempt, micros};

/// Idle connections of HTTP/1.1 kept per origin and worker at most.
const MAX_IDLE: usize = 256;

/// The connections of one worker.
pub struct Pool {
    kept: RefCell<Vec<Kept>>,
    descriptors: Arc<Descriptors>,
}

/// Those of an origin.
#[derive(Default)]
struct Kept {
    idle: Vec<Line>,
    sessions: Sessions,
}

impl Pool {
    /// Empty; what it opens is counted.
    pub fn new(descriptors: Arc<Descriptors>) -> Self {
        Self { kept: RefCell::default(), descriptors }
    }

    /// Takes the connection to `origin` that was used last, if one is there that is still open; or a place on one of
    /// HTTP/2.
    pub fn checkout(&self, origin: &Origin, now: Instant, timeouts: &Timeouts) -> Option<Connection> {
        let mut kept = self.kept.borrow_mut();
        let kept = kept.get_mut(origin.index())?;
        while let Some(mut line) = kept.idle.pop() {
            if line.is_usable(now, timeouts.idle) {
                return Some(Connection(Either::Http1(line)));
            }
        }
        if origin.speaks == Speaks::Http1 {
            return None;
        }
        kept.sessions.place(now).map(|place| Connection(Either::Http2(Box::new(place))))
    }

    /// Keeps a connection whose response is whole for the next request.
    pub fn give_back(&self, connection: Connection, now: Instant) {
        let Either::Http1(mut line) = connection.0 else { return };
        let idle = &mut self.kept_of(line.0.life.origin.index()).idle;
        if idle.len() < MAX_IDLE {
            line.is_idle_since(now);
            idle.push(line);
        }
    }

    /// Closes what has been idle for too long or is too old, leads elsewhere, or was closed by its upstream. Called about
    /// once a second.
    pub fn evict(&self, now: Instant, timeouts: &Timeouts) {
        for kept in self.kept.borrow_mut().iter_mut() {
            kept.sessions.evict(now, timeouts.idle);
            kept.idle.retain_mut(|line| {
                let keeps = line.is_usable(now, timeouts.idle);
                line.rest();
                keeps
            });
        }
    }

    /// Connections without a request, over all origins.
    pub fn idle(&self) -> usize {
        let now = Instant::now();
        self.kept.borrow().iter().map(|kept| kept.idle.len() + kept.sessions.idle(now)).sum()
    }

    /// Opens a new connection and books its times and its address to `attempt`. Where HTTP/2 is spoken and somebody else
    /// opens one already, waits for a place on that.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn connect(
        &self,
        origin: &Arc<Origin>,
        timeouts: &Timeouts,
        attempt: &mut Attempt,
    ) -> Result<Connection, Failure> {
        if origin.speaks == Speaks::Http1 {
            return self.open(origin, timeouts, attempt).await;
        }
        let started = Instant::now();
        let deadline = started + timeouts.connect;
        let opening = self.kept_of(origin.index()).sessions.opening();
        let Ok(turn) = timeout_at(deadline.into_std().into(), opening.lock()).await else {
            attempt.connect_us = micros(started.elapsed());
            let seconds = timeouts.connect.as_secs();
            return Err(Failure::ConnectTimeout { target: origin.address.to_string(), seconds });
        };
        let is_http1 = {
            let sessions = &mut self.kept_of(origin.index()).sessions;
            if let Some(place) = sessions.place(Instant::now()) {
                attempt.connect_us = micros(started.elapsed());
                attempt.address = place.address();
                return Ok(Connection(Either::Http2(Box::new(place))));
            }
            sessions.is_http1
        };
        // Without places to wait for nobody waits for another.
        let _turn = (!is_http1).then_some(turn);
        let left = Timeouts { connect: deadline.saturating_duration_since(Instant::now()), ..*timeouts };
        let connection = self.open(origin, &left, attempt).await?;
        let sessions = &mut self.kept_of(origin.index()).sessions;
        match &connection.0 {
            Either::Http1(_) => sessions.is_http1 = true,
            Either::Http2(place) => sessions.keep(place),
        }
        Ok(connection)
    }

    async fn open(
        &self,
        origin: &Arc<Origin>,
        timeouts: &Timeouts,
        attempt: &mut Attempt,
    ) -> Result<Connection, Failure> {
        let exhausted = || Failure::NoDescriptor { target: origin.address.to_string() };
        let descriptor = self.descriptors.upstream().ok_or_else(exhausted)?;
        connect(origin, timeouts, attempt, descriptor).await
    }

    fn kept_of(&self, index: usize) -> RefMut<'_, Kept> {
        let mut kept = self.kept.borrow_mut();
        if kept.len() <= index {
            kept.resize_with(index + 1, Kept::default);
        }
        RefMut::map(kept, |kept| &mut kept[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origins;
    use std::time::Duration;
    use tokio::net::TcpListener;
    use weir_config::{Cluster, Scheme, UpstreamAddress};

    /// A name that moves: connections to where it was serve no more requests.
    #[tokio::test]
    async fn a_connection_to_where_a_name_no_longer_is_is_not_used_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (host, port) = ("localhost".to_owned(), listener.local_addr().unwrap().port());
        let address = UpstreamAddress { scheme: Scheme::Http, host, port };
        let settings = Cluster { dns_ttl: Some(Duration::from_secs(60)), ..Cluster::default() };
        let origin = Origins::default().origin(&address, None, &settings).unwrap();
        let timeouts = Timeouts { connect: Duration::from_secs(5), idle: Duration::from_secs(60), fields: 100 };
        let pool = Pool::new(Arc::default());
        for (found, is_used) in [(true, true), (false, false)] {
            let now = Instant::now();
            let connection = pool.connect(&origin, &timeouts, &mut Attempt::new()).await.unwrap();
            let peer = connection.address().unwrap();
            pool.give_back(connection, now);
            let other = std::net::SocketAddr::from(([127, 0, 0, 9], port));
            origin.addresses.learn(&if found { vec![other, peer] } else { vec![other] }, now);
            assert_eq!(pool.checkout(&origin, now, &timeouts).is_some(), is_used, "{peer}");
            origin.addresses.learn(&[peer], now);
        }
        let aged = Cluster { max_connection_age: Duration::from_secs(10), ..Cluster::default() };
        let origin = Origins::default().origin(&address, None, &aged).unwrap();
        let connection = pool.connect(&origin, &timeouts, &mut Attempt::new()).await.unwrap();
        let now = Instant::now() + Duration::from_millis(8_900);
        pool.give_back(connection, now);
        let connection = pool.checkout(&origin, now, &timeouts).unwrap();
        pool.give_back(connection, now);
        let later = now + Duration::from_millis(1_200);
        assert!(pool.checkout(&origin, later, &timeouts).is_none(), "it has reached its age");
    }
}
