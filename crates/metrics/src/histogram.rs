//! A histogram that one thread writes and any thread reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bucket boundaries at most.
const MOST: usize = 14;

/// Counts per bucket, and the sum. The total count is that of the buckets, so that the two cannot disagree.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    buckets: [AtomicU64; MOST + 1],
    sum: AtomicU64,
}

impl Histogram {
    /// With these boundaries, ascending, at most 14; the last bucket is open.
    pub fn new(bounds: &'static [u64]) -> Self {
        debug_assert!(bounds.len() <= MOST);
        Self { bounds, buckets: [const { AtomicU64::new(0) }; MOST + 1], sum: AtomicU64::new(0) }
    }

    /// Adds one observation. Only ever called by the one thread that owns the cell.
    #[inline]
    pub fn observe(&self, value: u64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        add(&self.buckets[bucket], 1);
        add(&self.sum, value);
    }

    /// Adds a duration, in nanoseconds.
    pub fn observe_duration(&self, value: Duration) {
        // In 64 bits, where `Duration::as_nanos` counts in 128: 584 years.
        let nanos = value.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(value.subsec_nanos()));
        self.observe(nanos);
    }

    /// Observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Acquire)).sum()
    }

    /// What is in it now.
    pub fn read(&self) -> Reading {
        let counts = self.buckets[..=self.bounds.len()].iter().map(|bucket| bucket.load(Ordering::Acquire)).collect();
        Reading { bounds: self.bounds, counts, sum: self.sum.load(Ordering::Acquire) }
    }
}

/// An add by the only writer: a load and a store, without the locked instruction that `fetch_add` is.
#[inline]
pub fn add(cell: &AtomicU64, value: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(value), Ordering::Release);
}

/// The state of one histogram, or of several added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The upper ends of the buckets.
    pub bounds: &'static [u64],
    /// One more than there are bounds; not cumulative.
    pub counts: Vec<u64>,
    /// In the unit of the bounds.
    pub sum: u64,
}

impl Reading {
    /// Whether nothing was observed.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    /// Adds another one of the same boundaries.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: &[u64] = &[64, 512, 4096, 32_768, 262_144, 2_097_152, 16_777_216, 134_217_728, 1_073_741_824];
    const DURATION_NS: &[u64] = &[5_000_000, 10_000_000, 10_000_000_000];

    #[test]
    fn a_boundary_belongs_to_its_bucket() {
        let histogram = Histogram::new(SIZE);
        for value in [0, 64, 65, 512, 2_000_000_000] {
            histogram.observe(value);
        }
        let reading = histogram.read();
        assert_eq!(reading.counts, [2, 2, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(reading.sum, 2_000_000_641);
    }

    #[test]
    fn readings_add_up() {
        let (one, two) = (Histogram::new(DURATION_NS), Histogram::new(DURATION_NS));
        one.observe_duration(Duration::from_millis(3));
        two.observe_duration(Duration::from_millis(3));
        two.observe_duration(Duration::from_secs(60));
        let mut sum = one.read();
        sum.merge(&two.read());
        assert_eq!((sum.counts[0], sum.counts[3], sum.sum), (2, 1, 60_006_000_000));
    }
}
