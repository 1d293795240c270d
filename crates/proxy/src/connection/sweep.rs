//! The worker's look at a connection, about once a second, and what it asks of all of them when it drains.

use super::waker::wake;
use super::{Connection, Kind, Order};
use crate::connection::http1::state::Phase;
use std::time::Duration;
use weir_event::Instant;
use weir_event::Reason;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the end of an HTTP/1 client that is still sending is waited for, after its answer.
const LINGER: Duration = Duration::from_secs(2);
/// How long a connection whose HTTP/2 client was informed that it ends may still be open.
const GOODBYE: Duration = Duration::from_secs(5);

impl Connection {
    /// Lets open exchanges finish, then closes.
    pub(crate) fn drain(&self) {
        if self.spoken.get() || self.may_still_speak() || self.kind.get() == Kind::Http2 {
            return self.give(Order::Drain);
        }
        if self.kind.get() == Kind::Http1 {
            self.head_is_cut_off(Reason::GatewayDraining);
        }
        self.give(Order::Close);
    }

    /// The worker's look: closes what has been quiet for `idle`, and what takes nothing of its responses, or sends nothing
    /// of its requests, for `stalled`. Reminds of the time what waits for an upstream.
    pub(crate) fn sweep(&self, now: Instant, idle: Duration, stalled: Duration) {
        match self.kind.get() {
            Kind::Handshake if has_passed(self.accepted, now, HANDSHAKE.min(idle)) => self.give(Order::Close),
            Kind::Handshake => {}
            Kind::Http1 => self.sweep_http1(now, idle),
            Kind::Http2 => self.sweep_http2(now, idle, stalled),
        }
        if self.order.get() == Order::None && self.client.is_of_other_terms() {
            self.give(Order::Drain);
        }
        if self.blocked.get().is_some_and(|since| has_passed(since, now, stalled)) {
            self.blame_open(Reason::ClientIdleTimeout);
            self.give(Order::Close);
        }
    }

    /// Blames `reason` for the end of every exchange that is open.
    fn blame_open(&self, reason: Reason) {
        match self.kind.get() {
            Kind::Http2 => self.http2.blame(reason),
            _ => self.http1.blame(reason),
        }
    }

    /// Closes a connection on which nothing has happened for `limit`. One that has sent half a head is distinguished:
    /// that was a request, and it gets its event. A request that waits for its response looks at the time.
    fn sweep_http1(&self, now: Instant, limit: Duration) {
        if self.http1.waits_for_response() {
            wake(&self.waker);
        }
        if self.http1.lingering.get().is_some_and(|since| has_passed(since, now, LINGER)) {
            return self.give(Order::Close);
        }
        let phase = self.http1.phase.get();
        if phase == Phase::Idle && !self.http1.rests.replace(true) {
            wake(&self.waker);
        }
        if matches!(phase, Phase::Idle | Phase::Head) && has_passed(self.since.get(), now, limit) {
            self.head_is_cut_off(Reason::RequestHeadTimeout);
            self.give(Order::Close);
        }
    }

    /// Tells a connection that was quiet for `idle` that it ends, and lets go of streams that stand still; those that wait
    /// for a response look at the time.
    fn sweep_http2(&self, now: Instant, idle: Duration, stalled: Duration) {
        self.http2.cancel_stalled(now, stalled);
        self.http2.remind();
        // A stream may have an end that the client has not taken yet.
        if !self.http2.streams.borrow().is_empty() {
            return;
        }
        self.book_refused();
        let quiet_since = self.since.get();
        match self.http2.reported.get() {
            Some(reported) if has_passed(reported.max(quiet_since), now, GOODBYE) => self.give(Order::Close),
            None if has_passed(quiet_since, now, idle) => self.give(Order::Drain),
            _ => {}
        }
    }
}

fn has_passed(since: Instant, now: Instant, limit: Duration) -> bool {
    now.saturating_duration_since(since) >= limit
}
