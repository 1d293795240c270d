//! Prometheus' protobuf format, which alone carries native histograms: messages of `io.prometheus.client.MetricFamily`, each
//! after its length.
//!
//! `prometheus-client` 0.26 writes this format too, and cannot be used for the reasons that [`crate::openmetrics`] names; the
//! messages of the `prometheus` crate have no fields for native histograms. What Weir fills of them is therefore declared here.
//! A family of many series is several messages of one name, so that it is never in memory as a whole.

use crate::catalogue::{Kind, Metric};
use crate::histogram::{Exemplar, Reading};
use crate::native::{NativeReading, SCHEMA};
use crate::sample::{Sample, Value};
use prost::{Message, Oneof};

/// `MetricType`: not what Weir has none of.
const COUNTER: i32 = 0;
const GAUGE: i32 = 1;
const HISTOGRAM: i32 = 4;

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metrics: Vec<Series>,
    #[prost(string, tag = "5")]
    unit: String,
}

/// `Metric`.
#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelPair>,
    #[prost(oneof = "Point", tags = "2, 3, 7")]
    point: Option<Point>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Point {
    #[prost(message, tag = "2")]
    Gauge(Gauge),
    #[prost(message, tag = "3")]
    Counter(Counter),
    #[prost(message, tag = "7")]
    Histogram(Histogram),
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Counter {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(message, optional, tag = "3")]
    created: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "2")]
    sum: f64,
    #[prost(message, repeated, tag = "3")]
    buckets: Vec<Bucket>,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(uint64, tag = "7")]
    zero_count: u64,
    #[prost(message, repeated, tag = "12")]
    spans: Vec<BucketSpan>,
    /// Counts, each as its difference from the one before.
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    deltas: Vec<i64>,
    #[prost(message, optional, tag = "15")]
    created: Option<Timestamp>,
    /// Of the native buckets.
    #[prost(message, repeated, tag = "16")]
    exemplars: Vec<ExemplarOf>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    cumulative: u64,
    #[prost(double, tag = "2")]
    upper_bound: f64,
    #[prost(message, optional, tag = "3")]
    exemplar: Option<ExemplarOf>,
}

/// Native buckets that follow one another.
#[derive(Clone, PartialEq, Eq, Message)]
struct BucketSpan {
    /// The index of the first one, and in each further span the buckets that are left out before it.
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

/// `Exemplar`.
#[derive(Clone, PartialEq, Message)]
struct ExemplarOf {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelPair>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(message, optional, tag = "3")]
    timestamp: Option<Timestamp>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, PartialEq, Eq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Appends one message: samples of a family, each with the time from which on its series grows.
pub(crate) fn family(out: &mut Vec<u8>, metric: &Metric, samples: impl Iterator<Item = (Sample, f64)>) {
    let family = MetricFamily {
        name: metric.name.to_owned(),
        help: metric.help.to_owned(),
        kind: match metric.kind {
            Kind::Counter => COUNTER,
            Kind::Gauge | Kind::Info => GAUGE,
            Kind::Histogram => HISTOGRAM,
        },
        metrics: samples.map(|(sample, began)| series(metric, sample, began)).collect(),
        unit: metric.unit_of_name().unwrap_or_default().to_owned(),
    };
    family.encode_length_delimited(out).expect("memory takes everything");
}

fn series(metric: &Metric, sample: Sample, began: f64) -> Series {
    let mut labels: Vec<_> = metric.labels.iter().zip(sample.labels).map(|(name, value)| label(name, value)).collect();
    labels.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let created = (began > 0.0).then(|| timestamp((began * 1e6) as i64));
    let number = |value: f64| match metric.kind {
        Kind::Counter => Point::Counter(Counter { value, created: created.clone() }),
        Kind::Gauge | Kind::Info | Kind::Histogram => Point::Gauge(Gauge { value }),
    };
    let point = match sample.value {
        Value::Whole(value) => number(value as f64),
        Value::Real(value) => number(value),
        Value::Histogram(reading) => Point::Histogram(Histogram { created, ..histogram(metric, &reading) }),
    };
    Series { labels, point: Some(point) }
}

/// Both kinds of buckets. The native ones are the count: they have no fewer, and a scraper compares the two.
fn histogram(metric: &Metric, reading: &Reading) -> Histogram {
    let unit = metric.scale();
    let mut cumulative = 0;
    let of_bounds = reading.bounds.iter().zip(&reading.counts).enumerate();
    let mut buckets: Vec<_> = of_bounds
        .map(|(index, (bound, count))| {
            cumulative += count;
            let exemplar = reading.exemplars.get(index).and_then(Option::as_ref);
            let exemplar = exemplar.map(|exemplar| exemplar_of(metric, exemplar));
            Bucket { cumulative, upper_bound: *bound as f64 / unit, exemplar }
        })
        .collect();
    // The last one is needed where an exemplar belongs to it.
    if let Some(exemplar) = reading.exemplars.get(reading.bounds.len()).and_then(Option::as_ref) {
        let exemplar = Some(exemplar_of(metric, exemplar));
        buckets.push(Bucket { cumulative: reading.native.count(), upper_bound: f64::INFINITY, exemplar });
    }
    let mut exemplars: Vec<&Exemplar> = reading.exemplars.iter().flatten().collect();
    exemplars.sort_unstable_by_key(|exemplar| exemplar.at_us);
    let (spans, deltas) = spans(&reading.native);
    Histogram {
        count: reading.native.count(),
        sum: reading.sum as f64 / unit,
        buckets,
        schema: SCHEMA,
        zero_threshold: reading.native.zero_threshold,
        zero_count: reading.native.zero,
        spans,
        deltas,
        created: None,
        exemplars: exemplars.into_iter().map(|exemplar| exemplar_of(metric, exemplar)).collect(),
    }
}

fn spans(native: &NativeReading) -> (Vec<BucketSpan>, Vec<i64>) {
    let (mut spans, mut next): (Vec<BucketSpan>, _) = (Vec::new(), 0);
    for (index, _) in &native.buckets {
        match spans.last_mut().filter(|_| *index == next) {
            Some(span) => span.length += 1,
            None => spans.push(BucketSpan { offset: index - next, length: 1 }),
        }
        next = index + 1;
    }
    let mut before = 0;
    let deltas = native.buckets.iter().map(|(_, count)| {
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        count - std::mem::replace(&mut before, count)
    });
    (spans, deltas.collect())
}

fn exemplar_of(metric: &Metric, exemplar: &Exemplar) -> ExemplarOf {
    ExemplarOf {
        labels: vec![
            label("span_id", format!("{:016x}", exemplar.span)),
            label("trace_id", format!("{:032x}", exemplar.trace)),
        ],
        value: exemplar.value as f64 / metric.scale(),
        timestamp: Some(timestamp(exemplar.at_us)),
    }
}

fn label(name: &str, value: String) -> LabelPair {
    LabelPair { name: name.to_owned(), value }
}

/// Of microseconds since the Unix epoch.
fn timestamp(us: i64) -> Timestamp {
    Timestamp { seconds: us.div_euclid(1_000_000), nanos: us.rem_euclid(1_000_000) as i32 * 1000 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Exposition, Families, Format, Histogram as Cells};

    crate::catalogue! {
        REQUESTS Counter "weir_requests_total" "{request}" ["reason" "api"] "Requests.";
        DURATION Histogram "http_duration_seconds" "s" [] "Time.";
        BODY Histogram "http_body_size_bytes" "By" [] "Size.";
        OPEN Gauge "weir_open" "1" [] "Open.";
    }

    #[test]
    fn the_names_of_this_test_are_good_ones() {
        assert_eq!(crate::check(&all()), Vec::<String>::new());
    }

    fn decode(bytes: &[u8]) -> Vec<MetricFamily> {
        let (mut rest, mut families) = (bytes, Vec::new());
        while !rest.is_empty() {
            families.push(MetricFamily::decode_length_delimited(&mut rest).unwrap());
        }
        families
    }

    /// What a span and deltas say, as index and count.
    fn counts(histogram: &Histogram) -> Vec<(i32, i64)> {
        let mut next = 0;
        let indexes = histogram.spans.iter().flat_map(|span| {
            let first = next + span.offset;
            next = first + span.length as i32;
            first..next
        });
        let mut count = 0;
        indexes
            .zip(&histogram.deltas)
            .map(|(index, delta)| {
                count += delta;
                (index, count)
            })
            .collect()
    }

    fn only_histogram(family: &MetricFamily) -> &Histogram {
        let [Series { point: Some(Point::Histogram(histogram)), .. }] = &family.metrics[..] else {
            panic!("no histogram: {family:?}")
        };
        histogram
    }

    #[test]
    fn a_native_histogram_has_its_buckets_and_the_classic_ones() {
        const BOUNDS: &[u64] = &[10_000, 500_000_000, 1_000_000_000];
        let cells = Cells::of_durations(BOUNDS);
        [0, 400_000_000, 400_000_000, 420_000_000, 2_000_000_000].into_iter().for_each(|nanos| {
            cells.observe_duration(std::time::Duration::from_nanos(nanos));
        });
        let mut reading = cells.read();
        let exemplar = |span, at_us| Some(Exemplar { trace: 0xab, span, value: 400_000_000, at_us });
        reading.exemplars = vec![None, exemplar(2, 1_700_000_000_000_002), None, exemplar(1, 1_700_000_000_000_001)];
        let mut out = Exposition::of(Format::Protobuf);
        out.began(1_600_000_000.5);
        out.histogram(&DURATION, &[], reading.clone());
        let families = decode(&out.finish());
        let histogram = only_histogram(&families[0]);
        assert_eq!((&*families[0].unit, families[0].kind), ("seconds", HISTOGRAM));
        assert_eq!((histogram.count, histogram.zero_count, histogram.schema), (5, 1, SCHEMA));
        assert_eq!(histogram.sum, 3.22);
        let expected: Vec<_> = reading.native.buckets.iter().map(|(index, count)| (*index, *count as i64)).collect();
        assert_eq!(counts(histogram), expected);
        assert_eq!(histogram.spans.len(), 2, "0.40 and 0.42 s follow one another, 2 s does not");
        assert_eq!(histogram.created, Some(Timestamp { seconds: 1_600_000_000, nanos: 500_000_000 }));
        let classic: Vec<_> = histogram.buckets.iter().map(|it| (it.upper_bound, it.cumulative)).collect();
        assert_eq!(classic, [(0.000_01, 1), (0.5, 4), (1.0, 4), (f64::INFINITY, 5)]);
        // Prometheus asks that the list of exemplars is ordered by time.
        let spans: Vec<_> = histogram.exemplars.iter().map(|it| it.labels[0].value.as_str()).collect();
        assert_eq!(spans, ["0000000000000001", "0000000000000002"]);
    }

    #[test]
    fn a_histogram_without_observations_is_a_native_one_all_the_same() {
        let mut out = Exposition::of(Format::Protobuf);
        out.histogram(&BODY, &[], Cells::of_numbers(&[64]).read());
        let families = decode(&out.finish());
        let histogram = only_histogram(&families[0]);
        assert_eq!((histogram.count, histogram.zero_threshold), (0, 1.0));
        assert!(histogram.spans.is_empty() && histogram.deltas.is_empty() && histogram.created.is_none());
        assert_eq!(families[0].unit, "bytes");
    }

    #[test]
    fn a_family_of_many_series_is_several_messages_of_one_name() {
        let mut out = Exposition::of(Format::Protobuf);
        for api in 0..600 {
            out.counter(&REQUESTS, &["none", &api.to_string()], api);
        }
        let mut few = Families::default();
        few.gauge(&OPEN, &[], 0.25);
        out.families(few);
        let families = decode(&out.finish());
        let sizes: Vec<_> = families.iter().map(|it| (&*it.name, it.metrics.len())).collect();
        let name = "weir_requests_total";
        assert_eq!(sizes, [(name, 256), (name, 256), (name, 88), ("weir_open", 1)]);
        let first = &families[1].metrics[0];
        let labels: Vec<_> = first.labels.iter().map(|it| (&*it.name, &*it.value)).collect();
        assert_eq!(labels, [("api", "256"), ("reason", "none")], "sorted by name");
        assert_eq!(first.point, Some(Point::Counter(Counter { value: 256.0, created: None })));
    }
}
