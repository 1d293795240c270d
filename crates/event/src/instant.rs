//! A reading of the monotonic clock as one number.
//!
//! The standard library's `Instant` has two, seconds and nanoseconds: a difference of two of them costs some fifty
//! instructions, and a request is measured by thirteen. Here it is one subtraction.

use rustix::time::{ClockId, clock_gettime};
use std::ops::{Add, AddAssign, Sub};
use std::sync::LazyLock;
use std::time::{self, Duration};

const SECOND_NS: u64 = 1_000_000_000;

/// What a timer of Tokio can be set to.
const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);

/// One moment as both write it.
static BOTH: LazyLock<(Instant, time::Instant)> = LazyLock::new(|| (Instant::now(), time::Instant::now()));

/// Nanoseconds of `CLOCK_MONOTONIC`, which begins with the machine: 584 years fit. Sums that do not fit are the last
/// instant, and differences that would be negative are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// About 25 ns, through the vDSO.
    #[inline]
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        Self(now.tv_sec.cast_unsigned().wrapping_mul(SECOND_NS).wrapping_add(now.tv_nsec.cast_unsigned()))
    }

    /// How long ago it was.
    pub fn elapsed(self) -> Duration {
        Self::now() - self
    }

    #[inline]
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    pub fn checked_duration_since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_nanos)
    }

    /// The same as a number.
    #[inline]
    pub fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// For timers: the same instant is always the same.
    pub fn into_std(self) -> time::Instant {
        let (ours, theirs) = *BOTH;
        match self.checked_duration_since(ours) {
            Some(later) => theirs + later.min(FAR),
            None => theirs.checked_sub(ours - self).unwrap_or(theirs),
        }
    }

    /// The other way.
    pub fn from_std(instant: time::Instant) -> Self {
        let (ours, theirs) = *BOTH;
        ours + instant.saturating_duration_since(theirs) - theirs.saturating_duration_since(instant)
    }
}

#[inline]
fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(SECOND_NS).saturating_add(duration.subsec_nanos().into())
}

impl Add<Duration> for Instant {
    type Output = Self;

    #[inline]
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

impl Sub for Instant {
    type Output = Duration;

    #[inline]
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_clock_of_the_standard_library() {
        let (ours, theirs) = (Instant::now(), time::Instant::now());
        std::thread::park_timeout(Duration::from_millis(5));
        let (ours, theirs) = (ours.elapsed(), theirs.elapsed());
        assert!(
            ours >= Duration::from_millis(5) && ours.abs_diff(theirs) < Duration::from_secs(1),
            "{ours:?} {theirs:?}"
        );
    }

    #[test]
    fn differences_and_sums_stop_at_their_ends() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(now + second - now, second);
        assert_eq!(now - (now + second), Duration::ZERO);
        assert_eq!(now.checked_duration_since(now + second), None);
        assert_eq!(now.checked_duration_since(now - second), Some(second));
        assert_eq!(now + Duration::MAX, Instant(u64::MAX));
        assert_eq!(now - Duration::MAX, Instant(0));
        assert!(now < now + Duration::from_nanos(1));
    }

    #[test]
    fn a_timer_is_set_to_the_same_instant_each_time() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let of = Instant::into_std;
        assert_eq!(of(now), of(now));
        assert_eq!(of(now + second) - of(now), second);
        assert_eq!(of(now) - of(now - second), second);
        let off = of(Instant::now()).max(time::Instant::now()).saturating_duration_since(of(now));
        assert!(off < Duration::from_secs(5), "{off:?}");
        for instant in [now, now + second, now - second] {
            assert_eq!(Instant::from_std(of(instant)), instant);
        }
        assert!(of(now + Duration::MAX) > time::Instant::now() + second);
    }
}
