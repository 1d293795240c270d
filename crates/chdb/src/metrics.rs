//! The program's own figures, as Prometheus text on `GET /metrics`. The catalogue is [`CATALOGUE`]; `METRICS.md` is
//! printed from it by a test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::engine::Stats;

/// What a statement is, for the figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    Select,
    Insert,
    /// Everything else, and what never became a statement.
    #[default]
    Other,
}

const KINDS: [(Kind, &str); 3] = [(Kind::Select, "select"), (Kind::Insert, "insert"), (Kind::Other, "other")];

/// Upper bounds of the buckets of a statement's time, in seconds.
const BOUNDS: [f64; 11] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];

/// Distinct codes that are told apart; ClickHouse has fewer.
const MAX_CODES: usize = 1200;

/// Name, type, labels, meaning.
pub const CATALOGUE: [(&str, &str, &str, &str); 17] = [
    ("weir_chdb_queries_total", "counter", "kind", "Statements that ended, well or not"),
    (
        "weir_chdb_query_duration_seconds",
        "histogram",
        "kind",
        "From the head of a request to the last piece of its answer, for statements",
    ),
    ("weir_chdb_errors_total", "counter", "code", "Requests answered with an error, by ClickHouse's code"),
    ("weir_chdb_read_rows_total", "counter", "", "Rows that statements read from tables"),
    ("weir_chdb_read_bytes_total", "counter", "", "Bytes that statements read from tables, unpacked"),
    ("weir_chdb_inserted_rows_total", "counter", "", "Rows that statements wrote, views included"),
    ("weir_chdb_inserted_bytes_total", "counter", "", "Bytes that statements wrote, unpacked, views included"),
    ("weir_chdb_result_rows_total", "counter", "", "Rows of results"),
    ("weir_chdb_result_bytes_total", "counter", "", "Bytes of results before their format and packing"),
    ("weir_chdb_queries_running", "gauge", "", "Statements that run now"),
    ("weir_chdb_queries_queued", "gauge", "", "Statements that wait for a slot (`queue_max_wait_ms`)"),
    ("weir_chdb_connections", "gauge", "", "Connections of clients that are open"),
    ("weir_chdb_sessions", "gauge", "", "Sessions that are kept"),
    ("weir_chdb_resident_memory_bytes", "gauge", "", "Memory of the process that is resident"),
    ("weir_chdb_start_time_seconds", "gauge", "", "When the program started, in seconds since 1970"),
    ("weir_chdb_uptime_seconds", "gauge", "", "Since the program started"),
    ("weir_chdb_info", "gauge", "version,engine", "Always 1: the versions of the program and of the engine"),
];

/// What a request did, told once when it has ended.
#[derive(Debug, Default, Clone, Copy)]
pub struct Account {
    pub kind: Kind,
    pub stats: Stats,
    pub error: Option<u32>,
}

#[derive(Default)]
struct OfKind {
    count: AtomicU64,
    nanos: AtomicU64,
    buckets: [AtomicU64; BOUNDS.len()],
}

/// The counters; a request adds to them once, at its end.
pub struct Metrics {
    kinds: [OfKind; KINDS.len()],
    errors: Mutex<BTreeMap<u32, u64>>,
    totals: [AtomicU64; 6],
    started: Instant,
    started_at: SystemTime,
}

/// What is counted elsewhere and read at a scrape.
#[derive(Debug, Default)]
pub struct Now<'a> {
    pub running: usize,
    pub queued: usize,
    pub connections: usize,
    pub sessions: usize,
    pub engine: &'a str,
}

impl Metrics {
    pub fn new() -> Metrics {
        Metrics {
            kinds: Default::default(),
            errors: Mutex::default(),
            totals: Default::default(),
            started: Instant::now(),
            started_at: SystemTime::now(),
        }
    }

    /// A statement has ended.
    pub fn ended(&self, account: &Account, elapsed: Duration) {
        let of_kind = &self.kinds[account.kind as usize];
        of_kind.count.fetch_add(1, Relaxed);
        of_kind.nanos.fetch_add(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        if let Some(at) = BOUNDS.iter().position(|bound| elapsed.as_secs_f64() <= *bound) {
            of_kind.buckets[at].fetch_add(1, Relaxed);
        }
        let Stats { read_rows, read_bytes, written_rows, written_bytes, result_rows, result_bytes } = account.stats;
        let added = [read_rows, read_bytes, written_rows, written_bytes, result_rows, result_bytes];
        for (total, added) in self.totals.iter().zip(added) {
            total.fetch_add(added, Relaxed);
        }
        if let Some(code) = account.error {
            self.error(code);
        }
    }

    /// A request was answered with an error.
    pub fn error(&self, code: u32) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.len() < MAX_CODES || errors.contains_key(&code) {
            *errors.entry(code).or_default() += 1;
        }
    }

    /// The exposition.
    pub fn render(&self, now: &Now) -> String {
        let mut out = String::with_capacity(8 << 10);
        for (name, kind, _, help) in CATALOGUE {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            self.family(&mut out, name, now);
        }
        out
    }

    fn family(&self, out: &mut String, name: &str, now: &Now) {
        let total = |at: usize| self.totals[at].load(Relaxed);
        let value: f64 = match name {
            "weir_chdb_queries_total" => return self.queries(out, name),
            "weir_chdb_query_duration_seconds" => return self.durations(out, name),
            "weir_chdb_errors_total" => return self.codes(out, name),
            "weir_chdb_info" => {
                let version = env!("CARGO_PKG_VERSION");
                let _ = writeln!(out, "{name}{{version=\"{version}\",engine=\"{}\"}} 1", now.engine);
                return;
            }
            "weir_chdb_start_time_seconds" => {
                self.started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
            }
            "weir_chdb_uptime_seconds" => self.started.elapsed().as_secs_f64(),
            "weir_chdb_read_rows_total" => total(0) as f64,
            "weir_chdb_read_bytes_total" => total(1) as f64,
            "weir_chdb_inserted_rows_total" => total(2) as f64,
            "weir_chdb_inserted_bytes_total" => total(3) as f64,
            "weir_chdb_result_rows_total" => total(4) as f64,
            "weir_chdb_result_bytes_total" => total(5) as f64,
            "weir_chdb_queries_running" => now.running as f64,
            "weir_chdb_queries_queued" => now.queued as f64,
            "weir_chdb_connections" => now.connections as f64,
            "weir_chdb_sessions" => now.sessions as f64,
            "weir_chdb_resident_memory_bytes" => resident() as f64,
            _ => return,
        };
        let _ = writeln!(out, "{name} {value}");
    }

    fn queries(&self, out: &mut String, name: &str) {
        for (kind, label) in KINDS {
            let count = self.kinds[kind as usize].count.load(Relaxed);
            let _ = writeln!(out, "{name}{{kind=\"{label}\"}} {count}");
        }
    }

    fn durations(&self, out: &mut String, name: &str) {
        for (kind, label) in KINDS {
            let of_kind = &self.kinds[kind as usize];
            // Read before the buckets, so that no bucket exceeds the count.
            let mut sum = 0;
            let count = of_kind.count.load(Relaxed);
            for (bound, bucket) in BOUNDS.iter().zip(&of_kind.buckets) {
                sum = (sum + bucket.load(Relaxed)).min(count);
                let _ = writeln!(out, "{name}_bucket{{kind=\"{label}\",le=\"{bound}\"}} {sum}");
            }
            let seconds = of_kind.nanos.load(Relaxed) as f64 / 1e9;
            let _ = writeln!(out, "{name}_bucket{{kind=\"{label}\",le=\"+Inf\"}} {count}");
            let _ = writeln!(out, "{name}_sum{{kind=\"{label}\"}} {seconds}\n{name}_count{{kind=\"{label}\"}} {count}");
        }
    }

    fn codes(&self, out: &mut String, name: &str) {
        for (code, count) in &*self.errors.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(out, "{name}{{code=\"{code}\"}} {count}");
        }
    }
}

/// Resident bytes of this process; 0 where the system does not say.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_its_samples() {
        let metrics = Metrics::new();
        let stats = Stats { written_rows: 7, ..Stats::default() };
        metrics.ended(&Account { kind: Kind::Insert, stats, error: Some(60) }, Duration::from_millis(20));
        let text = metrics.render(&Now { engine: "26.7", running: 2, ..Now::default() });
        for (name, ..) in CATALOGUE {
            let samples = text.lines().filter(|line| line.starts_with(name)).count();
            assert!(samples > 0, "{name}");
        }
        for line in [
            "weir_chdb_queries_total{kind=\"insert\"} 1",
            "weir_chdb_query_duration_seconds_bucket{kind=\"insert\",le=\"0.01\"} 0",
            "weir_chdb_query_duration_seconds_bucket{kind=\"insert\",le=\"0.03\"} 1",
            "weir_chdb_errors_total{code=\"60\"} 1",
            "weir_chdb_inserted_rows_total 7",
            "weir_chdb_queries_running 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(resident() > 100_000);
    }

    /// `BLESS=1` writes the file anew.
    #[test]
    fn the_catalogue_is_written_down() {
        let mut text = "# Metrics of weir-chdb\n\nOn `GET /metrics`, without a password. Printed from `src/metrics.rs`.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
        for (name, kind, labels, help) in CATALOGUE {
            let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {help} |");
        }
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("METRICS.md");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &text).expect("written");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "run with BLESS=1 and look at the change");
    }
}
