//! Which format a scrape is answered in: what the client likes best of what there is (RFC 9110 12.5.1, Prometheus'
//! content negotiation).

/// The formats that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text, version 0.0.4: for whoever does not say what it takes.
    #[default]
    Text,
    /// OpenMetrics' text, version 1.0.0.
    OpenMetrics,
    /// Prometheus' protobuf, which alone has native histograms.
    Protobuf,
}

/// What is answered, and the content type that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    pub format: Format,
    pub content_type: &'static str,
}

impl Default for Negotiated {
    fn default() -> Self {
        Self { format: Format::Text, content_type: "text/plain; version=0.0.4; charset=utf-8" }
    }
}

/// By the `Accept` fields of a request: what it gives most weight, and the first of equals. What nothing can be made of is
/// text, as Prometheus wants it.
pub fn negotiate<'a>(accept: impl Iterator<Item = &'a str>) -> Negotiated {
    let ranges = accept.flat_map(|list| list.split(',')).filter_map(range).filter(|(weight, _)| *weight > 0.0);
    let best = ranges.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, negotiated)| negotiated).unwrap_or_default()
}

/// One entry of `Accept`: its weight, and what it asks for. `None` for what there is not.
/// Whether the `Accept-Encoding` fields of a request take `gzip`: by its name, or by `*` where it is not named (RFC 9110
/// 12.5.3).
pub fn takes_gzip<'a>(accept_encoding: impl Iterator<Item = &'a str>) -> bool {
    let (mut named, mut any) = (None, None);
    for coding in accept_encoding.flat_map(|list| list.split(',')) {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.trim().parse::<f32>().ok());
        match name.trim() {
            "*" => any = Some(weight.unwrap_or(1.0)),
            name if name.eq_ignore_ascii_case("gzip") => named = Some(weight.unwrap_or(1.0)),
            _ => {}
        }
    }
    named.or(any).is_some_and(|weight| weight > 0.0)
}

fn range(entry: &str) -> Option<(f32, Negotiated)> {
    let mut parts = entry.split(';').map(str::trim);
    let kind = parts.next()?;
    let (mut weight, mut version, mut escaping) = (1.0, None, None);
    let (mut proto, mut encoding) = (None, None);
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => weight = value.parse().unwrap_or(0.0),
            "version" => version = Some(value),
            "escaping" => escaping = Some(value),
            "proto" => proto = Some(value),
            "encoding" => encoding = Some(value),
            _ => {}
        }
    }
    match (kind.to_ascii_lowercase().as_str(), version) {
        ("application/openmetrics-text", None | Some("1.0.0")) => {
            Some((weight, Negotiated { format: Format::OpenMetrics, content_type: openmetrics(escaping) }))
        }
        ("application/vnd.google.protobuf", _)
            if proto == Some("io.prometheus.client.MetricFamily") && encoding == Some("delimited") =>
        {
            Some((weight, Negotiated { format: Format::Protobuf, content_type: protobuf(escaping) }))
        }
        ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => Some((weight, Negotiated::default())),
        _ => None,
    }
}

/// With how names beyond the classic ones are to be written, where that was asked; all names of Weir are classic ones.
fn openmetrics(escaping: Option<&str>) -> &'static str {
    match escaping {
        Some("allow-utf-8") => "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        Some("underscores") => "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
        Some("dots") => "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=dots",
        Some("values") => "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=values",
        _ => "application/openmetrics-text; version=1.0.0; charset=utf-8",
    }
}

/// As [`openmetrics`].
fn protobuf(escaping: Option<&str>) -> &'static str {
    macro_rules! content_type {
        ($escaping:literal) => {
            concat!(
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
                $escaping
            )
        };
    }
    match escaping {
        Some("allow-utf-8") => content_type!("; escaping=allow-utf-8"),
        Some("underscores") => content_type!("; escaping=underscores"),
        Some("dots") => content_type!("; escaping=dots"),
        Some("values") => content_type!("; escaping=values"),
        _ => content_type!(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_whoever_takes_it() {
        for (lists, takes) in [
            (&["gzip"][..], true),
            (&["deflate, GZIP;q=0.5"], true),
            (&["br", "gzip"], true),
            (&["*"], true),
            (&["*;q=0, gzip"], true),
            (&["gzip;q=0, *"], false),
            (&["gzip;q=0"], false),
            (&["gzip; q=0.000"], false),
            (&["deflate, br"], false),
            (&[""], false),
            (&[], false),
        ] {
            assert_eq!(takes_gzip(lists.iter().copied()), takes, "{lists:?}");
        }
    }

    #[test]
    fn what_is_liked_best_is_answered() {
        use Format::{OpenMetrics, Protobuf, Text};
        // Prometheus 2.42 and 3.5, curl, browsers, and what is nobody's.
        let two = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                   text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                     application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                     text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.9,\
                        application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3";
        for (accept, format) in [
            (two, OpenMetrics),
            (three, OpenMetrics),
            (protobuf, Protobuf),
            ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text, text/plain", Text),
            ("application/vnd.google.protobuf", Text),
            ("*/*", Text),
            ("text/html, application/xhtml+xml, */*;q=0.8", Text),
            ("application/openmetrics-text", OpenMetrics),
            ("Application/OpenMetrics-Text; Version=1.0.0", OpenMetrics),
            ("application/openmetrics-text;version=0.0.1", Text),
            ("application/openmetrics-text;q=0, text/plain", Text),
            ("application/openmetrics-text;q=0.3, text/plain;version=0.0.4;q=0.4", Text),
            ("application/openmetrics-text;q=x", Text),
            ("application/json", Text),
            (";;;,,=", Text),
            ("", Text),
        ] {
            assert_eq!(negotiate([accept].into_iter()).format, format, "{accept}");
        }
        assert_eq!(negotiate([].into_iter()), Negotiated::default());
        assert_eq!(negotiate(["text/plain;q=0.5", "application/openmetrics-text"].into_iter()).format, OpenMetrics);
        let escaped = negotiate([three].into_iter()).content_type;
        assert_eq!(escaped, "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8");
        let odd = negotiate(["application/openmetrics-text;escaping=\r\nx"].into_iter()).content_type;
        assert_eq!(odd, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    }
}
