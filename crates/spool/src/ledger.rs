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
