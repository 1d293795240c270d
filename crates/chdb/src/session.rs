//! Sessions: connections that are kept between the requests of one `session_id`, with their temporary tables, their
//! `SET`s and their `USE`, as ClickHouse keeps them. What a request's own URL sets still ends with the request
//! (`crate::surroundings`).
//!
//! A session belongs to the user who began it and serves one request at a time. It ends when nobody asked for it for
//! its time, by `close_session=1`, or when there are too many and it is the longest idle. Who may only read can
//! change nothing in a session, so none is kept for him.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::Connection;
use crate::exception::Exception;

/// ClickHouse's `default_session_timeout`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// ClickHouse's `max_session_timeout`.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// What a request says of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub id: String,
    /// How long it is kept after this request.
    pub timeout: Duration,
    /// It must be there already.
    pub check: bool,
    /// It ends with this request.
    pub close: bool,
}

type Key = (String, String);

enum Slot {
    InUse,
    Idle { connection: Connection, touched: bool, since: Instant, until: Instant },
}

/// All sessions of the program.
pub struct Sessions {
    slots: Mutex<HashMap<Key, Slot>>,
    max: usize,
}

impl Sessions {
    pub fn new(max: usize) -> Arc<Sessions> {
        Arc::new(Sessions { slots: Mutex::new(HashMap::new()), max })
    }

    /// Takes the session for one request; one that is not there yet is made with `connect`.
    ///
    /// # Errors
    /// 373 while another request has it, 372 if it had to be there, 202 if all that may be kept are in use.
    pub fn take(
        self: &Arc<Self>,
        user: &str,
        wanted: &Wanted,
        connect: impl FnOnce() -> Result<Connection, Exception>,
    ) -> Result<Lease, Exception> {
        let key = (user.to_owned(), wanted.id.clone());
        let kept = self.claim(&key, wanted.check)?;
        // From here on the slot is ours; the lease gives it back, also if connecting fails.
        let mut lease = Lease {
            sessions: Arc::clone(self),
            key,
            connection: None,
            timeout: wanted.timeout,
            keep: false,
            touched: false,
        };
        (lease.connection, lease.touched) = match kept {
            Some((connection, touched)) => (Some(connection), touched),
            None => (Some(connect()?), false),
        };
        lease.keep = !wanted.close;
        Ok(lease)
    }

    fn claim(&self, key: &Key, check: bool) -> Result<Option<(Connection, bool)>, Exception> {
        let now = Instant::now();
        let mut slots = self.lock();
        let ended = end_old(&mut slots, now);
        let kept = match slots.get(key) {
            Some(Slot::InUse) => return Err(locked(&key.1)),
            Some(Slot::Idle { .. }) => slots.insert(key.clone(), Slot::InUse),
            None if check => return Err(not_found(&key.1)),
            None => {
                let evicted =
                    if slots.len() >= self.max { Some(evict(&mut slots).ok_or_else(too_many)?) } else { None };
                slots.insert(key.clone(), Slot::InUse);
                drop(slots);
                // Closing a connection drops its temporary tables: not under the lock.
                drop((ended, evicted));
                return Ok(None);
            }
        };
        drop(slots);
        drop(ended);
        Ok(kept.and_then(|slot| match slot {
            Slot::Idle { connection, touched, .. } => Some((connection, touched)),
            Slot::InUse => None,
        }))
    }

    /// Ends what nobody asked for in time. Call it now and then.
    pub fn sweep(&self) {
        let ended = end_old(&mut self.lock(), Instant::now());
        drop(ended);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end_old(slots: &mut HashMap<Key, Slot>, now: Instant) -> Vec<Slot> {
    let old = |_: &Key, slot: &mut Slot| matches!(slot, Slot::Idle { until, .. } if *until <= now);
    slots.extract_if(old).map(|(_, slot)| slot).collect()
}

fn evict(slots: &mut HashMap<Key, Slot>) -> Option<Slot> {
    let idle = slots.iter().filter_map(|(key, slot)| match slot {
        Slot::Idle { since, .. } => Some((*since, key.clone())),
        Slot::InUse => None,
    });
    let (_, key) = idle.min()?;
    slots.remove(&key)
}

/// A session in the hands of one request.
pub struct Lease {
    sessions: Arc<Sessions>,
    key: Key,
    connection: Option<Connection>,
    timeout: Duration,
    keep: bool,
    touched: bool,
}

impl Lease {
    pub fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a lease holds its connection until it is dropped")
    }

    /// Whether a `SET` or a `USE` has changed the session: only then its state must be asked for.
    pub fn is_touched(&self) -> bool {
        self.touched
    }

    pub fn touch(&mut self) {
        self.touched = true;
    }

    /// The session cannot be left as it was found: it ends with this request.
    pub fn discard(&mut self) {
        self.keep = false;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let connection = self.connection.take().filter(|_| self.keep);
        let now = Instant::now();
        let mut slots = self.sessions.lock();
        match connection {
            Some(connection) => {
                slots.insert(
                    self.key.clone(),
                    Slot::Idle { connection, touched: self.touched, since: now, until: now + self.timeout },
                );
            }
            None => drop(slots.remove(&self.key)),
        }
    }
}

fn locked(id: &str) -> Exception {
    Exception::new(
        373,
        "SESSION_IS_LOCKED",
        format!(
            "Session {} is locked by a concurrent client; one request of a session runs at a time",
            id.escape_default()
        ),
    )
}

fn not_found(id: &str) -> Exception {
    Exception::new(372, "SESSION_NOT_FOUND", format!("Session {} not found", id.escape_default()))
}

fn too_many() -> Exception {
    Exception::new(
        202,
        "TOO_MANY_SIMULTANEOUS_QUERIES",
        "every session that may be kept is in use; raise --max-sessions",
    )
}
