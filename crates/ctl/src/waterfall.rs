//! A trace as a waterfall in the terminal: who called whom, each gateway's own time, and the time between two.
//!
//! Made from events, which every request has, and not from spans, which few have. An event's parent id leads to the
//! event of the gateway before: its low four bits number that gateway's attempt, the rest is its span. The time
//! between two gateways is what the first waited for its attempt, less what the second took in all; it needs no
//! clocks that agree.

use serde::Deserialize;
use std::fmt::Write;
use weir_event::json::read_us;

/// The columns of the bar.
const WIDTH: usize = 40;

/// What a waterfall needs of an event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Span {
    /// RFC 3339, or ClickHouse's form of it, with microseconds, UTC.
    pub ts: String,
    pub site: String,
    pub gateway: String,
    pub api: String,
    pub method: String,
    pub path: String,
    pub status: u16,
    pub reason: String,
    pub side: String,
    pub answered_by: String,
    pub upstream: String,
    pub total_us: u64,
    pub gateway_us: u64,
    pub upstream_us: u64,
    pub client_us: u64,
    /// The way to the gateway behind it and back, where that one said how long it took itself.
    pub link_us: u64,
    pub span_id: String,
    pub parent_span_id: String,
    pub attempt_upstreams: Vec<String>,
    pub attempt_outcomes: Vec<String>,
    pub attempt_us: Vec<u32>,
    /// Empty where the gateway did not say, like all starts.
    pub attempt_start_us: Vec<u32>,
    pub policy_names: Vec<String>,
    pub policy_us: Vec<u32>,
    pub policy_start_us: Vec<u32>,
    pub policy_waited_us: Vec<u32>,
}

/// One line of the picture: a span, how deep it stands, and when it began, in µs after the first.
struct Row<'a> {
    span: &'a Span,
    depth: usize,
    offset: i64,
    between: Option<Between>,
}

/// The time between a span and the one before it, in µs.
#[derive(Clone, Copy)]
enum Between {
    /// As the two gateways measured it.
    Link(u64),
    /// What is left of the one's wait without the other's time: connecting, and the rest of the body, are in it.
    Rest(u64),
}

/// Draws the trace.
pub fn render(trace: &str, mut spans: Vec<Span>) -> String {
    spans.sort_by_key(|span| micros(&span.ts));
    let rows = arrange(&spans);
    let end = rows.iter().map(|row| row.offset + row.span.total_us as i64).max().unwrap_or(1).max(1);
    let mut out = String::new();
    let gateways = if rows.len() == 1 { "1 gateway".to_owned() } else { format!("{} gateways", rows.len()) };
    let _ = writeln!(out, "trace {trace}   {gateways}   {}", in_millis(end as u64));
    for row in &rows {
        draw(&mut out, row, end);
    }
    out
}

fn arrange(spans: &[Span]) -> Vec<Row<'_>> {
    let first = spans.iter().map(|span| micros(&span.ts)).min().unwrap_or(0);
    let mut rows: Vec<Row<'_>> = Vec::new();
    let (roots, others): (Vec<_>, Vec<_>) = spans.iter().partition(|span| parent_of(span, spans).is_none());
    // What no root leads to is still shown: events that claim each other as parents have none.
    for span in roots.into_iter().chain(others) {
        if !rows.iter().any(|row| std::ptr::eq(row.span, span)) {
            place(span, spans, first, 0, None, &mut rows);
        }
    }
    rows
}

fn place<'a>(
    span: &'a Span,
    spans: &'a [Span],
    first: i64,
    depth: usize,
    between: Option<Between>,
    rows: &mut Vec<Row<'a>>,
) {
    if rows.iter().any(|row| std::ptr::eq(row.span, span)) {
        return;
    }
    rows.push(Row { span, depth, offset: micros(&span.ts) - first, between });
    for child in spans.iter().filter(|child| parent_of(child, spans).is_some_and(|parent| std::ptr::eq(parent, span))) {
        let waited = attempt_of(child).and_then(|attempt| span.attempt_us.get(attempt - 1)).copied();
        let waited = waited.map_or(span.upstream_us, |head| u64::from(head).max(span.upstream_us));
        // The record has the link of the last attempt.
        let is_last = attempt_of(child).is_none_or(|attempt| attempt == span.attempt_us.len());
        let between = match span.link_us {
            link @ 1.. if is_last => Between::Link(link),
            _ => Between::Rest(waited.saturating_sub(child.total_us)),
        };
        place(child, spans, first, depth + 1, Some(between), rows);
    }
}

/// The event of the gateway before, if it is there.
fn parent_of<'a>(span: &Span, spans: &'a [Span]) -> Option<&'a Span> {
    let id = u64::from_str_radix(&span.parent_span_id, 16).ok()? & !0xf;
    spans.iter().find(|other| id != 0 && u64::from_str_radix(&other.span_id, 16) == Ok(id))
}

/// Which attempt of the gateway before led here, from 1.
fn attempt_of(span: &Span) -> Option<usize> {
    let id = u64::from_str_radix(&span.parent_span_id, 16).ok()?;
    Some((id & 0xf) as usize).filter(|attempt| *attempt > 0)
}

fn draw(out: &mut String, row: &Row<'_>, end: i64) {
    let span = row.span;
    if let Some(between) = row.between {
        let (us, what) = match between {
            Between::Link(us) => (us, "link"),
            Between::Rest(us) => (us, "between"),
        };
        let _ = writeln!(out, "{:indent$}│ {} {what}", "", in_millis(us), indent = row.depth * 2);
    }
    let place = format!("{:indent$}{}/{}", "", span.site, span.gateway, indent = row.depth * 2);
    let _ = writeln!(
        out,
        "{place:<28} {} {:>11}   own {} · upstream {} · client {}",
        bar(row.offset, span.total_us, end),
        in_millis(span.total_us),
        in_millis(span.gateway_us),
        in_millis(span.upstream_us),
        in_millis(span.client_us)
    );
    let indent = row.depth * 2 + 2;
    let _ = writeln!(out, "{:indent$}{} {} → {}   {}", "", span.method, span.path, span.status, why(span));
    for (number, (name, took)) in span.policy_names.iter().zip(&span.policy_us).enumerate() {
        let waited = span.policy_waited_us.get(number).filter(|waited| **waited > 0);
        let waited =
            waited.map_or(String::new(), |waited| format!(", of which {} waiting", in_millis(u64::from(*waited))));
        let begun = since(&span.policy_start_us, number);
        let _ = writeln!(out, "{:indent$}policy {name} {}{waited}{begun}", "", in_millis(u64::from(*took)));
    }
    for (number, (address, outcome)) in span.attempt_upstreams.iter().zip(&span.attempt_outcomes).enumerate() {
        let took = span.attempt_us.get(number).map_or(0, |took| u64::from(*took));
        let outcome = if outcome.is_empty() { "answered" } else { outcome };
        let begun = since(&span.attempt_start_us, number);
        let _ = writeln!(out, "{:indent$}attempt {} {address} {outcome} {}{begun}", "", number + 1, in_millis(took));
    }
}

/// When a part of a request began, where that is known.
fn since(starts: &[u32], number: usize) -> String {
    starts.get(number).map_or(String::new(), |start| format!(" at +{}", in_millis(u64::from(*start))))
}

fn why(span: &Span) -> String {
    if span.reason.is_empty() {
        return String::new();
    }
    let by = if span.answered_by.is_empty() { String::new() } else { format!(" by {}", span.answered_by) };
    format!("{}: {}{by}", span.side, span.reason)
}

fn bar(offset: i64, total: u64, end: i64) -> String {
    let column = |us: i64| (us.clamp(0, end) as u128 * WIDTH as u128 / end as u128) as usize;
    let start = column(offset).min(WIDTH - 1);
    let stop = column(offset + total as i64).clamp(start + 1, WIDTH);
    format!("▕{}{}{}▏", " ".repeat(start), "█".repeat(stop - start), " ".repeat(WIDTH - stop))
}

fn in_millis(us: u64) -> String {
    format!("{:.3} ms", us as f64 / 1000.0)
}

/// When an event began; the Unix epoch where its time is no time.
fn micros(ts: &str) -> i64 {
    read_us(ts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(site: &str, ts: &str, span_id: &str, parent: &str, total_us: u64) -> Span {
        Span {
            ts: ts.to_owned(),
            site: site.to_owned(),
            gateway: "gw".to_owned(),
            method: "GET".to_owned(),
            path: "/orders".to_owned(),
            status: 200,
            total_us,
            gateway_us: 100,
            upstream_us: total_us - 100,
            span_id: span_id.to_owned(),
            parent_span_id: parent.to_owned(),
            attempt_upstreams: vec!["10.0.0.1:80".to_owned()],
            attempt_outcomes: vec![String::new()],
            attempt_us: vec![(total_us - 100) as u32],
            ..Span::default()
        }
    }

    #[test]
    fn a_chain_is_drawn_with_the_time_between() {
        let edge = span("on-prem", "2026-11-23 06:41:25.000000", "00000000000000a0", "", 5000);
        let core = span("cloud", "2026-11-23 06:41:25.000900", "00000000000000b0", "00000000000000a1", 3000);
        let picture = render("t", vec![core, edge]);
        let lines: Vec<_> = picture.lines().collect();
        assert_eq!(lines[0], "trace t   2 gateways   5.000 ms");
        assert!(lines[1].starts_with("on-prem/gw") && lines[1].contains("own 0.100 ms"), "{picture}");
        assert!(picture.contains("  │ 1.900 ms between\n  cloud/gw"), "{picture}");
    }

    #[test]
    fn a_link_that_was_measured_is_named_so() {
        let edge =
            Span { link_us: 1200, ..span("on-prem", "2026-11-23 06:41:25.000000", "00000000000000a0", "", 5000) };
        let core = span("cloud", "2026-11-23 06:41:25.000900", "00000000000000b0", "00000000000000a1", 3000);
        let picture = render("t", vec![core, edge]);
        assert!(picture.contains("  │ 1.200 ms link\n  cloud/gw"), "{picture}");
    }

    #[test]
    fn a_failed_attempt_says_so() {
        let mut edge = span("on-prem", "2026-11-23 06:41:25.000000", "00000000000000a0", "00f067aa0ba902b7", 5000);
        edge.status = 502;
        edge.reason = "connection_refused".to_owned();
        edge.side = "upstream".to_owned();
        edge.attempt_outcomes = vec!["connection_refused".to_owned()];
        let picture = render("t", vec![edge]);
        assert!(picture.contains("→ 502   upstream: connection_refused"), "{picture}");
        assert!(picture.contains("attempt 1 10.0.0.1:80 connection_refused 4.900 ms"), "{picture}");
    }

    #[test]
    fn what_waited_and_when_it_began_is_shown_where_it_is_known() {
        let mut edge = span("on-prem", "2026-11-23 06:41:25.000000", "00000000000000a0", "", 5000);
        (edge.policy_names, edge.policy_us) = (vec!["jwt-validation-flex".to_owned()], vec![900]);
        assert!(render("t", vec![edge.clone()]).contains("policy jwt-validation-flex 0.900 ms\n"));
        (edge.policy_start_us, edge.policy_waited_us, edge.attempt_start_us) = (vec![20], vec![850], vec![930]);
        let picture = render("t", vec![edge]);
        assert!(
            picture.contains("policy jwt-validation-flex 0.900 ms, of which 0.850 ms waiting at +0.020 ms"),
            "{picture}"
        );
        assert!(picture.contains("attempt 1 10.0.0.1:80 answered 4.900 ms at +0.930 ms"), "{picture}");
    }

    #[test]
    fn spans_that_claim_each_other_do_not_hang() {
        let one = span("a", "", "00000000000000a0", "00000000000000b1", 200);
        let two = span("b", "", "00000000000000b0", "00000000000000a1", 200);
        assert!(render("t", vec![one, two]).starts_with("trace t   2 gateways"));
    }
}
