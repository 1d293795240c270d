//! What an answer to an export means: taken, taken in part, to be tried again, or refused for good (OTLP specification,
//! "Failures", "Partial Success").
//!
//! The answers of all three signals are read as that of traces: they have the same fields, `partial_success { rejected, message }`.

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use std::time::{Duration, SystemTime};
use tonic::{Code, Status};

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Taken, all but `rejected`, and never to be sent again.
    Taken { rejected: u64, message: String },
    /// Again, after what the receiver asked for, if it did.
    Again { after: Option<Duration>, why: String },
    /// Not again.
    Refused { why: String },
}

/// Of OTLP/HTTP. A body that cannot be read says nothing of what became of what was sent: the status does.
pub(crate) fn of_http(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Answer {
    if status.is_success() {
        return taken(ExportTraceServiceResponse::decode(body.clone()).unwrap_or_default());
    }
    let why = format!("the answer is {status}");
    match status.as_u16() {
        429 | 502 | 503 | 504 => Answer::Again { after: retry_after(headers), why },
        _ => Answer::Refused { why },
    }
}

/// Of OTLP/gRPC.
pub(crate) fn of_grpc(answer: Result<ExportTraceServiceResponse, &Status>) -> Answer {
    let status = match answer {
        Ok(answer) => return taken(answer),
        Err(status) => status,
    };
    let why = format!("the answer is {:?}: {}", status.code(), status.message());
    let after = retry_info(status.details());
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Answer::Again { after, why },
        Code::ResourceExhausted if after.is_some() => Answer::Again { after, why },
        _ => Answer::Refused { why },
    }
}

fn taken(answer: ExportTraceServiceResponse) -> Answer {
    let partial = answer.partial_success.unwrap_or_default();
    Answer::Taken {
        rejected: u64::try_from(partial.rejected_spans).unwrap_or_default(),
        message: partial.error_message,
    }
}

/// Seconds, or a date (RFC 9110 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// `google.rpc.Status`, as far as it is looked for.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<RetryDelay>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryDelay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn retry_info(details: &[u8]) -> Option<Duration> {
    let details = Details::decode(details).ok()?.details;
    let info = details.into_iter().find(|any| any.type_url == "type.googleapis.com/google.rpc.RetryInfo")?;
    let delay = RetryInfo::decode(&info.value[..]).ok()?.retry_delay.unwrap_or_default();
    Some(Duration::new(u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?.min(999_999_999)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(status: u16, retry_after: Option<&str>) -> Answer {
        let mut headers = HeaderMap::new();
        retry_after.into_iter().for_each(|value| drop(headers.insert(RETRY_AFTER, value.parse().unwrap())));
        of_http(StatusCode::from_u16(status).unwrap(), &headers, &Bytes::new())
    }

    fn is_again(answer: &Answer) -> Option<Option<Duration>> {
        if let Answer::Again { after, .. } = answer { Some(*after) } else { None }
    }

    #[test]
    fn four_statuses_are_tried_again_and_no_others() {
        for status in 300..600 {
            let expected = [429, 502, 503, 504].contains(&status);
            assert_eq!(is_again(&http(status, None)).is_some(), expected, "{status}");
        }
        assert_eq!(is_again(&http(503, Some("7"))), Some(Some(Duration::from_secs(7))));
        assert_eq!(is_again(&http(503, Some("Fri, 31 Dec 1999 23:59:59 GMT"))), Some(Some(Duration::ZERO)));
        assert_eq!(is_again(&http(503, Some("soon"))), Some(None));
    }

    #[test]
    fn codes_of_grpc_are_told_apart_as_the_specification_says() {
        for code in 1..=16 {
            let answer = of_grpc(Err(&Status::new(Code::from(code), "")));
            assert_eq!(is_again(&answer).is_some(), [1, 4, 10, 11, 14, 15].contains(&code), "{code}");
        }
        let info = RetryInfo { retry_delay: Some(RetryDelay { seconds: 2, nanos: 500_000_000 }) };
        let any = Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".into(), value: info.encode_to_vec() };
        let details = Details { details: vec![any] }.encode_to_vec();
        let exhausted = Status::with_details(Code::ResourceExhausted, "", details.into());
        assert_eq!(is_again(&of_grpc(Err(&exhausted))), Some(Some(Duration::from_millis(2500))));
    }

    #[test]
    fn what_was_taken_in_part_is_never_sent_again() {
        // `rejected_spans: 3, error_message: "no"`.
        let body = Bytes::from_static(b"\x0a\x06\x08\x03\x12\x02no");
        let answer = of_http(StatusCode::OK, &HeaderMap::new(), &body);
        assert_eq!(answer, Answer::Taken { rejected: 3, message: "no".into() });
        let odd = of_http(StatusCode::OK, &HeaderMap::new(), &Bytes::from_static(b"<html>"));
        assert_eq!(odd, Answer::Taken { rejected: 0, message: String::new() });
    }
}
