//! Of many rules, those that can hold for a path: found by how the path begins, so that a gateway of thousands of
//! routes tries the few that fit and not all of them.
//!
//! A pattern says by itself how every path begins that it matches: `/orders/\d+` begins with `/orders/`, `/a|/b.*` with
//! `/a` or `/b`, `.*` with nothing in particular. These beginnings are sorted, and each knows the longest other one
//! that it begins with itself. The last of them that is not after a path in this order begins with all those that the
//! path begins with: one binary search, and a walk up. What is found is only a candidate; the rule decides.

use regex_syntax::hir::literal::Extractor;
use smallvec::SmallVec;
use weir_config::Pattern;

/// A pattern that can begin in more ways than this is a candidate for every path.
const MOST_WAYS: usize = 64;

#[derive(Debug, Clone)]
pub(crate) struct Index {
    /// Sorted by their text; the first is the empty one.
    beginnings: Vec<Beginning>,
}

#[derive(Debug, Clone)]
struct Beginning {
    text: Box<[u8]>,
    /// The longest other one that this one begins with.
    parent: Option<usize>,
    /// Numbers of rules, ascending.
    rules: Vec<usize>,
}

impl Index {
    /// Of the path conditions of rules; their numbers are their places.
    pub fn compile<'p>(paths: impl IntoIterator<Item = Option<&'p Pattern>>) -> Self {
        let mut pairs = vec![];
        for (rule, path) in paths.into_iter().enumerate() {
            pairs.extend(beginnings(path).into_iter().map(|text| (text, rule)));
        }
        pairs.sort();
        pairs.dedup();
        let mut sorted = vec![Beginning { text: Box::default(), parent: None, rules: vec![] }];
        for (text, rule) in pairs {
            let last = sorted.len() - 1;
            if sorted[last].text == text {
                sorted[last].rules.push(rule);
            } else {
                let parent = Self::walk_up(&sorted, last, &text);
                sorted.push(Beginning { text, parent, rules: vec![rule] });
            }
        }
        Self { beginnings: sorted }
    }

    /// From `at` upwards, the first that `path` begins with.
    fn walk_up(beginnings: &[Beginning], mut at: usize, path: &[u8]) -> Option<usize> {
        while !path.starts_with(&beginnings[at].text) {
            at = beginnings[at].parent?;
        }
        Some(at)
    }

    /// The numbers of all rules that can hold for `path`, ascending. More than four beginnings of one path that are
    /// beginnings of each other allocate.
    pub fn candidates(&self, path: &str) -> Candidates<'_> {
        let path = path.as_bytes();
        let after = self.beginnings.partition_point(|beginning| *beginning.text <= *path);
        let mut at = after.checked_sub(1).and_then(|last| Self::walk_up(&self.beginnings, last, path));
        let mut lists = SmallVec::new();
        while let Some(found) = at {
            let Beginning { parent, rules, .. } = &self.beginnings[found];
            if !rules.is_empty() {
                lists.push(rules.as_slice());
            }
            at = *parent;
        }
        Candidates { lists }
    }
}

/// Several ascending lists, as one.
pub(crate) struct Candidates<'i> {
    lists: SmallVec<[&'i [usize]; 4]>,
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let next = *self.lists.iter().filter_map(|list| list.first()).min()?;
        for list in &mut self.lists {
            if list.first() == Some(&next) {
                *list = &list[1..];
            }
        }
        Some(next)
    }
}

/// Every path that `pattern` matches begins with one of these.
fn beginnings(pattern: Option<&Pattern>) -> Vec<Box<[u8]>> {
    let any = || vec![Box::default()];
    let Some(pattern) = pattern.filter(|pattern| !pattern.ignores_case()) else { return any() };
    let Ok(parsed) = regex_syntax::parse(pattern.source()) else { return any() };
    let found = Extractor::new().limit_total(MOST_WAYS).extract(&parsed);
    match found.literals() {
        Some(ways) if !ways.is_empty() => ways.iter().map(|way| way.as_bytes().into()).collect(),
        _ => any(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    fn index(sources: &[&str]) -> Index {
        let patterns: Vec<_> = sources.iter().map(|source| Pattern::new(source).unwrap()).collect();
        Index::compile(patterns.iter().map(Some))
    }

    fn found(sources: &[&str], path: &str) -> Vec<usize> {
        index(sources).candidates(path).collect()
    }

    #[test]
    fn only_what_begins_alike_is_tried_and_in_order() {
        let sources = ["/a/b(/.*)", ".*", "/a(/.*)?", r"/a/\d+", "/c|/a/b/.*", "/(x|y)/z"];
        assert_eq!(found(&sources, "/a/b/1"), [0, 1, 2, 3, 4]);
        assert_eq!(found(&sources, "/a"), [1, 2]);
        assert_eq!(found(&sources, "/c"), [1, 4]);
        assert_eq!(found(&sources, "/y/z"), [1, 5]);
        assert_eq!(found(&sources, "/nothing"), [1]);
        assert_eq!(found(&sources[..1], "/nothing"), [0; 0]);
        assert_eq!(found(&[], "/nothing"), [0; 0]);
    }

    #[test]
    fn what_can_begin_in_any_way_is_always_tried() {
        for source in ["(?i)/cats", ".*/a", "[^/]*", ""] {
            assert!(!found(&[source], "/CATS").is_empty() || !Pattern::new(source).unwrap().is_match("/CATS"));
        }
        assert_eq!(Index::compile([None]).candidates("/x").collect::<Vec<_>>(), [0]);
        let ignoring = Pattern::ignoring_case("/cats").unwrap();
        assert_eq!(Index::compile([Some(&ignoring)]).candidates("/CATS").count(), 1);
    }

    /// Of thousands of rules one is tried, whatever the path.
    #[test]
    fn a_crowd_is_no_matter() {
        let sources: Vec<_> = (0..5000).map(|route| format!(r"/r{route:04}/(\d+)")).collect();
        let index = index(&sources.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(index.candidates("/r4711/5").collect::<Vec<_>>(), [4711]);
        assert_eq!(index.candidates("/none").count(), 0);
    }

    /// No rule that holds is missed: over patterns and paths made of the same few pieces.
    #[test]
    fn what_matches_is_a_candidate() {
        const PIECES: [&str; 18] = [
            "/", "a", "/a", "b", "/b", "A", ".*", "(/.*)", "(.*)", "?", "|", "*", "+", "[ab]", r"\d", "(?i)", "é",
            "{2}",
        ];
        const TEXTS: [&str; 9] = ["/", "a", "/a", "b", "/b", "A", "1", "é", "ab"];
        let mut rng = Rng::with_seed(9);
        let mut joined = |pieces: &[&str], most| -> String {
            let count = rng.usize(0..=most);
            (0..count).filter_map(|_| rng.choice(pieces)).copied().collect()
        };
        let mut matches = 0;
        for _ in 0..2000 {
            let sources: Vec<_> = (0..12).map(|_| joined(&PIECES, 5)).collect();
            let patterns: Vec<_> = sources.iter().filter_map(|source| Pattern::new(source).ok()).collect();
            let index = Index::compile(patterns.iter().map(Some));
            for _ in 0..10 {
                let path = joined(&TEXTS, 5);
                let candidates: Vec<_> = index.candidates(&path).collect();
                assert!(candidates.is_sorted() && candidates.windows(2).all(|pair| pair[0] < pair[1]));
                for (rule, pattern) in patterns.iter().enumerate().filter(|(_, pattern)| pattern.is_match(&path)) {
                    assert!(candidates.contains(&rule), "{} {path}", pattern.source());
                    matches += 1;
                }
            }
        }
        assert!(matches > 10_000, "{matches} is hardly a test");
    }
}
