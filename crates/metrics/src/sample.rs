//! One sample, before it is text.

use crate::histogram::Reading;

/// The values of its labels stand in the order of the catalogue.
pub(crate) struct Sample {
    pub(crate) labels: Vec<String>,
    pub(crate) value: Value,
}

pub(crate) enum Value {
    Whole(u64),
    Real(f64),
    Histogram(Reading),
}

impl Sample {
    pub(crate) fn new(labels: &[&str], value: Value) -> Self {
        Self { labels: labels.iter().map(|value| (*value).to_owned()).collect(), value }
    }
}
