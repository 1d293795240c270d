//! What a gateway answers at its admin port. Times are RFC 3339 with microseconds, UTC, unless a name says otherwise.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// `GET /status`: what the gateway serves, and how it fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status {
    pub version: String,
    /// The id of this life of the process, 32 hex digits.
    pub boot: String,
    pub identity: Identity,
    /// `null` before the ports are open.
    pub serving: Option<Serving>,
    /// Warnings about the configuration.
    pub warnings: Vec<String>,
    pub draining: bool,
    pub reloads: Reloads,
    pub spool: Spool,
}

/// Who the gateway is, in events and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Identity {
    pub organization: String,
    pub environment: String,
    pub site: String,
    pub gateway: String,
}

/// The configuration that is served, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Serving {
    pub generation: u32,
    /// The generation that every worker has reached.
    pub all_workers: u32,
    pub listeners: Vec<Listener>,
    pub workers: Vec<Worker>,
}

/// A port for clients: as it is written, and as the system gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Listener {
    pub configured: String,
    pub actual: String,
}

/// One worker thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Worker {
    /// Requests.
    pub accepted: u64,
    /// Open now.
    pub connections: u64,
}

/// What became of edits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reloads {
    pub succeeded: u64,
    pub failed: u64,
    pub last_error: Option<String>,
    /// The last failure may pass: the same files are tried again.
    pub retrying: bool,
    pub waiting: Option<WaitingChange>,
    /// Settings that were edited and are read only at the start.
    pub restart_required: Vec<String>,
    /// The generations that a rollback may name.
    pub kept: Vec<u32>,
    pub fallback: Option<Fallback>,
}

/// An edit that is not loaded yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WaitingChange {
    pub since: String,
    pub waits_for: WaitsFor,
    /// What the edit takes away, where it waits for that.
    pub removals: Vec<String>,
}

/// What an edit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// That nobody edits for a while.
    QuietPeriod,
    /// The longer while after an edit that removes something.
    RemovalPeriod,
    /// An explicit reload.
    Reload,
}

/// A generation that runs although the folders say something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Fallback {
    pub generation: u32,
    /// `last_good` or `rollback`.
    pub cause: String,
    pub why: String,
}

/// The gateway's store of events that are on their way. Counts are since the start of the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Spool {
    pub events_written: u64,
    /// Events that are gone, by reason.
    pub shed: BTreeMap<String, u64>,
    pub chunks: Chunks,
    pub set_aside: SetAside,
    /// Why nothing at all is shipped now.
    pub blocked: Option<String>,
    /// Lives whose chunks wait while those of others are shipped.
    pub held: Vec<HeldLife>,
    pub failures: SpoolFailures,
    /// Answers that weir-analytics did not give: of a proxy, a portal, a wrong port.
    pub answers_not_understood: u64,
    pub bytes_on_disk: u64,
    /// Of the oldest chunk that waits.
    pub oldest_age_seconds: Option<f64>,
    /// One for each worker.
    pub rings: Vec<Ring>,
    /// The last thing that went wrong with disk or shipping.
    pub last_error: Option<String>,
}

/// Chunks of events, by what became of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Chunks {
    pub sealed: u64,
    pub acknowledged: u64,
    pub set_aside: u64,
    /// Halved, because they were too large for the way.
    pub split: u64,
    /// Now.
    pub on_disk: u64,
}

/// Chunks that are kept apart now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SetAside {
    pub chunks: u64,
    pub bytes: u64,
}

/// A life whose chunks are not shipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HeldLife {
    pub boot: String,
    pub site: String,
    pub gateway: String,
    pub reason: String,
    /// What weir-analytics answered.
    pub error: String,
    /// In milliseconds since the Unix epoch.
    pub since_ms: i64,
    pub chunks: u64,
}

/// Files that could not be written or read at the first try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SpoolFailures {
    pub write: u64,
    pub other: u64,
}

/// How full a worker's ring is, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Ring {
    pub used: u64,
    pub size: u64,
}

/// `GET /ledger`: this process's half of the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GatewayLedger {
    pub streams: Vec<GatewayStream>,
}

/// What the gateway knows of one stream. Ranges are first and last sequence numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GatewayStream {
    /// 16 hex digits.
    pub stream: String,
    pub worker: u16,
    /// 32 hex digits.
    pub boot: String,
    /// Numbers below this one were given out.
    pub accepted: u64,
    /// In chunk files.
    pub spooled: Vec<(u64, u64)>,
    pub acknowledged: Vec<(u64, u64)>,
    /// Gone, by reason.
    pub shed: BTreeMap<String, Vec<(u64, u64)>>,
    pub set_aside: Vec<(u64, u64)>,
    /// First, last, reason.
    pub set_aside_reasons: Vec<(u64, u64, String)>,
    /// From this number on nobody can say how many there were.
    pub unknown_from: Option<u64>,
    pub unknown_reason: Option<String>,
    /// Why its chunks are not offered now.
    pub held: Option<String>,
    /// Given out, and none of the above: in the ring, or acknowledged to an earlier process.
    pub open: Vec<(u64, u64)>,
    pub closed: bool,
}

/// `GET /dump`: everything that a support case needs, without secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Dump {
    #[serde(flatten)]
    pub status: Status,
    pub taken: String,
    pub started: String,
    pub listeners: Vec<DumpedListener>,
    /// Settings under the keys of a `Configuration`, and the APIs: `docs/configuration.md`.
    pub configuration: Value,
    pub ledger: GatewayLedger,
    pub process: Process,
    /// The last warnings and errors, oldest first.
    pub log: Vec<LogLine>,
}

/// A port for clients, with its certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DumpedListener {
    pub configured: String,
    pub actual: String,
    /// `http` or `https`.
    pub scheme: String,
    pub certificates: Vec<Certificate>,
}

/// From when and until when a certificate holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Certificate {
    pub valid_from: String,
    pub expires: String,
    /// Whole days; negative once it has expired.
    pub days_left: i64,
}

/// What the system says of the process; `null` where it says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Process {
    pub pid: u32,
    pub user: u32,
    pub host: String,
    pub kernel: String,
    pub cores: Option<usize>,
    pub arguments: Vec<String>,
    /// The names of the variables that Weir may read; their values may be secrets.
    pub variables: Vec<String>,
    pub threads: Option<u64>,
    pub memory: Memory,
    pub open_files: OpenFiles,
}

/// Memory of the process, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Memory {
    pub resident_bytes: Option<u64>,
    pub resident_peak_bytes: Option<u64>,
    pub anonymous_bytes: Option<u64>,
    pub swapped_bytes: Option<u64>,
    /// What the container allows; `null` where it allows everything.
    pub limit_bytes: Option<u64>,
}

/// Open files of the process, and how many it may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OpenFiles {
    pub open: Option<usize>,
    pub limit: Option<u64>,
    pub limit_hard: Option<u64>,
}

/// One warning or error of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LogLine {
    pub at: String,
    /// `WARN` or `ERROR`.
    pub level: String,
    /// The part of the program.
    pub target: String,
    pub message: String,
    pub fields: BTreeMap<String, String>,
}

/// The answer to `POST /reload` and `POST /rollback` with 200, or 504 where not every worker serves it yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Changed {
    pub outcome: ChangeOutcome,
    pub generation: u32,
    /// The generation that every worker has reached.
    pub serving: u32,
}

/// What became of a call that changes what is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChangeOutcome {
    Taken,
    /// The folders say what is served already.
    Unchanged,
    /// It is loaded, and a worker serves an earlier one still.
    Late,
    /// The configuration is wrong.
    Refused,
    /// The rollback opens what is closed now: `?confirm=true`.
    Unconfirmed,
}

/// The answer with 422: the configuration is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Refused {
    pub outcome: ChangeOutcome,
    pub errors: Vec<String>,
}

/// The answer with 409: a rollback needs a confirmation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Unconfirmed {
    pub outcome: ChangeOutcome,
    /// What it opens.
    pub opens: Vec<String>,
}

/// `GET /debug-rules`: the traces that an administrator asks for. They are gone with the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DebugRules {
    pub rules: Vec<DebugRule>,
}

/// One rule; the answer to the calls that add and end one. One of `header`, `consumer` and `api` is not `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DebugRule {
    pub id: u32,
    /// `name`, or `name:value`.
    pub header: Option<String>,
    pub consumer: Option<String>,
    pub api: Option<String>,
    pub per_second: u32,
    pub until: String,
    /// How many traces it has had kept.
    pub traces: u64,
}

/// The answer to `POST /probes/pipeline`: a mark that makes one request at this gateway a probe, and where to send it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PipelineMark {
    /// The name of the field of the request, and of that of the answer, which has the trace.
    pub header: String,
    /// Good for one request.
    pub mark: String,
    pub valid_seconds: u64,
    /// The ports for clients.
    pub listeners: Vec<ProbedListener>,
    /// Where events are shipped to; `null` where they stay in the spool.
    pub analytics: Option<String>,
    /// Where spans are sent to; `null` where none are made.
    pub spans: Option<String>,
}

/// A port that a probe can be sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProbedListener {
    pub address: String,
    pub tls: bool,
}

/// `GET /probes/pipeline/{id}`: what became of the spans of a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PipelineSpans {
    pub trace_id: String,
    pub state: SpansState,
    /// From the end of the request to what the state says; `null` while it waits.
    pub after_ms: Option<f64>,
    /// What went wrong, last.
    pub error: Option<String>,
}

/// How far spans have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SpansState {
    /// No spans are made here.
    NotConfigured,
    /// No probe of late has this trace.
    Unknown,
    /// They are not acknowledged yet; sent already, perhaps more than once, where there is an error.
    Waiting,
    /// The receiver has acknowledged them.
    Acknowledged,
    /// They were given up.
    Dropped,
}
