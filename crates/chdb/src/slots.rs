//! Who may run now: at most so many statements at once, each under an id of its own.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::exception::Exception;

/// The most that a request may wait for a slot, whatever it says.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The slots of all statements.
pub struct Slots {
    free: Arc<Semaphore>,
    max: usize,
    queued: AtomicUsize,
    ids: Mutex<HashSet<String>>,
}

/// A slot that one statement has, until it is dropped.
pub struct Slot {
    slots: Arc<Slots>,
    query_id: String,
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    pub fn new(max: usize) -> Arc<Slots> {
        Arc::new(Slots { free: Arc::new(Semaphore::new(max)), max, queued: AtomicUsize::new(0), ids: Mutex::default() })
    }

    /// A slot at once, or within `wait`. An id runs once at a time, so that a cancellation meets the right statement.
    ///
    /// # Errors
    /// 202 if there is none, 216 if the id runs already.
    pub async fn enter(self: &Arc<Self>, query_id: &str, wait: Duration) -> Result<Slot, Exception> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Err(_) if !wait.is_zero() => {
                let _counted = Counted::up(&self.queued);
                timeout(wait.min(MAX_WAIT), Arc::clone(&self.free).acquire_owned()).await.ok().and_then(Result::ok)
            }
            permit => permit.ok(),
        };
        let permit = permit.ok_or_else(|| {
            let most = self.max;
            Exception::new(
                202,
                "TOO_MANY_SIMULTANEOUS_QUERIES",
                format!("Too many simultaneous queries. Maximum: {most}; try again, or raise --max-queries"),
            )
        })?;
        if !self.ids().insert(query_id.to_owned()) {
            return Err(Exception::new(
                216,
                "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
                format!("Query with id = {query_id} is already running"),
            ));
        }
        Ok(Slot { slots: Arc::clone(self), query_id: query_id.to_owned(), _permit: permit })
    }

    pub fn running(&self) -> usize {
        self.max.saturating_sub(self.free.available_permits())
    }

    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.ids().remove(&self.query_id);
    }
}

/// Counts one who waits, also when he gives up.
struct Counted<'a>(&'a AtomicUsize);

impl Counted<'_> {
    fn up(count: &AtomicUsize) -> Counted<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
