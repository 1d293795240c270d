//! Sets of sequence numbers as sorted, disjoint, inclusive ranges: the arithmetic of the ledger.
//!
//! A stream's numbers are almost contiguous, so a set of millions is a handful of ranges. Exact: no estimate, no
//! overflow. Knows nothing of streams or files.

/// A set of `u64` below `u64::MAX`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// Sorted; between two neighbours at least one number is missing.
    parts: Vec<(u64, u64)>,
}

impl Ranges {
    /// The empty set.
    pub const fn new() -> Self {
        Self { parts: Vec::new() }
    }

    /// The set of `first..=last`; empty where `first` is above `last`.
    pub fn of(first: u64, last: u64) -> Self {
        let mut ranges = Self::new();
        ranges.insert(first, last);
        ranges
    }

    /// Adds `first..=last`.
    pub fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let start = self.parts.partition_point(|part| first > 0 && part.1 < first - 1);
        let end = self.parts.partition_point(|part| part.0 <= last.saturating_add(1));
        let touched = self.parts.get(start..end).unwrap_or_default();
        let first = touched.first().map_or(first, |part| part.0.min(first));
        let last = touched.last().map_or(last, |part| part.1.max(last));
        self.parts.splice(start..end.max(start), [(first, last)]);
    }

    /// Takes `first..=last` out.
    pub fn remove(&mut self, first: u64, last: u64) {
        let start = self.parts.partition_point(|part| part.1 < first);
        let end = self.parts.partition_point(|part| part.0 <= last);
        if first > last || start >= end {
            return;
        }
        let (left, right) = (self.parts[start].0, self.parts[end - 1].1);
        let left = (left < first).then(|| (left, first - 1));
        let right = (right > last).then(|| (last + 1, right));
        self.parts.splice(start..end, left.into_iter().chain(right));
    }

    /// Adds all of `other`.
    pub fn union(&mut self, other: &Self) {
        other.iter().for_each(|(first, last)| self.insert(first, last));
    }

    /// Takes all of `other` out.
    pub fn subtract(&mut self, other: &Self) {
        other.iter().for_each(|(first, last)| self.remove(first, last));
    }

    /// How many numbers are in it.
    pub fn count(&self) -> u64 {
        self.parts.iter().fold(0, |sum, (first, last)| sum.saturating_add(last - first).saturating_add(1))
    }

    pub fn contains(&self, number: u64) -> bool {
        let at = self.parts.partition_point(|part| part.1 < number);
        self.parts.get(at).is_some_and(|part| part.0 <= number)
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The ranges, inclusive, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.parts.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Against a plain set, over 20 seeds of 200 random steps in a space so small that all edges meet.
    #[test]
    fn it_is_a_set() {
        for seed in 0..20 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut ranges, mut set) = (Ranges::new(), BTreeSet::new());
            for _ in 0..200 {
                let (first, last) = (rng.u64(0..40), rng.u64(0..40));
                if rng.bool() {
                    ranges.insert(first, last);
                    set.extend(first..=last);
                } else {
                    ranges.remove(first, last);
                    set.retain(|number| !(first..=last).contains(number));
                }
                assert_eq!(ranges.count(), set.len() as u64, "seed {seed}");
                assert!((0..41).all(|number| ranges.contains(number) == set.contains(&number)), "seed {seed}");
                let mut ends = ranges.iter().collect::<Vec<_>>();
                assert!(ends.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "seed {seed}: {ends:?}");
                ends.retain(|(first, last)| first > last);
                assert!(ends.is_empty());
            }
        }
    }

    #[test]
    fn union_and_subtract_are_what_their_names_say() {
        let mut all = Ranges::of(0, 9);
        all.subtract(&Ranges::of(3, 4));
        assert_eq!(all.iter().collect::<Vec<_>>(), [(0, 2), (5, 9)]);
        all.union(&Ranges::of(2, 5));
        assert_eq!(all, Ranges::of(0, 9));
    }

    #[test]
    fn the_ends_of_u64_are_no_special_case() {
        let mut ranges = Ranges::of(u64::MAX, u64::MAX);
        ranges.insert(0, 0);
        ranges.remove(0, u64::MAX);
        assert!(ranges.is_empty());
        ranges.insert(0, u64::MAX);
        assert_eq!(ranges.count(), u64::MAX, "saturates");
    }
}
