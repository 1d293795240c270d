//! The places of queries: how many ClickHouse works on for readers at once, and how many of these for one client.
//!
//! A query holds its place until ClickHouse has ended it and its answer is written, whether the client waits for it or
//! not, so that leaving early cannot be used to have more. A page asks several things at once: a few may wait their turn
//! for a moment. Whoever comes beyond that is refused at once.

use super::answer::{Answer, AnswerBody, again};
use super::places::{Bounds, Client};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a query may wait for its place.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many may wait for each that may run.
const WAITING: usize = 2;
/// Seconds after which a refused query may be asked again.
const AGAIN: u16 = 2;

pub(super) struct Readers {
    queries: usize,
    per_client: usize,
    places: Arc<Semaphore>,
    clients: Mutex<Clients>,
    refused: AtomicU64,
}

#[derive(Default)]
struct Clients {
    /// Queries that run or wait.
    all: usize,
    of: HashMap<Client, Share>,
}

struct Share {
    here: usize,
    places: Arc<Semaphore>,
}

/// Why a query has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crowded {
    Client,
    All,
}

impl Crowded {
    pub(super) fn answer(self) -> Answer {
        again(
            match self {
                Self::Client => {
                    "this client has as many queries under way as one may; ask again when they are answered"
                }
                Self::All => "as many queries are under way as fit; ask again",
            },
            AGAIN,
        )
    }
}

impl Readers {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            queries: bounds.queries,
            per_client: bounds.queries_per_client,
            places: Arc::new(Semaphore::new(bounds.queries)),
            clients: Mutex::default(),
            refused: AtomicU64::new(0),
        })
    }

    /// A place for a query of `client`, waited for a little.
    pub(super) async fn enter(self: &Arc<Self>, client: Client) -> Result<QueryPlace, Crowded> {
        let entered = match self.queue(client) {
            Ok((here, own)) => self.wait(here, own).await,
            Err(full) => Err(full),
        };
        if entered.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                %client,
                "a query was refused: its client, or all together, have as many under way as they may"
            );
        }
        entered
    }

    fn queue(self: &Arc<Self>, client: Client) -> Result<(Here, Arc<Semaphore>), Crowded> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let all = clients.all;
        let share = clients
            .of
            .entry(client)
            .or_insert_with(|| Share { here: 0, places: Arc::new(Semaphore::new(self.per_client)) });
        if share.here >= self.per_client * (1 + WAITING) {
            return Err(Crowded::Client);
        }
        if all >= self.queries * (1 + WAITING) {
            if share.here == 0 {
                clients.of.remove(&client);
            }
            return Err(Crowded::All);
        }
        share.here += 1;
        let own = Arc::clone(&share.places);
        clients.all += 1;
        Ok((Here { readers: Arc::clone(self), client }, own))
    }

    async fn wait(&self, here: Here, own: Arc<Semaphore>) -> Result<QueryPlace, Crowded> {
        let mut full = Crowded::Client;
        let turn = tokio::time::timeout(PATIENCE, async {
            let own = own.acquire_owned().await.ok()?;
            full = Crowded::All;
            let all = Arc::clone(&self.places).acquire_owned().await.ok()?;
            Some((own, all))
        });
        match turn.await {
            Ok(Some((own, all))) => Ok(QueryPlace { _own: own, _all: all, _here: here }),
            _ => Err(full),
        }
    }

    /// Queries under way, and those that were refused since the start.
    pub(super) fn counts(&self) -> (usize, u64) {
        (self.queries.saturating_sub(self.places.available_permits()), self.refused.load(Ordering::Relaxed))
    }
}

/// One query that runs or waits.
struct Here {
    readers: Arc<Readers>,
    client: Client,
}

impl Drop for Here {
    fn drop(&mut self) {
        let mut clients = self.readers.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.all -= 1;
        if let Some(share) = clients.of.get_mut(&self.client) {
            share.here -= 1;
            if share.here == 0 {
                clients.of.remove(&self.client);
            }
        }
    }
}

/// The place of one query, given back when it is dropped.
pub(super) struct QueryPlace {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    _here: Here,
}

/// An answer's bytes with the place of the query that made them.
struct Held {
    bytes: Bytes,
    _place: QueryPlace,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Has `answer` hold `place` until its last byte is written, or its connection is gone.
pub(super) async fn holding(answer: Answer, place: QueryPlace) -> Answer {
    let (head, body) = answer.into_parts();
    let AnswerBody::Whole(body) = body else { return Answer::from_parts(head, body) };
    let bytes = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(never) => match never {},
    };
    let held = Full::new(Bytes::from_owner(Held { bytes, _place: place }));
    Answer::from_parts(head, AnswerBody::Whole(held))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn client(last: u8) -> Client {
        IpAddr::from([192, 0, 2, last]).into()
    }

    fn readers() -> Arc<Readers> {
        Readers::new(Bounds { queries: 4, queries_per_client: 2, ..Bounds::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_cannot_have_all_places() {
        let readers = readers();
        let mut places = vec![readers.enter(client(1)).await.unwrap(), readers.enter(client(1)).await.unwrap()];
        assert_eq!(readers.enter(client(1)).await.err(), Some(Crowded::Client), "after a moment");
        places.push(readers.enter(client(2)).await.unwrap());
        places.push(readers.enter(client(3)).await.unwrap());
        assert_eq!(readers.enter(client(4)).await.err(), Some(Crowded::All));
        assert_eq!(readers.counts(), (4, 2));
        drop(places);
        assert!(readers.enter(client(4)).await.is_ok());
        assert!(readers.clients.lock().unwrap().of.is_empty(), "nothing is remembered of who has left");
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_wait_and_the_others_are_refused_at_once() {
        let readers = readers();
        let running = [readers.enter(client(1)).await.unwrap(), readers.enter(client(1)).await.unwrap()];
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let readers = Arc::clone(&readers);
                tokio::spawn(async move { readers.enter(client(1)).await.is_ok() })
            })
            .collect();
        while readers.clients.lock().unwrap().all < 6 {
            tokio::task::yield_now().await;
        }
        let began = tokio::time::Instant::now();
        assert_eq!(readers.enter(client(1)).await.err(), Some(Crowded::Client));
        assert_eq!(began.elapsed(), Duration::ZERO);
        drop(running);
        for one in waiting {
            assert!(one.await.unwrap(), "each had its turn");
        }
    }

    #[tokio::test]
    async fn a_place_is_held_until_the_answer_is_gone() {
        let readers = readers();
        let place = readers.enter(client(1)).await.unwrap();
        let answer = holding(super::super::answer::text(http::StatusCode::OK, "x"), place).await;
        assert_eq!(readers.counts().0, 1);
        let written = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!((readers.counts().0, &written[..]), (1, &b"x\n"[..]));
        drop(written);
        assert_eq!(readers.counts().0, 0);
    }
}
