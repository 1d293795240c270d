//! Wall time that agrees with itself: an anchor taken from the system clock, and the monotonic clock from there.
//!
//! Two readings of the system clock may run backwards between them; an event's start plus its duration must not.
//! So wall time is `anchor + (now - anchor's instant)`, and the anchor is taken anew every second, so that a
//! corrected system clock is followed within one.

use crate::Instant;
use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ANCHOR_LIFE_US: i64 = 1_000_000;

#[derive(Clone, Copy)]
struct Anchor {
    instant: Instant,
    wall_us: i64,
}

/// One worker's clock. Not shared between threads: each worker anchors its own.
pub struct Clock {
    anchor: Cell<Anchor>,
}

impl Clock {
    /// A clock anchored at this moment.
    pub fn new() -> Self {
        Self { anchor: Cell::new(Anchor { instant: Instant::now(), wall_us: system_us() }) }
    }

    /// The monotonic time: about 25 ns through the vDSO, the only clock read on the request path.
    #[inline]
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// Microseconds since the Unix epoch, UTC, of an instant close to the present one.
    pub fn wall_us(&self, at: Instant) -> i64 {
        let anchor = self.anchor.get();
        let later_us = (at.nanos_since(anchor.instant) / 1000).cast_signed();
        if later_us > ANCHOR_LIFE_US {
            let wall_us = system_us();
            self.anchor.set(Anchor { instant: at, wall_us });
            return wall_us;
        }
        let earlier_us = (anchor.instant.nanos_since(at) / 1000).cast_signed();
        anchor.wall_us.saturating_add(later_us).saturating_sub(earlier_us)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// The system clock in microseconds since the Unix epoch; 0 when it stands before the epoch.
pub fn system_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(micros).unwrap_or(0)
}

fn micros(duration: Duration) -> i64 {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    seconds.saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_advances_with_the_monotonic_clock() {
        let clock = Clock::new();
        let start = clock.now();
        assert_eq!(clock.wall_us(start + Duration::from_micros(700)) - clock.wall_us(start), 700);
    }

    #[test]
    fn an_old_anchor_is_taken_anew() {
        let clock = Clock::new();
        let stale = Anchor { instant: clock.now() - Duration::from_secs(5), wall_us: 42 };
        clock.anchor.set(stale);
        assert!((clock.wall_us(clock.now()) - system_us()).abs() < 1_000_000);
    }
}
