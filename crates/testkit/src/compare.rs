//! The comparer: the witness's log against what is stored. completed ⊆ events ⊆ sent, none twice.

use crate::witness::{Line, State, USER_AGENT};
use clickhouse::{Client, Row};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// One stored event of one gateway.
#[derive(Clone, Debug, Row, Deserialize)]
pub struct Stored {
    pub trace: String,
    pub status: u16,
    pub bytes_out: u64,
    pub events: u64,
}

/// What the comparison found. Empty lists are what one hopes for.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub sent: usize,
    pub completed: usize,
    pub stored: usize,
    /// Completed at the client, and no event.
    pub lost: Vec<String>,
    /// An event of a request that the witness never sent.
    pub invented: Vec<String>,
    /// More than one event for a request.
    pub twice: Vec<String>,
    /// Completed, and the event says another status or size.
    pub different: Vec<String>,
}

impl Report {
    /// Whether nothing was lost, invented, doubled or changed.
    pub fn holds(&self) -> bool {
        self.lost.is_empty() && self.invented.is_empty() && self.twice.is_empty() && self.different.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sent, {} completed, {} stored; {} lost, {} invented, {} twice, {} different",
            self.sent,
            self.completed,
            self.stored,
            self.lost.len(),
            self.invented.len(),
            self.twice.len(),
            self.different.len()
        )
    }
}

/// Holds `log` against `stored`, the events of the one gateway that the witness talked to.
pub fn compare(log: &[Line], stored: &[Stored]) -> Report {
    let sent: HashSet<&str> = log.iter().map(|line| line.trace.as_str()).collect();
    let events: HashMap<&str, &Stored> = stored.iter().map(|event| (event.trace.as_str(), event)).collect();
    let mut report = Report { sent: sent.len(), stored: stored.len(), ..Report::default() };
    for line in log {
        let State::Ended { status, bytes, completed: true } = line.state else { continue };
        report.completed += 1;
        match events.get(line.trace.as_str()) {
            None => report.lost.push(line.trace.clone()),
            Some(event) if (event.status, event.bytes_out) != (status, bytes) => {
                report.different.push(line.trace.clone());
            }
            Some(_) => {}
        }
    }
    let named =
        |wrong: &dyn Fn(&&Stored) -> bool| stored.iter().filter(wrong).map(|event| event.trace.clone()).collect();
    report.invented = named(&|event| !sent.contains(event.trace.as_str()));
    report.twice = named(&|event| event.events > 1);
    report
}

/// Reads the events of `gateway` from ClickHouse: those of requests that say that they are a witness's, so that others
/// may use the gateway at the same time. A request that only claims to be one is an invented event.
pub async fn stored(client: &Client, gateway: &str) -> clickhouse::error::Result<Vec<Stored>> {
    client
        .query(
            "SELECT lower(hex(trace_id)) AS trace, any(status) AS status, any(bytes_out) AS bytes_out, count() AS events \
             FROM access_events WHERE gateway = ? AND user_agent = ? GROUP BY trace_id",
        )
        .bind(gateway)
        .bind(USER_AGENT)
        .fetch_all()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(trace: &str, state: State) -> Line {
        Line { trace: trace.to_owned(), path: "/".to_owned(), state }
    }

    fn ended(trace: &str, completed: bool) -> Line {
        line(trace, State::Ended { status: 200, bytes: 3, completed })
    }

    fn event(trace: &str, events: u64, bytes_out: u64) -> Stored {
        Stored { trace: trace.to_owned(), status: 200, bytes_out, events }
    }

    #[test]
    fn what_is_whole_holds() {
        let log = [line("a", State::Sent), ended("a", true), line("b", State::Sent), ended("b", false)];
        assert!(compare(&log, &[event("a", 1, 3), event("b", 1, 1)]).holds());
        assert!(compare(&log, &[event("a", 1, 3)]).holds(), "what did not complete need not have an event");
    }

    #[test]
    fn every_kind_of_wrong_is_found() {
        let log = ["a", "b", "c"].map(|trace| ended(trace, true));
        let report = compare(&log, &[event("a", 2, 3), event("b", 1, 4), event("x", 1, 3)]);
        assert_eq!(report.lost, ["c"]);
        assert_eq!(report.twice, ["a"]);
        assert_eq!(report.different, ["b"]);
        assert_eq!(report.invented, ["x"]);
        assert!(!report.holds());
    }
}
