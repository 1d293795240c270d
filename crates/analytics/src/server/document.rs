//! The documents of [`weir_api::ingest`] as answers to gateways.

use super::answer::{Answer, json};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use weir_api::ingest::{ChunkName, PROTOCOL, PROTOCOL_HEADER, Received, Verdict};
use weir_event::StreamId;

/// Which chunk was meant.
pub(super) fn chunk_name(stream: StreamId, first: u64, last: u64) -> ChunkName {
    ChunkName { stream: stream.to_string(), first, last }
}

/// The body as it arrived.
pub(super) fn received(body: &[u8]) -> Received {
    Received { bytes: body.len() as u64, crc32c: format!("{:08x}", crc32c::crc32c(body)) }
}

pub(super) fn respond(status: u16, result: Verdict, document: &impl Serialize) -> Answer {
    let mut answer = json(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), document);
    let headers = answer.headers_mut();
    headers.insert(PROTOCOL_HEADER, HeaderValue::from(PROTOCOL));
    if let Some(seconds) = result.retry_after() {
        headers.insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_api::ingest::{ChunkAnswer, Counts};

    #[test]
    fn the_document_is_the_contract() {
        let mut answer = ChunkAnswer::new(Verdict::Stored);
        answer.chunk = Some(chunk_name(StreamId(0xab), 0, 99));
        answer.received = Some(received(b"123456789"));
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
