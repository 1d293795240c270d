//! Series to text, by the `prometheus` crate. A gateway may have a million series, so they are written piece by piece
//! ([`Exposition`]), and only those few that are not of a route are collected first ([`Families`]).

use crate::catalogue::{Counter, Family, Gauge, HistogramKind, Kind, Metric};
use crate::histogram::Reading;
use prometheus::proto::{self, LabelPair, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use std::collections::BTreeMap;

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Samples that are kept before they are written.
const BATCH: usize = 256;

/// Prometheus' text format, version 0.0.4, of samples that come family by family.
#[derive(Default)]
pub struct Exposition {
    text: Vec<u8>,
    metric: Option<&'static Metric>,
    samples: Vec<proto::Metric>,
    /// Whether the comments above the family's samples are written.
    headed: bool,
}

impl Exposition {
    /// Adds a counter's sample. The values of labels stand in the order of the catalogue.
    pub fn counter<const N: usize>(&mut self, family: &'static Family<Counter, N>, labels: &[&str; N], value: u64) {
        self.push(family, counter(family, labels, value));
    }

    /// Adds a histogram's sample.
    pub fn histogram<const N: usize>(
        &mut self,
        family: &'static Family<HistogramKind, N>,
        labels: &[&str; N],
        reading: &Reading,
    ) {
        self.push(family, histogram(family, labels, reading));
    }

    fn push(&mut self, metric: &'static Metric, sample: proto::Metric) {
        if self.metric != Some(metric) {
            self.flush();
            (self.metric, self.headed) = (Some(metric), false);
        }
        self.samples.push(sample);
        if self.samples.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Some(metric) = self.metric.filter(|_| !self.samples.is_empty()) else { return };
        let start = self.text.len();
        let family = family(metric, std::mem::take(&mut self.samples));
        TextEncoder::new().encode(&[family], &mut self.text).expect("writing to memory, with a sample in the family");
        if self.headed {
            // The crate writes the two lines of comment above each batch; they belong above the first.
            let lines = self.text[start..].iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            let comment = lines.map(|(at, _)| at + 1).nth(1).unwrap_or(0);
            self.text.drain(start..start + comment);
        }
        self.headed = true;
    }

    /// Adds the families that were collected.
    pub fn families(&mut self, families: Families) {
        for (metric, samples) in families.families.into_values() {
            samples.into_iter().for_each(|sample| self.push(metric, sample));
        }
    }

    /// Bytes of text that are ready to be taken.
    pub fn ready(&self) -> usize {
        self.text.len()
    }

    /// The text that is ready; what is collected but not written yet stays.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text)
    }

    /// The rest.
    pub fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.text
    }
}

/// Samples in any order.
#[derive(Default)]
pub struct Families {
    families: BTreeMap<&'static str, (&'static Metric, Vec<proto::Metric>)>,
}

impl Families {
    /// Adds a counter's sample. The values of labels stand in the order of the catalogue.
    pub fn counter<const N: usize>(&mut self, family: &'static Family<Counter, N>, labels: &[&str; N], value: u64) {
        self.push(family, counter(family, labels, value));
    }

    /// Adds a histogram's sample.
    pub fn histogram<const N: usize>(
        &mut self,
        family: &'static Family<HistogramKind, N>,
        labels: &[&str; N],
        reading: &Reading,
    ) {
        self.push(family, histogram(family, labels, reading));
    }

    /// Adds the sample of a counter of seconds.
    pub fn seconds<const N: usize>(&mut self, family: &'static Family<Counter, N>, labels: &[&str; N], value: f64) {
        let mut counter = proto::Counter::default();
        counter.set_value(value);
        let mut sample = sample(family, labels);
        sample.set_counter(counter);
        self.push(family, sample);
    }

    /// Adds a gauge's sample.
    pub fn gauge<const N: usize>(&mut self, family: &'static Family<Gauge, N>, labels: &[&str; N], value: f64) {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(value);
        let mut sample = sample(family, labels);
        sample.set_gauge(gauge);
        self.push(family, sample);
    }

    fn push(&mut self, metric: &'static Metric, sample: proto::Metric) {
        self.families.entry(metric.name).or_insert_with(|| (metric, Vec::new())).1.push(sample);
    }
}

fn counter(metric: &Metric, labels: &[&str], value: u64) -> proto::Metric {
    let mut counter = proto::Counter::default();
    counter.set_value(value as f64);
    let mut sample = sample(metric, labels);
    sample.set_counter(counter);
    sample
}

fn histogram(metric: &Metric, labels: &[&str], reading: &Reading) -> proto::Metric {
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
    let mut sample = sample(metric, labels);
    sample.set_histogram(histogram);
    sample
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

fn sample(metric: &Metric, values: &[&str]) -> proto::Metric {
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

#[cfg(test)]
mod tests {
    use super::*;

    crate::catalogue! {
        REJECTED Counter "weir_requests_rejected_total" "{request}" ["api" "route" "policy" "reason"] "Rejected.";
        DRAINING Gauge "weir_draining" "1" [] "Draining.";
    }

    #[test]
    fn the_names_of_this_test_are_good_ones() {
        assert_eq!(crate::check(&all()), Vec::<String>::new());
    }

    #[test]
    fn a_family_of_many_batches_has_one_comment_and_every_sample() {
        let mut out = Exposition::default();
        let mut text = Vec::new();
        for number in 0..3 * BATCH as u64 + 1 {
            out.counter(&REJECTED, &["api", &number.to_string(), "line\nbreak", "r"], number);
            text.extend(out.take());
        }
        let mut families = Families::default();
        families.gauge(&DRAINING, &[], 1.0);
        out.families(families);
        text.extend(out.finish());
        let text = String::from_utf8(text).unwrap();
        let comments: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
        assert_eq!(comments.len(), 4, "{comments:?}");
        let samples = text.lines().filter(|line| line.starts_with("weir_requests_rejected_total{"));
        let values = samples.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
        assert!(values.eq(0..3 * BATCH as u64 + 1));
        assert!(text.ends_with("weir_draining 1\n"), "{text}");
    }
}
