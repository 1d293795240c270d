//! A gateway's `/metrics`, read as far as this program looks at it: Prometheus' text, version 0.0.4.

use crate::fetch::{self, FetchError};

/// One line of it.
pub struct Sample<'a> {
    /// Of the metric, without the ending that a line of a histogram has.
    pub metric: &'a str,
    /// As it is written: `…_bucket`, `…_sum`, `…_count` of a histogram.
    pub name: &'a str,
    labels: &'a str,
    pub value: f64,
}

impl<'a> Sample<'a> {
    /// Names and values, which are as they are written: escapes and all.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.labels;
        std::iter::from_fn(move || {
            let (name, after) = rest.split_once("=\"")?;
            let end = end_of_value(after)?;
            rest = &after[end + 1..];
            Some((name.trim_start_matches(','), &after[..end]))
        })
    }

    /// The value of one label; empty for one that is not there, as Prometheus has it.
    pub fn label(&self, name: &str) -> &'a str {
        self.labels().find(|(label, _)| *label == name).map_or("", |(_, value)| value)
    }
}

/// The scrape of one gateway.
pub async fn scrape(base: &str) -> Result<String, FetchError> {
    let (url, text) = fetch::get_ok(base, "/metrics").await?;
    if text.contains("\n# TYPE weir_") { Ok(text) } else { Err(FetchError::NoMetrics { url }) }
}

/// What is in it, in order. A line that is none of the format is passed over.
pub fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    let mut of_type = ("", "");
    text.lines().filter_map(move |line| {
        if let Some(comment) = line.strip_prefix("# TYPE ") {
            of_type = comment.split_once(' ').unwrap_or((comment, ""));
        }
        if line.starts_with('#') {
            return None;
        }
        let (name, rest) = line.split_at(line.find(['{', ' '])?);
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.split_at(end_of_labels(rest)?),
            None => ("", rest),
        };
        let of_histogram = || ["_bucket", "_sum", "_count"].into_iter().find_map(|ending| name.strip_suffix(ending));
        let metric = of_histogram().filter(|base| of_type == (*base, "histogram")).unwrap_or(name);
        let value = value.trim_start_matches('}').trim().parse().ok()?;
        Some(Sample { metric, name, labels, value })
    })
}

/// Where the brace is that closes them.
fn end_of_labels(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + text[from..].find(['"', '}'])?;
        if text[at..].starts_with('}') {
            return Some(at);
        }
        from = at + 2 + end_of_value(&text[at + 1..])?;
    }
}

/// Where the quote is that closes it.
fn end_of_value(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_whatever_is_in_their_labels() {
        let text = "# TYPE a_seconds histogram\na_seconds_bucket{route=\"x\\\"},y z\",le=\"+Inf\"} 1\na_seconds_sum{route=\"\"} 0.5\n\
                    # TYPE b_count gauge\nb_count 7\nc{x=\"\\\\\"} 1e3\nnonsense\n{\n<h1 class=\"a\">\nd{x=\"no end} 1\n\n";
        let found: Vec<_> = samples(text)
            .map(|sample| (sample.metric, sample.name, sample.labels().collect::<Vec<_>>(), sample.value))
            .collect();
        let expected = [
            ("a_seconds", "a_seconds_bucket", vec![("route", "x\\\"},y z"), ("le", "+Inf")], 1.0),
            ("a_seconds", "a_seconds_sum", vec![("route", "")], 0.5),
            ("b_count", "b_count", vec![], 7.0),
            ("c", "c", vec![("x", "\\\\")], 1000.0),
        ];
        assert_eq!(found, expected);
    }
}
