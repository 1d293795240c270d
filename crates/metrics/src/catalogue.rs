//! Names, kinds, units, labels and meanings: each metric once.

use std::collections::HashSet;
use std::marker::PhantomData;
use std::ops::Deref;

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// A gauge that is always 1: what it says is in its labels.
    Info,
}

impl Kind {
    /// Prometheus' word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "gauge",
        }
    }

    /// OpenMetrics' word.
    pub(crate) const fn of_openmetrics(self) -> &'static str {
        match self {
            Self::Info => "info",
            other => other.as_str(),
        }
    }
}

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    /// UCUM: `s`, `By`, `{request}` …
    pub unit: &'static str,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

impl Metric {
    /// By what a histogram's numbers are divided: cells have nanoseconds, Prometheus has seconds.
    pub(crate) fn scale(&self) -> f64 {
        if self.unit == "s" { 1e9 } else { 1.0 }
    }

    /// The unit in words, where the family's name ends in it, as it must.
    pub(crate) fn unit_of_name(&self) -> Option<&'static str> {
        match self.unit {
            "s" => Some("seconds"),
            "By" => Some("bytes"),
            _ => None,
        }
    }
}

/// The kind of a family whose samples only grow.
#[derive(Debug)]
pub struct Counter;
/// The kind of a family whose samples go up and down.
#[derive(Debug)]
pub struct Gauge;
/// The kind of a family of distributions.
#[derive(Debug)]
pub struct HistogramKind;

/// The kind of a family whose labels say something.
#[derive(Debug)]
pub struct Info;

/// A metric with its kind and the number of its labels as a type. [`catalogue!`](crate::catalogue) makes them.
#[derive(Debug)]
pub struct Family<K, const LABELS: usize> {
    metric: Metric,
    kind: PhantomData<K>,
}

impl<K, const LABELS: usize> Family<K, LABELS> {
    /// With as many labels as the type says: another number does not compile where this is a constant.
    pub const fn new(metric: Metric) -> Self {
        assert!(metric.labels.len() == LABELS);
        Self { metric, kind: PhantomData }
    }
}

impl<K, const LABELS: usize> Deref for Family<K, LABELS> {
    type Target = Metric;

    fn deref(&self) -> &Metric {
        &self.metric
    }
}

/// A constant for each metric, and `all()`, every one of them in the order of the documentation:
/// `NAME Kind "name" "unit" ["label" …] "Meaning.";`
#[macro_export]
macro_rules! catalogue {
    ($($constant:ident $kind:ident $name:literal $unit:literal [$($label:literal)*] $help:literal;)+) => {
        $(pub static $constant: $crate::Family<$crate::catalogue!(@kind $kind), { <[&str]>::len(&[$($label),*]) }> =
            $crate::Family::new($crate::Metric {
                name: $name, kind: $crate::Kind::$kind, unit: $unit, labels: &[$($label),*], help: $help,
            });)+
        /// Every metric, in the order of the documentation.
        pub fn all() -> Vec<&'static $crate::Metric> {
            vec![$(&*$constant),+]
        }
    };
    (@kind Counter) => { $crate::Counter };
    (@kind Gauge) => { $crate::Gauge };
    (@kind Histogram) => { $crate::HistogramKind };
    (@kind Info) => { $crate::Info };
}

/// Metrics as the documentation shows them: the rows of a table, with its head.
pub fn markdown(metrics: &[&Metric]) -> String {
    let mut out = "| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n".to_owned();
    for metric in metrics {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let row = format!(
            "| `{}` | {} | {} | {} | {} |\n",
            metric.name,
            metric.kind.as_str(),
            metric.unit,
            labels.join(" "),
            metric.help
        );
        out += &row;
    }
    out
}

/// What speaks against the names of a catalogue, by the conventions of Prometheus.
pub fn check(metrics: &[&Metric]) -> Vec<String> {
    let (mut names, mut wrong) = (HashSet::new(), Vec::new());
    for metric in metrics {
        let unit = match metric.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        };
        let rules = [
            (names.insert(metric.name), "is there twice"),
            (metric.name.ends_with("_total") == (metric.kind == Kind::Counter), "a counter ends in `_total`"),
            (metric.name.ends_with("_info") == (metric.kind == Kind::Info), "what is in labels alone ends in `_info`"),
            (metric.name.trim_end_matches("_total").ends_with(unit), "its name ends in its unit"),
            (metric.help.ends_with('.'), "its meaning ends with a full stop"),
        ];
        let broken = rules.iter().filter(|(holds, _)| !holds);
        wrong.extend(broken.map(|(_, rule)| format!("{}: {rule}", metric.name)));
    }
    wrong
}
