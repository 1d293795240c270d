//! Where every sequence number of one stream is, as far as this process knows.

use crate::ends::OpenEnd;
use weir_event::chunk::{Gap, GapReason};
use weir_event::{Ranges, Stream};

/// The account of one stream: one worker of one life of a gateway process.
#[derive(Clone, Debug)]
pub struct StreamLedger {
    pub stream: Stream,
    /// Numbers below this were given out: from the request counter for this life, from the ring for earlier ones.
    pub accepted: u64,
    /// Copied out of the ring, and neither acknowledged nor given up.
    pub spooled: Ranges,
    /// Acknowledged to this process. What was acknowledged to an earlier one is open here; the ingestor knows.
    pub acked: Ranges,
    pub shed: Vec<(GapReason, Ranges)>,
    pub set_aside: Ranges,
    /// Why, range by range, in order.
    pub set_aside_reasons: Vec<(u64, u64, String)>,
    /// From where on nobody can say how many there were.
    pub open_end: Option<OpenEnd>,
    /// Why its chunks are not offered now, and since when (wall time, microseconds).
    pub held: Option<(&'static str, i64)>,
    /// Whether its process has ended, and the ingestor is to hear of it.
    pub closed: bool,
    /// Whether it is of this very life.
    pub(crate) is_own: bool,
    /// Whether this process will find no more of it.
    pub(crate) is_over: bool,
    /// Whether the ingestor has heard that it has ended.
    pub end_reported: bool,
}

impl StreamLedger {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            accepted: 0,
            spooled: Ranges::new(),
            acked: Ranges::new(),
            shed: Vec::new(),
            set_aside: Ranges::new(),
            set_aside_reasons: Vec::new(),
            open_end: None,
            held: None,
            closed: false,
            is_own: false,
            is_over: false,
            end_reported: false,
        }
    }

    /// The numbers that were accepted and are in none of the sets.
    pub fn open(&self) -> Ranges {
        let mut open = match self.accepted.checked_sub(1) {
            Some(last) => Ranges::of(0, last),
            None => Ranges::new(),
        };
        let sets = [&self.spooled, &self.acked, &self.set_aside].into_iter();
        sets.chain(self.shed.iter().map(|(_, set)| set)).for_each(|set| open.subtract(set));
        open
    }

    /// The numbers that this gateway holds, in chunk files or still in the ring. Not known while the ring of an earlier
    /// life is being read: what is open then may be in it, or acknowledged to that life.
    pub fn waiting(&self) -> Option<Ranges> {
        let mut waiting = self.spooled.clone();
        if self.is_own {
            waiting.union(&self.open());
        }
        // Of a copy, its original knows.
        (self.is_own || self.closed).then_some(waiting)
    }

    pub(crate) fn lose(&mut self, gaps: &[Gap]) {
        for gap in gaps {
            let numbers = Ranges::of(gap.first, gap.last);
            match self.shed.iter_mut().find(|(known, _)| *known == gap.reason) {
                Some((_, set)) => set.union(&numbers),
                None => self.shed.push((gap.reason, numbers)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_event::{BootId, Identity};

    #[test]
    fn what_waits_is_in_files_or_in_the_ring_of_this_life() {
        let stream = Stream { identity: Identity::default(), boot: BootId([1; 16]), worker: 0 };
        let mut ledger = StreamLedger { accepted: 30, spooled: Ranges::of(0, 9), ..StreamLedger::new(stream) };
        ledger.acked = Ranges::of(10, 14);
        ledger.lose(&[Gap { first: 15, last: 19, reason: GapReason::RingFull }]);
        assert_eq!(ledger.waiting(), None, "the ring of an earlier life is being read");
        ledger.is_own = true;
        assert_eq!(ledger.waiting().unwrap().iter().collect::<Vec<_>>(), [(0, 9), (20, 29)]);
        (ledger.is_own, ledger.is_over) = (false, true);
        assert_eq!(ledger.waiting(), None, "a copy");
        ledger.closed = true;
        assert_eq!(ledger.waiting().unwrap(), Ranges::of(0, 9));
    }
}
