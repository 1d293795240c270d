//! How long the gateway waits: for a response head, and for the next frame of a body.
//!
//! The response timeout counts from the end of the request, as Flex's does; while a request body is still coming
//! in, the stream idle time counts from its last frame. Timers are made when there is something to wait for and
//! pushed out rather than re-armed at every frame.

use crate::record::ExchangeRef;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::{Sleep, sleep_until};
use weir_config::Timeouts;
use weir_event::Reason;

/// Waits for `exchange`'s response head, `send`, for as long as the timeouts allow.
pub(crate) async fn patiently<F: Future>(
    exchange: &ExchangeRef,
    timeouts: &Timeouts,
    mut send: Pin<&mut F>,
) -> Result<F::Output, Reason> {
    let mut sleep = pin!(sleep_until(deadline(exchange, timeouts).0.into()));
    loop {
        tokio::select! {
            biased;
            done = &mut send => return Ok(done),
            () = &mut sleep => {
                let (deadline, reason) = deadline(exchange, timeouts);
                if deadline <= Instant::now() {
                    return Err(reason);
                }
                sleep.as_mut().reset(deadline.into());
            }
        }
    }
}

fn deadline(exchange: &ExchangeRef, timeouts: &Timeouts) -> (Instant, Reason) {
    match exchange.request_done() {
        Some(done) => (done + timeouts.upstream_response, Reason::UpstreamTimeout),
        None => {
            // A request that stands still: whoever is waited for is at fault.
            let waiting_for_client = exchange.borrow().meter.turn() == weir_event::Turn::Client;
            let reason = if waiting_for_client { Reason::ClientIdleTimeout } else { Reason::UpstreamIdleTimeout };
            (exchange.progress() + timeouts.stream_idle, reason)
        }
    }
}

/// The stream idle time of a response body: made at the first wait, asked only while waiting.
pub(crate) struct IdleTimer {
    limit: Duration,
    waiting_since: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl IdleTimer {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, waiting_since: Instant::now(), sleep: None }
    }

    /// The wait for the upstream begins now.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.waiting_since = now;
    }

    /// Ready when no frame has moved for the limit.
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>, exchange: &ExchangeRef) -> Poll<()> {
        loop {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until((Instant::now() + self.limit).into())));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // From the last frame, or from when the client took it: a client that stalled is not the upstream's doing.
            let deadline = exchange.progress().max(self.waiting_since) + self.limit;
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline.into());
        }
    }
}
