//! What one contender did in one run of one work, and all runs with the machine that they are of.

use crate::machine::Machine;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A figure's name in JSON, its heading, and the digits that mean something.
pub struct Figure {
    pub name: &'static str,
    pub heading: &'static str,
    pub digits: usize,
}

const fn figure(name: &'static str, heading: &'static str, digits: usize) -> Figure {
    Figure { name, heading, digits }
}

/// All figures, in the order of the tables' columns.
pub const FIGURES: [Figure; 16] = [
    figure("worker_us", "worker µs", 2),
    figure("process_us", "process µs", 2),
    figure("per_second", "per second", 0),
    figure("p50_us", "p50 µs", 0),
    figure("p99_us", "p99 µs", 0),
    figure("p999_us", "p99.9 µs", 0),
    figure("kib_each", "KiB each", 1),
    figure("us_per_mib", "µs/MiB", 0),
    figure("mib_per_second", "MiB/s", 0),
    figure("reloads", "reloads", 0),
    figure("closed", "closed idle", 0),
    figure("series", "series", 0),
    figure("scrape_ms", "scrape ms", 0),
    figure("scrape_mib", "scrape MiB", 1),
    figure("calm_p99_us", "p99 µs unscraped", 0),
    figure("anonymous_mib", "anonymous MiB", 1),
];

/// One run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    pub work: String,
    pub contender: String,
    pub round: usize,
    pub requests: u64,
    pub errors: u64,
    pub figures: BTreeMap<String, f64>,
    /// Events, log lines or log records, where the contender keeps account.
    pub accounted: Option<u64>,
    pub spans: Option<u64>,
    /// What makes the figures less than they seem.
    pub notes: Vec<String>,
    /// What makes the run a failed one.
    pub failures: Vec<String>,
}

/// A contender that did not take part in a work, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Absent {
    pub work: String,
    pub contender: String,
    pub why: String,
}

/// All that a bench found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub machine: Machine,
    pub seconds: u64,
    pub rounds: usize,
    pub runs: Vec<Run>,
    pub absent: Vec<Absent>,
}

impl Report {
    /// Medians over the rounds: of `figure` in `work` by `contender`.
    pub fn median(&self, work: &str, contender: &str, figure: &str) -> Option<f64> {
        let mut figures: Vec<f64> =
            self.of(work, contender).filter_map(|run| run.figures.get(figure).copied()).collect();
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        if figures.len().is_multiple_of(2) && middle > 0 {
            return Some((figures[middle - 1] + figures[middle]) / 2.0);
        }
        figures.get(middle).copied()
    }

    /// The runs of `work` by `contender`.
    pub fn of<'a>(&'a self, work: &'a str, contender: &'a str) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().filter(move |run| run.work == work && run.contender == contender)
    }

    /// Nobody lost a request, an event, a line or a span.
    pub fn is_sound(&self) -> bool {
        self.runs.iter().all(|run| run.failures.is_empty())
    }
}
