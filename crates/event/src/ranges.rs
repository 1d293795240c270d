//! A set of sequence numbers as sorted, disjoint, inclusive ranges: the arithmetic of the ledger, the same at the
//! gateway and at the ingestor. Exact: no estimate, no overflow; a stream of millions is a handful of ranges.

/// A set of `u64`.
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
        let mut ranges = Self::default();
        ranges.insert(first, last);
        ranges
    }

    /// Adds `first..=last`.
    pub fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let start = self.parts.partition_point(|part| part.1.saturating_add(1) < first);
        let end = self.parts.partition_point(|part| part.0 <= last.saturating_add(1)).max(start);
        let touched = &self.parts[start..end];
        let merged = touched.iter().fold((first, last), |all, part| (all.0.min(part.0), all.1.max(part.1)));
        self.parts.splice(start..end, [merged]);
    }

    /// Adds one number.
    pub fn add(&mut self, number: u64) {
        match self.parts.last_mut() {
            // In order, which is how events come: no search.
            Some(part) if part.1.checked_add(1) == Some(number) => part.1 = number,
            _ => self.insert(number, number),
        }
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

    /// What is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut left = self.clone();
        let mut only_left = self.clone();
        only_left.subtract(other);
        left.subtract(&only_left);
        left
    }

    pub fn contains(&self, number: u64) -> bool {
        let at = self.parts.partition_point(|part| part.1 < number);
        self.parts.get(at).is_some_and(|part| part.0 <= number)
    }

    /// How many numbers are in it.
    pub fn count(&self) -> u64 {
        self.parts.iter().fold(0, |sum, (first, last)| sum.saturating_add(last - first).saturating_add(1))
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The ranges, inclusive, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, u64)> + '_ {
        self.parts.iter().copied()
    }
}

impl FromIterator<(u64, u64)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(parts: I) -> Self {
        let mut ranges = Self::default();
        parts.into_iter().for_each(|(first, last)| ranges.insert(first, last));
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Against a plain set, in a space so small that all edges meet.
    #[test]
    fn it_is_a_set() {
        for seed in 0..20 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for _ in 0..200 {
                let (first, last) = (rng.u64(0..40), rng.u64(0..40));
                match rng.u8(0..3) {
                    0 => {
                        ranges.insert(first, last);
                        set.extend(first..=last);
                    }
                    1 => {
                        ranges.remove(first, last);
                        set.retain(|number| !(first..=last).contains(number));
                    }
                    _ => {
                        ranges.add(first);
                        set.insert(first);
                    }
                }
                assert_eq!(ranges.count(), set.len() as u64, "seed {seed}");
                assert!((0..41).all(|number| ranges.contains(number) == set.contains(&number)), "seed {seed}");
                let ends: Vec<_> = ranges.iter().collect();
                assert!(ends.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "seed {seed}: {ends:?}");
            }
        }
    }

    #[test]
    fn intersection_is_what_is_in_both() {
        let both = Ranges::of(0, 9).intersection(&[(5, 6), (8, 20)].into_iter().collect());
        assert_eq!(both.iter().collect::<Vec<_>>(), [(5, 6), (8, 9)]);
    }

    #[test]
    fn the_largest_number_does_not_overflow() {
        let mut all = Ranges::of(0, u64::MAX);
        all.add(u64::MAX);
        all.insert(u64::MAX, u64::MAX);
        all.remove(5, u64::MAX);
        assert_eq!(all, Ranges::of(0, 4));
    }
}
