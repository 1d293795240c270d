//! Where spans, metrics and lines of logs are sent by OTLP, and how.

use std::time::Duration;

use http::{HeaderName, Uri};

use crate::pem::AnalyticsTls;
use crate::units::Secret;

/// Where one signal is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpTarget {
    /// Scheme and authority; over HTTP with the path.
    pub endpoint: Uri,
    pub protocol: OtlpProtocol,
    pub headers: Vec<(HeaderName, Secret)>,
    pub gzip: bool,
    /// Of one request.
    pub timeout: Duration,
    pub tls: AnalyticsTls,
    /// `service.name`; the gateway's name where nobody says another.
    pub service_name: Option<String>,
    /// Attributes of the resource, beside the gateway's own.
    pub resource: Vec<(String, String)>,
}

/// How spans are sent.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceExport {
    pub target: OtlpTarget,
    pub batch: Batch,
    pub attributes: AttributeLimits,
    /// The methods that are no `_OTHER` (`OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`); `None`: those of RFC 9110, PATCH, QUERY.
    pub known_methods: Option<Vec<String>>,
}

/// How metrics are sent.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricExport {
    pub target: OtlpTarget,
    /// From one collection to the next (`OTEL_METRIC_EXPORT_INTERVAL`).
    pub interval: Duration,
    /// How long a collection is tried for (`OTEL_METRIC_EXPORT_TIMEOUT`).
    pub timeout: Duration,
    pub histograms: HistogramForm,
}

/// How log records are sent. Of `batch`, the size and the times: what waits is bounded by the outputs of logs.
#[derive(Debug, Clone, PartialEq)]
pub struct LogExport {
    pub target: OtlpTarget,
    pub batch: Batch,
}

/// How distributions are sent (`OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HistogramForm {
    /// `ExponentialHistogram` of scale 3.
    #[default]
    Exponential,
    /// `Histogram`, with the boundaries that `/metrics` has.
    Explicit,
}

/// One of the signals of OpenTelemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    /// Below a base URL (OTLP specification, "OTLP/HTTP Request").
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }
}

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    Grpc,
    HttpProtobuf,
}

impl OtlpProtocol {
    /// Each with its name as `serviceType`.
    pub const NAMES: [(&'static str, Self); 2] = [("grpc", Self::Grpc), ("http", Self::HttpProtobuf)];

    /// As `serviceType`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http",
        }
    }
}

/// How spans, or lines, are gathered (`OTEL_BSP_*`, `OTEL_BLRP_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Sent after this time at the latest.
    pub delay: Duration,
    /// Requests whose spans may wait.
    pub queue: u32,
    /// Requests whose spans are sent together.
    pub size: u32,
    /// How long a batch is tried for.
    pub timeout: Duration,
}

/// OpenTelemetry's own, of spans.
impl Default for Batch {
    fn default() -> Self {
        let (delay, timeout) = (Duration::from_secs(5), Duration::from_secs(30));
        Self { delay, queue: 2048, size: 512, timeout }
    }
}

impl Batch {
    /// OpenTelemetry's own, of log records.
    pub(crate) fn of_logs() -> Self {
        Self { delay: Duration::from_secs(1), ..Self::default() }
    }
}

/// `OTEL_ATTRIBUTE_COUNT_LIMIT`, `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`, and their forms for spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttributeLimits {
    pub count: u32,
    /// In characters; `None`: as long as the event has it.
    pub length: Option<u32>,
}

impl Default for AttributeLimits {
    fn default() -> Self {
        Self { count: 128, length: None }
    }
}
