//! The ledger as weir-analytics gives it: a claim with a time, and an account of each stream. `docs/ledger.md` says what
//! is claimed when.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// `GET /api/v1/ledger`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Ledger {
    pub state: LedgerState,
    /// The claim, with its time.
    pub sentence: String,
    /// Every event counted up to this time is accounted for, in all streams that are not unknown or missing. Milliseconds
    /// since the Unix epoch, like all times here.
    #[serde(default)]
    pub balanced_up_to_ms: Option<i64>,
    #[serde(default)]
    pub now_ms: i64,
    /// Accounts in order whose last report is older are not listed.
    #[serde(default)]
    pub since_ms: Option<i64>,
    /// When the rows themselves were last counted against `stored_seqs`.
    #[serde(default)]
    pub audited_ms: Option<i64>,
    #[serde(default)]
    pub accepted: u64,
    #[serde(default)]
    pub stored: u64,
    #[serde(default)]
    pub waiting: u64,
    #[serde(default)]
    pub missing: u64,
    /// What is missing, by class.
    #[serde(default)]
    pub classes: BTreeMap<LossClass, u64>,
    #[serde(default)]
    pub acknowledged: u64,
    #[serde(default)]
    pub doubled: u64,
    /// Streams of which a part is unknown.
    #[serde(default)]
    pub unknown: u64,
    /// The worst first.
    pub streams: Vec<StreamAccount>,
}

/// What is said of all streams together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum LedgerState {
    Balanced,
    Missing,
    Unknown,
    /// No gateway has reported and nothing is stored.
    Empty,
}

/// The account of one stream: of one worker of one life of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct StreamAccount {
    /// 16 hex digits.
    pub stream: String,
    #[serde(default)]
    pub organization: String,
    #[serde(default)]
    pub environment: String,
    pub site: String,
    pub gateway: String,
    pub replica: String,
    /// 32 hex digits.
    #[serde(default)]
    pub boot: String,
    /// `null` where it has events and no report.
    pub worker: Option<u16>,
    pub state: StreamState,
    /// What is said of it, without its name.
    pub claim: String,
    /// What to do; empty where there is nothing to do.
    pub advice: String,
    #[serde(default)]
    pub balanced_up_to_ms: Option<i64>,
    #[serde(default)]
    pub reported_ms: Option<i64>,
    pub closed: bool,
    pub accepted: u64,
    pub stored: u64,
    pub waiting: u64,
    #[serde(default)]
    pub waiting_since_ms: Option<i64>,
    /// Why its chunks are not shipped.
    #[serde(default)]
    pub held: Option<String>,
    pub missing: Vec<MissingPart>,
    pub acknowledged: Vec<MissingPart>,
    #[serde(default)]
    pub doubled: u64,
    #[serde(default)]
    pub unknown: Vec<UnknownPart>,
}

/// What is said of a stream. The order is that of their weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum StreamState {
    /// Every event up to `balanced_up_to_ms` is stored, or its loss was acknowledged.
    Balanced,
    /// Nothing is known to be missing, and something is not known.
    Unknown,
    /// Events are missing, or stored more than once.
    Missing,
}

/// Numbers that are missing for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct MissingPart {
    pub class: LossClass,
    pub reason: String,
    pub count: u64,
    /// The first of them, each with its first and last number.
    pub ranges: Vec<(u64, u64)>,
}

/// Why numbers are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum LossClass {
    /// Given up by a gateway, with its reason.
    Lost,
    /// Refused, and kept apart by the gateway.
    SetAside,
    /// Out of the range of times, and kept apart by weir-analytics.
    DeadLetter,
    /// Stored before, gone now.
    Gone,
    /// Not stored and not reported as waiting.
    Unaccounted,
}

impl LossClass {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::SetAside => "set_aside",
            Self::DeadLetter => "dead_letter",
            Self::Gone => "gone",
            Self::Unaccounted => "unaccounted",
        }
    }
}

impl fmt::Display for LossClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A part of an account that is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct UnknownPart {
    pub kind: Doubt,
    pub reason: String,
    /// The first number that it is about.
    pub from: u64,
    pub since_ms: Option<i64>,
    pub acknowledged: bool,
}

/// Why a part of an account is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// Events, and no report yet.
    NotReported,
    /// No report for too long, and its end was not reported.
    NotHeard,
    /// An open end: the ring was torn, damaged, missing.
    OpenEnd,
    /// Waiting for too long, or since the first report.
    Waiting,
}

/// `POST /api/v1/ledger/acknowledge`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// 16 hex digits, or `all`.
    pub stream: String,
    /// Why this is known and accepted: for whoever reads the account later.
    pub reason: String,
    /// Who says so, by the caller's own word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// The answer to [`Acknowledge`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Acknowledged {
    pub acknowledged: Vec<AcknowledgedPart>,
}

/// One range of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct AcknowledgedPart {
    pub stream: String,
    pub name: String,
    pub kind: AcknowledgedKind,
    pub what: String,
    pub first: u64,
    /// `null` where the end is open.
    pub last: Option<u64>,
}

/// What was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum AcknowledgedKind {
    Missing,
    Unknown,
}

impl AcknowledgedKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        }
    }
}

/// `POST /api/v1/ledger/verify`: what an audit of every day found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Audited {
    /// Days that were counted by stream.
    pub days: u64,
    /// Numbers that were stored and whose rows are not there.
    pub gone: u64,
    /// Rows more than there are numbers.
    pub doubled: u64,
    /// Streams whose accounts were compacted.
    pub compacted: u64,
}
