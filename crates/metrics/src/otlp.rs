//! OTLP's metrics: messages of `opentelemetry.proto.metrics.v1.Metric`, each as a field of `ScopeMetrics`.
//!
//! Names are OpenTelemetry's where it has one for a family or a label. All others lose the endings that Prometheus asks for
//! (`_total`, `_seconds`, `_bytes`, `_ratio`), which say what kind and unit say here: whoever translates back, as the
//! OpenMetrics compatibility of OpenTelemetry's specification defines it, has the names of `/metrics` again. A family of many
//! series is several messages of one name. Only what Weir fills of the messages is declared.

use crate::catalogue::{Kind, Metric};
use crate::histogram::{Exemplar, Reading};
use crate::native::{NativeReading, SCHEMA};
use crate::sample::{Sample, Value};
use prost::{Message, Oneof};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: values count from the start of their series.
const CUMULATIVE: i32 = 2;
/// What is in the resource already.
const TARGET_INFO: &str = "target_info";
/// `ScopeMetrics.metrics`.
const METRICS: u32 = 2;

/// Families that the HTTP conventions name.
const NAMES: [(&str, &str); 4] = [
    ("http_server_request_duration_seconds", "http.server.request.duration"),
    ("http_client_request_duration_seconds", "http.client.request.duration"),
    ("http_server_request_body_size_bytes", "http.server.request.body.size"),
    ("http_server_response_body_size_bytes", "http.server.response.body.size"),
];
/// Their labels.
const LABELS: [(&str, &str); 4] = [
    ("http_route", "http.route"),
    ("http_request_method", "http.request.method"),
    (STATUS, "http.response.status_code"),
    ("error_type", "error.type"),
];
/// The one that is a number.
const STATUS: &str = "http_response_status_code";

/// What all points of one collection have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Collection {
    /// When it is made, in nanoseconds since the Unix epoch.
    pub(crate) at: u64,
    /// With the boundaries of the catalogue, and not as exponential histograms.
    pub(crate) explicit: bool,
}

/// `Metric`.
#[derive(Clone, PartialEq, Message)]
struct OtlpMetric {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    unit: String,
    #[prost(oneof = "Data", tags = "5, 7, 9, 10")]
    data: Option<Data>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Data {
    #[prost(message, tag = "5")]
    Gauge(Gauge),
    #[prost(message, tag = "7")]
    Sum(Sum),
    #[prost(message, tag = "9")]
    Histogram(Histogram),
    #[prost(message, tag = "10")]
    Exponential(Exponential),
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(message, repeated, tag = "1")]
    points: Vec<NumberPoint>,
}

#[derive(Clone, PartialEq, Message)]
struct Sum {
    #[prost(message, repeated, tag = "1")]
    points: Vec<NumberPoint>,
    #[prost(int32, tag = "2")]
    temporality: i32,
    #[prost(bool, tag = "3")]
    is_monotonic: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(message, repeated, tag = "1")]
    points: Vec<HistogramPoint>,
    #[prost(int32, tag = "2")]
    temporality: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Exponential {
    #[prost(message, repeated, tag = "1")]
    points: Vec<ExponentialPoint>,
    #[prost(int32, tag = "2")]
    temporality: i32,
}

/// `NumberDataPoint`.
#[derive(Clone, PartialEq, Message)]
struct NumberPoint {
    #[prost(fixed64, tag = "2")]
    start: u64,
    #[prost(fixed64, tag = "3")]
    at: u64,
    #[prost(oneof = "Number", tags = "4, 6")]
    value: Option<Number>,
    #[prost(message, repeated, tag = "7")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Number {
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(sfixed64, tag = "6")]
    Int(i64),
}

/// `HistogramDataPoint`.
#[derive(Clone, PartialEq, Message)]
struct HistogramPoint {
    #[prost(fixed64, tag = "2")]
    start: u64,
    #[prost(fixed64, tag = "3")]
    at: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, optional, tag = "5")]
    sum: Option<f64>,
    #[prost(fixed64, repeated, tag = "6")]
    counts: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    bounds: Vec<f64>,
    #[prost(message, repeated, tag = "8")]
    exemplars: Vec<OtlpExemplar>,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
}

/// `ExponentialHistogramDataPoint`.
#[derive(Clone, PartialEq, Message)]
struct ExponentialPoint {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
    #[prost(fixed64, tag = "2")]
    start: u64,
    #[prost(fixed64, tag = "3")]
    at: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, optional, tag = "5")]
    sum: Option<f64>,
    #[prost(sint32, tag = "6")]
    scale: i32,
    #[prost(fixed64, tag = "7")]
    zero_count: u64,
    #[prost(message, optional, tag = "8")]
    positive: Option<Buckets>,
    #[prost(message, repeated, tag = "11")]
    exemplars: Vec<OtlpExemplar>,
    #[prost(double, tag = "14")]
    zero_threshold: f64,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Buckets {
    /// The index of the first one.
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint64, repeated, tag = "2")]
    counts: Vec<u64>,
}

/// `Exemplar`.
#[derive(Clone, PartialEq, Message)]
struct OtlpExemplar {
    #[prost(fixed64, tag = "2")]
    at: u64,
    #[prost(double, optional, tag = "3")]
    value: Option<f64>,
    #[prost(bytes = "vec", tag = "4")]
    span: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    trace: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 3")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, Eq, Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Int(i64),
}

/// What a family is called by OTLP.
pub fn otlp_name(metric: &Metric) -> &'static str {
    if let Some((_, name)) = NAMES.iter().find(|(name, _)| *name == metric.name) {
        return name;
    }
    let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
    let ending = metric.unit_of_name().or(is_ratio(metric).then_some("ratio"));
    let without = ending.and_then(|ending| name.strip_suffix(ending)?.strip_suffix('_'));
    without.unwrap_or(name)
}

/// What a label is called by OTLP: as OpenTelemetry's conventions name it, where they do.
pub fn otlp_label(label: &'static str) -> &'static str {
    LABELS.iter().find(|(name, _)| *name == label).map_or(label, |(_, name)| name)
}

fn is_ratio(metric: &Metric) -> bool {
    metric.unit == "1" && metric.name.ends_with("_ratio")
}

/// Of what is no ratio `1` says nothing, and Prometheus' translation would take it for one.
fn unit(metric: &Metric) -> &'static str {
    if metric.unit == "1" && !is_ratio(metric) { "" } else { metric.unit }
}

/// Appends samples of a family, each with the time from which on its series grows, in seconds since the Unix epoch. Answers
/// how many points they are.
pub(crate) fn family(
    out: &mut Vec<u8>,
    collection: Collection,
    metric: &Metric,
    samples: impl ExactSizeIterator<Item = (Sample, f64)>,
) -> u64 {
    let points = samples.len() as u64;
    if metric.name == TARGET_INFO || points == 0 {
        return 0;
    }
    let message = OtlpMetric {
        name: otlp_name(metric).to_owned(),
        description: metric.help.to_owned(),
        unit: unit(metric).to_owned(),
        data: Some(data(collection, metric, samples)),
    };
    prost::encoding::message::encode(METRICS, &message, out);
    points
}

fn data(collection: Collection, metric: &Metric, samples: impl Iterator<Item = (Sample, f64)>) -> Data {
    let temporality = CUMULATIVE;
    match metric.kind {
        Kind::Counter => Data::Sum(Sum {
            points: samples.map(|(sample, began)| number(collection, metric, sample, nanos(began))).collect(),
            temporality,
            is_monotonic: true,
        }),
        // A gauge has no start.
        Kind::Gauge | Kind::Info => {
            Data::Gauge(Gauge { points: samples.map(|(sample, _)| number(collection, metric, sample, 0)).collect() })
        }
        Kind::Histogram if collection.explicit => {
            let points = samples.filter_map(|(sample, began)| explicit(collection, metric, sample, nanos(began)));
            Data::Histogram(Histogram { points: points.collect(), temporality })
        }
        Kind::Histogram => {
            let points = samples.filter_map(|(sample, began)| exponential(collection, metric, sample, nanos(began)));
            Data::Exponential(Exponential { points: points.collect(), temporality })
        }
    }
}

fn number(Collection { at, .. }: Collection, metric: &Metric, sample: Sample, start: u64) -> NumberPoint {
    let value = match &sample.value {
        Value::Whole(value) => Some(Number::Int(i64::try_from(*value).unwrap_or(i64::MAX))),
        Value::Real(value) => Some(Number::Double(*value)),
        Value::Histogram(_) => None,
    };
    NumberPoint { start, at, value, attributes: attributes(metric, sample.labels) }
}

/// The buckets of `/metrics`; the last one has no bound.
fn explicit(Collection { at, .. }: Collection, metric: &Metric, sample: Sample, start: u64) -> Option<HistogramPoint> {
    let Value::Histogram(reading) = sample.value else { return None };
    let scale = metric.scale();
    Some(HistogramPoint {
        start,
        at,
        count: reading.counts.iter().sum(),
        sum: Some(reading.sum as f64 / scale),
        bounds: reading.bounds.iter().map(|bound| *bound as f64 / scale).collect(),
        exemplars: exemplars(metric, &reading),
        counts: reading.counts,
        attributes: attributes(metric, sample.labels),
    })
}

fn exponential(
    Collection { at, .. }: Collection,
    metric: &Metric,
    sample: Sample,
    start: u64,
) -> Option<ExponentialPoint> {
    let Value::Histogram(reading) = sample.value else { return None };
    Some(ExponentialPoint {
        attributes: attributes(metric, sample.labels),
        start,
        at,
        count: reading.native.count(),
        sum: Some(reading.sum as f64 / metric.scale()),
        scale: SCHEMA,
        zero_count: reading.native.zero,
        positive: buckets(&reading.native),
        exemplars: exemplars(metric, &reading),
        zero_threshold: reading.native.zero_threshold,
    })
}

/// From the first that is not empty to the last. OpenTelemetry counts buckets by their lower end, Prometheus by their upper
/// one: the bucket `n` there is `n - 1` here (OpenTelemetry, "Exponential Histogram to Native Histogram").
fn buckets(native: &NativeReading) -> Option<Buckets> {
    let (first, last) = (native.buckets.first()?.0, native.buckets.last()?.0);
    let mut counts = vec![0; usize::try_from(last - first).ok()? + 1];
    for (index, count) in &native.buckets {
        counts[(index - first) as usize] = *count;
    }
    Some(Buckets { offset: first - 1, counts })
}

fn exemplars(metric: &Metric, reading: &Reading) -> Vec<OtlpExemplar> {
    let of = |exemplar: &Exemplar| OtlpExemplar {
        at: u64::try_from(exemplar.at_us).unwrap_or_default().saturating_mul(1000),
        value: Some(exemplar.value as f64 / metric.scale()),
        span: exemplar.span.to_be_bytes().into(),
        trace: exemplar.trace.to_be_bytes().into(),
    };
    reading.exemplars.iter().flatten().map(of).collect()
}

/// A label without a value is none.
fn attributes(metric: &Metric, values: Vec<String>) -> Vec<KeyValue> {
    let known = metric.labels.iter().zip(values).filter(|(_, value)| !value.is_empty());
    let of = |(key, text): (&&'static str, String)| {
        let number = if *key == STATUS { text.parse().ok() } else { None };
        let value = Some(AnyValue { value: Some(number.map_or(Any::Text(text), Any::Int)) });
        KeyValue { key: otlp_label(key).to_owned(), value }
    };
    known.map(of).collect()
}

/// Of seconds since the Unix epoch, to the microsecond.
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e6) as u64 * 1000
}

#[cfg(test)]
#[path = "otlp/tests.rs"]
mod tests;
