//! `rate-limiting-flex`: at most so many requests in a window, counted over all workers, for all or for each key.
//!
//! It decides by count alone. A request must be within every limit; one that is not takes nothing from any. Windows are
//! fixed and begin with the first request. What is counted outlives a reload; see [`crate::limiter`] for how, and for
//! what happens when there are more keys than room.

use crate::Services;
use crate::contract::{Answer, Body, Compiled, Decision, Effects, Outcome, RequestView, ResponseHeaders, Stages, Step};
use crate::expression::evaluate;
use crate::limiter::{LimitId, Place, Windows};
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;
use weir_config::Api;
use weir_config::policy::{LimitKey, RateLimit, RateLimiting};
use weir_event::{RateLimitState, Reason};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// Milliseconds, as Flex has it.
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The compiled policy.
#[derive(Debug)]
pub struct RateLimiter {
    /// The longest window first: where several are full, its end is the one to wait for.
    limits: Vec<(RateLimit, Arc<Windows>)>,
    key: LimitKey,
    expose_headers: bool,
}

impl Compiled for RateLimiter {
    type Spec = RateLimiting;
    const STAGES: Stages = Stages::REQUEST;

    fn compile(spec: &Self::Spec, id: &str, _: &Api, services: &Services) -> Self {
        let windows = |limit: &RateLimit| {
            let (policy, key) = (id.to_owned(), spec.key.clone());
            (*limit, services.windows(LimitId { policy, key, window: limit.window }))
        };
        let limits = spec.limits.iter().map(windows).collect();
        Self { limits, key: spec.key.clone(), expose_headers: spec.expose_headers }
    }

    fn on_request(&self, request: &mut RequestView<'_>) -> Step {
        let key = match &self.key {
            LimitKey::All => None,
            LimitKey::Request(expression) => evaluate(expression, request),
            LimitKey::Consumer => request.consumer.map(|who| Cow::Borrowed(who.consumer().as_ref())),
        };
        let mut taken: SmallVec<[(u32, Place<'_>); 2]> = SmallVec::new();
        for (limit, windows) in &self.limits {
            let most = limit.requests.get();
            let place = windows.take(key.as_deref(), request.now, most);
            if !place.is_within() {
                taken.into_iter().for_each(|(_, place)| place.give_back());
                return self.reject(most, &place);
            }
            taken.push((most, place));
        }
        let shared = taken.iter().any(|(_, place)| place.is_shared());
        let state = if shared { RateLimitState::WithinShared } else { RateLimitState::Within };
        let tightest = taken.iter().min_by_key(|(_, place)| place.remaining());
        let headers = tightest.filter(|_| self.expose_headers).map(|(most, place)| expose(*most, place));
        Effects { rate_limit: state, response_headers: headers.unwrap_or_default(), ..Effects::default() }
            .go_on()
            .into()
    }
}

impl RateLimiter {
    fn reject(&self, most: u32, place: &Place<'_>) -> Step {
        let detail = "the limit of requests is reached; try again later";
        let body = Body::FlexProblem { detail, error: "Too Many Requests" };
        let mut refusal = Answer::refusal(Reason::RateLimited, body);
        let shared = place.is_shared();
        let rate_limit = if shared { RateLimitState::ExceededShared } else { RateLimitState::Exceeded };
        if self.expose_headers {
            refusal.headers = expose(most, place);
            refusal = refusal.with(RETRY_AFTER, HeaderValue::from(place.reset().div_ceil(1000)));
        }
        Outcome { decision: Decision::Reject(refusal), effects: Effects { rate_limit, ..Effects::default() } }.into()
    }
}

fn expose(most: u32, place: &Place<'_>) -> ResponseHeaders {
    vec![
        (LIMIT, HeaderValue::from(most)),
        (REMAINING, HeaderValue::from(place.remaining())),
        (RESET, HeaderValue::from(place.reset())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Authenticated;
    use crate::testing::{Request, done};
    use std::num::NonZeroU32;
    use std::time::Duration;
    use weir_config::Expression;
    use weir_event::AuthKind;
    use weir_event::Instant;

    const LIMITS: &str = "{rateLimits: [{maximumRequests: 1, timePeriodInMilliseconds: 1000}]}";

    fn spec(limits: &[(u32, u64)], key: LimitKey) -> RateLimiting {
        let limit = |(requests, millis): &(u32, u64)| RateLimit {
            requests: NonZeroU32::new(*requests).unwrap(),
            window: Duration::from_millis(*millis),
        };
        RateLimiting { limits: limits.iter().map(limit).collect(), key, expose_headers: true }
    }

    struct Site {
        services: Services,
        api: Api,
        epoch: Instant,
    }

    impl Site {
        fn new() -> Self {
            let epoch = Instant::now();
            Self { services: Services::new(epoch, None), api: crate::testing::api("rate-limiting-flex", LIMITS), epoch }
        }

        fn policy(&self, spec: &RateLimiting) -> RateLimiter {
            RateLimiter::compile(spec, "default/orders/limit", &self.api, &self.services)
        }

        /// The status, and the values of the three headers.
        fn ask(&self, policy: &RateLimiter, mut request: Request, millis: u64) -> (u16, [u64; 3]) {
            request.now = self.epoch + Duration::from_millis(millis);
            let Outcome { decision, effects } = done(policy.on_request(&mut request.view()));
            let (status, headers) = match decision {
                Decision::Continue => {
                    assert_eq!(effects.rate_limit, RateLimitState::Within);
                    (200, effects.response_headers)
                }
                Decision::Reject(rejection) => {
                    assert_eq!((effects.rate_limit, rejection.reason), (RateLimitState::Exceeded, Reason::RateLimited));
                    (rejection.status.as_u16(), rejection.headers)
                }
                other @ Decision::Respond(_) => panic!("{other:?}"),
            };
            let value = |name| {
                let value = headers.iter().find(|(key, _)| *key == name);
                value.map_or(u64::MAX, |(_, value)| value.to_str().unwrap().parse().unwrap())
            };
            (status, [value(LIMIT), value(REMAINING), value(RESET)])
        }
    }

    #[test]
    fn a_window_begins_with_the_first_request() {
        let site = Site::new();
        let policy = site.policy(&spec(&[(2, 1_000)], LimitKey::All));
        let ask = |millis| site.ask(&policy, Request::get("/"), millis);
        assert_eq!(ask(700), (200, [2, 1, 1_000]));
        assert_eq!(ask(1_200), (200, [2, 0, 500]));
        assert_eq!(ask(1_699), (429, [2, 0, 1]));
        assert_eq!(ask(1_700), (200, [2, 1, 1_000]));
    }

    #[test]
    fn a_request_must_be_within_all_limits_and_one_that_is_not_takes_nothing() {
        let site = Site::new();
        let policy = site.policy(&spec(&[(4, 60_000), (2, 1_000)], LimitKey::All));
        let ask = |millis| site.ask(&policy, Request::get("/"), millis);
        assert_eq!(ask(0), (200, [2, 1, 1_000]), "the tightest is reported");
        assert_eq!(ask(0), (200, [2, 0, 1_000]));
        assert_eq!(ask(0), (429, [2, 0, 1_000]));
        assert_eq!(ask(999), (429, [2, 0, 1]));
        assert_eq!(ask(1_000), (200, [4, 1, 59_000]), "the refused ones took nothing of the minute");
        assert_eq!(ask(1_000), (200, [4, 0, 59_000]));
        assert_eq!(ask(2_000), (429, [4, 0, 58_000]));
        assert_eq!(ask(60_000), (200, [2, 1, 1_000]));
    }

    #[test]
    fn each_key_has_its_own_and_those_without_have_one() {
        let site = Site::new();
        let key = Expression::Header(HeaderName::from_static("x-key"));
        let policy = site.policy(&spec(&[(1, 1_000)], LimitKey::Request(key)));
        for request in
            [|| Request::get("/").with("x-key", "a"), || Request::get("/").with("x-key", "b"), || Request::get("/")]
        {
            assert_eq!(site.ask(&policy, request(), 0).0, 200);
            assert_eq!(site.ask(&policy, request(), 1).0, 429);
        }
        let policy = site.policy(&spec(&[(1, 1_000)], LimitKey::Consumer));
        for name in ["a", "b"] {
            let known = || Request::get("/").from(Authenticated::new(name.into(), AuthKind::Basic));
            assert_eq!(site.ask(&policy, known(), 0).0, 200);
            assert_eq!(site.ask(&policy, known(), 1).0, 429);
        }
    }

    #[test]
    fn a_reload_lets_nobody_begin_anew_and_another_limit_holds_for_the_window_that_is_open() {
        let site = Site::new();
        let before = site.policy(&spec(&[(3, 1_000)], LimitKey::All));
        site.ask(&before, Request::get("/"), 0);
        site.ask(&before, Request::get("/"), 0);
        let after = site.policy(&spec(&[(3, 1_000)], LimitKey::All));
        assert_eq!(site.ask(&after, Request::get("/"), 0), (200, [3, 0, 1_000]));
        let raised = site.policy(&spec(&[(5, 1_000)], LimitKey::All));
        assert_eq!(site.ask(&raised, Request::get("/"), 0), (200, [5, 1, 1_000]));
        let lowered = site.policy(&spec(&[(2, 1_000)], LimitKey::All));
        assert_eq!(site.ask(&lowered, Request::get("/"), 0).0, 429);
    }

    #[test]
    fn nothing_is_exposed_unless_asked_for() {
        let site = Site::new();
        let policy = site.policy(&RateLimiting { expose_headers: false, ..spec(&[(1, 1_000)], LimitKey::All) });
        assert_eq!(site.ask(&policy, Request::get("/"), 0), (200, [u64::MAX; 3]));
        assert_eq!(site.ask(&policy, Request::get("/"), 0), (429, [u64::MAX; 3]));
    }
}
