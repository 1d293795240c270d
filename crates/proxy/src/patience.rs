//! How long the gateway waits: for a response head, and for the next frame of a body.
//!
//! The response timeout counts from the end of the request, as Flex's does; while a request body is still coming
//! in, the stream idle time counts from its last frame. A timer a request costs 0.3 µs, and nearly every one would be
//! thrown away: the worker's look, about once a second, reminds whoever waits, and only a request whose deadline is
//! near makes a timer.

use crate::record::ExchangeRef;
use crate::worker::SWEEP;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::time::{Sleep, sleep_until};
use weir_config::Timeouts;
use weir_event::Reason;

/// A deadline nearer than this has a timer: the next look may come too late for it.
const NEAR: Duration = SWEEP.saturating_mul(2);

/// Waits for `exchange`'s response head, `send`, for as long as the timeouts allow. `now` is when the wait begins.
pub(crate) async fn patiently<F: Future>(
    exchange: &ExchangeRef,
    timeouts: &Timeouts,
    now: Instant,
    mut send: Pin<&mut F>,
) -> Result<F::Output, Reason> {
    let mut begins = Some(now);
    let mut sleep: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if let Poll::Ready(done) = send.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        let mut now = begins.take().unwrap_or_else(Instant::now);
        loop {
            let (deadline, reason) = deadline(exchange, timeouts);
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return Poll::Ready(Err(reason));
            } else if left > NEAR {
                return Poll::Pending;
            }
            let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
            if sleep.deadline() != deadline.into() {
                sleep.as_mut().reset(deadline.into());
            }
            ready!(sleep.as_mut().poll(cx));
            now = Instant::now();
        }
    })
    .await
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
    /// `progress`: when the last frame moved.
    pub(crate) fn new(limit: Duration, progress: Instant) -> Self {
        Self { limit, waiting_since: progress, sleep: None }
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
