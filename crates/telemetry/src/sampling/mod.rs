//! Which traces are kept: decided when a request goes on to its upstream, and once more when it has ended.
//!
//! The first decision is the sampled flag that is sent on, and it never changes. It depends on the trace's id and not on a
//! number drawn here, so that two gateways with one percentage keep the same traces. What was not sampled may still be
//! kept at its end, because it failed or was slow: of such a trace there are this gateway's spans alone.

mod budget;
mod debug;
mod slow;

pub use budget::Budget;
pub use debug::{DebugMatch, DebugRule, DebugRules, MOST_RULES};
pub use slow::SlowThreshold;

use weir_config::{ParentDecision, Percent, Sampling};
use weir_event::TraceId;

/// The bits of a trace id that are random at Level 2 (W3C Trace Context 5.1): the right-most 56.
const RANDOM_BITS: u32 = 56;

/// Percentages as what a trace id is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    client: u64,
    random: u64,
    parent: ParentDecision,
}

/// What a caller asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The sampled flag of a trace that the request brought and that goes on, or what it wants of one that it did not bring.
    pub parent: Option<bool>,
    /// Whether the client asks for a trace, by `x-client-trace-id`.
    pub is_asked_for: bool,
}

impl Sampler {
    pub fn new(sampling: Sampling, parent: ParentDecision) -> Self {
        let of = |percent: Percent| threshold(percent.ratio().min(sampling.overall.ratio()));
        Self { client: of(sampling.client), random: of(sampling.random), parent }
    }

    /// Whether the request is sampled.
    #[inline]
    pub fn decide(self, trace: TraceId, asked: Asked) -> bool {
        if let (Some(sampled), ParentDecision::Follow) = (asked.parent, self.parent) {
            return sampled;
        }
        let most = if asked.is_asked_for { self.client.max(self.random) } else { self.random };
        is_sampled(trace, most)
    }
}

/// Whether a trace is one of `most` of 2^56.
#[inline]
pub(crate) fn is_sampled(trace: TraceId, most: u64) -> bool {
    u128::from_be_bytes(trace.0) as u64 & (u64::MAX >> (64 - RANDOM_BITS)) < most
}

/// How many of the 2^56 numbers are taken.
pub(crate) fn threshold(ratio: f64) -> u64 {
    (ratio * (1_u64 << RANDOM_BITS) as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(client: f64, random: f64, overall: f64) -> Sampler {
        let percent = |number: f64| Percent::of_ratio(number / 100.0).unwrap();
        let sampling = Sampling { client: percent(client), random: percent(random), overall: percent(overall) };
        Sampler::new(sampling, ParentDecision::Follow)
    }

    /// Of a thousand traces, how many of a hundred.
    fn share(sampler: Sampler, is_asked_for: bool) -> f64 {
        let mut rng = fastrand::Rng::with_seed(1);
        let asked = Asked { parent: None, is_asked_for };
        let sampled = (0..100_000).filter(|_| sampler.decide(TraceId(rng.u128(..).to_be_bytes()), asked)).count();
        sampled as f64 / 1000.0
    }

    #[test]
    fn percentages_are_kept() {
        assert_eq!((share(sampler(100.0, 100.0, 100.0), false), share(sampler(0.0, 0.0, 100.0), true)), (100.0, 0.0));
        assert!((share(sampler(0.0, 10.0, 100.0), false) - 10.0).abs() < 0.5);
        assert!((share(sampler(0.0, 0.5, 100.0), false) - 0.5).abs() < 0.1);
    }

    #[test]
    fn overall_is_the_most_of_all() {
        assert!((share(sampler(100.0, 100.0, 20.0), true) - 20.0).abs() < 0.5);
    }

    #[test]
    fn a_client_may_ask_for_more_than_chance() {
        assert_eq!(share(sampler(100.0, 0.0, 100.0), true), 100.0);
        assert_eq!(share(sampler(100.0, 0.0, 100.0), false), 0.0);
    }

    #[test]
    fn two_gateways_with_one_percentage_keep_the_same_traces() {
        let (one, other) = (sampler(0.0, 10.0, 100.0), sampler(0.0, 20.0, 100.0));
        let mut rng = fastrand::Rng::with_seed(2);
        for _ in 0..10_000 {
            let trace = TraceId(rng.u128(..).to_be_bytes());
            assert!(!one.decide(trace, Asked::default()) || other.decide(trace, Asked::default()));
        }
    }

    #[test]
    fn a_parent_decides_where_it_is_followed() {
        let trace = TraceId([0xff; 16]);
        let asked = |parent| Asked { parent: Some(parent), is_asked_for: true };
        let follow = sampler(100.0, 100.0, 100.0);
        assert!(follow.decide(trace, asked(true)) && !follow.decide(trace, asked(false)));
        let ignore = Sampler { parent: ParentDecision::Ignore, ..sampler(0.0, 0.0, 100.0) };
        assert!(!ignore.decide(trace, asked(true)));
    }
}
