//! The answers to gateways as documents, protocol 2: an acknowledgement names the chunk and its counts, and a status
//! alone says nothing about data, because proxies, portals and wrong ports answer with statuses too.

use super::answer::{Answer, json};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use weir_event::StreamId;

/// The version of this protocol, in the header `weir-protocol` of requests and answers.
pub const PROTOCOL: u16 = 2;
/// The header of [`PROTOCOL`].
pub const PROTOCOL_HEADER: &str = "weir-protocol";
/// The sender's wall clock, microseconds since the Unix epoch.
pub const SENT_HEADER: &str = "weir-sent-us";

/// What became of a request, and what its sender is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Stored, durably, in raw and in every roll-up.
    Stored,
    /// Some lines of a report are stored, the refused ones are named.
    Partly,
    /// These bytes are no chunk.
    Malformed,
    /// Too many bytes: split it.
    TooLarge,
    /// The engine refuses these events.
    Rejected,
    /// No token, or one that is not known.
    Token,
    /// The token does not speak for this identity.
    Identity,
    /// Of a version that this program does not know.
    Version,
    /// The clocks of the two machines differ by more than the limit.
    Clock,
    /// Part of it is being stored right now.
    Underway,
    /// As much is on its way as fits.
    Busy,
    /// ClickHouse is away or slow.
    Unavailable,
    /// This process is ending.
    Stopping,
    /// Another weir-analytics writes.
    Standby,
}

impl Verdict {
    /// Every one.
    pub const ALL: [Self; 14] = [
        Self::Stored,
        Self::Partly,
        Self::Malformed,
        Self::TooLarge,
        Self::Rejected,
        Self::Token,
        Self::Identity,
        Self::Version,
        Self::Clock,
        Self::Underway,
        Self::Busy,
        Self::Unavailable,
        Self::Stopping,
        Self::Standby,
    ];

    /// As an answer has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Partly => "partly",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Rejected => "rejected",
            Self::Token => "token",
            Self::Identity => "identity",
            Self::Version => "version",
            Self::Clock => "clock",
            Self::Underway => "underway",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Stopping => "stopping",
            Self::Standby => "standby",
        }
    }

    pub fn status(self) -> StatusCode {
        match self {
            Self::Stored => StatusCode::OK,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Rejected => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Identity | Self::Partly => StatusCode::FORBIDDEN,
            Self::Version => StatusCode::CONFLICT,
            Self::Clock | Self::Underway | Self::Busy | Self::Unavailable | Self::Stopping | Self::Standby => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Seconds after which the same may be accepted.
    fn again(self) -> Option<u16> {
        match self {
            Self::Underway | Self::Busy => Some(1),
            Self::Standby => Some(2),
            Self::Unavailable | Self::Stopping => Some(5),
            Self::Clock => Some(30),
            _ => None,
        }
    }
}

/// Which chunk was meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkName {
    /// 16 hex digits.
    pub stream: String,
    pub first: u64,
    pub last: u64,
}

impl ChunkName {
    pub fn new(stream: StreamId, first: u64, last: u64) -> Self {
        Self { stream: stream.to_string(), first, last }
    }
}

/// The body as it arrived: whether it is what was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    pub bytes: u64,
    /// 8 hex digits.
    pub crc32c: String,
}

impl Received {
    pub fn of(body: &[u8]) -> Self {
        Self { bytes: body.len() as u64, crc32c: format!("{:08x}", crc32c::crc32c(body)) }
    }
}

/// What the chunk's records have become; they add up to their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub stored: u64,
    pub duplicate: u64,
    pub dead_letters: u64,
}

/// The two clocks that disagree, microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    pub gateway_us: i64,
    pub analytics_us: i64,
}

/// The answer to `POST /v1/chunks`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChunkAnswer {
    pub protocol: u16,
    pub program: String,
    pub version: String,
    pub result: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk: Option<ChunkName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<Received>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clocks>,
}

impl ChunkAnswer {
    pub fn new(result: Verdict) -> Self {
        let (program, version) = program();
        let (chunk, received, counts, error, clock) = (None, None, None, None, None);
        Self { protocol: PROTOCOL, program, version, result, chunk, received, counts, error, clock }
    }

    pub(super) fn respond(&self) -> Answer {
        respond(self.result, self)
    }
}

/// One line of a report that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedLine {
    /// As the line says it; empty where it has none.
    pub stream: String,
    pub result: Verdict,
    pub error: String,
}

/// The answer to `POST /v1/streams`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamsAnswer {
    pub protocol: u16,
    pub program: String,
    pub version: String,
    pub result: Verdict,
    pub taken: Vec<String>,
    pub refused: Vec<RefusedLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clocks>,
}

impl StreamsAnswer {
    pub fn new(result: Verdict) -> Self {
        let (program, version) = program();
        let (taken, refused, error, clock) = (Vec::new(), Vec::new(), None, None);
        Self { protocol: PROTOCOL, program, version, result, taken, refused, error, clock }
    }

    pub(super) fn respond(&self) -> Answer {
        let mut answer = respond(self.result, self);
        let only_malformed =
            self.result == Verdict::Partly && self.refused.iter().all(|line| line.result == Verdict::Malformed);
        if only_malformed {
            *answer.status_mut() = StatusCode::BAD_REQUEST;
        }
        answer
    }
}

fn program() -> (String, String) {
    ("weir-analytics".to_owned(), env!("CARGO_PKG_VERSION").to_owned())
}

fn respond(result: Verdict, document: &impl Serialize) -> Answer {
    let mut answer = json(result.status(), document);
    let headers = answer.headers_mut();
    headers.insert(PROTOCOL_HEADER, HeaderValue::from(PROTOCOL));
    if let Some(seconds) = result.again() {
        headers.insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_the_contract() {
        let mut answer = ChunkAnswer::new(Verdict::Stored);
        answer.chunk = Some(ChunkName::new(StreamId(0xab), 0, 99));
        answer.received = Some(Received::of(b"123456789"));
        answer.counts = Some(Counts { stored: 90, duplicate: 8, dead_letters: 2 });
        let expected = serde_json::json!({
            "protocol": 2, "program": "weir-analytics", "version": env!("CARGO_PKG_VERSION"), "result": "stored",
            "chunk": { "stream": "00000000000000ab", "first": 0, "last": 99 },
            "received": { "bytes": 9, "crc32c": "e3069283" },
            "stored": 90, "duplicate": 8, "dead_letters": 2,
        });
        assert_eq!(serde_json::to_value(&answer).unwrap(), expected);
        let refused = ChunkAnswer { error: Some("no".to_owned()), ..ChunkAnswer::new(Verdict::TooLarge) };
        let value = serde_json::to_value(&refused).unwrap();
        assert_eq!((&value["result"], &value["error"]), (&"too_large".into(), &"no".into()));
        assert!(value.get("stored").is_none() && value.get("chunk").is_none());
    }
}
