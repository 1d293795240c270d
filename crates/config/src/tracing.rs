//! What is done with traces: which are kept, and whom to believe.
//!
//! Flex's `Configuration.tracing`, with what it has no word for, and OpenTelemetry's `OTEL_*` variables under both.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;

/// What a reload may change.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    pub sampling: Sampling,
    pub parent: ParentDecision,
    /// How many traces a second callers that are neither `trustedPeers` nor `peerGateways` may have sampled by their flag or
    /// by `x-client-trace-id`.
    pub callers_per_second: u32,
    pub keep: Keep,
    pub edge: TraceEdge,
    /// Of single ports: what is said of them counts before `edge`.
    pub listeners: Vec<TraceListener>,
    pub propagators: Propagators,
    pub labels: Vec<TraceLabel>,
    /// The share of the process's CPU time beyond which telemetry leaves out parts of itself; `None`: never.
    pub cpu_budget: Option<Percent>,
}

/// What one API has otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiTracing {
    pub sampling: Sampling,
    /// What its server spans are called; `None`: by method and route.
    pub span_name: Option<String>,
    /// Beside the gateway's; one of the same name counts before it.
    pub labels: Vec<TraceLabel>,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            sampling: Sampling::default(),
            parent: ParentDecision::Follow,
            callers_per_second: 100,
            keep: Keep::default(),
            edge: TraceEdge::default(),
            listeners: Vec::new(),
            propagators: Propagators::default(),
            labels: Vec::new(),
            cpu_budget: None,
        }
    }
}

impl Tracing {
    /// What counts at the port.
    pub fn at(&self, port: u16) -> TraceEdge {
        let own = self.listeners.iter().find(|listener| listener.port == port);
        TraceEdge {
            trust: own.and_then(|own| own.trust).unwrap_or(self.edge.trust),
            server_timing: own.and_then(|own| own.server_timing).unwrap_or(self.edge.server_timing),
        }
    }
}

/// What a port does with a caller's trace, and what it tells the caller of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceEdge {
    pub trust: TraceTrust,
    /// Whether responses have `Server-Timing`.
    pub server_timing: bool,
}

impl Default for TraceEdge {
    fn default() -> Self {
        Self { trust: TraceTrust::Continue, server_timing: false }
    }
}

/// As [`TraceEdge`], of one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceListener {
    pub port: u16,
    pub trust: Option<TraceTrust>,
    pub server_timing: Option<bool>,
}

/// What becomes of a trace that a client brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceTrust {
    /// It goes on.
    Continue,
    /// Another begins, with a link to it (W3C Trace Context 3.4).
    Restart,
}

impl TraceTrust {
    /// Each with its name in YAML.
    pub const NAMES: [(&'static str, Self); 2] = [("continue", Self::Continue), ("restart", Self::Restart)];
}

/// What the caller's sampled flag counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentDecision {
    /// What the caller keeps is kept here, and nothing else of its traces.
    Follow,
    /// The gateway samples by itself.
    Ignore,
}

impl ParentDecision {
    /// Each with its name in YAML.
    pub const NAMES: [(&'static str, Self); 2] = [("follow", Self::Follow), ("ignore", Self::Ignore)];
}

/// Which requests are sampled when they arrive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Of requests with `x-client-trace-id`.
    pub client: Percent,
    /// Of all.
    pub random: Percent,
    /// What is left of both.
    pub overall: Percent,
}

/// Flex's: every request.
impl Default for Sampling {
    fn default() -> Self {
        Self { client: Percent::ALL, random: Percent::ALL, overall: Percent::ALL }
    }
}

/// 0 to 100, with decimals.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl Percent {
    pub const ALL: Self = Self(100.0);
    pub const NONE: Self = Self(0.0);

    /// Of a ratio from 0 to 1.
    pub fn of_ratio(ratio: f64) -> Option<Self> {
        (0.0..=1.0).contains(&ratio).then_some(Self(ratio * 100.0))
    }

    /// From 0 to 1.
    pub fn ratio(self) -> f64 {
        self.0 / 100.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Percent {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number: f64 = text.parse().map_err(|_| "is no number")?;
        if (0.0..=100.0).contains(&number) { Ok(Self(number)) } else { Err("is no percentage") }
    }
}

/// What is kept of requests that were not sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Those that failed, by the gateway's or the upstream's fault.
    pub failed: bool,
    /// Those slower than the slowest hundredth of their route.
    pub slow: bool,
    /// Of one route, at most so many a second.
    pub per_second: u32,
}

impl Default for Keep {
    fn default() -> Self {
        Self { failed: true, slow: true, per_second: 10 }
    }
}

/// The formats in which a trace comes and goes, beside W3C's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Propagators {
    /// `b3` in one field.
    pub b3: bool,
    /// `X-B3-*`.
    pub b3_multi: bool,
}

impl Propagators {
    /// Their names, as `OTEL_PROPAGATORS` has them. W3C's two are always there.
    pub const NAMES: [&'static str; 4] = ["tracecontext", "baggage", "b3", "b3multi"];

    /// Those of a list of names; none where one of them is unknown.
    pub(crate) fn named<'n>(names: impl Iterator<Item = &'n str>) -> Option<Self> {
        let mut found = Self::default();
        for name in names {
            match name {
                "tracecontext" | "baggage" | "none" => {}
                "b3" => found.b3 = true,
                "b3multi" => found.b3_multi = true,
                _ => return None,
            }
        }
        Some(found)
    }
}

/// An attribute of spans, and of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceLabel {
    pub name: String,
    pub value: TraceLabelValue,
}

/// Where a label's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceLabelValue {
    /// Of the configuration, or of the environment at the time of loading.
    Text(String),
    /// A field of the request, and what stands in its place where there is none.
    Header(HeaderName, Option<String>),
}
