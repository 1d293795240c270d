//! Batches of spans out of the queue, to the receiver.

use crate::client::ClientError;
use crate::probes::Probes;
use crate::queue::{Counts, Loss, Queue};
use crate::resource::Envelope;
use crate::sending::{MOST_OF_REQUEST, Sending, Sent};
use crate::span::Spans;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval};
use weir_config::{Batch, Signal, TraceExport};
use weir_event::{Identity, Names, TraceId};

/// Sends spans until it is asked to end.
pub struct Exporter {
    queue: Queue,
    spans: Spans,
    envelope: Envelope,
    sending: Sending,
    batch: Batch,
    counts: Arc<Counts>,
    probes: Arc<Probes>,
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
    /// Sends what comes out of `queue`, as `who`: the identity, the id of the life of its process, and its version.
    ///
    /// # Errors
    /// Nothing can be sent as `export` asks.
    pub fn new(
        queue: Queue,
        export: &TraceExport,
        who: (&Identity, &str, &str),
        names: Arc<Names>,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            sending: Sending::new(&export.target, Signal::Traces, queue.counts())?,
            counts: queue.counts(),
            probes: queue.probes(),
            queue,
            spans: Spans::new(names, export.attributes, export.known_methods.as_deref()),
            envelope: Envelope::new(who, &export.target),
            batch: export.batch,
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
        let failed = |why: &str| self.probes.failed(&ready.probes, why);
        let sent = self.sending.send_last(&ready.body, ready.spans, deadline, failed).await;
        self.tell_probes(ready, sent);
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
        let failed = |why: &str| self.probes.failed(&ready.probes, why);
        let sent = self.sending.send(&ready.body, ready.spans, deadline, failed).await;
        self.tell_probes(ready, sent);
    }

    fn tell_probes(&self, ready: &Ready, sent: Sent) {
        match sent {
            Sent::Taken { rejected: 0, .. } => self.probes.acknowledged(&ready.probes),
            // Which of the batch, nobody says.
            Sent::Taken { message, .. } => self.probes.dropped(&ready.probes, Loss::Rejected.as_str(), &message),
            Sent::Lost(why, detail) => self.probes.dropped(&ready.probes, why.as_str(), &detail),
        }
    }
}
