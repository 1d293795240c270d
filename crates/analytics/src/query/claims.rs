//! What the ledger says, as the API gives it, and the accounts that it is said of.

use super::account::{Account, Class, Doubt, State};
use super::facts::Owner;
use serde::Serialize;
use std::collections::BTreeMap;

/// `GET /api/v1/ledger`.
#[derive(Debug, Serialize)]
pub struct Ledger {
    pub state: Verdict,
    /// The claim, with its time.
    pub sentence: String,
    /// Every event counted up to this time is accounted for, in all streams that are not unknown or missing.
    pub balanced_up_to_ms: Option<i64>,
    pub now_ms: i64,
    /// Accounts in order whose last report is older are not listed.
    pub since_ms: Option<i64>,
    /// When the rows themselves were last counted against `stored_seqs`.
    pub audited_ms: Option<i64>,
    pub accepted: u64,
    pub stored: u64,
    pub waiting: u64,
    pub missing: u64,
    /// What is missing, by class.
    pub classes: BTreeMap<&'static str, u64>,
    pub acknowledged: u64,
    pub doubled: u64,
    /// Streams of which a part is unknown.
    pub unknown: u64,
    pub streams: Vec<Line>,
}

/// What is said of all streams together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Balanced,
    Missing,
    Unknown,
    /// No gateway has reported and nothing is stored.
    Empty,
}

/// The account of one stream.
#[derive(Debug, Serialize)]
pub struct Line {
    pub stream: String,
    pub organization: String,
    pub environment: String,
    pub site: String,
    pub gateway: String,
    pub replica: String,
    pub boot: String,
    pub worker: Option<u16>,
    pub state: State,
    /// What is said of it, without its name.
    pub claim: String,
    /// What to do; empty where there is nothing to do.
    pub advice: String,
    pub balanced_up_to_ms: Option<i64>,
    pub reported_ms: Option<i64>,
    pub closed: bool,
    pub accepted: u64,
    pub stored: u64,
    pub waiting: u64,
    pub waiting_since_ms: Option<i64>,
    /// Why its chunks are not shipped.
    pub held: Option<String>,
    pub missing: Vec<Part>,
    pub acknowledged: Vec<Part>,
    pub doubled: u64,
    pub unknown: Vec<Doubtful>,
}

/// Numbers that are missing for one reason.
#[derive(Debug, Serialize)]
pub struct Part {
    pub class: Class,
    pub reason: String,
    pub count: u64,
    /// The first of them.
    pub ranges: Vec<(u64, u64)>,
}

/// A part that is not known.
#[derive(Debug, Serialize)]
pub struct Doubtful {
    pub kind: Doubt,
    pub reason: String,
    pub from: u64,
    pub since_ms: Option<i64>,
    pub acknowledged: bool,
}

/// A stream with its account.
pub struct Accounted {
    pub id: u64,
    pub owner: Owner,
    pub account: Account,
    pub reported_ms: Option<i64>,
    pub counted_ms: Option<i64>,
    pub closed: bool,
    pub held: Option<String>,
}
