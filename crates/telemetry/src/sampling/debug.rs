//! Traces that an administrator asks for: those of a header, of a consumer or of an API, for some minutes.
//!
//! A request looks at one flag where there is no rule. Each rule has a budget a second, and ends by itself.

use super::Budget;
use http::{HeaderName, HeaderValue};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use weir_config::Live;
use weir_event::NameId;
use weir_http1::Fields;

/// The most rules at once: each is asked for every request.
pub const MOST_RULES: usize = 16;

/// Which requests a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DebugMatch {
    /// With this field; `None`: whatever its value is.
    Header(HeaderName, Option<HeaderValue>),
    Consumer(String),
    Api(NameId, String),
}

/// One rule.
#[derive(Debug)]
pub struct DebugRule {
    pub id: u32,
    pub what: DebugMatch,
    /// Until this second of the Unix epoch.
    pub until: u64,
    /// At most so many traces a second, of all workers.
    pub per_second: u32,
    budget: Budget,
    traces: AtomicU64,
}

impl DebugRule {
    /// How many traces it has had kept.
    pub fn traces(&self) -> u64 {
        self.traces.load(Ordering::Relaxed)
    }

    fn takes(&self, second: u64) -> bool {
        let has_time = second < self.until;
        let takes = has_time && self.budget.take(u32::try_from(second).unwrap_or_default(), self.per_second);
        if takes {
            self.traces.fetch_add(1, Ordering::Relaxed);
        }
        takes
    }
}

/// The rules of a process. They are gone with it.
#[derive(Debug)]
pub struct DebugRules {
    /// Whether there is any.
    any: AtomicBool,
    rules: Live<Vec<Arc<DebugRule>>>,
    /// The number of the last one; held while rules change.
    last: Mutex<u32>,
}

impl Default for DebugRules {
    fn default() -> Self {
        Self { any: AtomicBool::new(false), rules: Live::new(Vec::new()), last: Mutex::new(0) }
    }
}

impl DebugRules {
    /// Whether nobody asks for anything.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Relaxed)
    }

    /// Those whose time is not over at the second `now`.
    pub fn list(&self, now: u64) -> Vec<Arc<DebugRule>> {
        self.rules.snapshot().iter().filter(|rule| now < rule.until).cloned().collect()
    }

    /// Adds a rule; `None` where there are [`MOST_RULES`].
    pub fn add(&self, what: DebugMatch, until: u64, per_second: u32, now: u64) -> Option<Arc<DebugRule>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rules = self.list(now);
        if rules.len() >= MOST_RULES {
            return None;
        }
        *last += 1;
        let (budget, traces) = (Budget::default(), AtomicU64::new(0));
        let rule = Arc::new(DebugRule { id: *last, what, until, per_second, budget, traces });
        rules.push(Arc::clone(&rule));
        self.publish(rules);
        Some(rule)
    }

    /// Takes a rule away; `None` where there is none of this number.
    pub fn end(&self, id: u32, now: u64) -> Option<Arc<DebugRule>> {
        let _changes = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (ended, rules): (Vec<_>, Vec<_>) = self.list(now).into_iter().partition(|rule| rule.id == id);
        self.publish(rules);
        ended.into_iter().next()
    }

    /// Forgets those whose time is over.
    pub fn expire(&self, now: u64) {
        if !self.is_empty() && self.rules.snapshot().iter().any(|rule| now >= rule.until) {
            let _changes = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            self.publish(self.list(now));
        }
    }

    fn publish(&self, rules: Vec<Arc<DebugRule>>) {
        self.any.store(!rules.is_empty(), Ordering::Relaxed);
        drop(self.rules.publish(rules));
    }

    /// Whether one of the rules for headers takes a request.
    pub fn takes_headers(&self, headers: &Fields, second: u64) -> bool {
        self.takes(second, |what| match what {
            DebugMatch::Header(name, None) => headers.contains(name),
            DebugMatch::Header(name, Some(value)) => headers.get_all(name).any(|own| own == value.as_bytes()),
            _ => false,
        })
    }

    pub fn takes_api(&self, api: NameId, second: u64) -> bool {
        self.takes(second, |what| matches!(what, DebugMatch::Api(id, _) if *id == api))
    }

    pub fn takes_consumer(&self, consumer: &[u8], second: u64) -> bool {
        !consumer.is_empty()
            && self.takes(second, |what| matches!(what, DebugMatch::Consumer(name) if name.as_bytes() == consumer))
    }

    #[cold]
    fn takes(&self, second: u64, is_for: impl Fn(&DebugMatch) -> bool) -> bool {
        self.rules.snapshot().iter().any(|rule| is_for(&rule.what) && rule.takes(second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &'static str, value: Option<&'static str>) -> DebugMatch {
        DebugMatch::Header(HeaderName::from_static(name), value.map(HeaderValue::from_static))
    }

    #[test]
    fn a_rule_takes_what_it_is_for_until_its_time_is_over() {
        let rules = DebugRules::default();
        assert!(rules.is_empty() && !rules.takes_api(NameId(1), 5));
        rules.add(header("x-debug", Some("1")), 10, 100, 5).unwrap();
        rules.add(DebugMatch::Consumer("mobile".to_owned()), 10, 100, 5).unwrap();
        let api = rules.add(DebugMatch::Api(NameId(1), "orders".to_owned()), 10, 100, 5).unwrap();
        let of = |value| Fields::from_iter([(HeaderName::from_static("x-debug"), HeaderValue::from_static(value))]);
        assert!(rules.takes_headers(&of("1"), 9) && !rules.takes_headers(&of("2"), 9));
        assert!(!rules.takes_headers(&of("1"), 10), "its time is over");
        assert!(
            rules.takes_consumer(b"mobile", 9) && !rules.takes_consumer(b"web", 9) && !rules.takes_consumer(b"", 9)
        );
        assert!(rules.takes_api(NameId(1), 9) && !rules.takes_api(NameId(2), 9));
        assert_eq!(api.traces(), 1);
        assert_eq!(rules.end(api.id, 9).unwrap().id, 3);
        assert!(rules.end(api.id, 9).is_none() && !rules.takes_api(NameId(1), 9));
        assert_eq!(rules.list(9).len(), 2);
        rules.expire(10);
        assert!(rules.is_empty());
    }

    #[test]
    fn a_second_has_so_many_and_a_process_so_many_rules() {
        let rules = DebugRules::default();
        rules.add(header("x-debug", None), 10, 2, 0).unwrap();
        let headers = Fields::from_iter([(HeaderName::from_static("x-debug"), HeaderValue::from_static("any"))]);
        assert_eq!((0..5).filter(|_| rules.takes_headers(&headers, 1)).count(), 2);
        assert!((2..=MOST_RULES).all(|_| rules.add(header("x-debug", None), 10, 1, 0).is_some()));
        assert!(rules.add(header("x-debug", None), 10, 1, 0).is_none());
        assert!(rules.add(header("x-debug", None), 20, 1, 10).is_some(), "their time is over");
    }
}
