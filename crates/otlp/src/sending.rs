//! One request to the receiver: sent again while that may help, and what became of it counted.

use crate::answer::Answer;
use crate::client::{Client, ClientError};
use crate::queue::{Counts, Loss};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};
use weir_config::{OtlpTarget, Signal};

/// The first pause before a request is sent again; each further one is twice as long, to [`LONGEST_PAUSE`], and of both a
/// random part.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Of one request, before it is compressed (receivers take 4 MiB by gRPC unless they are told otherwise). Bytes.
pub(crate) const MOST_OF_REQUEST: usize = 3 << 20;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All but `rejected` are with the receiver.
    Taken { rejected: u64, message: String },
    /// None is, for this reason, in the receiver's words.
    Lost(Loss, String),
}

/// The way of one signal to its receiver.
pub(crate) struct Sending {
    client: Client,
    timeout: Duration,
    counts: Arc<Counts>,
    /// Whether the last request was lost, which is reported once.
    is_failing: bool,
    endpoint: String,
    /// What is sent, in a word.
    what: &'static str,
}

impl Sending {
    pub(crate) fn new(target: &OtlpTarget, signal: Signal, counts: Arc<Counts>) -> Result<Self, ClientError> {
        Ok(Self {
            client: Client::new(target, signal)?,
            timeout: target.timeout,
            counts,
            is_failing: false,
            endpoint: target.endpoint.to_string(),
            what: match signal {
                Signal::Traces => "spans",
                Signal::Metrics => "metrics",
                Signal::Logs => "log records",
            },
        })
    }

    /// Sends `items` as `body` until they are taken, refused, or `deadline` is near. `failed` hears why an attempt came to
    /// nothing that is made again.
    pub(crate) async fn send(
        &mut self,
        body: &Bytes,
        items: u64,
        deadline: Instant,
        mut failed: impl FnMut(&str),
    ) -> Sent {
        let mut pause = FIRST_PAUSE;
        loop {
            self.counts.attempt(body.len());
            let sent = timeout(self.timeout, self.client.send(body)).await;
            let answer = sent.unwrap_or_else(|_| Answer::Again { after: None, why: "no answer in time".to_owned() });
            let (after, why) = match answer {
                Answer::Taken { rejected, message } => return self.taken(items, rejected.min(items), message),
                Answer::Refused { why } => {
                    self.counts.fail();
                    return self.lost(items, Loss::Refused, why);
                }
                Answer::Again { after, why } => (after, why),
            };
            self.counts.fail();
            failed(&why);
            // A random part, so that gateways that lost one receiver do not come back together.
            let wait = after.unwrap_or_else(|| pause.mul_f64(0.5 + fastrand::f64() / 2.0));
            pause = (pause * 2).min(LONGEST_PAUSE);
            if Instant::now() + wait >= deadline {
                return self.lost(items, Loss::Unavailable, why);
            }
            sleep(wait).await;
        }
    }

    /// As [`Sending::send`], cut at `deadline`: the process ends.
    pub(crate) async fn send_last(
        &mut self,
        body: &Bytes,
        items: u64,
        deadline: Instant,
        failed: impl FnMut(&str),
    ) -> Sent {
        match timeout_at(deadline, self.send(body, items, deadline, failed)).await {
            Ok(sent) => sent,
            Err(_) => {
                self.counts.lose(Loss::Ended, items);
                Sent::Lost(Loss::Ended, String::new())
            }
        }
    }

    /// As [`Sending::send`]; from when `end` says by when the process ends, cut there.
    pub(crate) async fn send_until(
        &mut self,
        body: &Bytes,
        items: u64,
        deadline: Instant,
        end: impl Future<Output = Instant>,
    ) -> Sent {
        let counts = Arc::clone(&self.counts);
        let mut sending = std::pin::pin!(self.send(body, items, deadline, |_| {}));
        let last = tokio::select! {
            biased;
            sent = &mut sending => return sent,
            last = end => last,
        };
        match timeout_at(last, sending).await {
            Ok(sent) => sent,
            Err(_) => {
                counts.lose(Loss::Ended, items);
                Sent::Lost(Loss::Ended, String::new())
            }
        }
    }

    fn taken(&mut self, items: u64, rejected: u64, message: String) -> Sent {
        self.counts.export(items - rejected);
        self.counts.lose(Loss::Rejected, rejected);
        let Self { what, endpoint, .. } = self;
        if rejected > 0 || !message.is_empty() {
            warn!(rejected, message, "the receiver of {what} took a request in part, or has something to say");
        }
        if std::mem::take(&mut self.is_failing) {
            info!(endpoint, "{what} are taken again");
        }
        Sent::Taken { rejected, message }
    }

    fn lost(&mut self, items: u64, why: Loss, detail: String) -> Sent {
        self.counts.lose(why, items);
        if !std::mem::replace(&mut self.is_failing, true) {
            let Self { endpoint, what, .. } = self;
            warn!(endpoint, items, detail, "{what} are dropped: their receiver does not take them");
        }
        Sent::Lost(why, detail)
    }
}
