//! Batches out of the queue, to the receiver: tried again while that may help, counted when it does not.

use crate::answer::Answer;
use crate::client::{Client, ClientError};
use crate::probes::Probes;
use crate::queue::{Counts, Loss, Queue};
use crate::resource::Envelope;
use crate::span::Spans;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};
use tracing::{info, warn};
use weir_config::{Batch, TraceExport};
use weir_event::{Identity, Names, TraceId};

/// The first pause before a batch is sent again; each further one is twice as long, to [`LONGEST_PAUSE`], and of both a
/// random part.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Of one request, before it is compressed (receivers take 4 MiB by gRPC unless they are told otherwise). Bytes.
const MOST_OF_REQUEST: usize = 3 << 20;

/// Sends spans until it is asked to end.
pub struct Exporter {
    queue: Queue,
    spans: Spans,
    envelope: Envelope,
    client: Client,
    batch: Batch,
    timeout: Duration,
    counts: Arc<Counts>,
    probes: Arc<Probes>,
    /// Whether the last batch was lost, which is reported once.
    is_failing: bool,
    endpoint: String,
    /// Bytes of the last batch: about what the next one takes.
    last: usize,
}

/// Spans that are sent together.
struct Ready {
    body: Bytes,
    spans: u64,
    requests: u64,
    /// Of those among them.
    probes: Vec<TraceId>,
}

impl Exporter {
    /// Sends what comes out of `queue`, as `identity` in its life `boot`.
    ///
    /// # Errors
    /// Nothing can be sent as `export` asks.
    pub fn new(
        queue: Queue,
        export: &TraceExport,
        (identity, boot, version): (&Identity, &str, &str),
        names: Arc<Names>,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            counts: queue.counts(),
            probes: queue.probes(),
            queue,
            spans: Spans::new(names, export.attributes, export.known_methods.as_deref()),
            envelope: Envelope::new(identity, boot, version, export),
            client: Client::new(export)?,
            batch: export.batch,
            timeout: export.timeout,
            is_failing: false,
            endpoint: export.endpoint.to_string(),
            last: 0,
        })
    }

    /// What becomes of the spans.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// What becomes of those of probes.
    pub fn probes(&self) -> Arc<Probes> {
        Arc::clone(&self.probes)
    }

    /// Runs until `end` says by when what still waits must have been sent.
    pub async fn run(mut self, mut end: oneshot::Receiver<Instant>) {
        let mut tick = interval(self.batch.delay);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let deadline = loop {
            let due = tokio::select! {
                _ = tick.tick() => self.counts.waiting(),
                () = self.queue.many() => 0,
                deadline = &mut end => break deadline.unwrap_or_else(|_| Instant::now()),
            };
            if let Some(deadline) = self.send_all(due, &mut end).await {
                break deadline;
            }
        };
        while let Some(ready) = self.next_batch() {
            self.send_last(&ready, deadline).await;
        }
    }

    /// Sends `due` requests that have waited long enough, and those that are many; answers the deadline if it is asked to
    /// end meanwhile. What comes while it sends waits for company, or every batch would be a small one.
    async fn send_all(&mut self, mut due: u64, end: &mut oneshot::Receiver<Instant>) -> Option<Instant> {
        while due > 0 || self.queue.has_many() {
            let Some(ready) = self.next_batch() else { break };
            due = due.saturating_sub(ready.requests);
            let deadline = Instant::now() + self.batch.timeout;
            let cut = tokio::select! {
                () = self.send(&ready, deadline) => None,
                last = &mut *end => Some(last.unwrap_or_else(|_| Instant::now())),
            };
            if let Some(last) = cut {
                // Once more from the beginning: at worst the receiver has it twice, which OTLP allows.
                self.send_last(&ready, last).await;
                return Some(last);
            }
        }
        None
    }

    /// As [`Exporter::send`], cut at `deadline`.
    async fn send_last(&mut self, ready: &Ready, deadline: Instant) {
        if timeout_at(deadline, self.send(ready, deadline)).await.is_err() {
            self.counts.lose(Loss::Ended, ready.spans);
            self.probes.dropped(&ready.probes, Loss::Ended.as_str(), "");
        }
    }

    fn next_batch(&mut self) -> Option<Ready> {
        let (mut body, mut spans, mut requests) = (self.envelope.open(self.last), 0, 0);
        let mut probes = Vec::new();
        while requests < u64::from(self.batch.size) && body.len() < MOST_OF_REQUEST {
            let Some(kept) = self.queue.next() else { break };
            probes.extend(kept.probe);
            spans += u64::from(self.spans.append(&kept, &mut body));
            requests += 1;
        }
        self.last = if requests > 0 { body.len() } else { self.last };
        (spans > 0).then(|| Ready { body: self.envelope.close(body), spans, requests, probes })
    }

    /// Until it is taken, refused, or `deadline` is near.
    async fn send(&mut self, ready: &Ready, deadline: Instant) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.counts.attempt();
            let sent = timeout(self.timeout, self.client.send(&ready.body)).await;
            let answer = sent.unwrap_or_else(|_| Answer::Again { after: None, why: "no answer in time".to_owned() });
            let (after, why) = match answer {
                Answer::Taken { rejected, message } => return self.taken(ready, rejected, &message),
                Answer::Refused { why } => {
                    self.counts.fail();
                    return self.lost(ready, Loss::Refused, &why);
                }
                Answer::Again { after, why } => (after, why),
            };
            self.counts.fail();
            self.probes.failed(&ready.probes, &why);
            // A random part, so that gateways that lost one receiver do not come back together.
            let wait = after.unwrap_or_else(|| pause.mul_f64(0.5 + fastrand::f64() / 2.0));
            pause = (pause * 2).min(LONGEST_PAUSE);
            if Instant::now() + wait >= deadline {
                return self.lost(ready, Loss::Unavailable, &why);
            }
            sleep(wait).await;
        }
    }

    fn taken(&mut self, ready: &Ready, rejected: u64, message: &str) {
        let rejected = rejected.min(ready.spans);
        self.counts.export(ready.spans - rejected);
        self.counts.lose(Loss::Rejected, rejected);
        match rejected {
            0 => self.probes.acknowledged(&ready.probes),
            // Which of the batch, nobody says.
            _ => self.probes.dropped(&ready.probes, Loss::Rejected.as_str(), message),
        }
        if rejected > 0 || !message.is_empty() {
            warn!(rejected, message, "the receiver of spans took a batch in part, or has something to say");
        }
        if std::mem::take(&mut self.is_failing) {
            info!(endpoint = self.endpoint, "spans are taken again");
        }
    }

    fn lost(&mut self, ready: &Ready, why: Loss, detail: &str) {
        self.counts.lose(why, ready.spans);
        self.probes.dropped(&ready.probes, why.as_str(), detail);
        if !std::mem::replace(&mut self.is_failing, true) {
            let Self { endpoint, .. } = self;
            warn!(endpoint, spans = ready.spans, detail, "spans are dropped: their receiver does not take them");
        }
    }
}
