//! Which requests have a line in the access log: decided by the worker, before anything is copied.

use crate::sampling::{Budget, is_sampled, threshold};
use std::time::Duration;
use weir_config::{AccessLog, LineFilter};
use weir_event::{Exchange, Reason};

/// What becomes of a request's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineDecision {
    Write,
    /// Nobody wants it.
    Skip,
    /// It is wanted, and the second has had its lines: to be counted.
    LeaveOut,
}

/// The rule of one API, or of all that have none.
#[derive(Debug)]
pub struct LineRule {
    filters: Vec<Filter>,
    per_second: Option<u32>,
    budget: Budget,
}

/// A filter as it is asked.
#[derive(Debug)]
struct Filter {
    statuses: Vec<(u16, u16)>,
    min_duration: Duration,
    reasons: Vec<Reason>,
    /// Of the 2^56 numbers that a trace id may end in, how many are taken.
    sampling: Option<u64>,
}

impl LineRule {
    pub fn new(log: &AccessLog) -> Self {
        let filter = |filter: &LineFilter| Filter {
            statuses: filter.statuses.clone(),
            min_duration: filter.min_duration.unwrap_or_default(),
            reasons: filter.reasons.clone(),
            sampling: filter.sampling.map(|percent| threshold(percent.ratio())),
        };
        let filters = log.filters.iter().map(filter).collect();
        Self { filters, per_second: log.per_second, budget: Budget::default() }
    }

    /// Of an exchange that has ended.
    pub fn decide(&self, exchange: &Exchange) -> LineDecision {
        if !self.filters.is_empty() && !self.filters.iter().any(|filter| filter.takes(exchange)) {
            return LineDecision::Skip;
        }
        let Some(most) = self.per_second else { return LineDecision::Write };
        let ended = exchange.started_us / 1_000_000 + i64::try_from(exchange.total().as_secs()).unwrap_or_default();
        let second = u32::try_from(ended).unwrap_or_default();
        if self.budget.take(second, most) { LineDecision::Write } else { LineDecision::LeaveOut }
    }
}

impl Filter {
    fn takes(&self, exchange: &Exchange) -> bool {
        let is_among = |(from, to): &(u16, u16)| (*from..=*to).contains(&exchange.status);
        (self.statuses.is_empty() || self.statuses.iter().any(is_among))
            && (self.reasons.is_empty() || self.reasons.contains(&exchange.reason))
            && exchange.total() >= self.min_duration
            && self.sampling.is_none_or(|most| is_sampled(exchange.trace.trace, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_config::Percent;
    use weir_event::Instant;
    use weir_event::{Outcome, TraceId};

    fn exchange(status: u16, reason: Reason, took: Duration) -> Exchange {
        let now = Instant::now();
        let mut exchange = Exchange::new(now, 1_000_000_000);
        exchange.status = status;
        exchange.blame(reason);
        exchange.finish(Outcome::Completed, now + took);
        exchange
    }

    fn rule(filters: Vec<LineFilter>, per_second: Option<u32>) -> LineRule {
        LineRule::new(&AccessLog { filters, per_second })
    }

    #[test]
    fn one_filter_takes_it_by_all_that_it_says() {
        let failed =
            LineFilter { statuses: vec![(500, 599)], reasons: vec![Reason::UpstreamTimeout], ..LineFilter::default() };
        let slow = LineFilter { min_duration: Some(Duration::from_millis(500)), ..LineFilter::default() };
        let rule = rule(vec![failed, slow], None);
        for (status, reason, ms, expected) in [
            (200, Reason::None, 1, LineDecision::Skip),
            (200, Reason::None, 500, LineDecision::Write),
            (504, Reason::UpstreamTimeout, 1, LineDecision::Write),
            (504, Reason::UpstreamTimeout, 900, LineDecision::Write),
            (502, Reason::ConnectionRefused, 1, LineDecision::Skip),
        ] {
            assert_eq!(rule.decide(&exchange(status, reason, Duration::from_millis(ms))), expected, "{status} {ms}");
        }
    }

    #[test]
    fn without_filters_each_has_a_line_and_a_second_has_so_many() {
        let rule = rule(Vec::new(), Some(3));
        let decisions: Vec<_> = (0..5).map(|_| rule.decide(&exchange(200, Reason::None, Duration::ZERO))).collect();
        let (write, left) = (LineDecision::Write, LineDecision::LeaveOut);
        assert_eq!(decisions, [write, write, write, left, left]);
    }

    #[test]
    fn a_share_is_chosen_by_the_trace() {
        let filter = LineFilter { sampling: Percent::of_ratio(0.1), ..LineFilter::default() };
        let rule = rule(vec![filter], None);
        let mut rng = fastrand::Rng::with_seed(1);
        let mut of = exchange(200, Reason::None, Duration::ZERO);
        let written = (0..10_000).filter(|_| {
            of.trace.trace = TraceId(rng.u128(..).to_be_bytes());
            rule.decide(&of) == LineDecision::Write
        });
        assert!((900..1100).contains(&written.count()));
    }
}
