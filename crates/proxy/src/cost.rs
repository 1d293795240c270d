//! What telemetry costs a worker, by signal: measured of one request in 1,024, and counted for all of them.
//!
//! By the thread's processor time and not by the clock: a worker that the system puts aside in the middle of a measurement
//! costs nothing meanwhile. Requests in between pay for one comparison.

use crate::sink::{Signal, WorkerStats};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// One request in so many is measured.
const SAMPLE: u64 = 1024;

/// Measures what is done between its laps.
pub(crate) struct Stopwatch<'s> {
    stats: &'s WorkerStats,
    /// The processor time of the last lap, and what a reading of it costs itself.
    last: Option<(Duration, Duration)>,
}

impl<'s> Stopwatch<'s> {
    /// Of the request `seq` of a worker: it measures some.
    #[inline]
    pub(crate) fn of(seq: u64, stats: &'s WorkerStats) -> Self {
        let last = if seq.is_multiple_of(SAMPLE) { Some(start()) } else { None };
        Self { stats, last }
    }

    /// What was done since the last lap was for `signal`.
    #[inline]
    pub(crate) fn lap(&mut self, signal: Signal) {
        if self.last.is_some() {
            self.measure(signal);
        }
    }

    #[cold]
    fn measure(&mut self, signal: Signal) {
        let Some((last, reading)) = self.last else { return };
        let now = processor_time();
        let took = now.saturating_sub(last).saturating_sub(reading);
        self.stats.add_cost(signal, took.saturating_mul(SAMPLE as u32));
        self.last = Some((processor_time(), reading));
    }
}

#[cold]
fn start() -> (Duration, Duration) {
    let first = processor_time();
    let second = processor_time();
    (second, second.saturating_sub(first))
}

/// What this thread has run.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spin(time: Duration) {
        let until = processor_time() + time;
        while processor_time() < until {}
    }

    #[test]
    fn what_one_request_took_is_counted_for_those_in_between() {
        let stats = WorkerStats::default();
        for seq in 0..SAMPLE {
            let mut watch = Stopwatch::of(seq, &stats);
            if seq == 0 {
                spin(Duration::from_micros(500));
            }
            watch.lap(Signal::Metrics);
            watch.lap(Signal::Events);
        }
        let costs: Vec<_> = stats.costs().collect();
        let metrics = costs[0].1;
        // Of 500 us in each of 1,024: half a second.
        assert!(metrics >= Duration::from_millis(450), "{costs:?}");
        assert!(costs[1].1 < metrics / 10 && costs[2].1.is_zero() && costs[3].1.is_zero(), "{costs:?}");
        assert_eq!(
            costs.iter().map(|(signal, _)| *signal).collect::<Vec<_>>(),
            ["metrics", "events", "traces", "logs"]
        );
    }
}
