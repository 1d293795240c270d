//! JSON Web Key Sets (RFC 7517), read again and again beside the requests.
//!
//! A set that cannot be read keeps the keys that it had. They are read in the background, when their time is over, after a
//! failure with longer and longer pauses, and when a token names a key that nobody knows, which anybody can make up: for
//! that, once in [`ASKED_AGAIN`] at most.

use crate::Services;
use crate::services::http_client::{Fetch, FetchError};
use arc_swap::ArcSwapOption;
use http::Uri;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use serde::Deserialize;
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use weir_config::policy::KeySets;
use weir_event::Instant;

/// Between two readings that requests ask for.
const ASKED_AGAIN: Duration = Duration::from_secs(10);
/// Before the first repetition after a failure; twice as long before each one after it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Bytes of one set.
const LARGEST: usize = 1 << 20;
/// Of all sets together.
const MOST_KEYS: usize = 256;
/// Keys that are tried for a token that does not say which one has signed it: each costs a verification.
const MOST_TRIED: usize = 8;

/// The sets of one configuration, for all policies that have it.
pub(super) struct Jwks {
    keys: ArcSwapOption<Keys>,
    /// How often they have been read, with or without success.
    rounds: watch::Sender<u64>,
    /// When they were last, in milliseconds since `epoch` and one more; 0: never.
    last: AtomicU64,
    epoch: Instant,
    asked: Arc<Notify>,
    timeout: Duration,
    task: Option<AbortHandle>,
}

impl Services {
    /// The sets at these addresses, read from now on.
    pub(super) fn key_sets(&self, sets: &KeySets) -> Arc<Jwks> {
        self.kept.get_or_make_linked(sets.clone(), |this| {
            let asked = Arc::new(Notify::new());
            let reader = Reader { sets: sets.clone(), jwks: this, fetch: self.fetch(), asked: Arc::clone(&asked) };
            let task = self.background.as_ref().map(|background| background.spawn(reader.run()).abort_handle());
            let (rounds, last, timeout) = (watch::Sender::new(0), AtomicU64::new(0), sets.timeout);
            Jwks { keys: ArcSwapOption::empty(), rounds, last, epoch: self.epoch, asked, timeout, task }
        })
    }
}

impl Jwks {
    pub(super) fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.load_full()
    }

    /// Whether it is worth while to wait for another reading.
    pub(super) fn may_be_asked(&self, now: Instant) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        let since = self.millis(now).saturating_sub(last);
        self.task.is_some() && (last == 0 || u128::from(since) >= ASKED_AGAIN.as_millis())
    }

    /// Asks for a reading; what is returned ends with it, or after the time that one answer may take, and a little.
    pub(super) fn read_anew(&self) -> impl Future<Output = ()> + 'static {
        let mut rounds = self.rounds.subscribe();
        let patience = self.timeout + FIRST_PAUSE;
        // The first one is under way from the beginning.
        if self.last.load(Ordering::Relaxed) > 0 {
            self.asked.notify_one();
        }
        async move {
            let _ = tokio::time::timeout(patience, rounds.changed()).await;
        }
    }

    fn has_read(&self, keys: Option<Keys>) {
        if let Some(keys) = keys {
            self.keys.store(Some(Arc::new(keys)));
        }
        self.last.store(self.millis(Instant::now()), Ordering::Relaxed);
        self.rounds.send_modify(|rounds| *rounds += 1);
    }

    fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX - 1) + 1
    }
}

impl Drop for Jwks {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// What reads them.
struct Reader {
    sets: KeySets,
    jwks: Weak<Jwks>,
    fetch: Fetch,
    asked: Arc<Notify>,
}

impl Reader {
    async fn run(self) {
        let mut known: Vec<Vec<Known>> = self.sets.urls.iter().map(|_| Vec::new()).collect();
        let mut failures = 0_u32;
        loop {
            let mut all_well = true;
            for (url, known) in self.sets.urls.iter().zip(&mut known) {
                match self.read(url).await {
                    Ok(keys) => *known = keys,
                    Err(error) => {
                        all_well = false;
                        let kept = known.len();
                        tracing::warn!(%url, %error, kept, "a key set cannot be read; the keys that it had stay in use");
                    }
                }
            }
            failures = if all_well { 0 } else { failures + 1 };
            let all: Vec<_> = known.iter().flatten().take(MOST_KEYS).cloned().collect();
            let Some(jwks) = self.jwks.upgrade() else { return };
            jwks.has_read((!all.is_empty()).then_some(Keys(all)));
            drop(jwks);
            let pause = match failures {
                0 => self.sets.time_to_live,
                failures => (FIRST_PAUSE * (1 << (failures - 1).min(6))).min(LONGEST_PAUSE).min(self.sets.time_to_live),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.asked.notified() => {}
            }
        }
    }

    async fn read(&self, url: &Uri) -> Result<Vec<Known>, FetchError> {
        let text = self.fetch.get(url, self.sets.timeout, LARGEST).await?;
        Keys::parse(&text).ok_or(FetchError::Unreadable("no key set of JSON"))
    }
}

/// Keys that verify.
pub(super) struct Keys(Vec<Known>);

#[derive(Clone)]
struct Known {
    id: Option<String>,
    /// The one algorithm that it is for, where the set says so.
    algorithm: Option<Algorithm>,
    kind: Kind,
    key: DecodingKey,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl Keys {
    /// One key that cannot be used, or is of a kind that is not known, spoils no other (RFC 7517 5).
    fn parse(text: &[u8]) -> Option<Vec<Known>> {
        let document: Document = serde_json::from_slice(text).ok()?;
        Some(document.keys.into_iter().filter_map(Known::new).take(MOST_KEYS).collect())
    }

    /// Whether the key of a token is known; of one that names none, whether there is any.
    pub(super) fn has(&self, id: Option<&str>) -> bool {
        id.is_none() || self.0.iter().any(|known| known.id.as_deref() == id)
    }

    /// The keys that may have signed a token of `algorithm`.
    pub(super) fn for_token<'k>(
        &'k self,
        header: &'k Header,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'k DecodingKey> {
        let id = header.kid.as_deref();
        let fits = move |known: &&Known| (id.is_none() || known.id.as_deref() == id) && known.is_for(algorithm);
        self.0.iter().filter(fits).take(MOST_TRIED).map(|known| &known.key)
    }
}

impl Known {
    fn new(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        if jwk.common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature) {
            return None;
        }
        let kind = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Kind::Rsa,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Kind::P256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => Kind::P384,
            _ => return None,
        };
        // One whose algorithm is not of this library is for none of ours.
        let algorithm = jwk.common.key_algorithm.map(Algorithm::try_from).transpose().ok()?;
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { id: jwk.common.key_id, algorithm, kind, key })
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm {
            Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => Kind::Rsa,
            Algorithm::ES256 => Kind::P256,
            Algorithm::ES384 => Kind::P384,
            _ => return false,
        };
        self.kind == kind && self.algorithm.is_none_or(|own| own == algorithm)
    }
}
