//! Exactly so many, whatever the threads and the clock do: against a model, and with threads that race.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use super::*;
use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::Ordering;

const THREADS: usize = 8;

fn keyed(millis: u64) -> Windows {
    Windows::new(Instant::now(), Duration::from_millis(millis), true)
}

impl Windows {
    fn admits(&self, key: u64, millis: u64, most: u32) -> bool {
        self.take(Some(&key.to_le_bytes()), self.epoch + Duration::from_millis(millis), most).is_within()
    }
}

/// How many of the requests that all threads make at once are let pass: each asks for the key at the times it is given.
fn race(windows: &Windows, key: u64, most: u32, times: impl Fn(usize) -> Vec<u64> + Sync) -> u64 {
    let (admitted, start) = (AtomicU64::new(0), Barrier::new(THREADS));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (times, admitted, start) = (times(thread), &admitted, &start);
            scope.spawn(move || {
                start.wait();
                let passed = times.into_iter().filter(|time| windows.admits(key, *time, most)).count();
                admitted.fetch_add(passed as u64, Ordering::Relaxed);
            });
        }
    });
    admitted.into_inner()
}

#[test]
fn threads_together_pass_exactly_the_limit() {
    for windows in [keyed(60_000), Windows::new(Instant::now(), Duration::from_secs(60), false)] {
        for window in 0..20 {
            let now = 60_000 * window;
            assert_eq!(race(&windows, 7, 100, |_| vec![now; 200]), 100, "window {window}");
            assert_eq!(race(&windows, 7, 100, |_| vec![now + 59_999; 200]), 0, "its end");
        }
    }
}

/// Threads whose clocks differ by a little, just where one generation ends and the next begins, with a key that none of
/// them has seen: the first of them begins the window, whichever it is, and there is one.
#[test]
fn a_window_begins_once_even_where_generations_meet() {
    let windows = keyed(2_000);
    for key in 0..3_000 {
        let border = 2_000 * (1 + key / 100);
        let mut rng = fastrand::Rng::with_seed(key);
        let times: Vec<Vec<u64>> =
            (0..THREADS).map(|_| (0..8).map(|_| rng.u64(border - 5..border + 5)).collect()).collect();
        assert_eq!(race(&windows, key, 10, |thread| times[thread].clone()), 10, "key {key}");
    }
}

/// The same with many keys at once: between two borders each thread goes through its keys as fast as it can and is
/// interrupted where the system likes, so that some are a generation behind the others.
#[test]
fn threads_that_fall_behind_pass_no_more() {
    const KEYS: u64 = 60_000;
    const AT_ONCE: u64 = 500;
    let (windows, together) = (keyed(1_000), Barrier::new(THREADS));
    let admitted: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..THREADS as u64 {
            let (windows, admitted, together) = (&windows, &admitted, &together);
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(thread);
                for first in (0..KEYS).step_by(AT_ONCE as usize) {
                    together.wait();
                    let border = 1_000 * (1 + first / AT_ONCE);
                    for request in 0..4 * AT_ONCE {
                        let key = first + request % AT_ONCE;
                        let within = windows.admits(key, rng.u64(border - 5..border + 5), 7);
                        admitted[key as usize].fetch_add(u64::from(within), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let counts = admitted.iter().map(|count| count.load(Ordering::Relaxed)).enumerate();
    assert_eq!(counts.filter(|(_, count)| *count != 7).collect::<Vec<_>>(), []);
}

/// One thread against a map that never forgets.
#[test]
fn agrees_with_a_model() {
    for length in [1, 700, 1_000, 5_000] {
        let mut rng = fastrand::Rng::with_seed(length);
        let (windows, mut model) = (keyed(length), HashMap::<u64, (u64, u32)>::new());
        let mut now = 0;
        for step in 0..200_000 {
            now += if rng.u8(..) == 0 { rng.u64(..3 * length) } else { rng.u64(..1 + length / 500) };
            let key = rng.u64(..300);
            let (began, count) = model.entry(key).or_insert((now, 0));
            if now >= *began + length {
                (*began, *count) = (now, 0);
            }
            *count += 1;
            assert_eq!(windows.admits(key, now, 3), *count <= 3, "step {step}, key {key} at {now}, length {length}");
        }
    }
}

#[test]
fn a_key_without_room_is_limited_with_its_like_and_says_so() {
    let windows = keyed(60_000);
    assert!(windows.admits(u64::MAX, 0, 2));
    let (mut shared, mut own) = (0, 0);
    for key in 0..400_000_u64 {
        let place = windows.take(Some(&key.to_le_bytes()), windows.epoch, 2);
        match (place.is_shared(), place.is_within()) {
            (true, within) => shared += u64::from(within),
            (false, within) => own += u64::from(within),
        }
    }
    // One group lets pass as much as one key, and the table holds what it can.
    assert!((1..=2 * 4_096).contains(&shared), "{shared}");
    assert!((50_000..=65_536).contains(&own), "{own}");
    assert!(windows.admits(u64::MAX, 1, 2), "who was there before has its own");
    assert!(!windows.admits(u64::MAX, 2, 2));
    let later = windows.epoch + Duration::from_secs(180);
    assert!(!windows.take(Some(b"new"), later, 2).is_shared(), "room comes back with the generations");
}

#[test]
fn sixteen_thousand_keys_have_their_own() {
    let windows = keyed(60_000);
    let shared = (0..16_000_u64).filter(|key| windows.take(Some(&key.to_le_bytes()), windows.epoch, 1).is_shared());
    assert!(shared.count() <= 1);
}

#[test]
fn windows_are_carried_over_by_id() {
    let services = Services::default();
    let id = |policy: &str, seconds| {
        let (policy, key) = (policy.to_owned(), LimitKey::Consumer);
        LimitId { policy, key, window: Duration::from_secs(seconds) }
    };
    let first = services.windows(id("a", 1));
    assert!(Arc::ptr_eq(&first, &services.windows(id("a", 1))));
    assert!(!Arc::ptr_eq(&first, &services.windows(id("a", 2))));
    assert!(!Arc::ptr_eq(&first, &services.windows(id("b", 1))));
    let weak = Arc::downgrade(&first);
    drop(first);
    assert!(weak.upgrade().is_none(), "what nobody uses is freed");
}
