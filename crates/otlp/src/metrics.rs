//! Metrics, collected at an interval and sent in pieces: whoever collects hands over what it has made, and goes on when there
//! is room. Nothing is kept for later: counters say next time what a lost request would have said.

use crate::client::ClientError;
use crate::queue::{Counts, Loss};
use crate::resource::Envelope;
use crate::sending::{MOST_OF_REQUEST, Sending, Sent};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};
use weir_config::{HistogramForm, MetricExport, Signal};
use weir_event::Identity;

/// Sends metrics until it is asked to end.
pub struct MetricExporter {
    envelope: Envelope,
    sending: Sending,
    counts: Arc<Counts>,
    interval: Duration,
    timeout: Duration,
    explicit: bool,
}

/// The rest of a collection is not wanted: its time is over, or the receiver does not take it.
#[derive(Debug)]
pub struct GivenUp;

/// One collection on its way to the receiver.
pub struct Collection<'e> {
    exporter: &'e mut MetricExporter,
    body: Vec<u8>,
    /// In `body`.
    points: u64,
    deadline: Instant,
    is_last: bool,
}

impl MetricExporter {
    /// Sends as `who`: the identity, the id of the life of its process, and its version.
    ///
    /// # Errors
    /// Nothing can be sent as `export` asks.
    pub fn new(export: &MetricExport, who: (&Identity, &str, &str)) -> Result<Self, ClientError> {
        let counts = Arc::default();
        Ok(Self {
            envelope: Envelope::new(who, &export.target),
            sending: Sending::new(&export.target, Signal::Metrics, Arc::clone(&counts))?,
            counts,
            interval: export.interval,
            timeout: export.timeout,
            explicit: export.histograms == HistogramForm::Explicit,
        })
    }

    /// What becomes of the points.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Whether histograms have the boundaries of the catalogue, and are not exponential.
    pub fn is_explicit(&self) -> bool {
        self.explicit
    }

    /// Has `collect` fill a collection at each interval, and a last one when `end` says by when that must have been sent.
    pub async fn run(
        mut self,
        mut end: oneshot::Receiver<Instant>,
        collect: impl AsyncFn(&mut Collection<'_>) -> Result<(), GivenUp>,
    ) {
        let mut tick = interval_at(Instant::now() + self.interval, self.interval);
        // One that took longer than the interval does not make up for those that it left out.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let last = loop {
            tokio::select! {
                _ = tick.tick() => {}
                last = &mut end => break last,
            }
            let deadline = Instant::now() + self.timeout;
            let cut = tokio::select! {
                () = self.export(&collect, deadline, false) => None,
                last = &mut end => Some(last),
            };
            if let Some(last) = cut {
                break last;
            }
        };
        // Whoever has gone without a word wants none.
        if let Ok(deadline) = last {
            drop(timeout_at(deadline, self.export(&collect, deadline, true)).await);
        }
    }

    async fn export(
        &mut self,
        collect: &impl AsyncFn(&mut Collection<'_>) -> Result<(), GivenUp>,
        deadline: Instant,
        is_last: bool,
    ) {
        let body = self.envelope.open(0);
        let mut collection = Collection { exporter: self, body, points: 0, deadline, is_last };
        if collect(&mut collection).await.is_ok() {
            drop(collection.send().await);
        }
    }
}

impl Collection<'_> {
    /// Adds `metrics`, messages for `ScopeMetrics` with so many points; sends what there is when it is enough for a request.
    ///
    /// # Errors
    /// The rest is not wanted.
    pub async fn add(&mut self, (metrics, points): (Vec<u8>, u64)) -> Result<(), GivenUp> {
        if self.points > 0 && self.body.len() + metrics.len() > MOST_OF_REQUEST {
            self.send().await?;
        }
        self.body.extend_from_slice(&metrics);
        self.points += points;
        Ok(())
    }

    /// No request is empty (OTLP specification, "Do not send empty envelopes").
    async fn send(&mut self) -> Result<(), GivenUp> {
        let Self { exporter: MetricExporter { envelope, sending, .. }, body, points, deadline, is_last } = self;
        let points = std::mem::take(points);
        if points == 0 {
            return Ok(());
        }
        let body = envelope.close(std::mem::replace(body, envelope.open(0)));
        let sent = if *is_last {
            sending.send_last(&body, points, *deadline, |_| {}).await
        } else {
            sending.send(&body, points, *deadline, |_| {}).await
        };
        match sent {
            // The rest would meet the same receiver in less time.
            Sent::Lost(Loss::Unavailable | Loss::Ended, _) => Err(GivenUp),
            Sent::Taken { .. } | Sent::Lost(..) => Ok(()),
        }
    }
}
