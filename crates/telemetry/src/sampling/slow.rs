//! What is slow for a route: an estimate of its own 99th percentile, by one number.
//!
//! With each request the number moves a little towards it: up by 99 parts where the request took longer, down by one part
//! where it did not, so that it rests where one of a hundred takes longer. The parts are of the number itself, so that a route
//! of microseconds and one of minutes settle equally fast: after a change to ten times as slow within some fifty slow
//! requests, back within some five thousand.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Requests that are only counted.
const WARM_UP: u32 = 500;
/// By how much of itself the number rises; it falls by a 99th of that.
const RISE: f32 = 0.05;
const FALL: f32 = RISE / 99.0;

/// Written by one worker.
#[derive(Debug, Default)]
pub struct SlowThreshold {
    /// Microseconds, as the bits of a float.
    estimate: AtomicU32,
    seen: AtomicU32,
}

impl SlowThreshold {
    /// Whether a request that took `took` is slow; and takes it into account.
    #[inline]
    pub fn is_exceeded_by(&self, took: Duration) -> bool {
        let micros = took.as_micros() as f32;
        let (estimate, seen) =
            (f32::from_bits(self.estimate.load(Ordering::Relaxed)), self.seen.load(Ordering::Relaxed));
        let exceeds = micros > estimate;
        let next = match (seen, exceeds) {
            (0, _) => micros.max(1.0),
            (_, true) => estimate * (1.0 + RISE),
            (_, false) => (estimate * (1.0 - FALL)).max(1.0),
        };
        self.estimate.store(next.to_bits(), Ordering::Relaxed);
        if seen < WARM_UP {
            self.seen.store(seen + 1, Ordering::Relaxed);
            return false;
        }
        exceeds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of each hundred of `count` requests, how many are slow.
    fn share(threshold: &SlowThreshold, count: u32, mut took: impl FnMut() -> f64) -> f64 {
        let slow = (0..count).filter(|_| threshold.is_exceeded_by(Duration::from_secs_f64(took()))).count();
        slow as f64 * 100.0 / f64::from(count)
    }

    #[test]
    fn one_of_a_hundred_is_slow_whatever_the_times_are() {
        let mut rng = fastrand::Rng::with_seed(4);
        let mut log_normal = |scale: f64| {
            let normal = (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos();
            scale * normal.exp()
        };
        for scale in [50e-6, 5e-3, 2.0] {
            let threshold = SlowThreshold::default();
            share(&threshold, 20_000, || log_normal(scale));
            let share = share(&threshold, 100_000, || log_normal(scale));
            assert!((0.8..1.2).contains(&share), "{share} % at {scale} s");
        }
    }

    #[test]
    fn few_slow_ones_among_fast_ones_are_found() {
        let mut rng = fastrand::Rng::with_seed(5);
        let threshold = SlowThreshold::default();
        let mut slow = 0;
        for _ in 0..50_000 {
            let is_slow = rng.u32(0..1000) == 0;
            let micros = if is_slow { 300_000 } else { 900 + rng.u64(0..200) };
            slow += u32::from(is_slow && threshold.is_exceeded_by(Duration::from_micros(micros)));
            if !is_slow {
                threshold.is_exceeded_by(Duration::from_micros(micros));
            }
        }
        assert!(slow > 30, "{slow} of about 50");
    }

    #[test]
    fn nothing_is_slow_before_there_is_something_to_compare_it_with() {
        let threshold = SlowThreshold::default();
        assert!((1..500).all(|micros| !threshold.is_exceeded_by(Duration::from_micros(micros * micros))));
    }
}
