//! The cells of one route, for every worker, and what a finished exchange adds to them.

use super::chain::Chain;
use super::exposition::Families;
use super::histogram::{DURATION_NS, Histogram, OVERHEAD_NS, SIZE, add};
use super::{catalogue, histogram::Reading};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use weir_event::{Exchange, Method, NameId, Names, RateLimitState, Reason, Turn, Verdict};

/// Combinations of method, status and reason that one route of one worker gets cells for; what comes after counts
/// under `__other__`, so that totals stay right and no client and no upstream can make series without end.
const MOST_ANSWERS: usize = 256;
const MOST_POLICIES: usize = 64;
const OTHER: &str = "__other__";

/// The names that a route's series carry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteLabels {
    /// Empty for what belongs to no route.
    pub api: String,
    pub route: String,
    pub service: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Answer {
    method: u8,
    status: u16,
    reason: u8,
}

#[derive(Debug)]
struct PolicyCells {
    duration: Histogram,
    rejected: AtomicU64,
}

/// One worker's cells.
#[derive(Debug)]
struct Cells {
    answers: Chain<Answer, Histogram>,
    other: Histogram,
    overhead: Histogram,
    attempts: Chain<u8, Histogram>,
    request_body: Histogram,
    response_body: Histogram,
    policies: Chain<(NameId, Verdict, Reason), PolicyCells>,
    /// By the byte of the state.
    limits: [AtomicU64; RateLimitState::ALL.len()],
}

impl Cells {
    fn new() -> Self {
        Self {
            answers: Chain::new(),
            other: Histogram::new(DURATION_NS),
            overhead: Histogram::new(OVERHEAD_NS),
            attempts: Chain::new(),
            request_body: Histogram::new(SIZE),
            response_body: Histogram::new(SIZE),
            policies: Chain::new(),
            limits: Default::default(),
        }
    }

    fn observe(&self, exchange: &Exchange) {
        let answer = Answer { method: exchange.method as u8, status: exchange.status, reason: exchange.reason as u8 };
        let cell = self.answers.get_or_make(answer, MOST_ANSWERS, || Histogram::new(DURATION_NS));
        cell.unwrap_or(&self.other).observe_duration(exchange.total());
        self.overhead.observe_duration(exchange.meter.spent(Turn::Gateway));
        self.request_body.observe(exchange.bytes_in);
        self.response_body.observe(exchange.bytes_out);
        if let Some(cell) = self.limits.get(exchange.rate_limit as usize) {
            add(cell, 1);
        }
        for attempt in &exchange.attempts {
            let reasons = Reason::ALL.len();
            let cell = self.attempts.get_or_make(attempt.outcome as u8, reasons, || Histogram::new(DURATION_NS));
            if let Some(cell) = cell {
                cell.observe_duration(attempt.took);
            }
        }
        for run in &exchange.policies {
            let rejected = run.verdict == Verdict::Rejected;
            let key = (run.policy, run.verdict, if rejected { exchange.reason } else { Reason::None });
            let make = || PolicyCells { duration: Histogram::new(OVERHEAD_NS), rejected: AtomicU64::new(0) };
            if let Some(cells) = self.policies.get_or_make(key, MOST_POLICIES, make) {
                cells.duration.observe_duration(run.took);
                add(&cells.rejected, u64::from(rejected));
            }
        }
    }
}

/// The cells of one route.
#[derive(Debug)]
pub struct RouteMetrics {
    labels: RouteLabels,
    workers: Vec<Cells>,
}

impl RouteMetrics {
    /// Cells for `workers` workers, all at 0.
    pub fn new(labels: RouteLabels, workers: usize) -> Self {
        Self { labels, workers: (0..workers).map(|_| Cells::new()).collect() }
    }

    /// The names that the series carry.
    pub fn labels(&self) -> &RouteLabels {
        &self.labels
    }

    /// Adds a finished exchange. Only ever called by the worker of that number, on its own thread.
    pub fn observe(&self, worker: usize, exchange: &Exchange) {
        if let Some(cells) = self.workers.get(worker) {
            cells.observe(exchange);
        }
    }

    /// Adds the route's series to an exposition.
    pub fn expose(&self, names: &Names, out: &mut Families) {
        self.expose_answers(out);
        let RouteLabels { api, route, service } = &self.labels;
        let own = [api.as_str(), route];
        out.histogram(&catalogue::OVERHEAD, &own, &self.sum(|cells| &cells.overhead));
        out.histogram(&catalogue::REQUEST_BODY, &own, &self.sum(|cells| &cells.request_body));
        out.histogram(&catalogue::RESPONSE_BODY, &own, &self.sum(|cells| &cells.response_body));
        let attempts = self.workers.iter().flat_map(|cells| cells.attempts.iter());
        for (reason, reading) in merged(attempts.map(|(key, cell)| (key, cell.read()))) {
            let reason = Reason::from_byte(reason).as_str();
            out.histogram(&catalogue::CLIENT_DURATION, &[api, route, service, reason], &reading);
        }
        self.expose_policies(names, out);
        self.expose_limits(out);
    }

    /// All states once there is one: a rate needs a point before the first request that is over.
    fn expose_limits(&self, out: &mut Families) {
        let count = |state: RateLimitState| -> u64 {
            self.workers.iter().map(|cells| cells.limits[state as usize].load(Ordering::Acquire)).sum()
        };
        let states = || RateLimitState::ALL.iter().filter(|state| **state != RateLimitState::None);
        if states().any(|state| count(*state) > 0) {
            let RouteLabels { api, route, .. } = &self.labels;
            states()
                .for_each(|state| out.counter(&catalogue::RATE_LIMITED, &[api, route, state.as_str()], count(*state)));
        }
    }

    fn expose_answers(&self, out: &mut Families) {
        let RouteLabels { api, route, service } = &self.labels;
        // A route starts with the series of its ordinary answer, at 0: a rate needs a point before the first request.
        let ordinary = Answer { method: Method::Get as u8, status: 200, reason: Reason::None as u8 };
        let zero = (!api.is_empty()).then(|| (ordinary, Histogram::new(DURATION_NS).read()));
        let answers = self.workers.iter().flat_map(|cells| cells.answers.iter());
        let mut unrouted: BTreeMap<&str, u64> = BTreeMap::new();
        for (key, reading) in merged(zero.into_iter().chain(answers.map(|(key, cell)| (key, cell.read())))) {
            let (method, status) = (Method::from_byte(key.method).as_str(), key.status.to_string());
            let reason = Reason::from_byte(key.reason).as_str();
            out.histogram(&catalogue::SERVER_DURATION, &[api, route, service, method, &status, reason], &reading);
            *unrouted.entry(reason).or_default() += reading.counts.iter().sum::<u64>();
        }
        let other = self.sum(|cells| &cells.other);
        if other.counts.iter().any(|count| *count > 0) {
            out.histogram(&catalogue::SERVER_DURATION, &[api, route, service, OTHER, OTHER, OTHER], &other);
            *unrouted.entry(OTHER).or_default() += other.counts.iter().sum::<u64>();
        }
        if api.is_empty() {
            unrouted.iter().for_each(|(reason, count)| out.counter(&catalogue::UNROUTED, &[reason], *count));
        }
    }

    fn expose_policies(&self, names: &Names, out: &mut Families) {
        let RouteLabels { api, route, .. } = &self.labels;
        let mut runs: BTreeMap<(String, &str), Reading> = BTreeMap::new();
        let mut rejected: BTreeMap<(String, &str), u64> = BTreeMap::new();
        for ((policy, verdict, reason), cells) in self.workers.iter().flat_map(|cells| cells.policies.iter()) {
            let policy = names.name(policy).unwrap_or_default().to_string();
            merge_into(&mut runs, (policy.clone(), verdict.as_str()), cells.duration.read());
            if verdict == Verdict::Rejected {
                *rejected.entry((policy, reason.as_str())).or_default() += cells.rejected.load(Ordering::Acquire);
            }
        }
        for ((policy, verdict), reading) in &runs {
            out.histogram(&catalogue::POLICY_DURATION, &[api, route, policy, verdict], reading);
        }
        for ((policy, reason), count) in &rejected {
            out.counter(&catalogue::REJECTED, &[api, route, policy, reason], *count);
        }
    }

    fn sum(&self, cell: impl Fn(&Cells) -> &Histogram) -> Reading {
        let mut readings = self.workers.iter().map(|cells| cell(cells).read());
        let first = readings.next().unwrap_or_else(|| Histogram::new(DURATION_NS).read());
        readings.fold(first, |mut sum, reading| {
            sum.merge(&reading);
            sum
        })
    }
}

fn merged<K: Ord>(readings: impl Iterator<Item = (K, Reading)>) -> BTreeMap<K, Reading> {
    let mut sums = BTreeMap::new();
    for (key, reading) in readings {
        merge_into(&mut sums, key, reading);
    }
    sums
}

fn merge_into<K: Ord>(sums: &mut BTreeMap<K, Reading>, key: K, reading: Reading) {
    match sums.get_mut(&key) {
        Some(sum) => sum.merge(&reading),
        None => drop(sums.insert(key, reading)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};
    use weir_event::{Attempt, Outcome, PolicyRun};

    fn labels() -> RouteLabels {
        RouteLabels { api: "orders".into(), route: "r".into(), service: "s".into() }
    }

    fn exchange(status: u16) -> Exchange {
        let now = Instant::now();
        let mut exchange = Exchange::new(now, 0);
        exchange.method = Method::Get;
        exchange.status = status;
        exchange.attempts.push(Attempt::new());
        exchange.finish(Outcome::Completed, now + Duration::from_millis(7));
        exchange
    }

    fn text(metrics: &RouteMetrics, names: &Names) -> String {
        let mut families = Families::default();
        metrics.expose(names, &mut families);
        families.text()
    }

    const OF_ROUTE: &str =
        r#"api="orders",http_request_method="GET",http_response_status_code="200",reason="",route="r",service="s""#;

    #[test]
    fn a_route_starts_at_zero() {
        let text = text(&RouteMetrics::new(labels(), 2), &Names::new());
        assert!(text.contains(&format!("http_server_request_duration_seconds_count{{{OF_ROUTE}}} 0\n")), "{text}");
        assert!(text.contains("# TYPE weir_gateway_overhead_seconds histogram\n"), "{text}");
    }

    #[test]
    fn workers_add_up() {
        let metrics = RouteMetrics::new(labels(), 2);
        metrics.observe(0, &exchange(200));
        metrics.observe(1, &exchange(200));
        metrics.observe(1, &exchange(503));
        let text = text(&metrics, &Names::new());
        assert!(text.contains(&format!("http_server_request_duration_seconds_count{{{OF_ROUTE}}} 2\n")), "{text}");
        assert!(text.contains(&format!("http_server_request_duration_seconds_sum{{{OF_ROUTE}}} 0.014\n")), "{text}");
        assert!(text.contains(&format!("http_server_request_duration_seconds_bucket{{{OF_ROUTE},le=\"0.005\"}} 0\n")));
        assert!(text.contains(&format!("http_server_request_duration_seconds_bucket{{{OF_ROUTE},le=\"0.01\"}} 2\n")));
        assert!(
            text.contains(
                r#"http_client_request_duration_seconds_count{api="orders",reason="",route="r",service="s"} 3"#
            )
        );
    }

    #[test]
    fn a_flood_of_statuses_counts_under_other() {
        let metrics = RouteMetrics::new(labels(), 1);
        for status in 0..1000 {
            metrics.observe(0, &exchange(status));
        }
        let text = text(&metrics, &Names::new());
        let counts = text.lines().filter(|line| line.starts_with("http_server_request_duration_seconds_count{"));
        let total: u64 = counts.clone().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
        assert_eq!(total, 1000);
        assert!(counts.count() <= MOST_ANSWERS + 2);
        assert!(text.contains(OTHER));
    }

    #[test]
    fn what_has_no_route_is_one_series_a_reason() {
        let metrics = RouteMetrics::new(RouteLabels::default(), 1);
        for method in [Method::Get, Method::Post] {
            let mut exchange = exchange(404);
            (exchange.method, exchange.reason) = (method, Reason::NoRoute);
            metrics.observe(0, &exchange);
        }
        let text = text(&metrics, &Names::new());
        let series: Vec<_> = text.lines().filter(|line| line.starts_with("weir_requests_unrouted_total{")).collect();
        assert_eq!(series, [r#"weir_requests_unrouted_total{reason="no_route"} 2"#]);
    }

    #[test]
    fn a_limiter_that_is_full_is_seen() {
        let metrics = RouteMetrics::new(labels(), 2);
        metrics.observe(0, &exchange(200));
        assert!(!text(&metrics, &Names::new()).contains("weir_rate_limit_requests_total{"), "no limit, no series");
        for (worker, state) in
            [(0, RateLimitState::Within), (1, RateLimitState::Within), (1, RateLimitState::WithinShared)]
        {
            let mut exchange = exchange(200);
            exchange.rate_limit = state;
            metrics.observe(worker, &exchange);
        }
        let text = text(&metrics, &Names::new());
        for (state, count) in [("within", 2), ("exceeded", 0), ("within_shared", 1), ("exceeded_shared", 0)] {
            let series = format!(r#"weir_rate_limit_requests_total{{api="orders",route="r",state="{state}"}} {count}"#);
            assert!(text.contains(&series), "{text}");
        }
    }

    #[test]
    fn a_rejection_names_its_policy_and_reason() {
        let (metrics, names) = (RouteMetrics::new(labels(), 1), Names::new());
        let mut exchange = exchange(401);
        exchange.reason = Reason::AuthenticationFailed;
        let policy = names.register("basic");
        let took = Duration::from_micros(3);
        exchange.policies.push(PolicyRun { policy, verdict: Verdict::Rejected, took });
        metrics.observe(0, &exchange);
        let rejected =
            r#"weir_requests_rejected_total{api="orders",policy="basic",reason="authentication_failed",route="r"} 1"#;
        let text = text(&metrics, &names);
        assert!(text.contains(rejected), "{text}");
    }
}
