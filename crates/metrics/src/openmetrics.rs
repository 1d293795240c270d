//! OpenMetrics' text, version 1.0.0, of samples that come family by family.
//!
//! The official library for Rust, `prometheus-client` 0.26, writes this format too, and was looked at first: a collector
//! of it cannot hand over an exemplar (the type has no constructor), and it has no `_created`. Cells that workers write
//! without a lock, and exemplars in them, therefore have a writer of their own; strict parsers of others check it.

use crate::catalogue::{Kind, Metric};
use crate::histogram::{Exemplar, Reading};
use crate::sample::{Sample, Value};
use std::fmt::{Display, Write};

/// What the samples of a family have in common.
struct Lines<'a> {
    out: &'a mut String,
    /// The name without the ending of its kind.
    family: &'a str,
    metric: &'a Metric,
}

/// The comments above a family.
pub(crate) fn head(out: &mut String, metric: &Metric) {
    let (family, kind) = (family(metric), metric.kind.of_openmetrics());
    put(out, format_args!("# TYPE {family} {kind}\n"));
    if let Some(unit) = metric.unit_of_name() {
        put(out, format_args!("# UNIT {family} {unit}\n"));
    }
    put(out, format_args!("# HELP {family} {}\n", Escaped(metric.help)));
}

/// One sample, with the lines that belong to it.
pub(crate) fn sample(out: &mut String, metric: &Metric, sample: &Sample, created: Option<f64>) {
    let mut lines = Lines { out, family: family(metric), metric };
    match &sample.value {
        Value::Whole(value) => lines.line(lines.ending(), &sample.labels, None, value, None),
        Value::Real(value) => lines.line(lines.ending(), &sample.labels, None, value, None),
        Value::Histogram(reading) => lines.histogram(&sample.labels, reading),
    }
    if let (Some(created), Kind::Counter | Kind::Histogram) = (created, metric.kind) {
        lines.line("_created", &sample.labels, None, created, None);
    }
}

/// Nothing comes after it: without it a client knows that something is missing.
pub(crate) const END: &str = "# EOF\n";

impl Lines<'_> {
    fn ending(&self) -> &'static str {
        match self.metric.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        }
    }

    fn histogram(&mut self, labels: &[String], reading: &Reading) {
        let unit = self.metric.scale();
        let mut cumulative = 0;
        for (index, count) in reading.counts.iter().enumerate() {
            cumulative += count;
            let bound = reading.bounds.get(index).map_or(f64::INFINITY, |bound| *bound as f64 / unit);
            let exemplar = reading.exemplars.get(index).and_then(Option::as_ref);
            self.line("_bucket", labels, Some(bound), cumulative, exemplar);
        }
        self.line("_count", labels, None, cumulative, None);
        self.line("_sum", labels, None, reading.sum as f64 / unit, None);
    }

    fn line(
        &mut self,
        ending: &str,
        labels: &[String],
        bound: Option<f64>,
        value: impl Display,
        exemplar: Option<&Exemplar>,
    ) {
        put(self.out, format_args!("{}{ending}", self.family));
        let mut open = '{';
        for (name, value) in self.metric.labels.iter().zip(labels) {
            put(self.out, format_args!("{open}{name}=\"{}\"", Escaped(value)));
            open = ',';
        }
        if let Some(bound) = bound {
            put(self.out, format_args!("{open}le=\"{}\"", Bound(bound)));
            open = ',';
        }
        if open == ',' {
            self.out.push('}');
        }
        put(self.out, format_args!(" {value}"));
        if let Some(exemplar) = exemplar {
            let value = exemplar.value as f64 / self.metric.scale();
            let (trace, span) = (exemplar.trace, exemplar.span);
            let (seconds, micros) = (exemplar.at_us / 1_000_000, exemplar.at_us % 1_000_000);
            put(
                self.out,
                format_args!(" # {{trace_id=\"{trace:032x}\",span_id=\"{span:016x}\"}} {value} {seconds}.{micros:06}"),
            );
        }
        self.out.push('\n');
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Memory takes everything.
    let _written = out.write_fmt(text);
}

fn family(metric: &Metric) -> &str {
    let ending = match metric.kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge | Kind::Histogram => "",
    };
    metric.name.strip_suffix(ending).unwrap_or(metric.name)
}

/// The value of a label, or a meaning, between quotes or not: both are escaped alike.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['\\', '"', '\n']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'\n' => "\\n",
                b'"' => "\\\"",
                _ => "\\\\",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// A boundary in the canonical form, which is Go's: `0.5`, `1.0`, `1e-05`, `2.097152e+06`, `+Inf`.
struct Bound(f64);

impl Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == f64::INFINITY {
            return f.write_str("+Inf");
        }
        let scientific = format!("{:e}", self.0);
        let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let exponent: i32 = exponent.parse().unwrap_or_default();
        if (-4..6).contains(&exponent) { write!(f, "{:?}", self.0) } else { write!(f, "{mantissa}e{exponent:+03}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Exposition, Families, Format, Histogram};

    crate::catalogue! {
        REJECTED Counter "weir_rejected_total" "{request}" ["api" "reason"] "Refused \"so\".";
        RECEIVED Counter "weir_received_bytes_total" "By" [] "Bytes.";
        DURATION Histogram "http_duration_seconds" "s" ["api"] "Time.";
        OPEN Gauge "weir_open" "1" [] "Open.";
        BUILD Info "weir_build_info" "1" ["version"] "Which.";
    }

    #[test]
    fn the_names_of_this_test_are_good_ones() {
        assert_eq!(crate::check(&all()), Vec::<String>::new());
    }

    #[test]
    fn every_kind_with_its_comments_and_the_end() {
        const BOUNDS: &[u64] = &[10_000, 500_000_000, 1_000_000_000];
        let histogram = Histogram::of_durations(BOUNDS);
        [5_000, 400_000_000, 2_000_000_000].into_iter().for_each(|nanos| histogram.observe(nanos));
        let mut reading = histogram.read();
        let exemplar = Exemplar { trace: 0xab, span: 0xcd, value: 400_000_000, at_us: 1_700_000_000_000_001 };
        reading.exemplars = vec![None, Some(exemplar), None, None];
        let mut out = Exposition::of(Format::OpenMetrics).with_created();
        out.began(1_600_000_000.5);
        out.counter(&REJECTED, &["a\"\\\nb", ""], 3);
        out.histogram(&DURATION, &["x"], reading);
        let mut few = Families::default();
        few.gauge(&OPEN, &[], 0.25);
        few.counter(&RECEIVED, &[], 7);
        few.info(&BUILD, &["0.1"]);
        out.families(few);
        let text = String::from_utf8(out.finish()).unwrap();
        let expected = r#"# TYPE weir_rejected counter
# HELP weir_rejected Refused \"so\".
weir_rejected_total{api="a\"\\\nb",reason=""} 3
weir_rejected_created{api="a\"\\\nb",reason=""} 1600000000.5
# TYPE http_duration_seconds histogram
# UNIT http_duration_seconds seconds
# HELP http_duration_seconds Time.
http_duration_seconds_bucket{api="x",le="1e-05"} 1
http_duration_seconds_bucket{api="x",le="0.5"} 2 # {trace_id="000000000000000000000000000000ab",span_id="00000000000000cd"} 0.4 1700000000.000001
http_duration_seconds_bucket{api="x",le="1.0"} 2
http_duration_seconds_bucket{api="x",le="+Inf"} 3
http_duration_seconds_count{api="x"} 3
http_duration_seconds_sum{api="x"} 2.400005
http_duration_seconds_created{api="x"} 1600000000.5
# TYPE weir_build info
# HELP weir_build Which.
weir_build_info{version="0.1"} 1
# TYPE weir_open gauge
# HELP weir_open Open.
weir_open 0.25
# TYPE weir_received_bytes counter
# UNIT weir_received_bytes bytes
# HELP weir_received_bytes Bytes.
weir_received_bytes_total 7
weir_received_bytes_created 1600000000.5
# EOF
"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn boundaries_are_written_as_go_does() {
        for (bound, text) in [
            (0.00001, "1e-05"),
            (0.0001, "0.0001"),
            (0.025, "0.025"),
            (1.0, "1.0"),
            (2.5, "2.5"),
            (10.0, "10.0"),
            (262_144.0, "262144.0"),
            (2_097_152.0, "2.097152e+06"),
            (1_073_741_824.0, "1.073741824e+09"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(Bound(bound).to_string(), text);
        }
    }
}
