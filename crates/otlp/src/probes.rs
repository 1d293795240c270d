//! What became of the spans of probes: whoever sent one asks for it by its trace.
//!
//! Only probes are noted, which are few, and how the exporter fares with its receiver: a lock that is taken once a batch, and
//! by no request but theirs.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use weir_event::TraceId;

/// How many are remembered, the last ones.
const MOST: usize = 64;

/// How far the spans of a probe have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// They wait, or a batch with them was sent and is to be sent again because of this.
    Waiting { error: Option<String> },
    /// The receiver has acknowledged them, so long after the request.
    Acknowledged { after: Duration },
    /// They were given up, so long after the request.
    Dropped { after: Duration, error: String },
}

struct Noted {
    trace: TraceId,
    ended: Instant,
    progress: Progress,
}

/// The probes of late.
#[derive(Default)]
pub struct Probes(Mutex<Known>);

#[derive(Default)]
struct Known {
    probes: VecDeque<Noted>,
    /// Why the last request to the receiver came to nothing: what waits behind it waits for that reason, too.
    in_the_way: Option<String>,
}

impl Probes {
    /// What is known of a probe.
    pub fn progress(&self, trace: TraceId) -> Option<Progress> {
        let known = self.known();
        let progress = known.probes.iter().rev().find(|noted| noted.trace == trace)?.progress.clone();
        Some(match progress {
            Progress::Waiting { error: None } => Progress::Waiting { error: known.in_the_way.clone() },
            other => other,
        })
    }

    /// A probe has ended, and its spans are on their way.
    pub(crate) fn ended(&self, trace: TraceId) {
        let probes = &mut self.known().probes;
        if probes.len() >= MOST {
            probes.pop_front();
        }
        probes.push_back(Noted { trace, ended: Instant::now(), progress: Progress::Waiting { error: None } });
    }

    /// The receiver takes spans, those of `traces` among them.
    pub(crate) fn acknowledged(&self, traces: &[TraceId]) {
        let mut known = self.known();
        known.in_the_way = None;
        known.each(traces, |after| Progress::Acknowledged { after });
    }

    /// It did not take these now.
    pub(crate) fn failed(&self, traces: &[TraceId], error: &str) {
        let mut known = self.known();
        known.in_the_way = Some(error.to_owned());
        known.each(traces, |_| Progress::Waiting { error: Some(error.to_owned()) });
    }

    /// Given up, by the word that metrics have for it.
    pub(crate) fn dropped(&self, traces: &[TraceId], why: &str, error: &str) {
        let error = if error.is_empty() { why.to_owned() } else { format!("{why}: {error}") };
        self.known().each(traces, |after| Progress::Dropped { after, error: error.clone() });
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn each(&mut self, traces: &[TraceId], progress: impl Fn(Duration) -> Progress) {
        for noted in self.probes.iter_mut().filter(|noted| traces.contains(&noted.trace)) {
            noted.progress = progress(noted.ended.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(number: u8) -> TraceId {
        TraceId([number; 16])
    }

    #[test]
    fn a_probe_is_known_by_its_trace_until_many_have_followed() {
        let probes = Probes::default();
        probes.ended(trace(1));
        assert_eq!(probes.progress(trace(1)), Some(Progress::Waiting { error: None }));
        probes.failed(&[trace(1), trace(2)], "connection refused");
        assert_eq!(probes.progress(trace(1)), Some(Progress::Waiting { error: Some("connection refused".to_owned()) }));
        probes.acknowledged(&[trace(1)]);
        assert!(matches!(probes.progress(trace(1)), Some(Progress::Acknowledged { .. })));
        assert_eq!(probes.progress(trace(2)), None);
        probes.ended(trace(2));
        probes.failed(&[], "timed out");
        let waiting = |error: &str| Some(Progress::Waiting { error: Some(error.to_owned()) });
        assert_eq!(probes.progress(trace(2)), waiting("timed out"), "it waits behind what failed");
        probes.dropped(&[trace(2)], "queue_full", "");
        assert!(matches!(probes.progress(trace(2)), Some(Progress::Dropped { error, .. }) if error == "queue_full"));
        for _ in 0..MOST {
            probes.ended(trace(3));
        }
        assert_eq!(probes.progress(trace(1)), None);
    }
}
