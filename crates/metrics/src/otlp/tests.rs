//! What is written here is read by the official messages.

use super::*;
use crate::{Exposition, Families, WithExemplars};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::metrics::v1 as proto;
use opentelemetry_proto::tonic::metrics::v1::metric::Data as Read;
use std::time::Duration;

crate::catalogue! {
    REQUESTS Counter "weir_requests_total" "{request}" ["api" "route"] "Requests.";
    CPU Counter "process_cpu_seconds_total" "s" [] "Time.";
    DURATION Histogram "http_server_request_duration_seconds" "s"
        ["api" "http_route" "http_request_method" "http_response_status_code" "error_type"] "Time.";
    BODY Histogram "http_server_request_body_size_bytes" "By" [] "Size.";
    RING Gauge "weir_ring_used_bytes" "By" ["worker"] "Bytes.";
    DRAINING Gauge "weir_draining" "1" [] "Draining.";
    SHARE Gauge "weir_telemetry_cpu_ratio" "1" [] "Share.";
    BUILD Info "weir_build_info" "1" ["version"] "Version.";
    TARGET Info "target_info" "1" ["service_name"] "Who.";
}

const AT: u64 = 1_700_000_000_123_456_789;

fn read(bytes: &[u8]) -> Vec<proto::Metric> {
    proto::ScopeMetrics::decode(bytes).unwrap().metrics
}

fn texts(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue]) -> Vec<(String, String)> {
    let text = |value: any_value::Value| match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => format!("int {number}"),
        other => panic!("{other:?}"),
    };
    let value = |pair: &opentelemetry_proto::tonic::common::v1::KeyValue| pair.value.clone().unwrap().value.unwrap();
    attributes.iter().map(|pair| (pair.key.clone(), text(value(pair)))).collect()
}

#[test]
fn names_have_no_endings_of_prometheus_and_are_those_of_the_conventions_where_they_have_some() {
    assert_eq!(crate::check(&all()), Vec::<String>::new());
    let named: Vec<_> = all().into_iter().map(|metric| (otlp_name(metric), otlp_unit(metric))).collect();
    let expected = [
        ("weir_requests", "{request}"),
        ("process_cpu", "s"),
        ("http.server.request.duration", "s"),
        ("http.server.request.body.size", "By"),
        ("weir_ring_used", "By"),
        ("weir_draining", ""),
        ("weir_telemetry_cpu", "1"),
        ("weir_build_info", ""),
        ("target_info", ""),
    ];
    assert_eq!(named, expected);
}

#[test]
fn counters_are_monotonic_sums_with_a_start_and_gauges_have_none() {
    let mut out = Exposition::of_otlp(AT, false);
    out.began(1_600_000_000.25);
    out.counter(&REQUESTS, &["orders", ""], 7);
    let mut few = Families::default();
    few.seconds(&CPU, &[], 1.5);
    few.gauge(&RING, &["0"], 4096.0);
    few.info(&BUILD, &["1.2.3"]);
    few.info(&TARGET, &["edge"]);
    out.families(few);
    let (bytes, points) = out.finish_points();
    let metrics = read(&bytes);
    assert_eq!((metrics.len(), points), (4, 4), "the resource has what `target_info` says");
    let of = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap();
    let requests = of("weir_requests");
    assert_eq!((&*requests.description, &*requests.unit), ("Requests.", "{request}"));
    let Some(Read::Sum(sum)) = &requests.data else { panic!("{requests:?}") };
    assert!(sum.is_monotonic && sum.aggregation_temporality == proto::AggregationTemporality::Cumulative as i32);
    let [point] = &sum.data_points[..] else { panic!("{sum:?}") };
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1_600_000_000_250_000_000, AT));
    assert_eq!(point.value, Some(proto::number_data_point::Value::AsInt(7)));
    assert_eq!(texts(&point.attributes), [("api".to_owned(), "orders".to_owned())], "an empty label is none");
    let Some(Read::Sum(sum)) = &of("process_cpu").data else { panic!() };
    assert_eq!(sum.data_points[0].value, Some(proto::number_data_point::Value::AsDouble(1.5)));
    let Some(Read::Gauge(gauge)) = &of("weir_ring_used").data else { panic!() };
    assert_eq!((gauge.data_points[0].start_time_unix_nano, gauge.data_points[0].time_unix_nano), (0, AT));
    let Some(Read::Gauge(gauge)) = &of("weir_build_info").data else { panic!() };
    assert_eq!(gauge.data_points[0].value, Some(proto::number_data_point::Value::AsInt(1)));
}

const BOUNDS: &[u64] = &[500_000_000, 1_000_000_000];
const LABELS_OF_ONE: [&str; 5] = ["orders", "/a/{id}", "GET", "503", "timeout"];

fn observed() -> Reading {
    let cells = WithExemplars::new(BOUNDS);
    for (ms, span) in [(0, 1), (500, 2), (600, 3), (2000, 4)] {
        let at_us = 1_700_000_000_000_000 + span as i64 * 2_000_000;
        cells.observe_duration(Duration::from_millis(ms), at_us, || Some((0xab, span)));
    }
    cells.read()
}

/// A bucket `i` of scale 3 has what is above `2^(i/8)` and at most `2^((i+1)/8)` (OpenTelemetry, metrics data model).
#[test]
fn a_histogram_is_exponential_and_every_number_is_in_its_bucket() {
    let mut out = Exposition::of_otlp(AT, false);
    out.histogram(&DURATION, &LABELS_OF_ONE, observed());
    let metrics = read(&out.finish_points().0);
    let Some(Read::ExponentialHistogram(histogram)) = &metrics[0].data else { panic!("{metrics:?}") };
    let [point] = &histogram.data_points[..] else { panic!("{histogram:?}") };
    assert_eq!((point.count, point.sum, point.scale, point.zero_count), (4, Some(3.1), 3, 1));
    assert_eq!(point.zero_threshold, 2_f64.powi(-20));
    let buckets = point.positive.as_ref().unwrap();
    let filled: Vec<_> = (buckets.offset..).zip(&buckets.bucket_counts).filter(|(_, count)| **count > 0).collect();
    for ((index, count), number) in filled.iter().zip([0.5, 0.6, 2.0]) {
        let (lower, upper) = (2_f64.powf(f64::from(*index) / 8.0), 2_f64.powf(f64::from(*index + 1) / 8.0));
        assert!(lower < number && number <= upper, "{number} is not from {lower} to {upper}");
        assert_eq!(**count, 1);
    }
    assert_eq!(filled.len(), 3);
    let expected = [
        ("api", "orders"),
        ("http.route", "/a/{id}"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "int 503"),
        ("error.type", "timeout"),
    ];
    assert_eq!(texts(&point.attributes), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let seen: Vec<_> = point.exemplars.iter().map(|one| (one.span_id[7], one.value.unwrap())).collect();
    let number = proto::exemplar::Value::AsDouble;
    // The second one of the first bucket took the place of the first: it came later.
    assert_eq!(seen, [(2, number(0.5)), (3, number(0.6)), (4, number(2.0))]);
    assert_eq!((point.exemplars[0].trace_id[15], point.exemplars[0].time_unix_nano), (0xab, 1_700_000_004_000_000_000));
}

#[test]
fn a_histogram_has_the_boundaries_of_the_catalogue_where_that_is_asked_for() {
    let mut out = Exposition::of_otlp(AT, true);
    out.histogram(&DURATION, &LABELS_OF_ONE, observed());
    let metrics = read(&out.finish_points().0);
    let Some(Read::Histogram(histogram)) = &metrics[0].data else { panic!("{metrics:?}") };
    let point = &histogram.data_points[0];
    assert_eq!((point.explicit_bounds.as_slice(), point.bucket_counts.as_slice()), (&[0.5, 1.0][..], &[2, 1, 1][..]));
    assert_eq!((point.count, point.sum, point.exemplars.len()), (4, Some(3.1), 3));
}

#[test]
fn an_empty_histogram_has_no_buckets_and_many_series_are_several_messages() {
    let mut out = Exposition::of_otlp(AT, false);
    out.histogram(&BODY, &[], crate::Histogram::of_numbers(&[64]).read());
    (0..600).for_each(|number| out.counter(&REQUESTS, &["orders", &number.to_string()], number));
    let (bytes, points) = out.finish_points();
    let metrics = read(&bytes);
    let Some(Read::ExponentialHistogram(histogram)) = &metrics[0].data else { panic!() };
    assert_eq!((histogram.data_points[0].count, &histogram.data_points[0].positive), (0, &None));
    let sizes: Vec<_> = metrics[1..]
        .iter()
        .map(|metric| match &metric.data {
            Some(Read::Sum(sum)) => sum.data_points.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((sizes.iter().sum::<usize>(), points), (600, 601));
    assert!(sizes.len() > 1);
}
