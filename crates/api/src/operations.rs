//! Which operations the servers have: how each is called, by whom, and what it is for.
//!
//! Servers find an operation here by its method and path, so that a path is served exactly if it is described.

/// How a path is called. What is answered to `GET` is answered to `HEAD` as well, without the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

impl Method {
    /// The methods of a request that it takes.
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Get => &["GET", "HEAD"],
            Self::Post => &["POST"],
        }
    }
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// By whatever name of the server.
    Anybody,
    /// Who calls by a name of the server: no page of another site can.
    Visitor,
    /// As a visitor; at weir-analytics with a token of `--readers` or a session, where they are asked for.
    Reader,
    /// With a token of `--tokens`.
    Gateway,
    /// With the token of `--admin-token-file`, one of an administrator among `--readers`, or at the socket of a gateway's
    /// user.
    Administrator,
}

/// One operation of a server.
#[derive(Clone, Copy, Debug)]
pub struct Operation<K: 'static> {
    pub kind: K,
    pub method: Method,
    /// With `{id}` for the part that changes.
    pub path: &'static str,
    pub access: Access,
    /// In a few words.
    pub summary: &'static str,
    /// Of the query; that of the path aside.
    pub parameters: &'static [Parameter],
}

/// A parameter of a query. None is needed unless its meaning says so.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    pub name: &'static str,
    pub value: Value,
    pub meaning: &'static str,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    Whole(Whole),
    /// A number, or the word `all`.
    WholeOrAll(Whole),
    Text,
    /// Several; each is given as a parameter of its own.
    Texts,
    /// `true`, or anything else.
    Flag,
}

/// A whole number within bounds.
#[derive(Clone, Copy, Debug)]
pub struct Whole {
    pub least: u64,
    pub most: u64,
    /// Where it is not given.
    pub default: Option<u64>,
}

impl Whole {
    /// `text` as such a number; the default for none. The error is the sentence for whoever wrote it.
    pub fn read(self, name: &str, text: Option<&str>) -> Result<Option<u64>, String> {
        let Some(text) = text else { return Ok(self.default) };
        let number = text.parse().ok().filter(|number| (self.least..=self.most).contains(number));
        number.map(Some).ok_or_else(|| format!("`{name}` is a whole number from {} to {}", self.least, self.most))
    }
}

/// Of weir-analytics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Analytics {
    Chunks,
    Streams,
    Health,
    Metrics,
    Page,
    DashboardPage,
    LivePage,
    TailPage,
    LoginPage,
    Login,
    Logout,
    OpenApi,
    Query(Query),
    /// What changed when an API got worse.
    Blame,
    /// A list, or a file.
    Events,
    Dashboards(Dashboards),
    Verify,
    Acknowledge,
    DeadLetters,
    DeadLetterEvents,
    Replay,
}

impl Analytics {
    /// Whether a browser shows it to somebody.
    pub fn is_page(self) -> bool {
        matches!(self, Self::Page | Self::DashboardPage | Self::LivePage | Self::TailPage)
    }
}

/// What is only asked, in a place among the queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    Overview,
    Series,
    Gateways,
    Errors,
    Slow,
    Trace,
    Ledger,
    /// Who asks.
    Reader,
}

/// What is asked of the dashboards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dashboards {
    List,
    One,
    /// What a query of a panel answers.
    Panel,
    Annotation,
    Variable,
}

/// The time that a question is about.
pub const MINUTES: Whole = Whole { least: 1, most: 44_640, default: Some(60) };
/// As [`MINUTES`], of the ledger.
pub const LEDGER_MINUTES: Whole = Whole { least: 1, most: 5_256_000, default: Some(1440) };
/// How many rows.
pub const LIMIT: Whole = Whole { least: 1, most: 1000, default: Some(50) };
/// How many events: of a file.
pub const EVENTS: Whole = Whole { least: 1, most: 1_000_000, default: None };
/// A time in microseconds since the Unix epoch.
pub const TIME_US: Whole = Whole { least: 0, most: 10_000_000_000_000_000, default: None };
/// A sequence number.
pub const FROM_SEQ: Whole = Whole { least: 0, most: u64::MAX, default: Some(0) };

/// The number of a panel.
pub const PANEL: Whole = Whole { least: 1, most: u32::MAX as u64, default: None };
/// A time in milliseconds since the Unix epoch.
pub const TIME_MS: Whole = Whole { least: 0, most: 10_000_000_000_000, default: None };
/// The step of a chart over time, in seconds.
pub const STEP_S: Whole = Whole { least: 1, most: 86_400 * 31, default: None };

const FROM_MS: Parameter =
    whole("from", TIME_MS, "the beginning, in milliseconds since the Unix epoch; an hour before the end unless given");
const TO_MS: Parameter = whole("to", TIME_MS, "the end, in milliseconds since the Unix epoch; now unless given");
const STEP: Parameter =
    whole("step", STEP_S, "the step of a chart over time, in seconds; never so fine that there are over 2,000");
const VARIABLES: Parameter = Parameter {
    name: "var",
    value: Value::Texts,
    meaning: "a value of a variable, as `site:berlin`; one that is not given has the value of the dashboard",
};

const NEXT: Parameter = text("next", "the path where the session begins; `/` unless given");
const OF_MINUTES: Parameter = whole("minutes", MINUTES, "of the last so many minutes");
const CREATED: Parameter = Parameter {
    name: "created",
    value: Value::Flag,
    meaning: "in OpenMetrics, with the time from which on each series grows",
};
const OF_LIMIT: Parameter = whole("limit", LIMIT, "so many rows at most");

const fn whole(name: &'static str, value: Whole, meaning: &'static str) -> Parameter {
    Parameter { name, value: Value::Whole(value), meaning }
}

const fn text(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter { name, value: Value::Text, meaning }
}

const fn operation<K>(
    kind: K,
    (method, path): (Method, &'static str),
    access: Access,
    summary: &'static str,
    parameters: &'static [Parameter],
) -> Operation<K> {
    Operation { kind, method, path, access, summary, parameters }
}

/// Every operation of weir-analytics.
pub const ANALYTICS: &[Operation<Analytics>] = {
    use Access::{Administrator, Anybody, Gateway, Reader, Visitor};
    use Analytics::*;
    use Method::{Get, Post};
    &[
        operation(Chunks, (Post, "/v1/chunks"), Gateway, "stores a chunk of events", &[]),
        operation(Streams, (Post, "/v1/streams"), Gateway, "stores what a gateway reports of its streams", &[]),
        operation(Health, (Get, "/healthz"), Anybody, "whether ClickHouse answers, and what is open", &[]),
        operation(Metrics, (Get, "/metrics"), Anybody, "figures for Prometheus", &[]),
        operation(Page, (Get, "/"), Reader, "the page", &[]),
        operation(DashboardPage, (Get, "/d/{id}"), Reader, "the page, with a dashboard", &[]),
        operation(LivePage, (Get, "/live"), Reader, "the page of the last hour's traffic, gateways and ledger", &[]),
        operation(TailPage, (Get, "/tail"), Reader, "the page, with events as they arrive", &[]),
        operation(LoginPage, (Get, "/login"), Visitor, "the form that asks for a reader's token", &[NEXT]),
        operation(Login, (Post, "/login"), Visitor, "begins a session, by a form with `token`", &[NEXT]),
        operation(Logout, (Post, "/logout"), Visitor, "ends the session", &[]),
        operation(OpenApi, (Get, "/openapi.json"), Reader, "this description", &[]),
        operation(
            Query(self::Query::Reader),
            (Get, "/api/v1/reader"),
            Reader,
            "who asks, and what of the events that is shown to",
            &[],
        ),
        operation(
            Query(self::Query::Overview),
            (Get, "/api/v1/overview"),
            Reader,
            "traffic by site and API",
            &[OF_MINUTES],
        ),
        operation(
            Query(self::Query::Series),
            (Get, "/api/v1/series"),
            Reader,
            "requests and errors of each minute, by site and API",
            &[
                OF_MINUTES,
                text("organization", "only of it"),
                text("site", "only of it"),
                text("gateway", "only of it"),
                text("api", "only of it"),
            ],
        ),
        operation(
            Query(self::Query::Gateways),
            (Get, "/api/v1/gateways"),
            Reader,
            "gateway processes of the last day",
            &[],
        ),
        operation(
            Query(self::Query::Errors),
            (Get, "/api/v1/errors"),
            Reader,
            "the last requests that failed",
            &[OF_MINUTES, OF_LIMIT],
        ),
        operation(
            Query(self::Query::Slow),
            (Get, "/api/v1/slow"),
            Reader,
            "the slowest requests",
            &[OF_MINUTES, OF_LIMIT],
        ),
        operation(
            Query(self::Query::Trace),
            (Get, "/api/v1/trace/{id}"),
            Reader,
            "the events of a trace",
            &[
                whole(
                    "from",
                    TIME_US,
                    "the earliest time, in microseconds since the Unix epoch; with both it is faster",
                ),
                whole("to", TIME_US, "the latest time, in microseconds since the Unix epoch"),
            ],
        ),
        operation(
            Blame,
            (Get, "/api/v1/blame"),
            Reader,
            "the changes of configuration and version of a time, each with whether errors and durations differ after it",
            &[FROM_MS, TO_MS, VARIABLES],
        ),
        operation(
            Events,
            (Get, "/api/v1/events"),
            Reader,
            "the events that match what is chosen on the Events dashboard",
            &[
                text(
                    "format",
                    "`json` unless given: a list of the newest; `csv` (RFC 4180) or `ndjson` is a file with every field",
                ),
                FROM_MS,
                TO_MS,
                whole("received", TIME_MS, "received after this time alone, in milliseconds since the Unix epoch"),
                whole(
                    "limit",
                    EVENTS,
                    "so many rows: of a list at most 1,000, 200 unless given; a file has 100,000 unless given, and where more match there is none",
                ),
                VARIABLES,
            ],
        ),
        operation(
            Query(self::Query::Ledger),
            (Get, "/api/v1/ledger"),
            Reader,
            "the claim, and the account of each stream",
            &[Parameter {
                name: "minutes",
                value: Value::WholeOrAll(LEDGER_MINUTES),
                meaning: "accounts in order are listed where their last report is not older",
            }],
        ),
        operation(
            Dashboards(self::Dashboards::List),
            (Get, "/api/v1/dashboards"),
            Reader,
            "the dashboards of this version",
            &[],
        ),
        operation(Dashboards(self::Dashboards::One), (Get, "/api/v1/dashboards/{id}"), Reader, "one dashboard", &[]),
        operation(
            Dashboards(self::Dashboards::Panel),
            (Get, "/api/v1/dashboards/{id}/panel"),
            Reader,
            "what a query of a panel answers",
            &[
                whole("panel", PANEL, "needed: the panel"),
                text("target", "the query of the panel; `A` unless given"),
                text("format", "`json` unless given; `csv` is a file (RFC 4180)"),
                FROM_MS,
                TO_MS,
                STEP,
                VARIABLES,
            ],
        ),
        operation(
            Dashboards(self::Dashboards::Annotation),
            (Get, "/api/v1/dashboards/{id}/annotation"),
            Reader,
            "what is marked in charts over time",
            &[text("name", "needed: of the annotation"), FROM_MS, TO_MS, VARIABLES],
        ),
        operation(
            Dashboards(self::Dashboards::Variable),
            (Get, "/api/v1/dashboards/{id}/variable"),
            Reader,
            "the values that a variable may have",
            &[text("name", "needed: of the variable"), FROM_MS, TO_MS, VARIABLES],
        ),
        operation(Verify, (Post, "/api/v1/ledger/verify"), Reader, "counts the rows of every day again", &[]),
        operation(
            Acknowledge,
            (Post, "/api/v1/ledger/acknowledge"),
            Administrator,
            "notes that losses are known and accepted",
            &[],
        ),
        operation(DeadLetters, (Get, "/api/v1/deadletters"), Administrator, "events that are kept apart", &[]),
        operation(
            DeadLetterEvents,
            (Get, "/api/v1/deadletters/show"),
            Administrator,
            "the dead letters of one stream",
            &[
                text("stream", "needed: 16 hex digits"),
                whole("from", FROM_SEQ, "from this sequence number on"),
                OF_LIMIT,
            ],
        ),
        operation(
            Replay,
            (Post, "/api/v1/deadletters/replay"),
            Administrator,
            "stores the dead letters that are in range now",
            &[],
        ),
    ]
};

/// Who may call an operation of weir-analytics.
pub fn access_of(kind: Analytics) -> Access {
    ANALYTICS.iter().find(|operation| operation.kind == kind).map_or(Access::Administrator, |found| found.access)
}

/// Of a gateway's admin port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admin {
    Index,
    OpenApi,
    Liveness,
    Readiness,
    Metrics,
    Status,
    Ledger,
    Dump,
    Tail,
    PipelineMark,
    PipelineSpans,
    Reload,
    Rollback,
    DebugRules,
    AddDebugRule,
    EndDebugRule,
}

/// How many seconds a call waits for every worker.
pub const WAIT: Whole = Whole { least: 0, most: 3600, default: None };
/// The number of a generation.
pub const GENERATION: Whole = Whole { least: 0, most: u32::MAX as u64, default: None };

/// For how many minutes a debug rule is in force.
pub const DEBUG_MINUTES: Whole = Whole { least: 1, most: 1440, default: Some(10) };
/// How many traces a second a debug rule has kept.
pub const DEBUG_PER_SECOND: Whole = Whole { least: 1, most: 1000, default: Some(10) };
/// The number of a debug rule.
pub const DEBUG_ID: Whole = Whole { least: 1, most: u32::MAX as u64, default: None };

const OF_WAIT: Parameter =
    whole("wait", WAIT, "answers when every worker serves it, or with 504 after so many seconds");

/// Every operation of a gateway's admin port. Its probe port has the two probes alone.
pub const ADMIN: &[Operation<Admin>] = {
    use Access::{Administrator, Anybody, Reader};
    use Admin::*;
    use Method::{Get, Post};
    &[
        operation(Index, (Get, "/"), Reader, "this list", &[]),
        operation(OpenApi, (Get, "/openapi.json"), Reader, "the description of all this (OpenAPI)", &[]),
        operation(Liveness, (Get, "/probes/liveness"), Anybody, "is the process alive", &[]),
        operation(
            Readiness,
            (Get, "/probes/readiness"),
            Anybody,
            "does it serve",
            &[
                Parameter {
                    name: "allowAPIErrors",
                    value: Value::Flag,
                    meaning: "ready, though the last edit of the configuration is wrong",
                },
                Parameter { name: "allowEnvoyErrors", value: Value::Flag, meaning: "Flex's word for the same" },
                Parameter { name: "allowPolicyErrors", value: Value::Flag, meaning: "Flex's word for the same" },
            ],
        ),
        operation(
            PipelineSpans,
            (Get, "/probes/pipeline/{id}"),
            Reader,
            "what became of the spans of a probe, by its trace (JSON)",
            &[],
        ),
        operation(Metrics, (Get, "/metrics"), Reader, "figures for Prometheus", &[CREATED]),
        operation(Status, (Get, "/status"), Reader, "what it serves, and how it fares (JSON)", &[]),
        operation(Ledger, (Get, "/ledger"), Reader, "what became of every event of this process (JSON)", &[]),
        operation(
            Dump,
            (Get, "/dump"),
            Reader,
            "all of that, and the configuration without its secrets, for a support case (JSON)",
            &[],
        ),
        operation(Tail, (Get, "/tail"), Reader, "events as they happen, one JSON object a line, until you leave", &[]),
        operation(
            PipelineMark,
            (Post, "/probes/pipeline"),
            Administrator,
            "a mark that makes one request a probe of the pipeline",
            &[],
        ),
        operation(Reload, (Post, "/reload"), Administrator, "load what is in the folders now", &[OF_WAIT]),
        operation(
            Rollback,
            (Post, "/rollback"),
            Administrator,
            "load a generation that was kept",
            &[
                whole("to", GENERATION, "the generation; without it the one before what runs"),
                Parameter { name: "confirm", value: Value::Flag, meaning: "though it opens what is closed now" },
                OF_WAIT,
            ],
        ),
        operation(DebugRules, (Get, "/debug-rules"), Reader, "the traces that are asked for (JSON)", &[]),
        operation(
            AddDebugRule,
            (Post, "/debug-rules"),
            Administrator,
            "have traces kept for some minutes: of a header, a consumer or an API",
            &[
                text("header", "`name`, or `name:value`"),
                text("consumer", "the name of who is authenticated"),
                text("api", "the name of an API, as in events"),
                whole("minutes", DEBUG_MINUTES, "how long the rule is in force"),
                whole("perSecond", DEBUG_PER_SECOND, "so many traces a second at most"),
            ],
        ),
        operation(
            EndDebugRule,
            (Post, "/debug-rules/end"),
            Administrator,
            "end a debug rule before its time",
            &[whole("id", DEBUG_ID, "needed: the rule")],
        ),
    ]
};
