//! Whether a worker still turns. Each counts up once a second; whoever looks at the counts once a second sees which one
//! does not.

use crate::worker::SWEEP;
use std::net::SocketAddr;
use std::time::Duration;
use weir_event::Instant;

/// The most that counts between two looks: where the whole process stood still, no worker did alone.
pub(crate) const LONGEST: Duration = SWEEP.saturating_mul(2);

/// What is known of one worker's turns.
#[derive(Default)]
pub(crate) struct Pulse {
    turns: u64,
    looked: Option<Instant>,
    pub(crate) still: Duration,
    /// Whether its time is over.
    pub(crate) stalled: bool,
    pub(crate) stalls: u64,
    /// What was taken from it, to be given back.
    pub(crate) taken: Vec<SocketAddr>,
}

impl Pulse {
    /// Takes a look. Answers whether the worker stands still for `limit` or longer.
    pub(crate) fn look(&mut self, turns: u64, now: Instant, limit: Duration) -> bool {
        let since = self.looked.replace(now).map_or(Duration::ZERO, |before| now.saturating_duration_since(before));
        self.still = if turns == self.turns { self.still + since.min(LONGEST) } else { Duration::ZERO };
        self.turns = turns;
        self.still >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_stands_still_when_its_count_does() {
        let (mut pulse, limit, start) = (Pulse::default(), Duration::from_secs(3), Instant::now());
        let mut look = |second, turns| pulse.look(turns, start + Duration::from_secs(second), limit);
        assert!(!look(0, 1) && !look(1, 2) && !look(2, 2) && !look(3, 2) && !look(4, 2 + 1));
        assert!(!look(5, 3) && !look(6, 3) && look(7, 3) && look(8, 3));
        assert!(!look(9, 4));
    }

    #[test]
    fn a_process_that_stood_still_as_a_whole_has_no_such_worker() {
        let (mut pulse, limit, start) = (Pulse::default(), Duration::from_secs(10), Instant::now());
        assert!(!pulse.look(5, start, limit));
        assert!(!pulse.look(5, start + Duration::from_secs(3600), limit));
    }
}
