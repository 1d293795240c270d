//! What weir-analytics answers to questions about events. Times of traffic are in microseconds unless a name says
//! otherwise; bytes and counts are whole numbers.

use serde::{Deserialize, Serialize};

/// `GET /api/v1/reader`: who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ReaderIs {
    /// Empty where no token is asked for.
    pub name: String,
    pub role: ReaderRole,
    /// What of the events is shown; `null` for all.
    pub organizations: Option<Vec<String>>,
    pub environments: Option<Vec<String>>,
}

/// What a reader may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub enum ReaderRole {
    /// Ask.
    Viewer,
    /// Ask, and call what changes state.
    Admin,
}

/// `GET /api/v1/overview`: totals and percentiles of the last `minutes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Overview {
    pub minutes: u64,
    /// In the order of their names.
    pub rows: Vec<Traffic>,
}

/// The traffic of one API at one site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Traffic {
    pub organization: String,
    pub environment: String,
    pub site: String,
    /// Empty where no API was found for the request.
    pub api: String,
    pub requests: u64,
    /// Requests that failed, by the gateway's or the upstream's fault.
    pub errors: u64,
    /// Requests that the gateway refused: by a policy, or because the client was wrong.
    pub rejected: u64,
    /// Over the current minute and the whole one before it.
    pub requests_per_second: f64,
    /// Percentiles of the total time; `null` where there was no request.
    pub p50_us: Option<f64>,
    pub p95_us: Option<f64>,
    pub p99_us: Option<f64>,
    pub max_us: u64,
    /// The three times, each as a sum over the requests.
    pub gateway_us: u64,
    pub upstream_us: u64,
    pub client_us: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// The trace of the slowest request, as 32 hex digits.
    pub slowest_trace: String,
}

/// `GET /api/v1/series`: requests and errors of each minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Series {
    pub minutes: u64,
    /// What the members of a point are.
    pub point: [String; 3],
    pub rows: Vec<TrafficSeries>,
}

/// One API at one site over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct TrafficSeries {
    pub organization: String,
    pub environment: String,
    pub site: String,
    pub api: String,
    /// The minute's start in seconds since the Unix epoch, requests, errors. Minutes without requests are left out.
    pub points: Vec<(u32, u64, u64)>,
}

/// `GET /api/v1/gateways`: every gateway process that has reported within the last day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Gateways {
    pub rows: Vec<GatewayProcess>,
}

/// One life of one gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct GatewayProcess {
    pub organization: String,
    pub environment: String,
    pub site: String,
    pub gateway: String,
    pub replica: String,
    /// 32 hex digits.
    pub boot_id: String,
    /// When it last reported, as ClickHouse writes a time, UTC.
    pub last: String,
    /// The same in milliseconds since the Unix epoch.
    pub last_ms: i64,
    /// Seconds since then.
    pub silent_s: i64,
    /// Whether it has said that no more will come.
    pub closed: bool,
    /// Requests that it has accepted.
    pub accepted: u64,
    pub workers: u64,
}

/// `GET /api/v1/errors` and `/slow`: single requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Requests {
    pub minutes: u64,
    /// The last ones first, or the slowest ones.
    pub rows: Vec<RequestLine>,
}

/// What a list shows of an event. The fields are those of the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct RequestLine {
    /// RFC 3339 with microseconds, UTC.
    pub ts: String,
    pub site: String,
    pub gateway: String,
    pub api: String,
    pub route: String,
    pub method: String,
    pub path: String,
    pub status: u16,
    pub reason: String,
    pub side: String,
    pub total_us: u64,
    pub upstream: String,
    /// 32 hex digits.
    pub trace_id: String,
}

/// `GET /api/v1/blame`: what changed when an API got worse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Blame {
    pub api: String,
    /// What got worse, or that nothing did by more than chance.
    pub sentence: String,
    /// How many comparisons the p-values are corrected for (Bonferroni).
    pub comparisons: u64,
    /// Changes in the time asked for.
    pub found: u64,
    /// At most 50 of them, the least by chance first.
    pub changes: Vec<BlameChange>,
}

/// A gateway began to serve by another generation of its configuration, or by another version of the program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct BlameChange {
    pub organization: String,
    pub environment: String,
    pub site: String,
    pub gateway: String,
    /// The first request after it, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    pub before: BlameSide,
    pub after: BlameSide,
    pub errors: Option<BlameErrors>,
    pub times: Option<BlameTimes>,
    /// What differs with a corrected p below 0.01.
    pub sentences: Vec<String>,
}

/// What a gateway did in one state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct BlameSide {
    pub generation: u32,
    /// Empty where the process never sent a sample.
    pub version: String,
    /// The first and the last request, in milliseconds since the Unix epoch.
    pub from_ms: i64,
    pub to_ms: i64,
    pub requests: u64,
    pub failed: u64,
    pub p95_us: Option<f64>,
}

/// Whether the share of errors differs. Both p-values are two-sided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct BlameErrors {
    pub test: ShareTestName,
    pub p: f64,
    /// Times the number of comparisons, 1 at most.
    pub adjusted_p: f64,
}

/// How shares are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub enum ShareTestName {
    /// Of two proportions.
    ZTest,
    /// Fisher's exact test.
    Fisher,
}

impl ShareTestName {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ZTest => "two-proportion z-test",
            Self::Fisher => "Fisher's exact test",
        }
    }
}

/// Whether the distribution of durations differs: a Kolmogorov-Smirnov test on buckets that are 9 % wide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct BlameTimes {
    /// The largest difference of the two shares below a bucket's end.
    pub distance: f64,
    pub p: f64,
    pub adjusted_p: f64,
}

/// `GET /api/v1/events`: the newest events that match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Events {
    /// The newest first.
    pub rows: Vec<EventLine>,
}

/// What a list shows of an event. The fields are those of the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct EventLine {
    /// In microseconds since the Unix epoch.
    pub ts_us: i64,
    /// When weir-analytics received it, in milliseconds since the Unix epoch.
    pub received_ms: i64,
    /// 16 hex digits; with `seq` it is the event's name.
    pub stream: String,
    pub seq: u64,
    pub site: String,
    pub gateway: String,
    pub api: String,
    pub route: String,
    pub consumer: String,
    pub method: String,
    pub path: String,
    pub status: u16,
    pub reason: String,
    pub side: String,
    pub total_us: u64,
    pub upstream: String,
    /// 32 hex digits.
    pub trace_id: String,
}

/// `GET /api/v1/trace/{id}`: the events of one trace, in the order of their starts, at most 1,000. Whoever reads it says
/// what it needs of an event: `docs/event-fields.md` has all fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace<Event> {
    /// 32 hex digits.
    pub trace_id: String,
    pub events: Vec<Event>,
}

/// `GET /api/v1/deadletters`: events that could not be stored as they were, by stream and reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct DeadLetters {
    /// The last that came first, at most 1,000.
    pub rows: Vec<DeadLetterGroup>,
}

/// The dead letters of one stream for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct DeadLetterGroup {
    /// The stream, as 16 hex digits.
    pub id: String,
    /// The reason: `ts_ahead`, `ts_old`.
    pub why: String,
    pub events: u64,
    /// The first and the last sequence number.
    pub first: u64,
    pub last: u64,
    /// The times of the events, in microseconds since the Unix epoch.
    pub first_us: i64,
    pub last_us: i64,
    /// When the last of them came, in milliseconds since the Unix epoch.
    pub received_ms: i64,
    /// Whether the chunks that they came in are kept.
    pub can_be_replayed: bool,
}

/// `GET /api/v1/deadletters/show`: the dead letters of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct DeadLetterEvents {
    pub rows: Vec<DeadLetter>,
}

/// One event that is kept apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct DeadLetter {
    pub seq: u64,
    pub why: String,
    /// The event's time, in microseconds since the Unix epoch.
    pub us: i64,
    /// The event, as JSON text.
    pub json: String,
}

/// `POST /api/v1/deadletters/replay`: what has become of the dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Replayed {
    /// Events that are dead letters no more.
    pub stored: u64,
    /// Events that are still out of range.
    pub dead_letters: u64,
}
