//! Answers that several clients share: everybody who looks at the same panel asks the same within a few seconds.
//!
//! The first who asks has the query run, in a place of its own among the queries; the others wait for its answer and take
//! no place. A failure is not kept: whoever waits next asks again.

use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// How long an answer is given to others.
pub(super) const KEPT: Duration = Duration::from_secs(5);
/// Bytes of all answers that are kept.
const MOST_BYTES: usize = 64 << 20;

type Cell = Arc<OnceCell<Bytes>>;

/// Answers by what was asked.
pub(super) struct Shared<K> {
    kept: Mutex<HashMap<K, (Instant, Cell)>>,
}

impl<K> Default for Shared<K> {
    fn default() -> Self {
        Self { kept: Mutex::default() }
    }
}

impl<K: std::hash::Hash + Eq> Shared<K> {
    /// The answer to `key`: one that is kept, one that is being made, or that of `make`.
    pub(super) async fn get<E>(&self, key: K, make: impl Future<Output = Result<Bytes, E>>) -> Result<Bytes, E> {
        let cell = self.cell(key);
        cell.get_or_try_init(|| make).await.cloned()
    }

    fn cell(&self, key: K) -> Cell {
        let now = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is still being made is kept for those who wait for it.
        kept.retain(|_, (begun, cell)| {
            now.duration_since(*begun) < KEPT || !cell.initialized() && Arc::strong_count(cell) > 1
        });
        let bytes = |(_, cell): &(Instant, Cell)| cell.get().map_or(0, Bytes::len);
        if kept.values().map(bytes).sum::<usize>() > MOST_BYTES {
            kept.retain(|_, (_, cell)| !cell.initialized());
        }
        Arc::clone(&kept.entry(key).or_insert_with(|| (now, Cell::default())).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test(start_paused = true)]
    async fn fifty_who_ask_the_same_have_it_asked_once_a_step() {
        let shared = Arc::new(Shared::default());
        let asked = Arc::new(AtomicUsize::new(0));
        let ask = |key: &'static str| {
            let (shared, asked) = (Arc::clone(&shared), Arc::clone(&asked));
            tokio::spawn(async move {
                let make = async {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    asked.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, ()>(Bytes::from(key))
                };
                shared.get(key, make).await
            })
        };
        let all: Vec<_> = (0..50).map(|_| ask("a")).collect();
        for one in all {
            assert_eq!(one.await.unwrap(), Ok(Bytes::from("a")));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(ask("b").await.unwrap(), Ok(Bytes::from("b")));
        assert_eq!(asked.load(Ordering::Relaxed), 2, "another question has another answer");
        tokio::time::advance(KEPT).await;
        assert_eq!(ask("a").await.unwrap(), Ok(Bytes::from("a")));
        assert_eq!(asked.load(Ordering::Relaxed), 3, "and in the next step it is asked anew");
    }

    #[tokio::test]
    async fn a_failure_is_nobody_elses() {
        let shared = Shared::default();
        assert_eq!(shared.get("a", async { Err("away") }).await, Err("away"));
        assert_eq!(shared.get("a", async { Ok::<_, &str>(Bytes::from("x")) }).await, Ok(Bytes::from("x")));
    }

    #[tokio::test]
    async fn what_is_kept_has_a_bound() {
        let shared = Shared::default();
        for number in 0..10 {
            let large = async { Ok::<_, ()>(Bytes::from(vec![0; MOST_BYTES / 4])) };
            shared.get(number, large).await.unwrap();
        }
        let kept: usize = shared.kept.lock().unwrap().values().filter_map(|(_, cell)| cell.get()).map(Bytes::len).sum();
        assert!(kept <= MOST_BYTES + MOST_BYTES / 4, "{kept}");
    }
}
