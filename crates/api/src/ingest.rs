//! What gateways send to weir-analytics beside chunks, and its answers, protocol 2. `docs/ingest-protocol.md` is its
//! description.
//!
//! An acknowledgement names the chunk and its counts, and a status alone says nothing about data, because proxies, portals
//! and wrong ports answer with statuses too. A gateway therefore reads answers with more care than these types need.

use crate::gauges::Gauges;
use serde::{Deserialize, Serialize};

/// The version of this protocol, in the header `weir-protocol` of requests and answers.
pub const PROTOCOL: u16 = 2;
/// The header of [`PROTOCOL`].
pub const PROTOCOL_HEADER: &str = "weir-protocol";
/// The header of the sender's wall clock, microseconds since the Unix epoch.
pub const SENT_HEADER: &str = "weir-sent-us";
/// What answers call the program that gives them.
pub const PROGRAM: &str = "weir-analytics";

/// What became of a request, and what its sender is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Stored, durably, in raw and in every roll-up.
    Stored,
    /// Some lines of a report are stored, the refused ones are named.
    Partly,
    /// These bytes are no chunk.
    Malformed,
    /// Too many bytes: split it.
    TooLarge,
    /// The engine refuses these events.
    Rejected,
    /// No token, or one that is not known.
    Token,
    /// The token does not speak for this identity.
    Identity,
    /// Of a version that this program does not know.
    Version,
    /// The clocks of the two machines differ by more than the limit.
    Clock,
    /// Part of it is being stored right now.
    Underway,
    /// As much is on its way as fits.
    Busy,
    /// ClickHouse is away or slow.
    Unavailable,
    /// This process is ending.
    Stopping,
    /// Another weir-analytics writes.
    Standby,
}

impl Verdict {
    /// Every one.
    pub const ALL: [Self; 14] = [
        Self::Stored,
        Self::Partly,
        Self::Malformed,
        Self::TooLarge,
        Self::Rejected,
        Self::Token,
        Self::Identity,
        Self::Version,
        Self::Clock,
        Self::Underway,
        Self::Busy,
        Self::Unavailable,
        Self::Stopping,
        Self::Standby,
    ];

    /// As an answer has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Partly => "partly",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Rejected => "rejected",
            Self::Token => "token",
            Self::Identity => "identity",
            Self::Version => "version",
            Self::Clock => "clock",
            Self::Underway => "underway",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Stopping => "stopping",
            Self::Standby => "standby",
        }
    }

    /// The HTTP status of an answer with it.
    pub const fn status(self) -> u16 {
        match self {
            Self::Stored => 200,
            Self::Malformed => 400,
            Self::Token => 401,
            Self::Identity | Self::Partly => 403,
            Self::Version => 409,
            Self::TooLarge => 413,
            Self::Rejected => 422,
            Self::Clock | Self::Underway | Self::Busy | Self::Unavailable | Self::Stopping | Self::Standby => 503,
        }
    }

    /// Seconds after which the same request may be accepted.
    pub const fn retry_after(self) -> Option<u16> {
        match self {
            Self::Underway | Self::Busy => Some(1),
            Self::Standby => Some(2),
            Self::Unavailable | Self::Stopping => Some(5),
            Self::Clock => Some(30),
            _ => None,
        }
    }
}

/// The answer to `POST /v1/chunks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChunkAnswer {
    pub protocol: u16,
    pub program: String,
    pub version: String,
    pub result: Verdict,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk: Option<ChunkName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Received>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clocks>,
}

impl ChunkAnswer {
    /// Of this version.
    pub fn new(result: Verdict) -> Self {
        let (program, version) = program();
        let (chunk, received, counts, error, clock) = (None, None, None, None, None);
        Self { protocol: PROTOCOL, program, version, result, chunk, received, counts, error, clock }
    }
}

/// Which chunk was meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChunkName {
    /// 16 hex digits.
    pub stream: String,
    pub first: u64,
    pub last: u64,
}

/// The body as it arrived: whether it is what was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Received {
    pub bytes: u64,
    /// 8 hex digits.
    pub crc32c: String,
}

/// What the chunk's records have become; they add up to their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Counts {
    pub stored: u64,
    pub duplicate: u64,
    pub dead_letters: u64,
}

/// The two clocks that disagree, microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Clocks {
    pub gateway_us: i64,
    pub analytics_us: i64,
}

/// The answer to `POST /v1/streams`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StreamsAnswer {
    pub protocol: u16,
    pub program: String,
    pub version: String,
    pub result: Verdict,
    /// The streams whose lines are stored.
    pub taken: Vec<String>,
    pub refused: Vec<RefusedLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clocks>,
}

impl StreamsAnswer {
    /// Of this version.
    pub fn new(result: Verdict) -> Self {
        let (program, version) = program();
        let (taken, refused, error, clock) = (Vec::new(), Vec::new(), None, None);
        Self { protocol: PROTOCOL, program, version, result, taken, refused, error, clock }
    }

    /// The HTTP status. A report of which every refused line is malformed is a bad request.
    pub fn status(&self) -> u16 {
        let only_malformed = self.refused.iter().all(|line| line.result == Verdict::Malformed);
        match self.result {
            Verdict::Partly if only_malformed => Verdict::Malformed.status(),
            result => result.status(),
        }
    }
}

/// One line of a report that is not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RefusedLine {
    /// As the line says it; empty where it has none.
    pub stream: String,
    pub result: Verdict,
    pub error: String,
}

fn program() -> (String, String) {
    (PROGRAM.to_owned(), env!("CARGO_PKG_VERSION").to_owned())
}

/// One stream of a report: `POST /v1/streams` takes a list of them, all of one identity. Members that are not known are
/// left alone: gateways are older and newer than weir-analytics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// 16 hex digits, which follow from the identity, boot and worker.
    pub stream: String,
    pub organization: String,
    pub environment: String,
    pub site: String,
    pub gateway: String,
    #[serde(default)]
    pub replica: String,
    /// 32 hex digits.
    pub boot: String,
    pub worker: u16,
    /// Events so far: the numbers from 0 up to below this one.
    pub accepted: u64,
    /// A sample of the process, in one line of its report. weir-analytics reads it apart from the line, so that a sample
    /// that it does not understand costs no report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gauges: Option<Box<Gauges>>,
    #[serde(flatten)]
    pub details: ReportDetails,
}

/// What a report says beyond the count. Kept as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ReportDetails {
    /// No more will come.
    pub closed: bool,
    /// When `accepted` was read, by the gateway's clock, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted_ms: Option<i64>,
    /// Numbers from this one on may have been given out, and nobody can say how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_reason: Option<String>,
    /// The first of the ranges that are set aside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_aside: Vec<SetAsideRange>,
    /// There are more of them than are listed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub set_aside_more: bool,
    /// What the gateway holds, in chunk files and in its ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Vec<Range>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub waiting_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// Numbers that were refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SetAsideRange {
    pub first: u64,
    pub last: u64,
    #[serde(default)]
    pub reason: String,
}

/// Sequence numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Range {
    pub first: u64,
    pub last: u64,
}

/// Why chunks are not shipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Held {
    pub reason: String,
    /// In milliseconds since the Unix epoch.
    #[serde(default)]
    pub since_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [`Report`] as weir-analytics had it before there were gauges, member by member.
    #[derive(Debug, PartialEq, Deserialize)]
    struct ReportBefore {
        stream: String,
        organization: String,
        environment: String,
        site: String,
        gateway: String,
        #[serde(default)]
        replica: String,
        boot: String,
        worker: u16,
        accepted: u64,
        #[serde(flatten)]
        details: ReportDetails,
    }

    fn report(gauges: Option<Box<Gauges>>) -> Report {
        let details = ReportDetails { closed: true, waiting: Some(Vec::new()), ..ReportDetails::default() };
        Report { stream: "5d2c8a0e6b1f4c37".to_owned(), accepted: 7, gauges, details, ..Report::default() }
    }

    #[test]
    fn an_older_weir_analytics_reads_a_report_with_gauges_as_one_without() {
        let gauges = Gauges { version: "0.1.0".to_owned(), worker_busy: vec![0.5], ..Gauges::default() };
        let [with, without] =
            [Some(Box::new(gauges)), None].map(|gauges| serde_json::to_string(&report(gauges)).unwrap());
        assert!(with.contains("worker_busy") && !without.contains("gauges"));
        let [with, without] = [with, without].map(|text| serde_json::from_str::<ReportBefore>(&text).unwrap());
        assert_eq!(with, without);
        assert_eq!((with.accepted, with.details.closed), (7, true));
    }

    #[test]
    fn the_report_of_an_older_gateway_has_no_gauges() {
        let text = serde_json::to_string(&report(None)).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report(None));
    }
}
