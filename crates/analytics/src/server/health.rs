//! `/healthz`: whether ClickHouse answers, and what an operator should know besides.
//!
//! ClickHouse is asked once for all who want to know at the same time, for a short time only: a crowd of probes costs one
//! statement, and an engine that hangs is reported as such while a probe still waits.

use super::Server;
use super::answer::{Answer, text};
use crate::store::Store;
use http::StatusCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// For ClickHouse's answer.
const LIMIT: Duration = Duration::from_secs(2);
/// How long an answer serves those who ask after it.
const FRESH: Duration = Duration::from_millis(250);

/// What the engine said, once it has.
type Said = Option<Result<(), Arc<str>>>;

/// The shared look at the engine.
pub(super) struct Health {
    store: Store,
    last: Mutex<Option<(Instant, watch::Receiver<Said>)>>,
}

impl Health {
    /// `store` is one that waits for no other statements.
    pub(super) fn new(store: Store) -> Self {
        Self { store, last: Mutex::default() }
    }

    async fn engine(&self) -> Result<(), Arc<str>> {
        let mut said = self.look();
        match said.wait_for(Option::is_some).await.map(|said| said.clone()) {
            Ok(Some(said)) => said,
            _ => Err("weir-analytics is stopping".into()),
        }
    }

    /// The look that is under way, the last one if it is fresh, or a new one.
    fn look(&self) -> watch::Receiver<Said> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((begun, said)) = &*last
            && (said.borrow().is_none() && said.has_changed().is_ok() || begun.elapsed() < FRESH)
        {
            return said.clone();
        }
        let (tell, said) = watch::channel(None);
        let store = self.store.clone();
        tokio::spawn(async move {
            let answered = store.answers(LIMIT).await.map_err(|error| error.to_string().into());
            tell.send_replace(Some(answered));
        });
        *last = Some((Instant::now(), said.clone()));
        said
    }
}

impl Server {
    /// 200 when the engine answers, 503 when not; a line for what an operator should know besides.
    pub(super) async fn health(&self) -> Answer {
        let engine = self.health.engine().await;
        let (status, first) = match engine {
            Ok(()) => (StatusCode::OK, "ok".to_owned()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why.to_string()),
        };
        let mut lines = vec![first, self.ingest.role()];
        lines.extend(self.clock.lines());
        lines.extend(self.load());
        text(status, &lines.join("\n"))
    }

    /// Who is here, and who was turned away since the start.
    fn load(&self) -> [String; 2] {
        let (open, senders) = self.places.open();
        let (queries, refused) = self.readers.counts();
        let bounds = self.bounds;
        let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.places.counts;
        [
            format!(
                "{open} of {} connections, {senders} of them gateways'; {queries} of {} queries",
                bounds.connections, bounds.queries
            ),
            format!(
                "closed since the start: {} without a request, {} with answers unread, {} for others; refused: {refused} \
                 queries, {} connections of gateways",
                of(&counts.silent),
                of(&counts.unread),
                of(&counts.displaced),
                of(&counts.senders_refused)
            ),
        ]
    }
}
