//! The time between two gateways of a chain, without synchronised clocks.
//!
//! The later gateway says in a response field how long it had the request: from its head to the response's. The earlier one
//! takes that from its own wait, from the head that it wrote to the head that it read; what is left is the way there and
//! back. Both are differences of one monotonic clock each. The field is `weir-link: SPAN;dur=MICROSECONDS`, with the span id that the request
//! was sent with: an answer to somebody else's request, or one from a cache, has another.

use std::time::Duration;
use weir_event::Instant;
use weir_event::{Exchange, SpanId, micros};
use weir_http1::Fields;
use weir_telemetry::Continuation;

pub(crate) const LINK: &str = "weir-link";
const DURATION: &str = ";dur=";
/// An hour: a longer one is none.
const LONGEST_DIGITS: usize = 10;

/// What a response says of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Link(Duration),
    /// It cannot be true: another request's, longer than the wait, or not readable.
    Invalid,
}

/// Tells the gateway before this one how long the request was here.
pub(crate) fn tell(exchange: &Exchange, trace: &Continuation, now: Instant, headers: &mut Fields) {
    let parent = trace.link.map_or(trace.facts.parent, |(_, span)| span);
    if parent.is_none() {
        return;
    }
    let took = micros(now.saturating_duration_since(exchange.started));
    let set = headers.set(LINK, format!("{parent}{DURATION}{took}").as_bytes());
    debug_assert!(set.is_ok(), "hex and digits");
}

/// Takes what a gateway behind this one says out of its response: of a request that was sent with `span`, and whose
/// response was waited for so long.
pub(crate) fn take(headers: &mut Fields, span: SpanId, waited: Duration) -> Report {
    let is_alone = headers.get_all(LINK).count() == 1;
    let said = headers.take(LINK).filter(|_| is_alone);
    let took = said.as_ref().and_then(|value| read(std::str::from_utf8(value).ok()?, span));
    let link = took.and_then(|took| waited.checked_sub(took));
    // Nothing is said by zero.
    link.map_or(Report::Invalid, |link| Report::Link(link.max(Duration::from_micros(1))))
}

fn read(text: &str, span: SpanId) -> Option<Duration> {
    let (id, took) = text.split_once(DURATION)?;
    let digits = took.len() <= LONGEST_DIGITS && took.bytes().all(|byte| byte.is_ascii_digit());
    let is_own = SpanId::from_hex(id.as_bytes()) == Some(span);
    (is_own && digits).then(|| took.parse().ok()).flatten().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: SpanId = SpanId([0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb1]);

    /// Of a wait of 1,000 microseconds.
    fn taken(lines: &[&str]) -> Report {
        let mut headers = Fields::new();
        for line in lines {
            headers.append(LINK, line.as_bytes()).unwrap();
        }
        let report = take(&mut headers, OWN, Duration::from_micros(1000));
        assert!(headers.is_empty(), "it goes no further");
        report
    }

    #[test]
    fn what_cannot_be_true_is_no_report() {
        let link = |us| Report::Link(Duration::from_micros(us));
        for (lines, expected) in [
            (&["00f067aa0ba902b1;dur=400"][..], link(600)),
            (&["00f067aa0ba902b1;dur=0"], link(1000)),
            (&["00f067aa0ba902b1;dur=1000"], link(1)),
            // Longer than the wait.
            (&["00f067aa0ba902b1;dur=1001"], Report::Invalid),
            // Of another attempt.
            (&["00f067aa0ba902b2;dur=400"], Report::Invalid),
            (&["00f067aa0ba902b1;dur=400", "00f067aa0ba902b1;dur=400"], Report::Invalid),
            (&["00f067aa0ba902b1;dur=-4"], Report::Invalid),
            (&["00f067aa0ba902b1;dur="], Report::Invalid),
            (&["00f067aa0ba902b1;dur=99999999999999999999"], Report::Invalid),
            (&["00f067aa0ba902b1"], Report::Invalid),
            (&[""], Report::Invalid),
        ] {
            assert_eq!(taken(lines), expected, "{lines:?}");
        }
    }
}
