//! B3, in one field and in several: read where no `traceparent` came, and written beside it, where it is configured.
//!
//! Bridged to W3C's: a trace id of 64 bits is padded on the left with zeros, and of such a trace the random flag is not set
//! (W3C Trace Context, "Interoperating with existing systems").

use super::traceparent::TraceParent;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use weir_config::Propagators;
use weir_event::ids::hex_from;
use weir_event::{SpanId, TraceId};

const B3: HeaderName = HeaderName::from_static("b3");
const TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
const SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
const PARENT_SPAN_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// Takes the fields of the configured formats out, and reads the first that is sound.
pub(super) fn take(headers: &mut HeaderMap, formats: Propagators) -> Option<TraceParent> {
    let single = if formats.b3 { headers.remove(&B3).and_then(|value| parse(value.as_bytes())) } else { None };
    let multi = if formats.b3_multi { take_multi(headers) } else { None };
    single.or(multi)
}

fn take_multi(headers: &mut HeaderMap) -> Option<TraceParent> {
    let [trace, span, _, sampled, flags] =
        [TRACE_ID, SPAN_ID, PARENT_SPAN_ID, SAMPLED, FLAGS].map(|name| headers.remove(name));
    let sampled = match sampled.as_ref().map(HeaderValue::as_bytes) {
        Some(b"1" | b"true") => true,
        Some(b"0" | b"false") => false,
        _ => flags.is_some_and(|flags| flags == "1"),
    };
    parent(trace?.as_bytes(), span?.as_bytes(), sampled)
}

/// `trace-span[-sampled[-parent]]`. `0` alone says no more than that nobody samples: without ids there is no trace.
fn parse(text: &[u8]) -> Option<TraceParent> {
    let mut parts = text.split(|byte| *byte == b'-');
    let (trace, span) = (parts.next()?, parts.next()?);
    let sampled = match parts.next() {
        None | Some(b"0") => false,
        Some(b"1" | b"d") => true,
        Some(_) => return None,
    };
    parent(trace, span, sampled)
}

fn parent(trace: &[u8], span: &[u8], sampled: bool) -> Option<TraceParent> {
    let trace = match trace.len() {
        32 => TraceId(hex_from(trace)?),
        16 => {
            let mut id = [0; 16];
            id[8..].copy_from_slice(&hex_from::<8>(trace)?);
            TraceId(id)
        }
        _ => return None,
    };
    let span = SpanId(hex_from(span)?);
    (!trace.is_none() && !span.is_none()).then_some(TraceParent { trace, span, sampled, random: false })
}

/// Writes the fields of the configured formats.
pub(super) fn inject(parent: &TraceParent, formats: Propagators, headers: &mut HeaderMap) {
    let sampled = if parent.sampled { "1" } else { "0" };
    let mut set = |name: HeaderName, text: String| {
        headers.insert(name, HeaderValue::try_from(text).expect("hex digits and dashes are visible ASCII"));
    };
    if formats.b3 {
        set(B3, format!("{}-{}-{sampled}", parent.trace, parent.span));
    }
    if formats.b3_multi {
        set(TRACE_ID, parent.trace.to_string());
        set(SPAN_ID, parent.span.to_string());
        set(SAMPLED, sampled.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Propagators = Propagators { b3: true, b3_multi: true };
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn taken(lines: &[(&'static str, &str)]) -> Option<(String, String, bool)> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let taken =
            take(&mut headers, BOTH).map(|parent| (parent.trace.to_string(), parent.span.to_string(), parent.sampled));
        assert!(headers.is_empty(), "{headers:?}");
        taken
    }

    #[test]
    fn one_field_is_read_as_its_specification_says() {
        let well = |sampled| Some((TRACE.to_owned(), SPAN.to_owned(), sampled));
        for (text, expected) in [
            (format!("{TRACE}-{SPAN}-1-{SPAN}"), well(true)),
            (format!("{TRACE}-{SPAN}-d"), well(true)),
            (format!("{TRACE}-{SPAN}-0"), well(false)),
            (format!("{TRACE}-{SPAN}"), well(false)),
            ("0".to_owned(), None),
            (String::new(), None),
            (format!("{TRACE}-{SPAN}-x"), None),
            (format!("{}-{SPAN}-1", "0".repeat(32)), None),
            (format!("{TRACE}-{}-1", SPAN.to_uppercase()), None),
        ] {
            assert_eq!(taken(&[("b3", &text)]), expected, "{text}");
        }
    }

    #[test]
    fn several_fields_are_read_and_short_ids_padded() {
        let short = [("x-b3-traceid", SPAN), ("x-b3-spanid", SPAN), ("x-b3-sampled", "1"), ("x-b3-parentspanid", SPAN)];
        assert_eq!(taken(&short), Some((format!("{:0>32}", SPAN), SPAN.to_owned(), true)));
        let debug = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-flags", "1")];
        assert_eq!(taken(&debug).map(|(.., sampled)| sampled), Some(true));
        assert_eq!(taken(&[("x-b3-traceid", TRACE)]), None);
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        let parent = TraceParent::parse(format!("00-{TRACE}-{SPAN}-01").as_bytes()).unwrap();
        for formats in [BOTH, Propagators { b3: true, b3_multi: false }, Propagators { b3: false, b3_multi: true }] {
            let mut headers = HeaderMap::new();
            inject(&parent, formats, &mut headers);
            let read = take(&mut headers, formats).unwrap();
            assert_eq!((read.trace, read.span, read.sampled), (parent.trace, parent.span, true));
        }
    }
}
