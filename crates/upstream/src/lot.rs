//! Drawing by lot, where nothing depends on nobody guessing: which of two addresses, how old a connection gets.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

thread_local! {
    /// Xorshift's state, which is never 0 (Marsaglia, "Xorshift RNGs").
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
}

fn next() -> u64 {
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        x
    })
}

/// From 0 to `most`, without `most`.
pub(crate) fn below(most: u32) -> u32 {
    // Of 32 bits that are mixed well: a product's upper half (Lemire, "Fast Random Integer Generation in an Interval").
    ((u64::from((next() >> 32) as u32) * u64::from(most)) >> 32) as u32
}

/// From 0 to 1, without 1.
pub(crate) fn fraction() -> f64 {
    f64::from(below(1 << 24)) / f64::from(1 << 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_drawn() {
        let mut drawn = [0; 7];
        (0..7_000).for_each(|_| drawn[below(7) as usize] += 1);
        assert!(drawn.iter().all(|count| (700..1_300).contains(count)), "{drawn:?}");
        assert!((0..1_000).map(|_| fraction()).all(|one| (0.0..1.0).contains(&one)));
    }
}
