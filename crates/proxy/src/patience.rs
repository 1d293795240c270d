//! How long the gateway waits: for a response head, and for the next frame of a body.
//!
//! The response timeout counts from the end of the request, as Flex's does; while a request body is still coming
//! in, the stream idle time counts from its last frame. A timer a request costs 0.3 µs, and nearly every one would be
//! thrown away: the worker's look, about once a second, reminds whoever waits, and only a request whose deadline is
//! near makes a timer.

use crate::exchange::ExchangeRef;
use crate::worker::SWEEP;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep_until};
use weir_config::Timeouts;
use weir_event::Instant;
use weir_event::{Reason, Turn};

/// A deadline nearer than this has a timer: the next look may come too late for it.
const NEAR: Duration = SWEEP.saturating_mul(2);

/// The first of an upload, in which its rate is not looked at.
const UPLOAD_GRACE: Duration = Duration::from_secs(30);

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
            if is_too_slow(exchange, now) {
                return Poll::Ready(Err(Reason::ClientTooSlow));
            }
            let (deadline, reason) = deadline(exchange, timeouts);
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return Poll::Ready(Err(reason));
            } else if left > NEAR {
                return Poll::Pending;
            }
            let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline.into_std().into())));
            if sleep.deadline() != deadline.into_std().into() {
                sleep.as_mut().reset(deadline.into_std().into());
            }
            ready!(sleep.as_mut().poll(cx));
            now = Instant::now();
        }
    })
    .await
}

/// Whether the client sends its body slower than it must, or has for longer than it may. Only the time is counted in which
/// it was waited for: what its upstream takes slowly it cannot send.
fn is_too_slow(exchange: &ExchangeRef, now: Instant) -> bool {
    if exchange.request_done().is_some() {
        return false;
    }
    let limits = exchange.snapshot().limits;
    let is_sized = exchange.is_sized();
    let exchange = exchange.borrow();
    let spent = exchange.meter.spent_until(Turn::Client, now);
    let rate = if is_sized { limits.upload_min_rate.bytes() } else { 0 };
    exchange.bytes_in < least_bytes(rate, spent) || limits.upload_max_time.is_some_and(|most| spent > most)
}

/// What must have come of an upload at `rate` bytes a second after `spent`.
fn least_bytes(rate: u64, spent: Duration) -> u64 {
    let millis = u64::try_from(spent.saturating_sub(UPLOAD_GRACE).as_millis()).unwrap_or(u64::MAX);
    rate.saturating_mul(millis) / 1000
}

fn deadline(exchange: &ExchangeRef, timeouts: &Timeouts) -> (Instant, Reason) {
    let (until, reason) = idle_or_response(exchange, timeouts);
    match exchange.deadline() {
        Some(deadline) if deadline < until => (deadline, Reason::DeadlineExceeded),
        _ => (until, reason),
    }
}

fn idle_or_response(exchange: &ExchangeRef, timeouts: &Timeouts) -> (Instant, Reason) {
    match exchange.request_done() {
        Some(done) => (done + timeouts.upstream_response, Reason::UpstreamTimeout),
        None => {
            // A request that stands still: whoever is waited for is at fault.
            let waiting_for_client = exchange.borrow().meter.turn() == Turn::Client;
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

    /// Ready when no frame has moved for the limit, or the client's own deadline is over.
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>, exchange: &ExchangeRef) -> Poll<Reason> {
        loop {
            let sleep = self.sleep.get_or_insert_with(|| {
                let until = Instant::now() + self.limit;
                Box::pin(sleep_until(
                    exchange.deadline().map_or(until, |deadline| deadline.min(until)).into_std().into(),
                ))
            });
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if is_late(exchange) {
                return Poll::Ready(Reason::DeadlineExceeded);
            }
            // From the last frame, or from when the client took it: a client that stalled is not the upstream's doing.
            let deadline = exchange.progress().max(self.waiting_since) + self.limit;
            if deadline <= Instant::now() {
                return Poll::Ready(Reason::UpstreamIdleTimeout);
            }
            let until = exchange.deadline().map_or(deadline, |own| own.min(deadline));
            sleep.as_mut().reset(until.into_std().into());
        }
    }
}

/// Whether the client's own deadline is over. One that has none costs no look at the clock.
pub(crate) fn is_late(exchange: &ExchangeRef) -> bool {
    exchange.deadline().is_some_and(|deadline| deadline <= Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_from_the_end_of_its_grace() {
        let least = |rate, seconds| least_bytes(rate, Duration::from_secs(seconds));
        assert_eq!([least(240, 0), least(240, 30), least(240, 31), least(240, 90)], [0, 0, 240, 60 * 240]);
        assert_eq!(least(0, 1_000_000), 0, "off");
        assert!(least(1 << 30, u64::MAX / 2) > 1 << 40);
    }
}
