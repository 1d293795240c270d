//! One worker's connections: those in hand, and those kept for the next request.
//!
//! Last in, first out: under falling load the same few connections stay warm and the others age until they are
//! closed. A connection carries one request at a time (HTTP/1.1); whoever checked it out gives it back when the
//! response is whole, or drops it, which closes it.

use crate::connect::{Timeouts, connect};
use crate::connection::Connection;
use crate::descriptors::Descriptors;
use crate::failure::Failure;
use crate::origin::Origin;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;
use weir_event::Attempt;

/// Idle connections kept per origin and worker at most.
const MAX_IDLE: usize = 256;

/// The idle connections of one worker.
pub struct Pool {
    idle: RefCell<Vec<Vec<Connection>>>,
    descriptors: Arc<Descriptors>,
}

impl Pool {
    /// Empty; what it opens is counted.
    pub fn new(descriptors: Arc<Descriptors>) -> Self {
        Self { idle: RefCell::default(), descriptors }
    }

    /// Takes the connection to `origin` that was used last, if one is there that is still open.
    pub fn checkout(&self, origin: &Origin, now: Instant, timeouts: &Timeouts) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(origin.index())?;
        while let Some(mut connection) = kept.pop() {
            if connection.is_usable(now, timeouts.idle) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose response is whole for the next request.
    pub fn give_back(&self, mut connection: Connection, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        let index = connection.0.origin.index();
        if idle.len() <= index {
            idle.resize_with(index + 1, Vec::new);
        }
        if idle[index].len() < MAX_IDLE {
            connection.is_idle_since(now);
            idle[index].push(connection);
        }
    }

    /// Closes what has been idle for too long or is too old, leads elsewhere, or was closed by its upstream. Called about
    /// once a second.
    pub fn evict(&self, now: Instant, timeouts: &Timeouts) {
        for kept in self.idle.borrow_mut().iter_mut() {
            kept.retain_mut(|connection| {
                let keeps = connection.is_usable(now, timeouts.idle);
                connection.rest();
                keeps
            });
        }
    }

    /// Idle connections, over all origins.
    pub fn idle(&self) -> usize {
        self.idle.borrow().iter().map(Vec::len).sum()
    }

    /// Opens a new connection and books its times and its address to `attempt`.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn connect(
        &self,
        origin: &Arc<Origin>,
        timeouts: &Timeouts,
        attempt: &mut Attempt,
    ) -> Result<Connection, Failure> {
        let exhausted = || Failure::NoDescriptor { target: origin.address.to_string() };
        let descriptor = self.descriptors.upstream().ok_or_else(exhausted)?;
        connect(origin, timeouts, attempt, descriptor).await
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
