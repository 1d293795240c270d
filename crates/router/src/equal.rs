//! The fast paths say what the regular expression says: over patterns and texts made of the same few pieces, so that
//! matches, near misses and odd borders are all common.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};

use fastrand::Rng;
use weir_config::Pattern;

use crate::path::PathMatcher;
use crate::text::TextMatcher;

const PIECES: [&str; 16] =
    ["/", "a", "/a", "b", "/b", "A", ".*", "(/.*)", "(.*)", "?", "|", r"\.", ".", "/.*", "(a.*)", "é"];
const TEXTS: [&str; 9] = ["/", "a", "/a", "b", "/b", "A", ".", "é", "ab"];
const ROUNDS: usize = 10_000;

fn joined(rng: &mut Rng, pieces: &[&'static str], most: usize) -> String {
    (0..rng.usize(..=most)).filter_map(|_| rng.choice(pieces)).copied().collect()
}

/// How often each kind of matcher matched and did not.
struct Seen<T>(HashMap<Discriminant<T>, [usize; 2]>);

impl<T> Seen<T> {
    fn add(&mut self, matcher: &T, matched: bool) {
        self.0.entry(discriminant(matcher)).or_default()[usize::from(matched)] += 1;
    }

    /// Fails when a kind was hardly tried.
    fn check(self, kinds: usize) {
        assert_eq!(self.0.len(), kinds);
        let often = |counts: &[usize; 2]| counts[1] > 100;
        assert!(self.0.values().all(often), "{:?}", self.0.values());
    }
}

#[test]
fn paths() {
    let mut rng = Rng::with_seed(7);
    let mut seen = Seen(HashMap::new());
    for _ in 0..ROUNDS {
        let source = joined(&mut rng, &PIECES, 4);
        let Ok(pattern) = Pattern::new(&source) else { continue };
        let (fast, slow) = (PathMatcher::compile(&pattern), PathMatcher::of_regex(pattern.regex().clone()));
        for _ in 0..8 {
            let path = joined(&mut rng, &TEXTS, 5);
            let matched = slow.is_match(&path);
            assert_eq!(fast.is_match(&path), matched, "{source} {path}");
            if matched {
                assert_eq!(fast.forwarded(&path).concat(), slow.forwarded(&path).concat(), "{source} {path}");
            }
            seen.add(&fast, matched);
        }
    }
    seen.check(6);
}

#[test]
fn texts() {
    let mut rng = Rng::with_seed(8);
    let mut seen = Seen(HashMap::new());
    for round in 0..ROUNDS {
        let source = joined(&mut rng, &PIECES, 4);
        let compile = if round % 2 == 0 { Pattern::new } else { Pattern::ignoring_case };
        let Ok(pattern) = compile(&source) else { continue };
        let fast = TextMatcher::compile(&pattern);
        for _ in 0..8 {
            let text = joined(&mut rng, &TEXTS, 5);
            let matched = pattern.is_match(&text);
            assert_eq!(fast.is_match(&text), matched, "{source} {text}");
            seen.add(&fast, matched);
        }
    }
    seen.check(5);
}
