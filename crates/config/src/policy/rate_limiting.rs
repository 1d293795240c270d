//! `rate-limiting-flex`: at most so many requests in each window of time, for all or for each key.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::{Value, json};

use super::PolicySpec;
use crate::expression::Expression;
use crate::read::Cursor;
use crate::view;

/// The limits of an API, or of each of its keys. A request must be within all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimiting {
    /// At least one, the longest window first, each window once.
    pub limits: Vec<RateLimit>,
    pub key: LimitKey,
    /// Whether `x-ratelimit-*` is sent.
    pub expose_headers: bool,
}

/// So many requests in a window, which begins with the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// At most [`RateLimit::MOST_REQUESTS`].
    pub requests: NonZeroU32,
    /// Whole milliseconds, at most [`RateLimit::LONGEST_WINDOW`].
    pub window: Duration,
}

impl RateLimit {
    /// What the limiter counts to.
    pub const MOST_REQUESTS: u32 = (1 << 28) - 2;
    /// A year: what the limiter tells one window from another by.
    pub const LONGEST_WINDOW: Duration = Duration::from_hours(365 * 24);
}

/// What requests are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// All together.
    All,
    /// What the request says (`keySelector`). Those that do not say it are counted together.
    Request(Expression),
    /// Who the request is proven to come from (`keyBy: consumer`, under `gateway.weir.dev/v1`).
    Consumer,
}

impl PolicySpec for RateLimiting {
    const NAME: &'static str = "rate-limiting-flex";

    fn read(at: &Cursor<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        let limits = fields.required("rateLimits", limits);
        let selector = fields.take("keySelector").map(|at| Expression::read(&at).map(LimitKey::Request));
        let by = fields.take_weir("keyBy");
        let by = by.map(|at| (at.choice(&[("consumer", ())]), at));
        let expose_headers = fields.optional("exposeHeaders", Cursor::boolean);
        // Each gateway counts for itself either way, as Flex does without a shared storage.
        fields.optional("clusterizable", Cursor::boolean);
        fields.finish();
        let key = match (selector, by) {
            (None, None) => Some(LimitKey::All),
            (Some(key), None) => key,
            (None, Some((key, _))) => key.map(|()| LimitKey::Consumer),
            (Some(_), Some((_, at))) => at.refuse("is here beside `keySelector`; remove one of them"),
        };
        Some(Self { limits: limits?, key: key?, expose_headers: expose_headers.unwrap_or(false) })
    }

    fn view(&self) -> Value {
        let Self { limits, key, expose_headers } = self;
        let limit = |limit: &RateLimit| json!({"requests": limit.requests.get(), "window": view::time(limit.window)});
        let key = match key {
            LimitKey::All => "all".to_owned(),
            LimitKey::Request(by) => by.to_string(),
            LimitKey::Consumer => "consumer".to_owned(),
        };
        json!({"limits": limits.iter().map(limit).collect::<Vec<_>>(), "key": key, "expose_headers": expose_headers})
    }

    fn asks_who(&self) -> bool {
        self.key == LimitKey::Consumer
    }
}

fn limits(at: &Cursor<'_>) -> Option<Vec<RateLimit>> {
    let (mut limits, mut windows, mut count) = (Vec::new(), BTreeSet::new(), 0);
    at.items(|at| {
        count += 1;
        let limit = limit(at)?;
        if !windows.insert(limit.window) {
            return at.refuse("has the same period as one before it; keep the lower of them");
        }
        limits.push(limit);
        Some(())
    })?;
    if count == 0 {
        return at.refuse("has no limit; add `{maximumRequests, timePeriodInMilliseconds}`");
    }
    limits.sort_by_key(|limit: &RateLimit| Reverse(limit.window));
    Some(limits)
}

fn limit(at: &Cursor<'_>) -> Option<RateLimit> {
    let longest = u64::try_from(RateLimit::LONGEST_WINDOW.as_millis()).unwrap_or(u64::MAX);
    let mut fields = at.fields()?;
    let requests = fields.required("maximumRequests", |at| at.integer(1..=RateLimit::MOST_REQUESTS.into()));
    let window = fields.required("timePeriodInMilliseconds", |at| at.integer(1..=longest));
    if let Some(at) = fields.take("exposeHeaders") {
        at.warn("has no effect here: it belongs beside `rateLimits`");
    }
    fields.finish();
    let requests = u32::try_from(requests?).ok().and_then(NonZeroU32::new)?;
    Some(RateLimit { requests, window: Duration::from_millis(window?) })
}
