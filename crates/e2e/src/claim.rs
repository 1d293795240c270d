//! What the ledger claims, held against the witness: it says *balanced* only when the witness agrees and only up to a
//! time, and reports no loss where the witness finds none.

use crate::TestStack;
use serde_json::Value;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};
use weir_testkit::compare::Report;
use weir_testkit::get;

/// Milliseconds since the Unix epoch: the clock that claims are made by.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The document of `GET /api/v1/ledger`, over all time.
#[derive(Clone, Debug)]
pub struct Claim(pub Value);

impl Claim {
    pub async fn of(stack: &TestStack) -> io::Result<Self> {
        let (status, body) = get(&format!("http://{}/api/v1/ledger?minutes=all", stack.analytics_at)).await?;
        if status != 200 {
            return Err(io::Error::other(format!("the ledger answers {status}: {body}")));
        }
        serde_json::from_str(&body).map(Self).map_err(io::Error::other)
    }

    pub fn state(&self) -> &str {
        self.0["state"].as_str().unwrap_or_default()
    }

    pub fn count(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_default()
    }

    /// Events that are missing in this class for this reason, acknowledged ones left out.
    pub fn named(&self, class: &str, reason: &str) -> u64 {
        let streams = self.0["streams"].as_array().into_iter().flatten();
        let missing = streams.filter_map(|stream| stream["missing"].as_array()).flatten();
        let named = missing.filter(|part| part["class"] == class && part["reason"] == reason);
        named.filter_map(|part| part["count"].as_u64()).sum()
    }

    /// The reasons for which the later numbers of a stream are unknown, of the kind `kind`, acknowledged ones left out.
    pub fn doubts(&self, kind: &str) -> Vec<String> {
        let streams = self.0["streams"].as_array().into_iter().flatten();
        let unknown = streams.filter_map(|stream| stream["unknown"].as_array()).flatten();
        let of_kind = unknown.filter(|doubt| doubt["kind"] == kind && doubt["acknowledged"] != true);
        of_kind.map(|doubt| doubt["reason"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Whether everything that was answered before `ms` is claimed to be accounted for.
    pub fn is_balanced_at(&self, ms: i64) -> bool {
        self.state() == "balanced" && self.0["balanced_up_to_ms"].as_i64().is_some_and(|claimed| claimed >= ms)
    }

    /// Where the claim and the witness disagree when all that was answered is settled; empty is what one hopes for. The
    /// witness's last request was answered at `answered_ms`; `report` is made after this claim.
    pub fn disagreement(&self, report: &Report, answered_ms: i64) -> Vec<String> {
        let mut wrong = self.overclaims(report, answered_ms);
        let named = self.count("missing") + self.count("acknowledged") + self.count("waiting");
        if report.lost.len() as u64 > named && self.count("unknown") == 0 {
            wrong.push(format!("events are lost that are neither named nor unknown: {report}; the ledger: {}", self.0));
        }
        wrong
    }

    /// What no claim may say at any moment, while events are still on their way.
    pub fn overclaims(&self, report: &Report, answered_ms: i64) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut hold = |holds: bool, what: &str| {
            if !holds {
                wrong.push(format!("{what}: {report}; the ledger: {}", self.0));
            }
        };
        let lost = report.lost.len() as u64;
        hold(
            lost == 0 || !self.is_balanced_at(answered_ms) || self.count("acknowledged") >= lost,
            "balanced, and events are lost",
        );
        // Requests that broke off have events as well, or may: only where every one has, nothing can be missing.
        let whole = lost == 0 && report.stored >= report.sent;
        hold(!whole || self.count("missing") == 0, "a loss is reported, and every event is stored");
        hold(report.twice.is_empty() == (self.count("doubled") == 0), "doubled, and not said, or the other way round");
        for stream in self.0["streams"].as_array().into_iter().flatten() {
            let of = |name: &str| stream[name].as_u64().unwrap_or_default();
            let parts = |name: &str| -> u64 {
                stream[name].as_array().into_iter().flatten().filter_map(|part| part["count"].as_u64()).sum()
            };
            let sum = of("stored") + of("waiting") + parts("missing") + parts("acknowledged");
            hold(of("accepted") == sum, "the parts of a stream do not add up");
        }
        wrong
    }
}
