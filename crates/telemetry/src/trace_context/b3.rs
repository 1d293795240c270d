//! B3, in one field and in several: read where no `traceparent` came, and written beside it, where it is configured.
//!
//! Bridged to W3C's: a trace id of 64 bits is padded on the left with zeros, and of such a trace the random flag is not set
//! (W3C Trace Context, "Interoperating with existing systems").

use super::traceparent::TraceParent;
use weir_config::Propagators;
use weir_event::ids::hex_from;
use weir_event::{SpanId, TraceId};
use weir_http1::Fields;

const B3: &str = "b3";
const TRACE_ID: &str = "x-b3-traceid";
const SPAN_ID: &str = "x-b3-spanid";
const PARENT_SPAN_ID: &str = "x-b3-parentspanid";
const SAMPLED: &str = "x-b3-sampled";
const FLAGS: &str = "x-b3-flags";

/// What a caller says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said {
    /// The trace that goes on.
    Parent(TraceParent),
    /// Only whether the trace that begins here is sampled ("Sampling state may be sent on its own").
    Sampled(bool),
}

/// Takes the fields of the configured formats out, and reads the first that is sound; ids count before a decision alone.
pub(super) fn take(headers: &mut Fields, formats: Propagators) -> Option<Said> {
    let single = if formats.b3 { headers.take(B3).and_then(|value| parse(&value)) } else { None };
    let multi = if formats.b3_multi { take_multi(headers) } else { None };
    match (single, multi) {
        (Some(Said::Sampled(_)), Some(Said::Parent(parent))) => Some(Said::Parent(parent)),
        (single, multi) => single.or(multi),
    }
}

/// Ids that are not sound take the decision with them: it was made of another trace.
fn take_multi(headers: &mut Fields) -> Option<Said> {
    let [trace, span, _, sampled, flags] =
        [TRACE_ID, SPAN_ID, PARENT_SPAN_ID, SAMPLED, FLAGS].map(|name| headers.take(name));
    let is_debug = flags.is_some_and(|flags| flags == "1").then_some(true);
    let sampled = match sampled.as_deref() {
        Some(b"1" | b"true") => Some(true),
        Some(b"0" | b"false") => Some(false),
        _ => is_debug,
    };
    match (trace, span) {
        (None, None) => sampled.map(Said::Sampled),
        (trace, span) => parent(&trace?, &span?, sampled == Some(true)),
    }
}

/// `trace-span[-sampled[-parent]]`, or `sampled` alone.
fn parse(text: &[u8]) -> Option<Said> {
    let decision = |text: &[u8]| match text {
        b"0" => Some(false),
        b"1" | b"d" => Some(true),
        _ => None,
    };
    let mut parts = text.split(|byte| *byte == b'-');
    let first = parts.next()?;
    let Some(span) = parts.next() else { return decision(first).map(Said::Sampled) };
    let sampled = match parts.next() {
        None => false,
        Some(text) => decision(text)?,
    };
    parent(first, span, sampled)
}

fn parent(trace: &[u8], span: &[u8], sampled: bool) -> Option<Said> {
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
    let parent = TraceParent { trace, span, sampled, random: false };
    (!trace.is_none() && !span.is_none()).then_some(Said::Parent(parent))
}

/// Writes the fields of the configured formats.
pub(super) fn inject(parent: &TraceParent, formats: Propagators, headers: &mut Fields) {
    let sampled = if parent.sampled { "1" } else { "0" };
    let mut set = |name: &str, text: String| {
        let set = headers.set(name, text.as_bytes());
        debug_assert!(set.is_ok(), "hex digits and dashes are visible ASCII");
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
        let mut headers = Fields::new();
        for (name, value) in lines {
            headers.append(*name, value.as_bytes()).unwrap();
        }
        let taken = take(&mut headers, BOTH).map(|said| match said {
            Said::Parent(parent) => (parent.trace.to_string(), parent.span.to_string(), parent.sampled),
            Said::Sampled(sampled) => (String::new(), String::new(), sampled),
        });
        assert!(headers.is_empty(), "{headers:?}");
        taken
    }

    #[test]
    fn one_field_is_read_as_its_specification_says() {
        let well = |sampled| Some((TRACE.to_owned(), SPAN.to_owned(), sampled));
        let alone = |sampled| Some((String::new(), String::new(), sampled));
        for (text, expected) in [
            (format!("{TRACE}-{SPAN}-1-{SPAN}"), well(true)),
            (format!("{TRACE}-{SPAN}-d"), well(true)),
            (format!("{TRACE}-{SPAN}-0"), well(false)),
            (format!("{TRACE}-{SPAN}"), well(false)),
            ("0".to_owned(), alone(false)),
            ("1".to_owned(), alone(true)),
            ("d".to_owned(), alone(true)),
            ("2".to_owned(), None),
            ("1-".to_owned(), None),
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
    fn a_decision_travels_alone_unless_there_are_ids() {
        let alone = |sampled| Some((String::new(), String::new(), sampled));
        for (name, value, expected) in [
            ("x-b3-sampled", "1", alone(true)),
            ("x-b3-sampled", "0", alone(false)),
            ("x-b3-sampled", "false", alone(false)),
            ("x-b3-sampled", "2", None),
            ("x-b3-flags", "1", alone(true)),
            ("x-b3-flags", "0", None),
        ] {
            assert_eq!(taken(&[(name, value)]), expected, "{name}: {value}");
        }
        let ids = [("b3", "0"), ("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", "1")];
        assert_eq!(taken(&ids), Some((TRACE.to_owned(), SPAN.to_owned(), true)));
        // The decision was made of a trace that cannot go on.
        assert_eq!(taken(&[("x-b3-traceid", "xyz"), ("x-b3-spanid", SPAN), ("x-b3-sampled", "1")]), None);
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        let parent = TraceParent::parse(format!("00-{TRACE}-{SPAN}-01").as_bytes()).unwrap();
        for formats in [BOTH, Propagators { b3: true, b3_multi: false }, Propagators { b3: false, b3_multi: true }] {
            let mut headers = Fields::new();
            inject(&parent, formats, &mut headers);
            let Some(Said::Parent(read)) = take(&mut headers, formats) else { panic!("{formats:?}") };
            assert_eq!((read.trace, read.span, read.sampled), (parent.trace, parent.span, true));
        }
    }
}
