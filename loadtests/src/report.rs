//! The table: medians over the rounds, and ratios to plain nginx of the same rotation.

use crate::cpu::Cpu;
use crate::wrk::Load;
use serde::Serialize;
use std::fmt;

/// One run of one contender.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    pub contender: &'static str,
    pub load: Load,
    pub cpu: Cpu,
    /// Events accounted for and events lost, since the contender's start.
    pub events: Option<(u64, u64)>,
    pub anonymous_bytes: u64,
}

impl Run {
    pub fn new(
        contender: &'static str,
        load: Load,
        cpu: Cpu,
        events: Option<(u64, u64)>,
        anonymous_bytes: u64,
    ) -> Self {
        Self { contender, load, cpu, events, anonymous_bytes }
    }

    fn worker_us(&self) -> f64 {
        self.cpu.workers_us as f64 / self.load.requests.max(1) as f64
    }

    fn process_us(&self) -> f64 {
        self.cpu.process_us as f64 / self.load.requests.max(1) as f64
    }
}

/// One row a contender.
pub struct Table {
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    worker_us: f64,
    process_us: f64,
    per_second: f64,
    megabytes: f64,
    errors: u64,
    lost: Option<u64>,
}

impl Table {
    pub fn of(runs: &[Run]) -> Self {
        let mut names: Vec<&'static str> = Vec::new();
        for run in runs {
            if !names.contains(&run.contender) {
                names.push(run.contender);
            }
        }
        Self { rows: names.into_iter().map(|name| Row::of(name, runs)).collect() }
    }

    /// A fast run that lost events is a failed run.
    pub fn nothing_lost(&self) -> bool {
        self.rows.iter().all(|row| row.errors == 0 && row.lost.unwrap_or(0) == 0)
    }
}

impl Row {
    fn of(name: &'static str, runs: &[Run]) -> Self {
        let own: Vec<_> = runs.iter().filter(|run| run.contender == name).collect();
        let of = |figure: &dyn Fn(&Run) -> f64| median(own.iter().map(|run| figure(run)).collect());
        let lost: Vec<_> = own.iter().filter_map(|run| run.events).map(|(_, lost)| lost).collect();
        Self {
            name,
            worker_us: of(&Run::worker_us),
            process_us: of(&Run::process_us),
            per_second: of(&|run| run.load.per_second),
            megabytes: of(&|run| run.anonymous_bytes as f64 / 1048576.0),
            errors: own.iter().map(|run| run.load.errors).sum(),
            lost: (!lost.is_empty()).then(|| lost.iter().sum()),
        }
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = self.rows.iter().find(|row| row.name == "nginx").map_or(f64::NAN, |row| row.worker_us);
        writeln!(
            f,
            "| contender | worker µs/request | × nginx | process µs/request | requests/s | anonymous MiB | errors | events lost |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for row in &self.rows {
            let lost = row.lost.map_or("-".to_owned(), |lost| lost.to_string());
            writeln!(
                f,
                "| {} | {:.2} | {:.2} | {:.2} | {:.0} | {:.1} | {} | {lost} |",
                row.name,
                row.worker_us,
                row.worker_us / base,
                row.process_us,
                row.per_second,
                row.megabytes,
                row.errors
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(contender: &'static str, workers_us: u64, lost: Option<u64>) -> Run {
        let load = Load { requests: 1000, per_second: 1.0, errors: 0 };
        let cpu = Cpu { workers_us, process_us: workers_us * 2 };
        Run::new(contender, load, cpu, lost.map(|lost| (1000, lost)), 0)
    }

    #[test]
    fn ratios_are_to_nginx_and_of_medians() {
        let runs = [10_000, 90_000, 11_000].map(|us| run("nginx", us, None));
        let weir = [16_500, 16_000, 17_000].map(|us| run("weir", us, Some(0)));
        let table = Table::of(&[runs, weir].concat());
        assert!(table.to_string().contains("| weir | 16.50 | 1.50 | 33.00 |"), "{table}");
        assert!(table.nothing_lost());
    }

    #[test]
    fn a_run_that_lost_events_is_a_failed_run() {
        assert!(!Table::of(&[run("weir", 1, Some(1))]).nothing_lost());
    }
}
