//! The series of one route: what its cells say, over all workers.

use super::Exposition;
use super::catalogue;
use super::route::{Cells, Expose, OTHER, PolicyCells, RouteLabels, RouteMetrics, error_type};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use weir_event::{Method, Names, RateLimitState, Reason, Verdict};
use weir_metrics::{Family, Histogram, HistogramKind, Reading};

impl RouteMetrics {
    /// The families that a route has series of; of all routes, one family is written after the other.
    pub const FAMILIES: &[Expose] = &[
        |route, _, out| out.counter(&catalogue::REQUESTS, &route.own(), route.sum_of(Cells::requests)),
        |route, _, out| out.counter(&catalogue::FAILED, &route.own(), route.sum_of(Cells::failed)),
        |route, _, out| route.expose_answers(out),
        |route, _, out| route.expose_overhead(out),
        |route, _, out| route.expose_attempts(out),
        |route, _, out| route.expose_links(out),
        |route, _, out| route.expose_bodies(&catalogue::REQUEST_BODY, |cells| &cells.request_body, out),
        |route, _, out| route.expose_bodies(&catalogue::RESPONSE_BODY, |cells| &cells.response_body, out),
        |route, names, out| route.expose_policies(names, out),
        |route, names, out| route.expose_rejected(names, out),
        |route, _, out| route.expose_limits(out),
        |route, _, out| route.expose_unrouted(out),
    ];

    fn expose_attempts(&self, out: &mut Exposition) {
        let (RouteLabels { api, route, service }, template) = (&self.labels, self.template());
        let attempts = self.cells().flat_map(|cells| cells.attempts.iter());
        for (reason, reading) in merged(attempts.map(|(key, cell)| (key, cell.read()))) {
            let reason = Reason::from_byte(reason).as_str();
            out.histogram(&catalogue::CLIENT_DURATION, &[api, route, &template, service, reason], reading);
        }
        let other = self.sum(|cells| cells.other_attempts.read());
        if let Some(other) = other.filter(|other| !other.is_empty()) {
            out.histogram(&catalogue::CLIENT_DURATION, &[api, route, &template, service, OTHER], other);
        }
    }

    /// All states once there is one: a rate needs a point before the first request that is over.
    fn expose_limits(&self, out: &mut Exposition) {
        let count = |state: RateLimitState| -> u64 {
            self.sum_of(|cells| cells.limits[state as usize].load(Ordering::Acquire))
        };
        let states = || RateLimitState::ALL.iter().filter(|state| **state != RateLimitState::None);
        if states().any(|state| count(*state) > 0) {
            let RouteLabels { api, route, .. } = &self.labels;
            states()
                .for_each(|state| out.counter(&catalogue::RATE_LIMITED, &[api, route, state.as_str()], count(*state)));
        }
    }

    fn expose_links(&self, out: &mut Exposition) {
        let readings = self.cells().filter_map(|cells| cells.links.get()).map(Histogram::read);
        let sum = readings.reduce(|mut sum, reading| {
            sum.merge(&reading);
            sum
        });
        let RouteLabels { api, route, service } = &self.labels;
        sum.into_iter().for_each(|sum| out.histogram(&catalogue::LINK_DURATION, &[api, route, service], sum));
    }

    fn expose_answers(&self, out: &mut Exposition) {
        let (RouteLabels { api, route, service }, template) = (&self.labels, self.template());
        let answers = self.cells().flat_map(|cells| cells.answers.iter());
        // Reasons that are no errors are one series.
        let answers = answers.map(|(key, cell)| ((key.method, key.status, error_type(key)), cell.read()));
        for ((method, status, error), reading) in merged(answers) {
            let (method, status) = (Method::from_byte(method).as_str(), status.to_string());
            let labels = [api, route, &template, service, method, &status, &error];
            out.histogram(&catalogue::SERVER_DURATION, &labels, reading);
        }
        let other = self.sum(|cells| cells.other.read());
        if let Some(other) = other.filter(|other| !other.is_empty()) {
            let labels = [api, route, &template, service, OTHER, OTHER, OTHER];
            out.histogram(&catalogue::SERVER_DURATION, &labels, other);
        }
    }

    /// Of what has no route, one series a reason.
    fn expose_unrouted(&self, out: &mut Exposition) {
        if !self.labels.api.is_empty() {
            return;
        }
        let mut unrouted: BTreeMap<&str, u64> = BTreeMap::new();
        for cells in self.cells() {
            for (key, cell) in cells.answers.iter() {
                *unrouted.entry(Reason::from_byte(key.reason).as_str()).or_default() += cell.count();
            }
            if cells.other.count() > 0 {
                *unrouted.entry(OTHER).or_default() += cells.other.count();
            }
        }
        unrouted.iter().for_each(|(reason, count)| out.counter(&catalogue::UNROUTED, &[reason], *count));
    }

    fn expose_policies(&self, names: &Names, out: &mut Exposition) {
        let runs = self.policies(names).map(|(policy, verdict, _, cells)| ((policy, verdict), cells.duration.read()));
        for ((policy, verdict), reading) in merged(runs) {
            let [api, route] = self.own();
            out.histogram(&catalogue::POLICY_DURATION, &[api, route, &policy, verdict], reading);
        }
    }

    fn expose_rejected(&self, names: &Names, out: &mut Exposition) {
        let mut rejected: BTreeMap<(String, &str), u64> = BTreeMap::new();
        for (policy, verdict, reason, cells) in self.policies(names) {
            if verdict == Verdict::Rejected.as_str() || verdict == OTHER {
                *rejected.entry((policy, reason)).or_default() += cells.rejected.load(Ordering::Acquire);
            }
        }
        for ((policy, reason), count) in &rejected {
            let [api, route] = self.own();
            out.counter(&catalogue::REJECTED, &[api, route, policy, reason], *count);
        }
    }

    /// The name of each policy that ran, its verdict and the reason, for every worker.
    fn policies(&self, names: &Names) -> impl Iterator<Item = (String, &'static str, &'static str, &PolicyCells)> {
        let own = self.cells().flat_map(|cells| cells.policies.iter()).map(|((policy, verdict, reason), cells)| {
            (names.name(policy).unwrap_or_default().to_string(), verdict.as_str(), reason.as_str(), cells)
        });
        let others = self.cells().map(|cells| &cells.other_policies).filter(|cells| cells.duration.count() > 0);
        own.chain(others.map(|cells| (OTHER.to_owned(), OTHER, OTHER, cells)))
    }

    fn expose_overhead(&self, out: &mut Exposition) {
        if let Some(sum) = self.sum(|cells| cells.overhead.read()) {
            out.histogram(&catalogue::OVERHEAD, &self.own(), sum);
        }
    }

    fn expose_bodies(
        &self,
        metric: &'static Family<HistogramKind, 3>,
        cell: impl Fn(&Cells) -> &Histogram,
        out: &mut Exposition,
    ) {
        if let Some(sum) = self.sum(|cells| cell(cells).read()) {
            let [api, route] = self.own();
            out.histogram(metric, &[api, route, &self.template()], sum);
        }
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
