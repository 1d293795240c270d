//! What weir-analytics counts of itself: what gateways offered, what became of it, and how ClickHouse answered.
//!
//! Counters start at 0 with the process. `dashboards/metrics-analytics.md` is printed from here.

use crate::error::{Class, StoreError};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use weir_metrics::{Families, Histogram};

weir_metrics::catalogue! {
    CHUNKS Counter "weir_ingest_chunks_total" "{chunk}" ["result"]
        "Chunks that gateways offered, by the result that they were answered (docs/ingest-protocol.md).";
    RECEIVED Counter "weir_ingest_received_bytes_total" "By" [] "Bytes of the chunks that were read.";
    EVENTS Counter "weir_ingest_events_total" "{event}" ["outcome"]
        "Events of acknowledged chunks: stored, duplicate (they were stored before) or dead_letter (set aside for their time).";
    BLOCKS Counter "weir_ingest_blocks_total" "{block}" ["outcome"]
        "Blocks of events for ClickHouse: stored; absent (surely not stored), unclear (a part is missing) and lost (another process writes) come again.";
    BLOCK_EVENTS Histogram "weir_ingest_block_events" "{event}" [] "Events of a stored block.";
    BLOCK_DURATION Histogram "weir_ingest_block_duration_seconds" "s" []
        "From a block's intent on disk until it is stored in raw and in every roll-up, repetitions included.";
    LAG Histogram "weir_ingest_lag_seconds" "s" []
        "From the time of the newest event of a stored block until it was stored.";
    RETRIES Counter "weir_ingest_retries_total" "{retry}" ["class"]
        "Inserts that did not plainly succeed: transient (tried again), operator (somebody must act), data (these events are refused), fenced (another process writes).";
    INTENTS Gauge "weir_ingest_open_intents" "{block}" [] "Blocks whose outcome is not known yet.";
    WAITING Gauge "weir_ingest_waiting_bytes" "By" [] "Bytes of chunks in memory that are not answered yet.";
    WRITER Gauge "weir_ingest_writer" "1" [] "1 while this process holds the lease to write, 0 while it stands by.";
    CLOCKS Gauge "weir_ingest_differing_clocks" "{gateway}" []
        "Gateways from which nothing is taken because their clocks and this machine's differ too much.";
    GAUGES Counter "weir_ingest_gauges_total" "{sample}" ["outcome"]
        "Samples of gateways (gateway_gauges): stored; malformed (not understood); dropped (ClickHouse did not take them, or more came than fit). No event depends on them.";
    STATEMENTS Counter "weir_clickhouse_statements_total" "{statement}" ["answer"]
        "Statements to ClickHouse, by its answer: ok, refused, unreachable, timed_out or unreadable.";
    CONNECTIONS Gauge "weir_analytics_connections" "{connection}" ["kind"]
        "Open connections: of gateways, and of all others.";
    CLOSED Counter "weir_analytics_connections_closed_total" "{connection}" ["cause"]
        "Connections closed for a bound: silent (no whole request in time), unread (answers not read), displaced (another one needed the place).";
    REFUSED Counter "weir_analytics_gateways_refused_total" "{request}" []
        "Requests of gateways that found all of the gateways' connections taken.";
    QUERIES Gauge "weir_analytics_queries" "{query}" [] "Queries that ClickHouse works on for readers.";
    QUERIES_REFUSED Counter "weir_analytics_queries_refused_total" "{query}" []
        "Queries of readers that found no place in time.";
    WRONG_TOKENS Counter "weir_analytics_wrong_tokens_total" "{token}" []
        "Tokens of readers and administrators that nobody has, each answered after a second.";
    LOG_DROPPED Counter "weir_log_lines_dropped_total" "{line}" [] "Lines of the log that nobody read in time.";
    BUILD_INFO Info "weir_build_info" "1" ["version"] "Always 1; the version is its label.";
}

/// An insert of any size costs some 0.2 s; a day is what a gateway without a connection may bring.
const SECONDS_NS: &[u64] = &[
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
    300_000_000_000,
    3_600_000_000_000,
    21_600_000_000_000,
    86_400_000_000_000,
];
const EVENTS_OF_A_BLOCK: &[u64] = &[100, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 200_000];

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockOutcome {
    Stored,
    Absent,
    Unclear,
    Lost,
}

const BLOCK_OUTCOMES: [(BlockOutcome, &str); 4] = [
    (BlockOutcome::Stored, "stored"),
    (BlockOutcome::Absent, "absent"),
    (BlockOutcome::Unclear, "unclear"),
    (BlockOutcome::Lost, "lost"),
];
/// What became of a sample of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GaugesOutcome {
    Stored,
    Malformed,
    Dropped,
}

const GAUGES_OUTCOMES: [(GaugesOutcome, &str); 3] =
    [(GaugesOutcome::Stored, "stored"), (GaugesOutcome::Malformed, "malformed"), (GaugesOutcome::Dropped, "dropped")];
const CLASSES: [(Class, &str); 4] =
    [(Class::Transient, "transient"), (Class::Operator, "operator"), (Class::Data, "data"), (Class::Fenced, "fenced")];
const ANSWERS: [&str; 5] = ["ok", "refused", "unreachable", "timed_out", "unreadable"];

/// The cells. Histograms are written by the committer alone, which is one task.
#[derive(Debug)]
pub struct Metrics {
    started: SystemTime,
    blocks: [AtomicU64; BLOCK_OUTCOMES.len()],
    block_events: Histogram,
    block_duration: Histogram,
    lag: Histogram,
    retries: [AtomicU64; CLASSES.len()],
    open_intents: AtomicU64,
    statements: [AtomicU64; ANSWERS.len()],
    gauges: [AtomicU64; GAUGES_OUTCOMES.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: SystemTime::now(),
            blocks: Default::default(),
            block_events: Histogram::of_numbers(EVENTS_OF_A_BLOCK),
            block_duration: Histogram::of_durations(SECONDS_NS),
            lag: Histogram::of_durations(SECONDS_NS),
            retries: Default::default(),
            open_intents: AtomicU64::new(0),
            statements: Default::default(),
            gauges: Default::default(),
        }
    }
}

impl Metrics {
    /// A block is on its way: its intent is on disk.
    pub(crate) fn begun(&self) {
        self.open_intents.fetch_add(1, Ordering::Relaxed);
    }

    /// What became of a block of `events`, whose newest is `lag` old now, `took` after its intent. Called by the committer.
    pub(crate) fn ended(&self, outcome: BlockOutcome, events: u64, took: Duration, lag: Duration) {
        self.open_intents.fetch_sub(1, Ordering::Relaxed);
        count(&self.blocks, BLOCK_OUTCOMES.iter().position(|(known, _)| *known == outcome));
        if outcome == BlockOutcome::Stored {
            self.block_events.observe(events);
            self.block_duration.observe_duration(took);
            self.lag.observe_duration(lag);
        }
    }

    pub(crate) fn retried(&self, class: Class) {
        count(&self.retries, CLASSES.iter().position(|(known, _)| *known == class));
    }

    pub(crate) fn answered(&self, error: Option<&StoreError>) {
        let answer = match error {
            None => 0,
            Some(StoreError::Refused { .. }) => 1,
            Some(StoreError::Unreachable { .. } | StoreError::Tls(_)) => 2,
            Some(StoreError::TimedOut { .. }) => 3,
            Some(StoreError::Answer { .. }) => 4,
        };
        count(&self.statements, Some(answer));
    }

    /// What became of so many samples.
    pub(crate) fn sampled(&self, outcome: GaugesOutcome, samples: u64) {
        let index = GAUGES_OUTCOMES.iter().position(|(known, _)| *known == outcome);
        if let Some(cell) = index.and_then(|index| self.gauges.get(index)) {
            cell.fetch_add(samples, Ordering::Relaxed);
        }
    }

    /// What is counted here.
    pub(crate) fn expose(&self, out: &mut Families) {
        for ((_, name), cell) in BLOCK_OUTCOMES.iter().zip(&self.blocks) {
            out.counter(&BLOCKS, &[name], cell.load(Ordering::Relaxed));
        }
        for ((_, name), cell) in CLASSES.iter().zip(&self.retries) {
            out.counter(&RETRIES, &[name], cell.load(Ordering::Relaxed));
        }
        for ((_, name), cell) in GAUGES_OUTCOMES.iter().zip(&self.gauges) {
            out.counter(&GAUGES, &[name], cell.load(Ordering::Relaxed));
        }
        for (name, cell) in ANSWERS.iter().zip(&self.statements) {
            out.counter(&STATEMENTS, &[name], cell.load(Ordering::Relaxed));
        }
        out.histogram(&BLOCK_EVENTS, &[], self.block_events.read());
        out.histogram(&BLOCK_DURATION, &[], self.block_duration.read());
        out.histogram(&LAG, &[], self.lag.read());
        out.gauge(&INTENTS, &[], self.open_intents.load(Ordering::Relaxed) as f64);
        out.counter(&LOG_DROPPED, &[], weir_program::log::dropped());
        out.info(&BUILD_INFO, &[env!("CARGO_PKG_VERSION")]);
        weir_metrics::process::metrics(out, self.started);
    }
}

fn count(cells: &[AtomicU64], index: Option<usize>) {
    if let Some(cell) = index.and_then(|index| cells.get(index)) {
        cell.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn markdown() -> String {
        "# Metrics of weir-analytics\n\nAt `/metrics` of its port. Printed from the catalogue in `crates/analytics`; a test keeps \
         the two the same.\n\n"
            .to_owned()
            + &weir_metrics::markdown(&[all(), weir_metrics::process::all()].concat())
    }

    #[test]
    fn the_documentation_is_the_catalogue() {
        expect_test::expect_file!["../../../dashboards/metrics-analytics.md"].assert_eq(&markdown());
    }

    #[test]
    fn names_are_prometheus_names() {
        assert_eq!(weir_metrics::check(&all()), Vec::<String>::new());
    }

    #[test]
    fn a_block_that_is_not_stored_is_no_sample_of_its_time() {
        let metrics = Metrics::default();
        metrics.begun();
        metrics.begun();
        metrics.ended(BlockOutcome::Stored, 5, Duration::from_secs(1), Duration::from_secs(2));
        metrics.ended(BlockOutcome::Absent, 5, Duration::from_secs(1), Duration::from_secs(2));
        assert_eq!((metrics.lag.count(), metrics.block_events.count()), (1, 1));
        assert_eq!(metrics.open_intents.load(Ordering::Relaxed), 0);
    }
}
