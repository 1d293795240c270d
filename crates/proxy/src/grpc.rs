//! What a gateway owes gRPC over HTTP/2 (grpc.io, "gRPC over HTTP2"): its messages pass as any content does; here is what
//! its fields mean.
//!
//! A status of gRPC comes in trailers, or in the head of a response that has nothing else, behind a status of HTTP that is
//! 200: it is noted in the event, and blamed where OpenTelemetry counts it as an error of a server. The deadline of a
//! request bounds it here too. What the gateway answers itself is what clients of gRPC read.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use std::fmt::Write as _;
use std::time::Duration;
use weir_event::Instant;
use weir_event::{CLIENT_CLOSED, Exchange, Reason};
use weir_http1::{Fields, Known};

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";
const TIMEOUT: &str = "grpc-timeout";
/// The attribute of an exchange (OpenTelemetry, conventions for gRPC).
const ATTRIBUTE: Bytes = Bytes::from_static(b"rpc.grpc.status_code");
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
/// A timeout has up to eight digits.
const MOST_DIGITS: usize = 8;
const MOST: u128 = 99_999_999;
/// The largest status that there is.
const LAST: u8 = 16;
/// What OpenTelemetry counts as an error of a server: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and
/// DATA_LOSS.
const ERRORS: [u8; 6] = [2, 4, 12, 13, 14, 15];

/// One of so many parts of a client's time.
const EARLY: u32 = 20;
const MOST_EARLY: Duration = Duration::from_millis(100);

/// DEADLINE_EXCEEDED.
pub(crate) const DEADLINE_EXCEEDED: u8 = 4;

/// Whether the head of a message says that it is gRPC. gRPC-Web is not: that is any content.
pub(crate) fn is_grpc(fields: &Fields) -> bool {
    let value = fields.get(Known::ContentType).unwrap_or_default();
    let rest = value.get(..16).filter(|start| start.eq_ignore_ascii_case(b"application/grpc")).map(|_| &value[16..]);
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t')))
}

/// How long the client waits, if it says so in a way that can be read.
pub(crate) fn timeout(fields: &Fields) -> Option<Duration> {
    let (unit, digits) = fields.get(TIMEOUT)?.split_last()?;
    let is_number = (1..=MOST_DIGITS).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let number: u64 = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Says to the upstream how much of the time is left.
pub(crate) fn put_timeout(fields: &mut Fields, left: Duration) {
    let units =
        [(left.as_nanos(), 'n'), (left.as_micros(), 'u'), (left.as_millis(), 'm'), (left.as_secs().into(), 'S')];
    let fits = units.into_iter().find(|(number, _)| *number <= MOST);
    let (number, unit) = fits.unwrap_or((u128::from(left.as_secs() / 3600).min(MOST), 'H'));
    let set = fields.set(TIMEOUT, format!("{number}{unit}").as_bytes());
    debug_assert!(set.is_ok(), "digits and a letter");
}

/// The status in the head of a response that has nothing else.
pub(crate) fn status_of_head(fields: &Fields) -> Option<u8> {
    number(fields.get(STATUS)?)
}

/// The status in the trailers of a response.
pub(crate) fn status_of_trailers(trailers: &HeaderMap) -> Option<u8> {
    number(trailers.get(STATUS)?.as_bytes())
}

/// What is no status is UNKNOWN to clients.
fn number(value: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(value).ok();
    Some(text.and_then(|text| text.parse().ok()).filter(|status| *status <= LAST).unwrap_or(2))
}

/// Notes the status with which the upstream has ended, and blames it if it is an error; `None` where it has ended without
/// one, which is UNKNOWN to clients.
pub(crate) fn ended(exchange: &mut Exchange, status: Option<u8>) {
    if let Some(status) = status {
        note(exchange, status);
    }
    if status.is_none_or(|status| ERRORS.contains(&status)) {
        exchange.blame(Reason::GrpcError);
    }
}

/// Notes the status that the client gets.
pub(crate) fn note(exchange: &mut Exchange, status: u8) {
    exchange.attrs.push((ATTRIBUTE, Bytes::from(status.to_string())));
}

/// Blames the deadline for a client that leaves when it is over. A client looks at its own clock and resets its stream, and
/// that may come a little earlier than the time is over here: by [`EARLY`] of it, and [`MOST_EARLY`] at most.
pub(crate) fn left(exchange: &mut Exchange, deadline: Option<Instant>, now: Instant) {
    let Some(deadline) = deadline else { return };
    let early = (deadline.saturating_duration_since(exchange.started) / EARLY).min(MOST_EARLY);
    if now + early < deadline || !matches!(exchange.reason, Reason::None | Reason::ClientClosed) {
        return;
    }
    exchange.reason = Reason::DeadlineExceeded;
    if exchange.status == 0 {
        exchange.status = CLIENT_CLOSED.as_u16();
    }
    note(exchange, DEADLINE_EXCEEDED);
}

/// The status of an answer that the gateway gives itself, which would have `status` otherwise. Those of HTTP are mapped as
/// clients of gRPC map them (grpc.io, "HTTP to gRPC Status Code Mapping"), but for what is better known here: a rate limit is
/// RESOURCE_EXHAUSTED, so that a client does not try again at once, and time that ran out DEADLINE_EXCEEDED.
pub(crate) fn status_of_answer(status: StatusCode) -> u8 {
    match status.as_u16() {
        401 => 16,
        403 => 7,
        404 | 405 | 501 => 12,
        408 | 504 => DEADLINE_EXCEEDED,
        413 | 429 | 431 => 8,
        499 => 1,
        502 | 503 => 14,
        400 | 500 | 508 => 13,
        _ => 2,
    }
}

/// Makes the head of a response one that has nothing else ("Trailers-Only").
pub(crate) fn put_status(fields: &mut Fields, status: u8, message: &str) {
    fields.put(Known::ContentType, &CONTENT_TYPE);
    for (name, value) in [(STATUS, status.to_string()), (MESSAGE, escaped(message))] {
        let set = fields.set(name, value.as_bytes());
        debug_assert!(set.is_ok(), "visible ASCII");
    }
}

/// The trailers of a response that the gateway ends.
pub(crate) fn trailers(status: u8, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert(STATUS, HeaderValue::from(u16::from(status)));
    if let Ok(message) = HeaderValue::try_from(escaped(message)) {
        trailers.insert(MESSAGE, message);
    }
    trailers
}

/// All but visible ASCII in percent.
fn escaped(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for byte in message.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").unwrap_or_default();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: &str, value: &str) -> Fields {
        let mut fields = Fields::new();
        fields.append(name, value.as_bytes()).unwrap();
        fields
    }

    #[test]
    fn grpc_is_told_from_grpc_web() {
        for (value, expected) in [
            ("application/grpc", true),
            ("Application/gRPC+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grp", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc(&fields("content-type", value)), expected, "{value}");
        }
        assert!(!is_grpc(&Fields::new()));
    }

    #[test]
    fn a_timeout_has_digits_and_a_unit() {
        let of = |value: &str| timeout(&fields(TIMEOUT, value));
        for (value, expected) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("4S", Duration::from_secs(4)),
            ("100m", Duration::from_millis(100)),
            ("99999999u", Duration::from_micros(99_999_999)),
            ("7n", Duration::from_nanos(7)),
        ] {
            assert_eq!(of(value), Some(expected), "{value}");
        }
        for value in ["", "S", "5", "5s", "-5S", "+5S", "100000000S", "1.5S", " 5S5"] {
            assert_eq!(of(value), None, "{value}");
        }
    }

    #[test]
    fn what_is_left_is_said_in_the_finest_unit_that_fits() {
        for (left, expected) in [
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_millis(100), "100000u"),
            (Duration::from_secs(1000), "1000000m"),
            (Duration::from_secs(1_000_000), "1000000S"),
            (Duration::from_secs(360_000_000_000), "99999999H"),
            (Duration::ZERO, "0n"),
        ] {
            let mut fields = fields(TIMEOUT, "9H");
            put_timeout(&mut fields, left);
            assert_eq!(fields.get(TIMEOUT), Some(expected.as_bytes()));
        }
    }

    #[test]
    fn what_is_no_status_is_unknown() {
        for (value, expected) in [("0", 0), ("16", 16), ("17", 2), ("x", 2), ("", 2), ("999", 2)] {
            assert_eq!(status_of_head(&fields(STATUS, value)), Some(expected), "{value}");
        }
        assert_eq!(status_of_head(&Fields::new()), None);
        assert_eq!(status_of_trailers(&trailers(14, "x")), Some(14));
    }

    #[test]
    fn a_message_is_visible_ascii() {
        assert_eq!(escaped("50 % of `a`\n\u{e9}"), "50 %25 of `a`%0A%C3%A9");
        assert_eq!(trailers(4, "a%").get(MESSAGE).unwrap(), "a%25");
    }

    #[test]
    fn who_leaves_at_its_deadline_left_for_it() {
        let now = Instant::now();
        let deadline = now + Duration::from_secs(1);
        let mut reasons = Vec::new();
        for (after, deadline) in [(1000, Some(deadline)), (951, Some(deadline)), (949, Some(deadline)), (1000, None)] {
            let mut exchange = Exchange::new(now, 0);
            left(&mut exchange, deadline, now + Duration::from_millis(after));
            reasons.push((exchange.reason, exchange.status, exchange.attrs.len()));
        }
        let late = (Reason::DeadlineExceeded, 499, 1);
        assert_eq!(reasons, [late, late, (Reason::None, 0, 0), (Reason::None, 0, 0)]);
        let mut exchange = Exchange::new(now, 0);
        exchange.reason = Reason::GatewayDraining;
        left(&mut exchange, Some(deadline), deadline);
        assert_eq!(exchange.reason, Reason::GatewayDraining);
    }

    #[test]
    fn every_refusal_is_an_error_of_grpc() {
        for reason in Reason::ALL.iter().filter(|reason| reason.status().as_u16() >= 400) {
            assert_ne!(status_of_answer(reason.status()), 0, "{reason}");
        }
        let of = |reason: Reason| status_of_answer(reason.status());
        assert_eq!([of(Reason::AuthenticationFailed), of(Reason::IpDenied), of(Reason::NoRoute)], [16, 7, 12]);
        assert_eq!([of(Reason::RateLimited), of(Reason::Overloaded), of(Reason::ConnectionRefused)], [8, 14, 14]);
        assert_eq!([of(Reason::DeadlineExceeded), of(Reason::UpstreamTimeout), of(Reason::GatewayPanic)], [4, 4, 13]);
    }
}
