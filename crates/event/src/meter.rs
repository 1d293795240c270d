//! The three times of a request: who was waited for, at every moment of it.
//!
//! A request is always waiting for exactly one of three: the **upstream** (connecting, its head, its frames), the
//! **client** (its body, or room to write to it), or the **gateway** (everything else). [`Meter`] holds whose
//! turn it is; every change of turn books the time since the last one. So the three times are exclusive and sum
//! to the total by construction, and a phase that forgets to say whose turn it is books to the last one named.

use crate::Instant;
use std::time::Duration;

/// Who is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Gateway,
    Upstream,
    Client,
}

/// The running account of one request's time.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    turn: Turn,
    since: Instant,
    spent_ns: [u64; 3],
    ended: bool,
}

impl Meter {
    /// Starts with the gateway's turn.
    pub fn start(now: Instant) -> Self {
        Self { turn: Turn::Gateway, since: now, spent_ns: [0; 3], ended: false }
    }

    /// Books the time since the last change, and hands the turn on.
    #[inline]
    pub fn hand_to(&mut self, turn: Turn, now: Instant) {
        if self.ended {
            return;
        }
        self.spent_ns[self.turn as usize] += now.nanos_since(self.since);
        self.since = now;
        self.turn = turn;
    }

    /// Books the time since the last change, and nothing from then on: what follows is no part of the request's time.
    pub fn end(&mut self, now: Instant) {
        self.hand_to(Turn::Gateway, now);
        self.ended = true;
    }

    /// Whose turn it is.
    pub fn turn(&self) -> Turn {
        self.turn
    }

    /// The time booked so far to one of the three.
    pub fn spent(&self, turn: Turn) -> Duration {
        Duration::from_nanos(self.spent_ns[turn as usize])
    }

    /// The time of one of the three up to `now`, with what is not booked yet.
    pub fn spent_until(&self, turn: Turn, now: Instant) -> Duration {
        let open = if self.turn == turn { now.saturating_duration_since(self.since) } else { Duration::ZERO };
        self.spent(turn) + open
    }

    /// The time booked so far to all three.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.spent_ns.iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_times_sum_to_the_total() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut meter = Meter::start(start);
        meter.hand_to(Turn::Upstream, at(3));
        meter.hand_to(Turn::Client, at(10));
        meter.hand_to(Turn::Upstream, at(12));
        meter.hand_to(Turn::Gateway, at(20));
        meter.hand_to(Turn::Gateway, at(21));
        assert_eq!(meter.spent(Turn::Gateway), Duration::from_millis(4));
        assert_eq!(meter.spent(Turn::Upstream), Duration::from_millis(15));
        assert_eq!(meter.spent(Turn::Client), Duration::from_millis(2));
        assert_eq!(meter.total(), Duration::from_millis(21));
        meter.end(at(22));
        meter.hand_to(Turn::Client, at(30));
        meter.hand_to(Turn::Gateway, at(40));
        assert_eq!(meter.total(), Duration::from_millis(22), "nothing counts behind the end");
    }
}
