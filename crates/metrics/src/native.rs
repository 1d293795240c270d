//! The exponential buckets of a native histogram, which one thread writes and any thread reads.
//!
//! Schema 3 (Prometheus, "Native Histograms", section "Data model"): eight buckets between a number and its double, each
//! 9 % wide, so that a quantile is right within 5 % wherever the traffic is. A bucket has its upper end in it and not its
//! lower one. Buckets get memory in parts, when the first number comes that belongs there: 256 bytes for a range of 16
//! times, of which a route's durations touch two or three.

use crate::cell::add;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bounds grow by the factor 2^(2^-3).
pub(crate) const SCHEMA: i32 = 3;
/// Buckets between a number and its double.
const PER_OCTAVE: i32 = 1 << SCHEMA;
const OCTAVES_OF_A_PART: i32 = 4;
const BUCKETS_OF_A_PART: usize = (OCTAVES_OF_A_PART * PER_OCTAVE) as usize;
const PARTS: usize = 10;
const BUCKETS: i32 = PARTS as i32 * OCTAVES_OF_A_PART * PER_OCTAVE;
/// Bits of a double's mantissa.
const MANTISSA: u32 = 52;
/// Sixteenths of an octave: each has one bound at most.
const SIXTEENTHS: u32 = 4;

/// The bounds of an octave, `2^(n/8)` from 1 to 2, as mantissas of doubles.
const BOUNDS: [u64; PER_OCTAVE as usize] = [
    mantissa(1.0),
    mantissa(1.090_507_732_665_257_7),
    mantissa(1.189_207_115_002_721),
    mantissa(1.296_839_554_651_009_6),
    mantissa(std::f64::consts::SQRT_2),
    mantissa(1.542_210_825_407_940_7),
    mantissa(1.681_792_830_507_429),
    mantissa(1.834_008_086_409_342_4),
];

/// For each sixteenth of an octave: the bounds below it, and the one in it.
static STEPS: [(i32, u64); 1 << SIXTEENTHS] = steps();

const fn mantissa(number: f64) -> u64 {
    number.to_bits() & ((1 << MANTISSA) - 1)
}

const fn steps() -> [(i32, u64); 1 << SIXTEENTHS] {
    let mut steps = [(0, u64::MAX); 1 << SIXTEENTHS];
    let (mut sixteenth, mut below) = (0, 0);
    while sixteenth < steps.len() {
        steps[sixteenth].0 = below as i32;
        if below < BOUNDS.len() && (BOUNDS[below] >> (MANTISSA - SIXTEENTHS)) as usize == sixteenth {
            steps[sixteenth].1 = BOUNDS[below];
            below += 1;
        }
        sixteenth += 1;
    }
    steps
}

/// The bucket of a number: that of index `n` ends at `2^(n/8)`. Of 0 it is below that of every other one.
#[inline]
fn bucket_of(number: f64) -> i32 {
    let bits = number.to_bits();
    let mantissa = bits & ((1 << MANTISSA) - 1);
    let (below, bound) = STEPS[(mantissa >> (MANTISSA - SIXTEENTHS)) as usize];
    let exponent = (bits >> MANTISSA) as i32 - 1023;
    exponent * PER_OCTAVE + below + i32::from(mantissa > bound)
}

/// Which numbers have buckets: 40 octaves. What is below counts as zero, what is above in the last bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// From a microsecond (2^-20 s) to twelve days (2^20 s).
    Seconds,
    /// From 1 to 2^40: bytes to a tebibyte.
    Plain,
}

impl Range {
    /// The first bucket, which begins with an octave.
    const fn first(self) -> i32 {
        let octave = match self {
            Self::Seconds => -20,
            Self::Plain => 0,
        };
        octave * PER_OCTAVE + 1
    }
}

/// Counts in exponential buckets.
#[derive(Debug)]
pub(crate) struct Native {
    first: i32,
    zero: AtomicU64,
    parts: [OnceLock<Box<[AtomicU64; BUCKETS_OF_A_PART]>>; PARTS],
}

impl Native {
    pub(crate) fn new(range: Range) -> Self {
        Self { first: range.first(), zero: AtomicU64::new(0), parts: [const { OnceLock::new() }; PARTS] }
    }

    /// Counts a number that is not negative, in the unit that is exposed. Only ever called by the one thread that owns the
    /// cell.
    #[inline]
    pub(crate) fn count(&self, number: f64) {
        let slot = bucket_of(number) - self.first;
        if slot < 0 {
            return add(&self.zero, 1);
        }
        let slot = slot.min(BUCKETS - 1) as usize;
        match self.parts[slot / BUCKETS_OF_A_PART].get() {
            Some(part) => add(&part[slot % BUCKETS_OF_A_PART], 1),
            None => self.count_first(slot),
        }
    }

    /// The first one of its part.
    #[cold]
    fn count_first(&self, slot: usize) {
        let part = &self.parts[slot / BUCKETS_OF_A_PART];
        let part = part.get_or_init(|| Box::new([const { AtomicU64::new(0) }; BUCKETS_OF_A_PART]));
        add(&part[slot % BUCKETS_OF_A_PART], 1);
    }

    pub(crate) fn read(&self) -> NativeReading {
        let parts = self.parts.iter().zip(0..).filter_map(|(part, number)| Some((part.get()?, number)));
        let buckets = parts.flat_map(|(part, number)| {
            let first = self.first + number * OCTAVES_OF_A_PART * PER_OCTAVE;
            (first..).zip(part.iter().map(|count| count.load(Ordering::Acquire)))
        });
        NativeReading {
            zero_threshold: f64::from((self.first - 1) / PER_OCTAVE).exp2(),
            zero: self.zero.load(Ordering::Acquire),
            buckets: buckets.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

/// The state of one native histogram, or of several added up.
#[derive(Clone, Debug, PartialEq)]
pub struct NativeReading {
    /// What is no larger is in `zero`.
    pub zero_threshold: f64,
    pub zero: u64,
    /// Index and count, ascending, not cumulative, without those that are empty: bucket `n` ends at `2^(n/8)`.
    pub buckets: Vec<(i32, u64)>,
}

impl NativeReading {
    /// Observations.
    pub fn count(&self) -> u64 {
        self.zero + self.buckets.iter().map(|(_, count)| count).sum::<u64>()
    }

    /// Adds another one of the same range.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.zero += other.zero;
        let mut at = 0;
        for (index, count) in &other.buckets {
            at += self.buckets[at..].partition_point(|(own, _)| own < index);
            match self.buckets.get_mut(at) {
                Some((own, sum)) if own == index => *sum += count,
                _ => self.buckets.insert(at, (*index, *count)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_in_the_bucket_that_the_definition_says() {
        let mut number = 1e-7_f64;
        while number < 1e13 {
            let index = bucket_of(number);
            let end = |index: i32| (f64::from(index) / f64::from(PER_OCTAVE)).exp2();
            // Bounds between the powers of two are rounded.
            assert!(
                end(index - 1) * (1.0 - 1e-15) < number && number <= end(index) * (1.0 + 1e-15),
                "{number} {index}"
            );
            number *= 1.000_7;
        }
        for octave in -20..40 {
            let number = f64::from(octave).exp2();
            assert_eq!(bucket_of(number), octave * PER_OCTAVE, "the upper end is in the bucket");
            assert_eq!(bucket_of(number * (1.0 + f64::EPSILON)), octave * PER_OCTAVE + 1);
        }
        for (bound, index) in BOUNDS.into_iter().zip(0..) {
            let at = |mantissa| bucket_of(f64::from_bits(mantissa | 1023 << MANTISSA));
            assert_eq!((at(bound), at(bound + 1)), (index, index + 1));
        }
    }

    #[test]
    fn what_is_too_small_or_too_large_is_counted_as_well() {
        let native = Native::new(Range::Seconds);
        for number in [0.0, 1e-9, 0.000_001, 0.003, 0.003, 1e9, f64::INFINITY] {
            native.count(number);
        }
        let reading = native.read();
        assert_eq!((reading.zero, reading.count()), (2, 7));
        assert_eq!(reading.buckets, [(-159, 1), (-67, 2), (160, 2)]);
        assert_eq!(reading.zero_threshold, 0.000_000_953_674_316_406_25);
    }

    #[test]
    fn plain_numbers_begin_with_one() {
        let native = Native::new(Range::Plain);
        [0.0, 1.0, 2.0, 1024.0].into_iter().for_each(|number| native.count(number));
        let reading = native.read();
        assert_eq!((reading.zero, reading.zero_threshold), (2, 1.0));
        assert_eq!(reading.buckets, [(8, 1), (80, 1)]);
    }

    #[test]
    fn readings_add_up() {
        let (one, two) = (Native::new(Range::Seconds), Native::new(Range::Seconds));
        [0.5, 100.0].into_iter().for_each(|number| one.count(number));
        [0.0, 0.25, 0.5, 3.0].into_iter().for_each(|number| two.count(number));
        let mut sum = one.read();
        sum.merge(&two.read());
        assert_eq!((sum.zero, sum.count()), (1, 6));
        assert_eq!(sum.buckets, [(-16, 1), (-8, 2), (13, 1), (54, 1)]);
    }
}
