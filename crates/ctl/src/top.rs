//! `weirctl top`: what each API of a gateway does now: requests, failures, times.
//!
//! Made from two scrapes, one interval apart. Percentiles are those of Prometheus' `histogram_quantile`: within its
//! bucket a time is taken for evenly spread.

use crate::args::TopOptions;
use crate::exposition::{Sample, samples, scrape};
use crate::terminal::{clear, say, say_json};
use crate::{Failure, Outcome};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What one scrape says, or what has come between two.
#[derive(Clone, Default)]
struct Counts {
    apis: BTreeMap<String, Api>,
    /// Seconds.
    cpu: f64,
    shed: f64,
    open: f64,
    connections: f64,
}

#[derive(Clone, Default)]
struct Api {
    requests: f64,
    failed: f64,
    refused: f64,
    /// Cumulative, by the upper end in seconds, written so that it sorts.
    buckets: BTreeMap<u64, f64>,
}

/// Shows all gateways as one until the count is reached, or Ctrl-C.
pub async fn top(gateways: &[String], options: &TopOptions) -> Result<Outcome, Failure> {
    let interval = Duration::from_secs(options.interval.into());
    let (mut before, mut at) = (look(gateways).await?, Instant::now());
    let mut left = options.count.unwrap_or(u64::MAX);
    while left > 0 {
        tokio::time::sleep(interval).await;
        let (now, looked) = (look(gateways).await?, Instant::now());
        let seconds = looked.duration_since(at).as_secs_f64();
        let between = now.since(&before);
        if options.json {
            say_json(between.json(seconds))?;
        } else {
            clear()?;
            say(between.table(seconds, options.limit))?;
        }
        (before, at) = (now, looked);
        left -= 1;
    }
    Ok(Outcome::Well)
}

async fn look(gateways: &[String]) -> Result<Counts, Failure> {
    let mut counts = Counts::default();
    for base in gateways {
        counts.add(&scrape(base).await?);
    }
    Ok(counts)
}

impl Counts {
    fn add(&mut self, text: &str) {
        for sample in samples(text) {
            match sample.name {
                "weir_requests_total" => self.api(&sample).requests += sample.value,
                "weir_requests_failed_total" => self.api(&sample).failed += sample.value,
                "weir_requests_rejected_total" => self.api(&sample).refused += sample.value,
                "http_server_request_duration_seconds_bucket" => {
                    let end = sample.label("le").parse::<f64>().unwrap_or(f64::INFINITY);
                    *self.api(&sample).buckets.entry(end.to_bits()).or_default() += sample.value;
                }
                "process_cpu_seconds_total" => self.cpu += sample.value,
                "weir_events_shed_total" => self.shed += sample.value,
                "weir_requests_open" => self.open += sample.value,
                "weir_connections" => self.connections += sample.value,
                _ => {}
            }
        }
    }

    /// That of a sample.
    fn api(&mut self, sample: &Sample<'_>) -> &mut Api {
        self.apis.entry(sample.label("api").to_owned()).or_default()
    }

    /// What has come since then. A gateway that began again in between has all that it has.
    fn since(&self, before: &Self) -> Self {
        let grown = |now: f64, before: f64| if now < before { now } else { now - before };
        let mut between = self.clone();
        between.cpu = grown(self.cpu, before.cpu);
        between.shed = grown(self.shed, before.shed);
        for (name, api) in &mut between.apis {
            let Some(before) = before.apis.get(name) else { continue };
            if api.requests < before.requests {
                continue;
            }
            api.requests -= before.requests;
            api.failed = grown(api.failed, before.failed);
            api.refused = grown(api.refused, before.refused);
            for (end, count) in &mut api.buckets {
                *count = grown(*count, before.buckets.get(end).copied().unwrap_or_default());
            }
        }
        between
    }

    /// Those with traffic, the busiest first.
    fn busy(&self) -> Vec<(&str, &Api)> {
        let mut busy: Vec<_> =
            self.apis.iter().map(|(name, api)| (name.as_str(), api)).filter(|(_, api)| api.requests > 0.0).collect();
        busy.sort_by(|(_, one), (_, other)| other.requests.total_cmp(&one.requests));
        busy
    }

    fn table(&self, seconds: f64, limit: usize) -> String {
        let busy = self.busy();
        let requests: f64 = busy.iter().map(|(_, api)| api.requests).sum();
        let mut out = format!(
            "{:.0} requests/s, {:.0} open, {:.0} connections, {:.2} cores, {:.0} events given up\n\n  requests/s  failed  refused       p50       p95       p99  API\n",
            requests / seconds,
            self.open,
            self.connections,
            self.cpu / seconds,
            self.shed,
        );
        for (name, api) in busy.iter().take(limit) {
            let share = |count: f64| format!("{:.1} %", 100.0 * count / api.requests);
            let time = |share| api.quantile(share).map_or_else(|| "-".to_owned(), time);
            let name = if name.is_empty() { "(no API)" } else { name };
            out += &format!(
                "{:>12.1} {:>7} {:>8} {:>9} {:>9} {:>9}  {name}\n",
                api.requests / seconds,
                share(api.failed),
                share(api.refused),
                time(0.5),
                time(0.95),
                time(0.99),
            );
        }
        match busy.len() {
            0 => out += "no requests\n",
            more if more > limit => {
                out += &format!("and {} APIs with less traffic; --limit shows more\n", more - limit);
            }
            _ => {}
        }
        out.pop();
        out
    }

    fn json(&self, seconds: f64) -> Value {
        let api = |(name, api): &(&str, &Api)| {
            json!({
                "api": name,
                "requests_per_second": api.requests / seconds,
                "failed_per_second": api.failed / seconds,
                "refused_per_second": api.refused / seconds,
                "p50_seconds": api.quantile(0.5),
                "p95_seconds": api.quantile(0.95),
                "p99_seconds": api.quantile(0.99),
            })
        };
        json!({
            "seconds": seconds,
            "open": self.open,
            "connections": self.connections,
            "cores": self.cpu / seconds,
            "events_given_up": self.shed,
            "apis": self.busy().iter().map(api).collect::<Vec<_>>(),
        })
    }
}

impl Api {
    /// In seconds; the lower end of the last bucket where it would be within that. `None` without a request.
    fn quantile(&self, share: f64) -> Option<f64> {
        let all = *self.buckets.values().next_back()?;
        if all <= 0.0 {
            return None;
        }
        let rank = share * all;
        let (mut lower, mut below) = (0.0, 0.0);
        for (end, count) in &self.buckets {
            let end = f64::from_bits(*end);
            if *count >= rank && *count > below {
                let within = (rank - below) / (count - below);
                return Some(if end.is_finite() { lower + (end - lower) * within } else { lower });
            }
            (lower, below) = (end, *count);
        }
        None
    }
}

fn time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(requests: u64, failed: u64, cpu: f64) -> String {
        let bucket = |le: &str, count: u64| {
            format!("http_server_request_duration_seconds_bucket{{api=\"orders\",route=\"r\",le=\"{le}\"}} {count}\n")
        };
        format!(
            "# TYPE http_server_request_duration_seconds histogram\n{}{}{}weir_requests_total{{api=\"orders\",route=\"r\"}} {requests}\n\
             weir_requests_failed_total{{api=\"orders\",route=\"r\"}} {failed}\nprocess_cpu_seconds_total {cpu}\n\
             weir_requests_total{{api=\"\",route=\"\"}} 0\nweir_requests_open 3\n",
            bucket("0.005", requests / 2),
            bucket("0.01", requests),
            bucket("+Inf", requests),
        )
    }

    fn counts(text: &str) -> Counts {
        let mut counts = Counts::default();
        counts.add(text);
        counts
    }

    #[test]
    fn what_came_between_two_looks_is_shown() {
        let between = counts(&text(300, 15, 1.5)).since(&counts(&text(100, 5, 1.0)));
        let orders = &between.apis["orders"];
        assert_eq!((orders.requests, orders.failed, between.cpu), (200.0, 10.0, 0.5));
        assert_eq!(orders.quantile(0.5), Some(0.005));
        assert!((orders.quantile(0.75).unwrap() - 0.0075).abs() < 1e-9);
        let table = between.table(2.0, 10);
        assert!(table.starts_with("100 requests/s, 3 open, 0 connections, 0.25 cores, 0 events given up\n"), "{table}");
        assert!(table.ends_with("       100.0   5.0 %    0.0 %    5.0 ms    9.5 ms    9.9 ms  orders"), "{table}");
        assert_eq!(between.json(2.0)["apis"][0]["requests_per_second"], 100.0);
    }

    #[test]
    fn a_gateway_that_began_again_has_what_it_has() {
        let between = counts(&text(10, 0, 0.1)).since(&counts(&text(1000, 0, 9.0)));
        assert_eq!((between.apis["orders"].requests, between.cpu), (10.0, 0.1));
        assert!(counts("").table(1.0, 10).ends_with("no requests"));
    }

    #[test]
    fn beyond_the_last_boundary_nothing_is_made_up() {
        let mut api = Api::default();
        for (end, count) in [(0.5, 1.0), (10.0, 1.0), (f64::INFINITY, 100.0)] {
            api.buckets.insert(f64::to_bits(end), count);
        }
        assert_eq!((api.quantile(0.99), Api::default().quantile(0.5)), (Some(10.0), None));
    }
}
