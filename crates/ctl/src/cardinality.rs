//! `weirctl cardinality`: how many series a gateway's metrics have, and which label makes them.
//!
//! Every series costs Prometheus memory, and so does a gateway's scrape. The gateway bounds what traffic can make of
//! them (the rest counts under `__other__`); this says what there is, and with `--again` what is growing, and by which label.

use crate::args::CardinalityOptions;
use crate::exposition::{samples, scrape};
use crate::terminal::{say, say_json};
use crate::{Failure, Outcome};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The series of one metric.
#[derive(Default)]
struct Family {
    series: usize,
    /// The values of each label.
    labels: BTreeMap<String, BTreeSet<String>>,
}

type Families = BTreeMap<String, Family>;

/// Asks every gateway; the series of all of them add up, as they do in Prometheus.
pub async fn cardinality(gateways: &[String], options: &CardinalityOptions) -> Result<Outcome, Failure> {
    let first = look(gateways).await?;
    let again = match options.again {
        Some(seconds) => {
            tokio::time::sleep(Duration::from_secs(seconds.into())).await;
            Some(look(gateways).await?)
        }
        None => None,
    };
    let (now, before) = match &again {
        Some(again) => (again, Some(&first)),
        None => (&first, None),
    };
    let rows = rows(now, before, options.limit);
    if options.json {
        say_json(json!({ "series": total(now), "metrics": rows.iter().map(Row::json).collect::<Vec<_>>() }))?;
    } else {
        print(&rows, now, before)?;
    }
    Ok(Outcome::Well)
}

fn print(rows: &[Row<'_>], now: &Families, before: Option<&Families>) -> Result<(), Failure> {
    let grown = |grown: Option<isize>| grown.map(|grown| format!("{grown:>+9}")).unwrap_or_default();
    say(format_args!("   series{}  metric, and the values of its labels", before.map_or("", |_| "    grown")))?;
    for row in rows {
        let labels: Vec<_> = row.labels.iter().map(Label::text).collect();
        say(format_args!("{:>9}{}  {}  {}", row.series, grown(row.grown), row.name, labels.join(", ")))?;
    }
    let all = before.map(|before| difference(total(now), total(before)));
    say(format_args!("{:>9}{}  in all, of {} metrics", total(now), grown(all), now.len()))?;
    Ok(())
}

/// One line of the answer.
struct Row<'a> {
    name: &'a str,
    series: usize,
    grown: Option<isize>,
    /// The one that grows most, or has most values, first.
    labels: Vec<Label<'a>>,
}

/// One label of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Label<'a> {
    name: &'a str,
    values: usize,
    /// New values since the first look, though as many may have gone.
    new: Option<usize>,
}

impl Label<'_> {
    fn text(&self) -> String {
        let Self { name, values, new } = self;
        match new.filter(|new| *new > 0) {
            Some(new) => format!("{name} {values} ({new} new)"),
            None => format!("{name} {values}"),
        }
    }
}

impl Row<'_> {
    fn json(&self) -> Value {
        let labels: Vec<_> =
            self.labels.iter().map(|it| json!({ "name": it.name, "values": it.values, "new": it.new })).collect();
        json!({ "name": self.name, "series": self.series, "grown": self.grown, "labels": labels })
    }
}

/// The metrics that grow most, or have most, first.
fn rows<'a>(now: &'a Families, before: Option<&Families>, limit: usize) -> Vec<Row<'a>> {
    let row = |(name, family): (&'a String, &'a Family)| {
        let before_of = |label: &str| before.map(|before| before.get(name).and_then(|family| family.labels.get(label)));
        let label = |(name, values): (&'a String, &BTreeSet<String>)| {
            let new = before_of(name)
                .map(|before| values.iter().filter(|value| !before.is_some_and(|it| it.contains(*value))).count());
            Label { name, values: values.len(), new }
        };
        let mut labels: Vec<_> = family.labels.iter().map(label).collect();
        labels.sort_by_key(|label| std::cmp::Reverse((label.new.unwrap_or_default(), label.values)));
        let grown = before.map(|before| difference(family.series, before.get(name).map_or(0, |family| family.series)));
        Row { name, series: family.series, grown, labels }
    };
    let mut rows: Vec<_> = now.iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.grown.unwrap_or_default(), row.series)));
    rows.truncate(limit);
    rows
}

fn difference(now: usize, before: usize) -> isize {
    now.cast_signed() - before.cast_signed()
}

fn total(families: &Families) -> usize {
    families.values().map(|family| family.series).sum()
}

async fn look(gateways: &[String]) -> Result<Families, Failure> {
    let mut families = Families::new();
    for base in gateways {
        add(&mut families, &scrape(base).await?);
    }
    Ok(families)
}

/// Adds the series of a scrape.
fn add(families: &mut Families, text: &str) {
    for sample in samples(text) {
        let family = families.entry(sample.metric.to_owned()).or_default();
        family.series += 1;
        for (label, value) in sample.labels() {
            // The boundaries of buckets are of the metric, and no traffic makes more of them.
            if label != "le" {
                family.labels.entry(label.to_owned()).or_default().insert(value.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP a_seconds Time.
# TYPE a_seconds histogram
a_seconds_bucket{route="x\"},y",le="0.5"} 1
a_seconds_bucket{route="x\"},y",le="+Inf"} 1
a_seconds_sum{route="x\"},y"} 0.1
a_seconds_count{route="x\"},y"} 1
# HELP b_count Not of a histogram.
# TYPE b_count gauge
b_count 7
# TYPE c_total counter
c_total{api="one",route="\\"} 1
c_total{api="one",route="two"} 1
"#;

    #[test]
    fn series_belong_to_their_metric_and_labels_are_counted_by_value() {
        let mut now = Families::new();
        add(&mut now, TEXT);
        let rows = rows(&now, None, 2);
        let said: Vec<_> = rows
            .iter()
            .map(|row| (row.name, row.series, row.labels.iter().map(Label::text).collect::<Vec<_>>().join(", ")))
            .collect();
        assert_eq!(said, [("a_seconds", 4, "route 1".to_owned()), ("c_total", 2, "route 2, api 1".to_owned())]);
        assert_eq!((total(&now), now.len()), (7, 3));
        assert!(now["a_seconds"].labels["route"].contains(r#"x\"},y"#));
    }

    #[test]
    fn what_grows_most_comes_first() {
        let (mut before, mut now) = (Families::new(), Families::new());
        add(&mut before, TEXT);
        add(&mut now, TEXT);
        for api in 2..6 {
            add(&mut now, &format!("# TYPE c_total counter\nc_total{{api=\"{api}\",route=\"two\"}} 1\n"));
        }
        let rows = rows(&now, Some(&before), 10);
        let labels: Vec<_> = rows[0].labels.iter().map(Label::text).collect();
        assert_eq!(labels, ["api 5 (4 new)", "route 2"], "the label that grows is the first");
        assert_eq!((rows[0].name, rows[0].grown, rows[1].grown), ("c_total", Some(4), Some(0)));
    }
}
