//! Series to text. A gateway may have a million series, so they are written piece by piece ([`Exposition`]), and only
//! those few that are not of a route are collected first ([`Families`]). Prometheus' text is written by the `prometheus`
//! crate, OpenMetrics' by [`crate::openmetrics`], protobuf by [`crate::protobuf`], OTLP's messages by [`crate::otlp`].

use crate::catalogue::{Counter, Family, Gauge, HistogramKind, Info, Kind, Metric};
use crate::format::Format;
use crate::histogram::Reading;
use crate::openmetrics;
use crate::otlp::{self, Collection};
use crate::protobuf;
use crate::sample::{Sample, Value};
use prometheus::proto::{self, LabelPair, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use std::collections::BTreeMap;

/// Samples that are kept before they are written.
const BATCH: usize = 256;

/// The text of samples that come family by family.
#[derive(Default)]
pub struct Exposition {
    format: Format,
    /// OTLP in place of `format`.
    otlp: Option<Collection>,
    /// Points of OTLP that are ready to be taken.
    points: u64,
    text: Vec<u8>,
    metric: Option<&'static Metric>,
    samples: Vec<(Sample, f64)>,
    /// Whether the comments above the family's samples are written.
    headed: bool,
    /// Whether the time goes with series that only grow, from which on they do.
    with_created: bool,
    /// That time, of the samples that come next, in seconds since the Unix epoch.
    began: f64,
}

impl Exposition {
    pub fn of(format: Format) -> Self {
        Self { format, ..Self::default() }
    }

    /// Of OTLP: messages for `ScopeMetrics`, to be taken by [`Exposition::take_points`] and [`Exposition::finish_points`]. `at`
    /// is when they are collected, in nanoseconds since the Unix epoch. Histograms are exponential, of scale 3, or `explicit`,
    /// with the boundaries of the catalogue.
    pub fn of_otlp(at: u64, explicit: bool) -> Self {
        Self { otlp: Some(Collection { at, explicit }), ..Self::default() }
    }

    /// With a `_created` for each series that only grows, in OpenMetrics' text; protobuf always has that time.
    pub fn with_created(self) -> Self {
        Self { with_created: true, ..self }
    }

    /// From now on samples are of series that began then: seconds since the Unix epoch.
    pub fn began(&mut self, at: f64) {
        self.began = at;
    }

    /// Adds a counter's sample. The values of labels stand in the order of the catalogue.
    pub fn counter<const N: usize>(&mut self, family: &'static Family<Counter, N>, labels: &[&str; N], value: u64) {
        self.push(family, Sample::new(labels, Value::Whole(value)));
    }

    /// Adds a histogram's sample.
    pub fn histogram<const N: usize>(
        &mut self,
        family: &'static Family<HistogramKind, N>,
        labels: &[&str; N],
        reading: Reading,
    ) {
        self.push(family, Sample::new(labels, Value::Histogram(reading)));
    }

    fn push(&mut self, metric: &'static Metric, sample: Sample) {
        if self.metric != Some(metric) {
            self.flush();
            (self.metric, self.headed) = (Some(metric), false);
        }
        self.samples.push((sample, self.began));
        if self.samples.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Some(metric) = self.metric.filter(|_| !self.samples.is_empty()) else { return };
        if let Some(collection) = self.otlp {
            self.points += otlp::family(&mut self.text, collection, metric, self.samples.drain(..));
            return;
        }
        match self.format {
            Format::Text => self.flush_text(metric),
            Format::OpenMetrics => self.flush_openmetrics(metric),
            Format::Protobuf => protobuf::family(&mut self.text, metric, self.samples.drain(..)),
        }
        self.headed = true;
    }

    fn flush_text(&mut self, metric: &'static Metric) {
        let start = self.text.len();
        let samples = self.samples.drain(..).map(|(sample, _)| proto_sample(metric, sample)).collect();
        let family = family(metric, samples);
        TextEncoder::new().encode(&[family], &mut self.text).expect("writing to memory, with a sample in the family");
        if self.headed {
            // The crate writes the two lines of comment above each batch; they belong above the first.
            let lines = self.text[start..].iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            let comment = lines.map(|(at, _)| at + 1).nth(1).unwrap_or(0);
            self.text.drain(start..start + comment);
        }
    }

    fn flush_openmetrics(&mut self, metric: &'static Metric) {
        let mut text = String::new();
        if !self.headed {
            openmetrics::head(&mut text, metric);
        }
        for (sample, began) in self.samples.drain(..) {
            openmetrics::sample(&mut text, metric, &sample, self.with_created.then_some(began));
        }
        self.text.extend_from_slice(text.as_bytes());
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

    /// Messages of OTLP that are ready, and how many points they have.
    pub fn take_points(&mut self) -> (Vec<u8>, u64) {
        (std::mem::take(&mut self.text), std::mem::take(&mut self.points))
    }

    /// The rest of them.
    pub fn finish_points(mut self) -> (Vec<u8>, u64) {
        self.flush();
        self.take_points()
    }

    /// The rest.
    pub fn finish(mut self) -> Vec<u8> {
        self.flush();
        if self.format == Format::OpenMetrics {
            self.text.extend_from_slice(openmetrics::END.as_bytes());
        }
        self.text
    }
}

/// Samples in any order.
#[derive(Default)]
pub struct Families {
    families: BTreeMap<&'static str, (&'static Metric, Vec<Sample>)>,
}

impl Families {
    /// Adds a counter's sample. The values of labels stand in the order of the catalogue.
    pub fn counter<const N: usize>(&mut self, family: &'static Family<Counter, N>, labels: &[&str; N], value: u64) {
        self.push(family, Sample::new(labels, Value::Whole(value)));
    }

    /// Adds a histogram's sample.
    pub fn histogram<const N: usize>(
        &mut self,
        family: &'static Family<HistogramKind, N>,
        labels: &[&str; N],
        reading: Reading,
    ) {
        self.push(family, Sample::new(labels, Value::Histogram(reading)));
    }

    /// Adds the sample of a counter of seconds.
    pub fn seconds<const N: usize>(&mut self, family: &'static Family<Counter, N>, labels: &[&str; N], value: f64) {
        self.push(family, Sample::new(labels, Value::Real(value)));
    }

    /// Adds a gauge's sample.
    pub fn gauge<const N: usize>(&mut self, family: &'static Family<Gauge, N>, labels: &[&str; N], value: f64) {
        self.push(family, Sample::new(labels, Value::Real(value)));
    }

    /// Adds what labels say.
    pub fn info<const N: usize>(&mut self, family: &'static Family<Info, N>, labels: &[&str; N]) {
        self.push(family, Sample::new(labels, Value::Whole(1)));
    }

    fn push(&mut self, metric: &'static Metric, sample: Sample) {
        self.families.entry(metric.name).or_insert_with(|| (metric, Vec::new())).1.push(sample);
    }
}

fn proto_sample(metric: &Metric, sample: Sample) -> proto::Metric {
    let mut pairs: Vec<_> = metric.labels.iter().zip(sample.labels).collect();
    pairs.sort_unstable();
    let pairs = pairs.into_iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value);
        pair
    });
    let mut out = proto::Metric::from_label(pairs.collect());
    match sample.value {
        Value::Histogram(reading) => out.set_histogram(proto_histogram(metric, &reading)),
        Value::Whole(value) => set_number(&mut out, metric, value as f64),
        Value::Real(value) => set_number(&mut out, metric, value),
    }
    out
}

fn set_number(out: &mut proto::Metric, metric: &Metric, value: f64) {
    if metric.kind == Kind::Counter {
        let mut counter = proto::Counter::default();
        counter.set_value(value);
        out.set_counter(counter);
    } else {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(value);
        out.set_gauge(gauge);
    }
}

fn proto_histogram(metric: &Metric, reading: &Reading) -> proto::Histogram {
    let unit = metric.scale();
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
    histogram
}

fn family(metric: &Metric, samples: Vec<proto::Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge | Kind::Info => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    family.set_metric(samples);
    family
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
