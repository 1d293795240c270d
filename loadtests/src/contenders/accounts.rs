//! What a contender's telemetry has accounted for: events, log lines, log records and spans, counted where they arrive.

use crate::child::pause;
use crate::load::http;
use crate::sink::Counts;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

const SETTLE: Duration = Duration::from_secs(20);

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
    /// Events in the spool, reported by the metrics.
    Weir(SocketAddr),
}

/// What was counted since the contender's start.
pub struct Accounted {
    pub records: u64,
    /// And what should be there.
    pub spans: Option<(u64, f64)>,
    /// That are asked to be lost.
    pub lost: u64,
}

impl Accounts {
    /// What is accounted for once `completed` requests have settled, or after a while if they do not.
    pub fn settled(&self, completed: u64) -> io::Result<Option<Accounted>> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let Some(now) = self.count()? else { return Ok(None) };
            let spans_are_there = now.spans.is_none_or(|(spans, share)| spans as f64 >= 0.9 * share * completed as f64);
            if (now.records >= completed && spans_are_there && now.lost == 0) || Instant::now() > deadline {
                return Ok(Some(now));
            }
            pause(Duration::from_millis(100));
        }
    }

    fn count(&self) -> io::Result<Option<Accounted>> {
        let accounted = |records| Accounted { records, spans: None, lost: 0 };
        Ok(match self {
            Self::None => None,
            Self::Lines(path) => Some(accounted(lines(path)?)),
            Self::Sink { counts, traced } => {
                let spans = (*traced > 0.0).then(|| (counts.spans.load(Relaxed), *traced));
                Some(Accounted { records: counts.records.load(Relaxed), spans, lost: 0 })
            }
            Self::Weir(admin) => {
                let (status, text) = http::get(*admin, "/metrics")?;
                if status != 200 {
                    return Err(io::Error::other(format!("`/metrics` answered {status}")));
                }
                let of = |name| http::metric(&text, name);
                let written = of("weir_events_written_total");
                Some(Accounted { records: written, spans: None, lost: of("weir_events_accepted_total") - written })
            }
        })
    }
}

fn lines(path: &std::path::Path) -> io::Result<u64> {
    use std::io::Read;
    let (mut file, mut buffer, mut count) = (std::fs::File::open(path)?, vec![0; 1 << 20], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(count),
            read => count += memchr::memchr_iter(b'\n', &buffer[..read]).count() as u64,
        }
    }
}
