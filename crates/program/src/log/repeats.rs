//! How often the same thing was said: the count, which knows no clock and says nothing itself.
//!
//! The same thing is the same place of the program. For errors it is the same place with the same words: one error never
//! hides another's first occurrence.

use super::Texts;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata};

/// How often the same thing is said within one period.
pub const MOST: u32 = 10;
/// From the first time that something is said.
pub const PERIOD: Duration = Duration::from_secs(30);
/// Different errors that are distinguished at once; past that, only by their place.
pub(super) const DIFFERENT: usize = 1024;

/// A place, and for errors its words.
type Key = (Identifier, u64);

/// What was held back of one thing.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub metadata: &'static Metadata<'static>,
    pub message: String,
    pub count: u64,
}

/// One thing that was said.
struct CallSite {
    since: Instant,
    said: u32,
    held: Option<Held>,
}

/// Counts repeats.
#[derive(Default)]
pub(super) struct Repeats {
    call_sites: HashMap<Key, CallSite>,
    /// What was held back in periods that are over.
    over: Vec<Held>,
}

impl Repeats {
    /// Whether `event` may be said at `now`; counted if not.
    pub fn may_say(&mut self, event: &Event<'_>, now: Instant) -> bool {
        let key = self.key(event, now);
        let fresh = || CallSite { since: now, said: 0, held: None };
        let call_site = self.call_sites.entry(key).or_insert_with(fresh);
        if now.saturating_duration_since(call_site.since) >= PERIOD {
            self.over.extend(std::mem::replace(call_site, fresh()).held);
        }
        if call_site.said < MOST {
            call_site.said += 1;
            return true;
        }
        let held = call_site.held.get_or_insert_with(|| Held {
            metadata: event.metadata(),
            message: Texts::of(event).message,
            count: 0,
        });
        held.count += 1;
        false
    }

    fn key(&mut self, event: &Event<'_>, now: Instant) -> Key {
        let place = event.metadata().callsite();
        if *event.metadata().level() != Level::ERROR {
            return (place, 0);
        }
        let texts = Texts::of(event);
        let mut words = DefaultHasher::new();
        (&texts.message, &texts.fields).hash(&mut words);
        let key = (place.clone(), words.finish());
        if self.call_sites.len() >= DIFFERENT && !self.call_sites.contains_key(&key) {
            self.close(now);
        }
        if self.call_sites.len() < DIFFERENT || self.call_sites.contains_key(&key) { key } else { (place, 0) }
    }

    /// Ends the periods that are over at `now`.
    fn close(&mut self, now: Instant) {
        let over = &mut self.over;
        self.call_sites.retain(|_, call_site| {
            let goes_on = now.saturating_duration_since(call_site.since) < PERIOD;
            if !goes_on {
                over.extend(call_site.held.take());
            }
            goes_on
        });
    }

    /// What is to be reported at `now`, and when to look again if anything is still held.
    pub fn due(&mut self, now: Instant) -> (Vec<Held>, Option<Instant>) {
        self.close(now);
        let holding = self.call_sites.values().filter(|call_site| call_site.held.is_some());
        (std::mem::take(&mut self.over), holding.map(|call_site| call_site.since + PERIOD).min())
    }

    /// Whether anything is held back.
    pub fn holds(&self) -> bool {
        self.call_sites.values().any(|call_site| call_site.held.is_some())
    }

    /// How many things are distinguished now.
    #[cfg(test)]
    pub fn known(&self) -> usize {
        self.call_sites.len()
    }
}
