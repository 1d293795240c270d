//! Series to text: collects samples by metric, and lets the `prometheus` crate write them.

use super::catalogue::{Kind, Metric};
use super::histogram::Reading;
use prometheus::proto::{self, LabelPair, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use std::collections::BTreeMap;

/// The content type of [`Families::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What one scrape answers with.
#[derive(Default)]
pub struct Families {
    families: BTreeMap<&'static str, (&'static Metric, Vec<proto::Metric>)>,
}

impl Families {
    /// Adds a counter's sample. The values of labels stand in the order of the catalogue.
    pub fn counter(&mut self, metric: &'static Metric, labels: &[&str], value: u64) {
        let mut counter = proto::Counter::default();
        counter.set_value(value as f64);
        let mut sample = sample(metric, Kind::Counter, labels);
        sample.set_counter(counter);
        self.push(metric, sample);
    }

    /// Adds a gauge's sample.
    pub fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(value);
        let mut sample = sample(metric, Kind::Gauge, labels);
        sample.set_gauge(gauge);
        self.push(metric, sample);
    }

    pub(crate) fn histogram(&mut self, metric: &'static Metric, labels: &[&str], reading: &Reading) {
        // Nanoseconds in the cells, seconds for Prometheus.
        let unit = if metric.unit == "s" { 1e9 } else { 1.0 };
        let mut histogram = proto::Histogram::default();
        let mut cumulative = 0;
        let mut buckets = Vec::with_capacity(reading.bounds.len());
        for (bound, count) in reading.bounds.iter().zip(&reading.counts) {
            cumulative += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound as f64 / unit);
            bucket.set_cumulative_count(cumulative);
            buckets.push(bucket);
        }
        histogram.set_bucket(buckets);
        histogram.set_sample_count(reading.counts.iter().sum());
        histogram.set_sample_sum(reading.sum as f64 / unit);
        let mut sample = sample(metric, Kind::Histogram, labels);
        sample.set_histogram(histogram);
        self.push(metric, sample);
    }

    fn push(&mut self, metric: &'static Metric, sample: proto::Metric) {
        self.families.entry(metric.name).or_insert_with(|| (metric, Vec::new())).1.push(sample);
    }

    /// The exposition in Prometheus' text format, version 0.0.4.
    pub fn text(self) -> String {
        let families: Vec<_> = self.families.into_values().map(|(metric, samples)| family(metric, samples)).collect();
        let mut out = Vec::new();
        TextEncoder::new().encode(&families, &mut out).expect("writing to memory, with a sample in each family");
        String::from_utf8(out).expect("the text format is UTF-8")
    }
}

fn family(metric: &Metric, samples: Vec<proto::Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    family.set_metric(samples);
    family
}

fn sample(metric: &Metric, kind: Kind, values: &[&str]) -> proto::Metric {
    debug_assert_eq!((metric.kind, metric.labels.len()), (kind, values.len()), "{}", metric.name);
    let mut pairs: Vec<_> = metric.labels.iter().zip(values).collect();
    pairs.sort_unstable();
    let pairs = pairs.into_iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    proto::Metric::from_label(pairs.collect())
}
