//! The cells of one route, for every worker, and what a finished exchange adds to them.

use super::Exposition;
use super::bounds::{DURATION_NS, OVERHEAD_NS, SIZE};
use super::cardinality::{Admitted, Cardinality, Limited};
use super::chain::Chain;
use crate::sampling::{Budget, SlowThreshold};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use weir_config::Keep;
use weir_event::{Exchange, Kept, NameId, Names, RateLimitState, Reason, Side, Verdict};
use weir_metrics::{Histogram, Reading, WithExemplars, add};

/// Combinations of method, status and reason that one route gets series for, within the limit for all routes
/// ([`Cardinality`]); what comes after counts under `__other__`.
const MOST_ANSWERS: usize = 256;
/// The same of policy, verdict and reason: policies get other names while a gateway runs.
const MOST_POLICIES: usize = 64;
pub(super) const OTHER: &str = "__other__";

/// The names that a route's series carry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteLabels {
    /// Empty for what belongs to no route.
    pub api: String,
    pub route: String,
    pub service: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Answer {
    pub(super) method: u8,
    pub(super) status: u16,
    pub(super) reason: u8,
}

/// As OpenTelemetry has it: the reason of what failed, and the status where there is none.
pub(super) fn error_type(answer: Answer) -> String {
    match Reason::from_byte(answer.reason) {
        _ if !answer.is_failure() => String::new(),
        Reason::None => answer.status.to_string(),
        reason => reason.as_str().to_owned(),
    }
}

impl Answer {
    /// What the service is to blame for, or the gateway: what an alert on errors is about.
    fn is_failure(self) -> bool {
        let reason = Reason::from_byte(self.reason);
        match reason.side() {
            Side::Upstream => true,
            Side::Gateway if reason != Reason::PolicyAnswered => true,
            _ => self.status >= 500,
        }
    }
}

/// Whether the service is to blame for how the exchange ended, or the gateway.
fn is_failure(exchange: &Exchange) -> bool {
    Answer { method: 0, status: exchange.status, reason: exchange.reason as u8 }.is_failure()
}

#[derive(Debug)]
pub(super) struct PolicyCells {
    pub(super) duration: Histogram,
    pub(super) rejected: AtomicU64,
}

impl PolicyCells {
    fn new() -> Self {
        Self { duration: Histogram::of_durations(OVERHEAD_NS), rejected: AtomicU64::new(0) }
    }
}

/// One worker's cells, made by the first request.
#[derive(Debug)]
pub(super) struct Cells {
    pub(super) answers: Chain<Answer, WithExemplars>,
    pub(super) other: WithExemplars,
    /// Of [`Cells::other`], those that failed.
    pub(super) other_failed: AtomicU64,
    /// Tunnels that were opened: how long that took, and how they end, is no measure of requests.
    tunnels: AtomicU64,
    pub(super) overhead: Histogram,
    pub(super) attempts: Chain<u8, Histogram>,
    pub(super) other_attempts: Histogram,
    /// Of [`Cells::other_attempts`], those that had no connection.
    other_unconnected: AtomicU64,
    /// Of the attempts, those that opened a connection.
    pub(super) opened: AtomicU64,
    pub(super) request_body: Histogram,
    pub(super) response_body: Histogram,
    pub(super) policies: Chain<(NameId, Verdict, Reason), PolicyCells>,
    pub(super) other_policies: PolicyCells,
    /// By the byte of the state.
    pub(super) limits: [AtomicU64; RateLimitState::ALL.len()],
    /// Made by the first one.
    pub(super) links: OnceLock<Histogram>,
    pub(super) slow: SlowThreshold,
}

impl Cells {
    fn new() -> Box<Self> {
        Box::new(Self {
            answers: Chain::new(),
            other: WithExemplars::new(DURATION_NS),
            other_failed: AtomicU64::new(0),
            tunnels: AtomicU64::new(0),
            overhead: Histogram::of_durations(OVERHEAD_NS),
            attempts: Chain::new(),
            other_attempts: Histogram::of_durations(DURATION_NS),
            other_unconnected: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            request_body: Histogram::of_numbers(SIZE),
            response_body: Histogram::of_numbers(SIZE),
            policies: Chain::new(),
            other_policies: PolicyCells::new(),
            limits: Default::default(),
            links: OnceLock::new(),
            slow: SlowThreshold::default(),
        })
    }

    fn observe(&self, exchange: &Exchange, admitted: &LabelSets, exemplar: bool) {
        if exchange.is_tunnel() {
            add(&self.tunnels, 1);
        } else {
            self.observe_answer(exchange, admitted, exemplar);
        }
        self.overhead.observe_duration(exchange.overhead());
        self.request_body.observe(exchange.bytes_in);
        self.response_body.observe(exchange.bytes_out);
        if let Some(cell) = self.limits.get(exchange.rate_limit as usize) {
            add(cell, 1);
        }
        if !exchange.link.is_zero() {
            self.links.get_or_init(|| Histogram::of_durations(DURATION_NS)).observe_duration(exchange.link);
        }
        for attempt in &exchange.attempts {
            let key = attempt.outcome as u8;
            let may = || admitted.attempts.admits(key);
            match self.attempts.get_or_make(key, may, || Histogram::of_durations(DURATION_NS)) {
                Some(cell) => cell.observe_duration(attempt.took),
                None => {
                    self.other_attempts.observe_duration(attempt.took);
                    add(&self.other_unconnected, u64::from(attempt.outcome.is_without_connection()));
                }
            }
            add(&self.opened, u64::from(attempt.connect_us > 0 && !attempt.outcome.is_without_connection()));
        }
        for run in &exchange.policies {
            let rejected = run.verdict == Verdict::Rejected;
            let key = (run.policy, run.verdict, if rejected { exchange.reason } else { Reason::None });
            let may = || admitted.policies.admits(key);
            let cells = self.policies.get_or_make(key, may, PolicyCells::new).unwrap_or(&self.other_policies);
            cells.duration.observe_duration(run.took);
            add(&cells.rejected, u64::from(rejected));
        }
    }
}

impl Cells {
    #[inline(always)]
    fn observe_answer(&self, exchange: &Exchange, admitted: &LabelSets, exemplar: bool) {
        let answer = Answer { method: exchange.method as u8, status: exchange.status, reason: exchange.reason as u8 };
        let total = exchange.total();
        // In 64 bits, where `Duration::as_micros` divides in 128.
        let took_us = (total.as_secs() as i64).wrapping_mul(1_000_000).wrapping_add(i64::from(total.subsec_micros()));
        let ended_us = exchange.started_us.wrapping_add(took_us);
        // Of every request there is an event, by these numbers.
        let ids = || (u128::from_be_bytes(exchange.trace.trace.0), u64::from_be_bytes(exchange.trace.span.0));
        let of = || exemplar.then(ids);
        let may = || admitted.answers.admits(answer);
        match self.answers.get_or_make(answer, may, || WithExemplars::new(DURATION_NS)) {
            Some(cell) => cell.observe_duration(total, ended_us, of),
            None => {
                self.other.observe_duration(total, ended_us, of);
                add(&self.other_failed, u64::from(answer.is_failure()));
            }
        }
    }

    pub(super) fn requests(&self) -> u64 {
        let answers = self.answers.iter().map(|(_, cell)| cell.count()).sum::<u64>() + self.other.count();
        answers + self.tunnels.load(Ordering::Acquire)
    }

    pub(super) fn failed(&self) -> u64 {
        let failed = self.answers.iter().filter(|(answer, _)| answer.is_failure()).map(|(_, cell)| cell.count());
        failed.sum::<u64>() + self.other_failed.load(Ordering::Acquire)
    }
}

/// What the attempts at a service needed of connections to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connects {
    pub opened: u64,
    pub failed: u64,
}

/// The label sets that traffic has made of one route, and that have their own series.
#[derive(Debug)]
struct LabelSets {
    answers: Admitted<Answer>,
    attempts: Admitted<u8>,
    policies: Admitted<(NameId, Verdict, Reason)>,
}

/// The cells of one route.
#[derive(Debug)]
pub struct RouteMetrics {
    pub(super) labels: RouteLabels,
    admitted: LabelSets,
    /// The path's template, as it is configured now: OpenTelemetry's `http.route`.
    template: Mutex<String>,
    workers: Vec<OnceLock<Box<Cells>>>,
    /// Of traces that are kept at their end.
    late: Budget,
    /// When its series began at 0, in seconds since the Unix epoch.
    began: f64,
}

/// Adds one family's series of a route to an exposition.
pub type Expose = fn(&RouteMetrics, &Names, &mut Exposition);

impl RouteMetrics {
    /// For `workers` workers; nothing is counted yet.
    pub fn new(labels: RouteLabels, workers: usize, cardinality: &Arc<Cardinality>) -> Self {
        let admitted = LabelSets {
            answers: Admitted::new(cardinality, Limited::Requests, MOST_ANSWERS),
            attempts: Admitted::new(cardinality, Limited::Attempts, Reason::ALL.len()),
            policies: Admitted::new(cardinality, Limited::Policies, MOST_POLICIES),
        };
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let workers = (0..workers).map(|_| OnceLock::new()).collect();
        Self { labels, admitted, template: Mutex::default(), workers, late: Budget::default(), began }
    }

    /// Says what the path's template is from now on.
    pub fn set_template(&self, template: &str) {
        template.clone_into(&mut self.template.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn template(&self) -> String {
        self.template.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds one of [`Self::FAMILIES`] to an exposition.
    pub fn expose(&self, family: Expose, names: &Names, out: &mut Exposition) {
        out.began(self.began);
        family(self, names, out);
    }

    /// The names that the series carry.
    pub fn labels(&self) -> &RouteLabels {
        &self.labels
    }

    /// Adds a finished exchange, which may be an `exemplar` or not. Only ever called by the worker of that number, on its own thread.
    pub fn observe(&self, worker: usize, exchange: &Exchange, exemplar: bool) {
        if let Some(cells) = self.workers.get(worker) {
            cells.get_or_init(Cells::new).observe(exchange, &self.admitted, exemplar);
        }
    }

    /// Why the spans of a finished exchange that was not sampled are kept all the same, if they are. Called as
    /// [`RouteMetrics::observe`], after it, once an exchange.
    pub fn kept_late(&self, worker: usize, exchange: &Exchange, keep: Keep) -> Option<Kept> {
        // Every request counts for what is slow.
        let cells = self.workers.get(worker).filter(|_| keep.slow).and_then(OnceLock::get);
        let is_slow = cells.is_some_and(|cells| cells.slow.is_exceeded_by(exchange.total()));
        if exchange.trace.kept.is_some() {
            return None;
        }
        let why = if keep.failed && is_failure(exchange) {
            Kept::Failed
        } else if is_slow {
            Kept::Slow
        } else {
            return None;
        };
        let second = u32::try_from(exchange.started_us / 1_000_000).unwrap_or_default();
        self.late.take(second, keep.per_second).then_some(why)
    }

    /// `None` while no worker has had a request.
    pub fn connects(&self) -> Option<Connects> {
        let of_worker = |cells: &Cells| {
            let failed = cells.attempts.iter().filter(|(reason, _)| Reason::from_byte(*reason).is_without_connection());
            let failed = failed.map(|(_, cell)| cell.count()).sum::<u64>();
            let failed = failed + cells.other_unconnected.load(Ordering::Acquire);
            Connects { opened: cells.opened.load(Ordering::Acquire), failed }
        };
        let sum = |one: Connects, more: Connects| Connects {
            opened: one.opened + more.opened,
            failed: one.failed + more.failed,
        };
        self.cells().map(of_worker).reduce(sum)
    }

    /// Of the workers that have had a request.
    pub(super) fn cells(&self) -> impl Iterator<Item = &Cells> {
        self.workers.iter().filter_map(|cells| cells.get().map(|cells| &**cells))
    }

    pub(super) fn own(&self) -> [&str; 2] {
        [&self.labels.api, &self.labels.route]
    }

    pub(super) fn sum_of(&self, count: impl Fn(&Cells) -> u64) -> u64 {
        self.cells().map(count).sum()
    }

    /// `None` while no worker has had a request.
    pub(super) fn sum(&self, reading: impl Fn(&Cells) -> Reading) -> Option<Reading> {
        self.cells().map(reading).reduce(|mut sum, reading| {
            sum.merge(&reading);
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use weir_event::Instant;
    use weir_event::{Attempt, Method, Outcome, PolicyRun, TUNNEL_DURATION};

    fn labels() -> RouteLabels {
        RouteLabels { api: "orders".into(), route: "r".into(), service: "s".into() }
    }

    fn metrics(workers: usize) -> RouteMetrics {
        let metrics = RouteMetrics::new(labels(), workers, &Arc::new(Cardinality::new(1000)));
        metrics.set_template("/orders/.*");
        metrics
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
        let mut out = Exposition::default();
        RouteMetrics::FAMILIES.iter().for_each(|family| metrics.expose(*family, names, &mut out));
        String::from_utf8(out.finish()).unwrap()
    }

    const OF_ROUTE: &str = r#"api="orders",error_type="",http_request_method="GET",http_response_status_code="200",http_route="/orders/.*",route="r",service="s""#;

    #[test]
    fn counters_start_at_zero_and_histograms_with_the_first_request() {
        let metrics = metrics(2);
        let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
        let before = text(&metrics, &Names::new());
        for name in ["weir_requests_total", "weir_requests_failed_total"] {
            assert!(before.contains(&format!("{name}{{api=\"orders\",route=\"r\"}} 0\n")), "{before}");
        }
        assert_eq!(samples(&before), 2);
        metrics.observe(1, &exchange(200), true);
        let after = text(&metrics, &Names::new());
        assert!(after.contains("# TYPE weir_gateway_overhead_seconds histogram\n"), "{after}");
        assert!(samples(&after) > 60);
    }

    #[test]
    fn a_failure_is_the_services_or_the_gateways() {
        let metrics = metrics(2);
        let reported = [
            (200, Reason::None, 0),
            (404, Reason::None, 0),
            (429, Reason::RateLimited, 0),
            (503, Reason::None, 1),
            (200, Reason::ResponseIncomplete, 1),
            (200, Reason::PolicyAnswered, 0),
            (503, Reason::Overloaded, 1),
            (499, Reason::ClientClosed, 0),
        ];
        for (worker, (status, reason, _)) in reported.iter().enumerate() {
            let mut exchange = exchange(*status);
            exchange.reason = *reason;
            metrics.observe(worker % 2, &exchange, true);
        }
        let text = text(&metrics, &Names::new());
        let failed: u64 = reported.iter().map(|(_, _, failed)| failed).sum();
        let series = |name: &str, count: u64| format!("{name}{{api=\"orders\",route=\"r\"}} {count}\n");
        assert!(text.contains(&series("weir_requests_total", reported.len() as u64)), "{text}");
        assert!(text.contains(&series("weir_requests_failed_total", failed)), "{text}");
    }

    /// Over HTTP/1.1, and over HTTP/2 (RFC 8441), where it is answered with 200.
    #[test]
    fn a_tunnel_is_a_request_without_a_duration() {
        let metrics = metrics(1);
        for status in [101, 200] {
            let mut exchange = exchange(status);
            exchange.attrs.push((TUNNEL_DURATION, "7000000".into()));
            // Cut off by its service, and by a drain.
            for reason in [Reason::None, Reason::ResponseIncomplete, Reason::GatewayDraining] {
                exchange.reason = reason;
                metrics.observe(0, &exchange, true);
            }
        }
        let of = |text: &str, name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        let tunnels = text(&metrics, &Names::new());
        assert!(tunnels.contains("weir_requests_total{api=\"orders\",route=\"r\"} 6\n"), "{tunnels}");
        assert!(tunnels.contains("weir_requests_failed_total{api=\"orders\",route=\"r\"} 0\n"), "{tunnels}");
        assert_eq!(of(&tunnels, "http_server_request_duration_seconds"), 0, "{tunnels}");
        metrics.observe(0, &exchange(200), true);
        let text = text(&metrics, &Names::new());
        assert!(text.contains(&format!("http_server_request_duration_seconds_count{{{OF_ROUTE}}} 1\n")), "{text}");
    }

    #[test]
    fn workers_add_up() {
        let metrics = metrics(2);
        metrics.observe(0, &exchange(200), true);
        metrics.observe(1, &exchange(200), true);
        metrics.observe(1, &exchange(503), true);
        let text = text(&metrics, &Names::new());
        assert!(text.contains(&format!("http_server_request_duration_seconds_count{{{OF_ROUTE}}} 2\n")), "{text}");
        assert!(text.contains(&format!("http_server_request_duration_seconds_sum{{{OF_ROUTE}}} 0.014\n")), "{text}");
        assert!(text.contains(&format!("http_server_request_duration_seconds_bucket{{{OF_ROUTE},le=\"0.005\"}} 0\n")));
        assert!(text.contains(&format!("http_server_request_duration_seconds_bucket{{{OF_ROUTE},le=\"0.01\"}} 2\n")));
        assert!(
            text.contains(
                r#"http_client_request_duration_seconds_count{api="orders",error_type="",http_route="/orders/.*",route="r",service="s"} 3"#
            )
        );
    }

    #[test]
    fn a_flood_of_statuses_counts_under_other() {
        let metrics = metrics(1);
        for status in 0..1000 {
            metrics.observe(0, &exchange(status), true);
        }
        let text = text(&metrics, &Names::new());
        for (name, count) in [("weir_requests_total", 1000), ("weir_requests_failed_total", 500)] {
            assert!(text.contains(&format!("{name}{{api=\"orders\",route=\"r\"}} {count}\n")), "{text}");
        }
        let counts = text.lines().filter(|line| line.starts_with("http_server_request_duration_seconds_count{"));
        let total: u64 = counts.clone().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
        assert_eq!(total, 1000);
        assert!(counts.count() <= MOST_ANSWERS + 2);
        assert!(text.contains(OTHER));
    }

    #[test]
    fn what_has_no_route_is_one_series_a_reason() {
        let metrics = RouteMetrics::new(RouteLabels::default(), 1, &Arc::new(Cardinality::new(1000)));
        for method in [Method::Get, Method::Post] {
            let mut exchange = exchange(404);
            (exchange.method, exchange.reason) = (method, Reason::NoRoute);
            metrics.observe(0, &exchange, true);
        }
        let text = text(&metrics, &Names::new());
        let series: Vec<_> = text.lines().filter(|line| line.starts_with("weir_requests_unrouted_total{")).collect();
        assert_eq!(series, [r#"weir_requests_unrouted_total{reason="no_route"} 2"#]);
    }

    #[test]
    fn a_flood_of_policies_counts_under_other() {
        let (metrics, names) = (metrics(1), Names::new());
        let mut rejected = exchange(403);
        rejected.reason = Reason::IpDenied;
        for number in 0..200 {
            let policy = names.register(&format!("policy-{number}"));
            rejected.policies.clear();
            rejected.policies.push(PolicyRun::new(policy, Verdict::Rejected));
            metrics.observe(0, &rejected, true);
        }
        let text = text(&metrics, &names);
        let total = |name: &str| -> u64 {
            let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
        };
        assert_eq!((total("weir_policy_duration_seconds_count"), total("weir_requests_rejected_total")), (200, 200));
        let other = r#"weir_requests_rejected_total{api="orders",policy="__other__",reason="__other__",route="r"} 136"#;
        assert!(text.contains(other), "{text}");
    }

    #[test]
    fn connections_are_opened_or_not_and_kept_ones_are_neither() {
        let metrics = metrics(2);
        assert_eq!(metrics.connects(), None);
        let attempt = |connect_us, outcome| Attempt { connect_us, outcome, ..Attempt::new() };
        for (worker, attempts) in [
            (0, vec![attempt(120, Reason::None), attempt(0, Reason::None), attempt(80, Reason::UpstreamTimeout)]),
            (1, vec![attempt(90, Reason::ConnectionRefused), attempt(0, Reason::DnsError)]),
        ] {
            let mut exchange = exchange(200);
            exchange.attempts = attempts.into_iter().collect();
            metrics.observe(worker, &exchange, true);
        }
        assert_eq!(metrics.connects(), Some(Connects { opened: 2, failed: 2 }));
    }

    #[test]
    fn a_limiter_that_is_full_is_seen() {
        let metrics = metrics(2);
        metrics.observe(0, &exchange(200), true);
        assert!(!text(&metrics, &Names::new()).contains("weir_rate_limit_requests_total{"), "no limit, no series");
        for (worker, state) in
            [(0, RateLimitState::Within), (1, RateLimitState::Within), (1, RateLimitState::WithinShared)]
        {
            let mut exchange = exchange(200);
            exchange.rate_limit = state;
            metrics.observe(worker, &exchange, true);
        }
        let text = text(&metrics, &Names::new());
        for (state, count) in [("within", 2), ("exceeded", 0), ("within_shared", 1), ("exceeded_shared", 0)] {
            let series = format!(r#"weir_rate_limit_requests_total{{api="orders",route="r",state="{state}"}} {count}"#);
            assert!(text.contains(&series), "{text}");
        }
    }

    #[test]
    fn a_rejection_names_its_policy_and_reason() {
        let (metrics, names) = (metrics(1), Names::new());
        let mut exchange = exchange(401);
        exchange.reason = Reason::AuthenticationFailed;
        let policy = names.register("basic");
        let took = Duration::from_micros(3);
        exchange.policies.push(PolicyRun { took, ..PolicyRun::new(policy, Verdict::Rejected) });
        metrics.observe(0, &exchange, true);
        let rejected =
            r#"weir_requests_rejected_total{api="orders",policy="basic",reason="authentication_failed",route="r"} 1"#;
        let text = text(&metrics, &names);
        assert!(text.contains(rejected), "{text}");
    }

    #[test]
    fn what_is_sampled_takes_nothing_of_the_budget_for_what_is_not() {
        let (metrics, keep) = (metrics(1), Keep { failed: true, slow: true, per_second: 1 });
        let mut sampled = exchange(503);
        sampled.trace.kept = Some(Kept::Sampled);
        let ends = |exchange: &Exchange| {
            metrics.observe(0, exchange, true);
            metrics.kept_late(0, exchange, keep)
        };
        assert_eq!(ends(&sampled), None);
        assert_eq!([ends(&exchange(503)), ends(&exchange(503))], [Some(Kept::Failed), None]);
    }
}
