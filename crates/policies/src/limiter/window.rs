//! One fixed window in one word: when it began, and how many requests it has let pass.
//!
//! Every change is one compare-and-swap of the whole word, so that a limit of 100 admits exactly 100, however many
//! threads ask at once. The clock is the caller's: milliseconds since an epoch that all callers share.

use std::sync::atomic::{AtomicU64, Ordering};
use weir_config::policy::RateLimit;

/// The low bits count, the others are the beginning in milliseconds, which come round after 2.1 years.
const COUNT_BITS: u32 = 28;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const CLOCK: u64 = (1 << (64 - COUNT_BITS)) - 1;
/// Another thread's clock may be ahead of ours by as much as ours stood still: 99 days of 2.1 years.
const AHEAD: u64 = 1 << 33;

/// A count that no window reaches: none may begin here, whatever the clock says. The other bits say until when.
pub(super) const CLOSED: u64 = COUNT;

const _: () = assert!((RateLimit::MOST_REQUESTS as u64) < CLOSED && RateLimit::LONGEST_WINDOW.as_millis() < (1 << 35));

/// The window in a word. Zero is one that has not begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'a>(pub &'a AtomicU64);

/// How a window answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Whether the request is one of those that it lets pass.
    pub within: bool,
    /// How many more it will.
    pub remaining: u32,
    /// Milliseconds to its end.
    pub reset: u64,
    /// What was seen, or is there now: when the window began.
    began: u64,
}

/// What a word says at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No window, or one that is over.
    Over,
    Open {
        count: u64,
        elapsed: u64,
    },
}

impl Window<'_> {
    pub(super) fn load(self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Puts `new` in the place of `old`, unless something else stands there by now.
    pub(super) fn replace(self, old: u64, new: u64) -> bool {
        self.0.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Takes a place in the window, beginning it where there is none.
    pub(super) fn take(self, now: u64, length: u64, most: u32) -> Taken {
        loop {
            let old = self.load();
            if let Some(taken) = self.try_take(old, now, length, most) {
                return taken;
            }
        }
    }

    /// As [`Window::take`], of a word that was read before. `None`: another thread was faster, read again.
    pub(super) fn try_take(self, old: u64, now: u64, length: u64, most: u32) -> Option<Taken> {
        let (new, count, elapsed) = match state(old, now, length) {
            State::Over => (((now & CLOCK) << COUNT_BITS) | 1, 0, 0),
            State::Open { count, elapsed } if count < u64::from(most) => (old + 1, count, elapsed),
            State::Open { elapsed, .. } => {
                let (remaining, reset) = (0, length.saturating_sub(elapsed));
                return Some(Taken { within: false, remaining, reset, began: old >> COUNT_BITS });
            }
        };
        let remaining = u32::try_from(u64::from(most) - count - 1).unwrap_or(u32::MAX);
        let taken = Taken { within: true, remaining, reset: length - elapsed, began: new >> COUNT_BITS };
        self.replace(old, new).then_some(taken)
    }

    /// Gives a place back, if the window is still the one that it was taken from.
    pub(super) fn give_back(self, taken: &Taken) {
        loop {
            let old = self.load();
            let ours = old >> COUNT_BITS == taken.began && !matches!(old & COUNT, 0 | CLOSED);
            if !ours || self.replace(old, old - 1) {
                return;
            }
        }
    }
}

/// What `word` says at `now`, for windows of `length`.
pub(super) fn state(word: u64, now: u64, length: u64) -> State {
    let (began, count) = (word >> COUNT_BITS, word & COUNT);
    let elapsed = (now & CLOCK).wrapping_sub(began) & CLOCK;
    let elapsed = if elapsed > CLOCK - AHEAD { 0 } else { elapsed };
    if matches!(count, 0 | CLOSED) || elapsed >= length { State::Over } else { State::Open { count, elapsed } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(window: &AtomicU64, now: u64, most: u32) -> Option<(u32, u64)> {
        let taken = Window(window).take(now, 1_000, most);
        taken.within.then_some((taken.remaining, taken.reset))
    }

    #[test]
    fn begins_with_the_first_request_and_ends_by_the_clock() {
        let window = AtomicU64::default();
        assert_eq!(within(&window, 5_300, 2), Some((1, 1_000)));
        assert_eq!(within(&window, 6_299, 2), Some((0, 1)));
        assert_eq!(
            Window(&window).take(6_299, 1_000, 2),
            Taken { within: false, remaining: 0, reset: 1, began: 5_300 }
        );
        assert_eq!(within(&window, 6_300, 2), Some((1, 1_000)), "the next one");
        assert_eq!(within(&window, 6_200, 2), Some((0, 1_000)), "a clock that is behind is in the same window");
        assert_eq!(within(&window, 6_200, 2), None);
    }

    #[test]
    fn a_lower_limit_counts_what_was_let_pass_before() {
        let window = AtomicU64::default();
        for _ in 0..5 {
            Window(&window).take(1, 1_000, 10);
        }
        assert_eq!(within(&window, 2, 3), None);
        assert_eq!(within(&window, 2, 6), Some((0, 999)));
    }

    #[test]
    fn a_place_is_given_back_to_its_own_window_alone() {
        let window = AtomicU64::default();
        let first = Window(&window).take(1, 1_000, 1);
        Window(&window).give_back(&first);
        assert_eq!(within(&window, 2, 1), Some((0, 1_000)), "empty, it begins again");
        Window(&window).give_back(&first);
        assert_eq!(within(&window, 3, 1), None, "that was another window");
    }

    #[test]
    fn the_clock_may_come_round() {
        let window = AtomicU64::default();
        assert_eq!(within(&window, CLOCK - 400, 2), Some((1, 1_000)));
        assert_eq!(within(&window, CLOCK + 100, 2), Some((0, 500)));
        assert_eq!(within(&window, CLOCK + 100, 2), None);
        assert_eq!(within(&window, CLOCK + 600, 2), Some((1, 1_000)));
    }
}
