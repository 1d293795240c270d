//! Who has logged in: a table of sessions, each with the digest of the token that it was opened with.
//!
//! A session is a random number that the browser has in a cookie; here is only its digest. It ends after [`LIFE`], at the
//! logout, when this process ends, and when its token leaves the file of readers, because the token is looked up anew with
//! each request.

use crate::readers::digest;
use rustls::crypto::aws_lc_rs::default_provider;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a session lasts at most.
pub(super) const LIFE: Duration = Duration::from_secs(12 * 3600);
/// Sessions at once; beyond it the one that ends first is ended.
const MOST: usize = 10_000;

type Digest = [u8; 32];

#[derive(Default)]
pub(super) struct Sessions {
    open: Mutex<HashMap<Digest, Session>>,
}

#[derive(Clone, Copy)]
struct Session {
    token: Digest,
    ends: Instant,
}

impl Sessions {
    /// A session for whoever has the token of this digest: 64 hex digits. `None` where the system has no random numbers.
    pub(super) fn open(&self, token: Digest) -> Option<String> {
        let mut random = [0; 32];
        default_provider().secure_random.fill(&mut random).ok()?;
        let mut id = String::with_capacity(64);
        for byte in random {
            let _ = write!(id, "{byte:02x}");
        }
        let now = Instant::now();
        let mut open = self.lock();
        open.retain(|_, session| session.ends > now);
        if open.len() >= MOST {
            let first = open.iter().min_by_key(|(_, session)| session.ends).map(|(id, _)| *id);
            first.and_then(|id| open.remove(&id));
        }
        open.insert(digest(&id), Session { token, ends: now + LIFE });
        Some(id)
    }

    /// The digest of the token of a session that has not ended.
    pub(super) fn token_of(&self, id: &str) -> Option<Digest> {
        let session = self.lock().get(&digest(id)).copied()?;
        (session.ends > Instant::now()).then_some(session.token)
    }

    pub(super) fn end(&self, id: &str) {
        self.lock().remove(&digest(id));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_ends() {
        let sessions = Sessions::default();
        let (one, other) = (sessions.open([1; 32]).unwrap(), sessions.open([2; 32]).unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 64);
        assert_eq!((sessions.token_of(&one), sessions.token_of(&other)), (Some([1; 32]), Some([2; 32])));
        assert_eq!(sessions.token_of(""), None);
        sessions.end(&one);
        assert_eq!(sessions.token_of(&one), None);
        tokio::time::advance(LIFE - Duration::from_secs(1)).await;
        assert!(sessions.token_of(&other).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(sessions.token_of(&other), None);
        sessions.open([3; 32]).unwrap();
        assert_eq!(sessions.lock().len(), 1, "what has ended is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_so_many_at_most() {
        let sessions = Sessions::default();
        let first = sessions.open([1; 32]).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = sessions.open([2; 32]).unwrap();
        for _ in 2..=MOST {
            sessions.open([3; 32]).unwrap();
        }
        assert_eq!(sessions.lock().len(), MOST);
        assert_eq!(sessions.token_of(&first), None, "the one that ends first has gone");
        assert!(sessions.token_of(&second).is_some());
    }
}
