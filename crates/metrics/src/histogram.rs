//! A histogram that one thread writes and any thread reads: with the boundaries that it is given, and as a native one.

use crate::cell::add;
use crate::native::{Native, NativeReading, Range};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};
use std::time::Duration;

/// Bucket boundaries at most.
const MOST: usize = 14;

/// Counts per bucket, and the sum. The total count is that of the buckets, so that the two cannot disagree.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    buckets: [AtomicU64; MOST + 1],
    sum: AtomicU64,
    native: Native,
}

impl Histogram {
    /// Of durations: boundaries in nanoseconds, ascending, at most 14; the last bucket is open.
    pub fn of_durations(bounds: &'static [u64]) -> Self {
        Self::new(bounds, Range::Seconds)
    }

    /// Of plain numbers, as bytes and events, with boundaries of the same kind.
    pub fn of_numbers(bounds: &'static [u64]) -> Self {
        Self::new(bounds, Range::Plain)
    }

    fn new(bounds: &'static [u64], range: Range) -> Self {
        debug_assert!(bounds.len() <= MOST);
        let buckets = [const { AtomicU64::new(0) }; MOST + 1];
        Self { bounds, buckets, sum: AtomicU64::new(0), native: Native::new(range) }
    }

    /// Adds a number. Only ever called by the one thread that owns the cell.
    #[inline]
    pub fn observe(&self, value: u64) {
        // Signed numbers take one instruction, and the sign bit nothing that is counted.
        self.native.count(value.cast_signed() as f64);
        self.count_in_bucket(value);
    }

    /// Adds a duration. Only ever called by the one thread that owns the cell.
    #[inline]
    pub fn observe_duration(&self, value: Duration) {
        self.count_nanos(nanos(value));
    }

    /// Answers which bucket has counted it.
    #[inline]
    fn count_nanos(&self, nanos: u64) -> usize {
        self.native.count(nanos.cast_signed() as f64 / 1e9);
        self.count_in_bucket(nanos)
    }

    /// After the native bucket: whoever reads in the other order finds no less there.
    #[inline]
    fn count_in_bucket(&self, value: u64) -> usize {
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        add(&self.buckets[bucket], 1);
        add(&self.sum, value);
        bucket
    }

    /// Observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Acquire)).sum()
    }

    /// What is in it now.
    pub fn read(&self) -> Reading {
        let counts = self.buckets[..=self.bounds.len()].iter().map(|bucket| bucket.load(Ordering::Acquire)).collect();
        let sum = self.sum.load(Ordering::Acquire);
        Reading { bounds: self.bounds, counts, sum, exemplars: Vec::new(), native: self.native.read() }
    }
}

/// In 64 bits, where `Duration::as_nanos` counts in 128: 292 years.
#[inline]
fn nanos(value: Duration) -> u64 {
    let nanos = value.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(value.subsec_nanos()));
    nanos.min(i64::MAX.cast_unsigned())
}

/// How long an exemplar is kept before a newer one takes its place. Microseconds.
const REPLACED_AFTER: i64 = 1_000_000;

/// A histogram of durations that keeps, for each bucket, a request that it has counted: a recent one, not the latest, so
/// that nearly every request only looks.
#[derive(Debug)]
pub struct WithExemplars {
    histogram: Histogram,
    exemplars: [ExemplarCell; MOST + 1],
}

impl WithExemplars {
    /// As [`Histogram::of_durations`].
    pub fn new(bounds: &'static [u64]) -> Self {
        Self { histogram: Histogram::of_durations(bounds), exemplars: Default::default() }
    }

    /// Adds a duration that ended at `at_us`, microseconds since the Unix epoch; `of` is asked for trace and span where
    /// they would be kept: none for one that must not be. Only ever called by the one thread that owns the cell.
    #[inline]
    pub fn observe_duration(&self, value: Duration, at_us: i64, of: impl FnOnce() -> Option<(u128, u64)>) {
        let value = nanos(value);
        let cell = &self.exemplars[self.histogram.count_nanos(value)];
        if at_us.wrapping_sub(cell.at_us.load(Ordering::Relaxed)) >= REPLACED_AFTER
            && let Some((trace, span)) = of()
        {
            cell.write(Exemplar { trace, span, value, at_us });
        }
    }

    /// Observations.
    pub fn count(&self) -> u64 {
        self.histogram.count()
    }

    /// What is in it now.
    pub fn read(&self) -> Reading {
        let reading = self.histogram.read();
        let exemplars = self.exemplars.iter().take(reading.counts.len()).map(ExemplarCell::read).collect();
        Reading { exemplars, ..reading }
    }
}

/// An exemplar that one thread writes and any thread reads: whoever reads while it is written has none of it.
#[derive(Debug, Default)]
struct ExemplarCell {
    /// Odd while it is written; 0 while nothing was.
    version: AtomicU64,
    trace: [AtomicU64; 2],
    span: AtomicU64,
    value: AtomicU64,
    at_us: AtomicI64,
}

impl ExemplarCell {
    #[cold]
    fn write(&self, exemplar: Exemplar) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        // What follows is not seen before the odd version is, nor after the even one.
        fence(Ordering::Release);
        self.trace[0].store((exemplar.trace >> 64) as u64, Ordering::Relaxed);
        self.trace[1].store(exemplar.trace as u64, Ordering::Relaxed);
        self.span.store(exemplar.span, Ordering::Relaxed);
        self.value.store(exemplar.value, Ordering::Relaxed);
        self.at_us.store(exemplar.at_us, Ordering::Relaxed);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    fn read(&self) -> Option<Exemplar> {
        let version = self.version.load(Ordering::Acquire);
        let half = |half: &AtomicU64| u128::from(half.load(Ordering::Relaxed));
        let exemplar = Exemplar {
            trace: half(&self.trace[0]) << 64 | half(&self.trace[1]),
            span: self.span.load(Ordering::Relaxed),
            value: self.value.load(Ordering::Relaxed),
            at_us: self.at_us.load(Ordering::Relaxed),
        };
        fence(Ordering::Acquire);
        let is_whole = version > 0 && version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        is_whole.then_some(exemplar)
    }
}

/// The state of one histogram, or of several added up.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The upper ends of the buckets.
    pub bounds: &'static [u64],
    /// One more than there are bounds; not cumulative.
    pub counts: Vec<u64>,
    /// In the unit of the bounds.
    pub sum: u64,
    /// One for each bucket, or none at all.
    pub exemplars: Vec<Option<Exemplar>>,
    /// The same observations, and those that were added while this was read.
    pub native: NativeReading,
}

/// One observation that a bucket has counted, and the request that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    pub trace: u128,
    pub span: u64,
    /// In the unit of the bounds.
    pub value: u64,
    /// Microseconds since the Unix epoch.
    pub at_us: i64,
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
        self.native.merge(&other.native);
        if self.exemplars.is_empty() {
            self.exemplars.clone_from(&other.exemplars);
            return;
        }
        for (kept, other) in self.exemplars.iter_mut().zip(&other.exemplars) {
            if other.is_some_and(|other| kept.is_none_or(|kept| kept.at_us < other.at_us)) {
                *kept = *other;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: &[u64] = &[64, 512, 4096, 32_768, 262_144, 2_097_152, 16_777_216, 134_217_728, 1_073_741_824];
    const DURATION_NS: &[u64] = &[5_000_000, 10_000_000, 10_000_000_000];

    #[test]
    fn a_boundary_belongs_to_its_bucket() {
        let histogram = Histogram::of_numbers(SIZE);
        for value in [0, 64, 65, 512, 2_000_000_000] {
            histogram.observe(value);
        }
        let reading = histogram.read();
        assert_eq!(reading.counts, [2, 2, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(reading.sum, 2_000_000_641);
    }

    #[test]
    fn a_bucket_keeps_a_recent_request_that_it_has_counted() {
        let histogram = WithExemplars::new(DURATION_NS);
        assert_eq!(histogram.read().exemplars, [None; 4]);
        let observe = |millis: u64, at_us: i64, span: u64| {
            histogram.observe_duration(Duration::from_millis(millis), at_us, || Some((u128::from(span) << 64, span)));
        };
        observe(3, 1_700_000_000_000_000, 1);
        observe(4, 1_700_000_000_999_999, 2);
        observe(7, 1_700_000_000_500_000, 3);
        let kept = |histogram: &WithExemplars| -> Vec<_> {
            let reading = histogram.read();
            reading.exemplars.iter().map(|it| it.map(|it| (it.trace >> 64, it.span, it.value))).collect()
        };
        assert_eq!(kept(&histogram), [Some((1, 1, 3_000_000)), Some((3, 3, 7_000_000)), None, None]);
        observe(2, 1_700_000_001_000_000, 4);
        assert_eq!(kept(&histogram)[0], Some((4, 4, 2_000_000)), "a second later");
        assert_eq!(histogram.count(), 4);

        let other = WithExemplars::new(DURATION_NS);
        let later = 1_700_000_002_000_000;
        [1, 7, 100_000]
            .into_iter()
            .for_each(|ms| other.observe_duration(Duration::from_millis(ms), later, || Some((9, 9))));
        let mut sum = Histogram::of_durations(DURATION_NS).read();
        sum.merge(&histogram.read());
        sum.merge(&other.read());
        let spans: Vec<_> = sum.exemplars.iter().map(|it| it.map(|it| it.span)).collect();
        assert_eq!((spans, sum.counts[0]), (vec![Some(9), Some(9), None, Some(9)], 4));
    }

    /// What is read is what was written, or nothing.
    #[test]
    fn an_exemplar_is_read_whole_or_not_at_all() {
        let cell = ExemplarCell::default();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..200_000_u64 {
                    let trace = u128::from(number) << 64 | u128::from(number);
                    cell.write(Exemplar { trace, span: number, value: number, at_us: number as i64 });
                }
                done.store(true, Ordering::Relaxed);
            });
            let mut seen = 0_u64;
            while !done.load(Ordering::Relaxed) || seen == 0 {
                let Some(Exemplar { trace, span, value, at_us }) = cell.read() else { continue };
                seen += 1;
                let all = [(trace >> 64) as u64, trace as u64, value, at_us as u64];
                assert_eq!(all, [span; 4]);
            }
        });
    }

    #[test]
    fn what_must_not_be_an_exemplar_is_counted_all_the_same() {
        let histogram = WithExemplars::new(DURATION_NS);
        histogram.observe_duration(Duration::from_millis(1), 1_700_000_000_000_000, || None);
        let reading = histogram.read();
        assert_eq!((histogram.count(), reading.exemplars.iter().flatten().count()), (1, 0));
    }

    #[test]
    fn readings_add_up() {
        let (one, two) = (Histogram::of_durations(DURATION_NS), Histogram::of_durations(DURATION_NS));
        one.observe_duration(Duration::from_millis(3));
        two.observe_duration(Duration::from_millis(3));
        two.observe_duration(Duration::from_secs(60));
        let mut sum = one.read();
        sum.merge(&two.read());
        assert_eq!((sum.counts[0], sum.counts[3], sum.sum), (2, 1, 60_006_000_000));
    }
}
