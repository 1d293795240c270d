//! One chunk file as the index knows it: what its name says, what became of it, and how old it is.

use crate::builder::records;
use crate::folder::ChunkName;
use crate::machine::boottime;
use std::time::{Duration, Instant};
use weir_event::Ranges;
use weir_event::chunk::Gap;

/// One chunk file.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: ChunkName,
    /// Of the file.
    pub(crate) bytes: u64,
    /// Wall time, microseconds since the Unix epoch: the order in which chunks are offered.
    pub(crate) sealed_us: i64,
    /// When this process sealed it, or found it, by the clock that nothing moves.
    pub(crate) since: Duration,
    /// Whether `since` is when it was sealed.
    pub(crate) is_own: bool,
    /// What its header says is missing in its range; not known before the header was read.
    pub(crate) gaps: Option<Vec<Gap>>,
    pub(crate) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting,
    /// Not before that time, after so many failures of its own.
    Later(Instant, u32),
    /// The shipper or the housekeeper has it.
    Taken(u32),
    /// Acknowledged, and still to be unlinked.
    Stored,
}

impl Entry {
    /// A chunk that this process has sealed just now.
    pub(crate) fn sealed(name: ChunkName, bytes: u64, sealed_us: i64, gaps: Vec<Gap>) -> Self {
        Self { name, bytes, sealed_us, since: boottime(), is_own: true, gaps: Some(gaps), state: State::Waiting }
    }

    /// A chunk that an earlier life left.
    pub(crate) fn found(name: ChunkName, bytes: u64, sealed_us: i64) -> Self {
        Self { name, bytes, sealed_us, since: boottime(), is_own: false, gaps: None, state: State::Waiting }
    }

    /// A part of this one, which is in a file of its own.
    pub(crate) fn part(&self, name: ChunkName, bytes: u64, gaps: Vec<Gap>) -> Self {
        Self { name, bytes, gaps: Some(gaps), state: State::Waiting, ..self.clone() }
    }

    pub(crate) fn records(&self) -> Ranges {
        records(self.name, self.gaps.as_deref().unwrap_or_default())
    }

    /// How many records it has; a tombstone has none. All of its range as long as its header was not read.
    pub(crate) fn events(&self) -> u64 {
        let gaps = self.gaps.iter().flatten().fold(0, |sum: u64, gap| sum.saturating_add(gap.count()));
        (self.name.last - self.name.first + 1).saturating_sub(gaps)
    }

    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting | State::Later(..))
    }

    pub(crate) fn can_be_offered(&self, now: Instant) -> bool {
        match self.state {
            State::Waiting => true,
            State::Later(at, _) => at <= now,
            State::Taken(_) | State::Stored => false,
        }
    }
}

/// How old a chunk is. Of one that this process sealed, by the clock that nothing moves; of one that it found, the
/// wall clock is asked too, and may say no more than the life has lasted where that is known.
pub(crate) fn age(entry: &Entry, life_began: Option<Duration>, now: (Duration, i64)) -> Duration {
    let known = now.0.saturating_sub(entry.since);
    if entry.is_own {
        return known;
    }
    let by_wall = Duration::from_micros(now.1.saturating_sub(entry.sealed_us).max(0).unsigned_abs());
    known.max(life_began.map_or(by_wall, |began| by_wall.min(now.0.saturating_sub(began))))
}
