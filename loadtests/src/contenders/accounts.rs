//! What a contender's telemetry has accounted for: events, log lines, log records and spans, counted where they arrive.

use crate::child::pause;
use crate::load::http;
use crate::sink::Counts;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

const SETTLE: Duration = Duration::from_secs(20);
/// A sampled share differs by chance; more deviations than these are none.
const DEVIATIONS: f64 = 5.0;

/// Where a contender accounts for its requests.
pub enum Accounts {
    None,
    /// A line each, in a file.
    Lines(PathBuf),
    /// Log records at the sink, and spans for this share of the requests.
    Sink {
        counts: Arc<Counts>,
        traced: f64,
    },
    /// Events in the spool, reported by the metrics, and what there is beside them.
    Weir {
        admin: SocketAddr,
        beside: Beside,
    },
}

/// What Weir makes of a request beside its event.
pub enum Beside {
    Nothing,
    /// Spans at the sink, for this share of the requests.
    Spans(Arc<Counts>, f64),
    /// A line in this file.
    Line(PathBuf),
}

/// What was counted since the contender's start.
pub struct Accounted {
    pub records: u64,
    /// That are asked to be lost.
    pub lost: u64,
    pub spans: Option<Spans>,
    pub lines: Option<Lines>,
}

/// Spans that have arrived, and those that should have.
pub struct Spans {
    pub received: u64,
    /// That the contender says it has dropped.
    dropped: u64,
    /// Requests whose spans it says it has kept; nothing of a contender that does not say.
    kept: u64,
    /// Of a traced request.
    each: u64,
    /// Of the requests, those that are to be traced.
    share: f64,
}

/// Lines beside the events.
pub struct Lines {
    written: u64,
    dropped: u64,
}

impl Spans {
    /// How many there must be at the least, of `records` requests of which so many were `completed`.
    fn least(&self, completed: u64, records: u64) -> u64 {
        let traced = self.share * completed as f64;
        let by_chance = DEVIATIONS * (traced * (1.0 - self.share)).sqrt();
        // Who leaves before there was an attempt has one span less.
        let kept = (self.each * self.kept).saturating_sub(records.saturating_sub(completed));
        kept.max(self.each * (traced - by_chance).max(0.0) as u64)
    }

    fn fault(&self, completed: u64, records: u64) -> Option<String> {
        let (Self { received, dropped, .. }, least) = (self, self.least(completed, records));
        (received + dropped < least).then(|| {
            format!("at least {least} spans were asked for, {received} received and {dropped} counted as dropped")
        })
    }
}

impl Accounted {
    fn records(records: u64) -> Self {
        Self { records, lost: 0, spans: None, lines: None }
    }

    fn is_settled(&self, completed: u64) -> bool {
        self.records >= completed && self.faults(completed).is_empty()
    }

    /// What is missing without a word about it, once `completed` requests have settled.
    pub fn faults(&self, completed: u64) -> Vec<String> {
        let events = (self.lost > 0).then(|| format!("{} events were lost", self.lost));
        let spans = self.spans.as_ref().and_then(|spans| spans.fault(completed, self.records));
        let lines = self.lines.as_ref().filter(|lines| lines.written + lines.dropped < completed).map(
            |Lines { written, dropped }| {
                format!("{completed} requests completed, {written} lines written and {dropped} counted as dropped")
            },
        );
        [events, spans, lines].into_iter().flatten().collect()
    }

    /// What is missing and counted: the figures are of a contender that did less than it was asked to.
    pub fn notes(&self) -> Vec<String> {
        let share = |dropped: u64, all: u64| 100.0 * dropped as f64 / all.max(1) as f64;
        let spans = self.spans.as_ref().filter(|spans| spans.dropped > 0).map(|spans| {
            let all = spans.received + spans.dropped;
            format!("{} of {all} spans were dropped ({:.0} %), and counted", spans.dropped, share(spans.dropped, all))
        });
        let lines = self.lines.as_ref().filter(|lines| lines.dropped > 0).map(|lines| {
            let all = lines.written + lines.dropped;
            format!("{} of {all} lines were dropped ({:.0} %), and counted", lines.dropped, share(lines.dropped, all))
        });
        [spans, lines].into_iter().flatten().collect()
    }
}

impl Accounts {
    /// What is accounted for once `completed` requests have settled, or after a while if they do not.
    pub fn settled(&self, completed: u64) -> io::Result<Option<Accounted>> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let Some(now) = self.count()? else { return Ok(None) };
            if now.is_settled(completed) || Instant::now() > deadline {
                return Ok(Some(now));
            }
            pause(Duration::from_millis(100));
        }
    }

    fn count(&self) -> io::Result<Option<Accounted>> {
        Ok(match self {
            Self::None => None,
            Self::Lines(path) => Some(Accounted::records(lines(path)?)),
            Self::Sink { counts, traced } => {
                let received = counts.spans.load(Relaxed);
                let spans = Spans { received, dropped: 0, kept: 0, each: 1, share: *traced };
                let spans = (*traced > 0.0).then_some(spans);
                Some(Accounted { spans, ..Accounted::records(counts.records.load(Relaxed)) })
            }
            Self::Weir { admin, beside } => Some(weir(*admin, beside)?),
        })
    }
}

fn weir(admin: SocketAddr, beside: &Beside) -> io::Result<Accounted> {
    let (status, text) = http::get(admin, "/metrics")?;
    if status != 200 {
        return Err(io::Error::other(format!("`/metrics` answered {status}")));
    }
    let of = |name| http::metric(&text, name);
    let written = of("weir_events_written_total");
    let mut accounted = Accounted { lost: of("weir_events_accepted_total") - written, ..Accounted::records(written) };
    match beside {
        Beside::Nothing => {}
        Beside::Spans(counts, share) => {
            let (dropped, kept) = (of("weir_spans_dropped_total"), of("weir_traces_kept_total"));
            // One of the server, one of the attempt at the upstream.
            let spans = Spans { received: counts.spans.load(Relaxed), dropped, kept, each: 2, share: *share };
            accounted.spans = Some(spans);
        }
        Beside::Line(path) => {
            let dropped = of("weir_log_output_lines_dropped_total");
            accounted.lines = Some(Lines { written: lines(path)?, dropped });
        }
    }
    Ok(accounted)
}

fn lines(path: &Path) -> io::Result<u64> {
    use std::io::Read;
    let (mut file, mut buffer, mut count) = (std::fs::File::open(path)?, vec![0; 1 << 20], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(count),
            read => count += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traced(share: f64, kept: u64, received: u64, dropped: u64) -> Accounted {
        Accounted { spans: Some(Spans { received, dropped, kept, each: 2, share }), ..Accounted::records(1000) }
    }

    #[test]
    fn spans_are_received_or_counted_as_dropped() {
        assert!(traced(1.0, 1000, 2000, 0).is_settled(1000));
        assert!(traced(1.0, 1000, 1500, 500).is_settled(1000));
        assert_eq!(traced(1.0, 1000, 1500, 500).notes(), ["500 of 2000 spans were dropped (25 %), and counted"]);
        assert!(!traced(1.0, 1000, 1500, 499).is_settled(1000));
        // What was kept must be there, and about as much must have been kept as was asked for.
        assert!(!traced(0.01, 20, 39, 0).is_settled(1000) && traced(0.01, 20, 40, 0).is_settled(1000));
        assert!(!traced(0.5, 100, 200, 0).is_settled(1000));
        // Two of a thousand clients left before there was an attempt.
        assert!(traced(1.0, 1000, 1998, 0).is_settled(998) && !traced(1.0, 1000, 1997, 0).is_settled(998));
    }

    #[test]
    fn lines_are_written_or_counted_as_dropped() {
        let with = |written, dropped| Accounted { lines: Some(Lines { written, dropped }), ..Accounted::records(1000) };
        assert!(with(990, 10).is_settled(1000) && with(1000, 0).notes().is_empty());
        let [fault] = &with(990, 9).faults(1000)[..] else { panic!("one fault") };
        assert!(fault.contains("990 lines written"), "{fault}");
    }
}
