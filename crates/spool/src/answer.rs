//! What an answer to a chunk means, and how long to wait after it.
//!
//! Only a document of weir-analytics that names the chunk says anything about data; a status alone may come from
//! a proxy, a portal or a wrong port, whatever it is. The documents are described in `docs/ingest-protocol.md`.

use crate::client::{Answer, PostError};
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;
use weir_api::ingest::PROGRAM;

/// Of a life that is refused, while others go on.
const HELD: Duration = Duration::from_secs(30);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// An ingestor that asks for a longer wait than this gets this.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// A chunk as it was sent, and what an acknowledgement must say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// As 16 hex digits.
    pub(crate) stream: String,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Records in it; not known of a chunk of another schema version.
    pub(crate) records: Option<u64>,
    /// Of the body.
    pub(crate) bytes: u64,
    pub(crate) crc32c: u32,
}

/// What becomes of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Every event of it is stored, or a dead letter.
    Stored,
    /// weir-analytics will never take it: it is set aside, and those after it go on.
    SetAside(&'static str),
    /// Too large for the way: two halves take its place. A foreign answer is not believed beyond that.
    Split { foreign: bool },
    /// This chunk alone, later.
    Retry,
    /// This life's chunks wait; others go on.
    HoldLife(&'static str),
    /// Everything waits until somebody acts.
    HoldAll(&'static str),
    /// Everything waits, for a while that grows.
    Busy { asked: Option<Duration> },
}

impl Outcome {
    pub(crate) fn of(sent: &Sent, answered: &Result<Answer, PostError>) -> Self {
        let Ok(answer) = answered else { return Self::Busy { asked: None } };
        match document(&answer.body) {
            Document::Ours(document) => by_document(sent, answer, &document),
            Document::Older if answer.status.is_success() => Self::HoldAll("older_analytics"),
            Document::Older | Document::Foreign => by_status(answer),
        }
    }
}

enum Document {
    Ours(Value),
    /// The answer of a version that does not name the chunk.
    Older,
    Foreign,
}

fn document(body: &[u8]) -> Document {
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else { return Document::Foreign };
    if members.get("program").is_some_and(|name| name == PROGRAM) && members.contains_key("protocol") {
        return Document::Ours(Value::Object(members));
    }
    let counts = ["stored", "duplicate", "dead_letters"];
    let older = members.len() == counts.len() && counts.iter().all(|key| members.get(*key).is_some_and(Value::is_u64));
    if older { Document::Older } else { Document::Foreign }
}

fn by_document(sent: &Sent, answer: &Answer, document: &Value) -> Outcome {
    let asked = answer.retry_after;
    match document["result"].as_str().unwrap_or_default() {
        "stored" if answer.status.is_success() && acknowledges(sent, document) => Outcome::Stored,
        // A verdict on bytes counts only for the bytes that were sent.
        "malformed" if has_received(sent, document) => Outcome::SetAside("malformed"),
        "rejected" if names(sent, document) => Outcome::SetAside("rejected"),
        "too_large" => Outcome::Split { foreign: false },
        "identity" => Outcome::HoldLife("identity"),
        "version" => Outcome::HoldLife("version"),
        "token" => Outcome::HoldAll("token"),
        "clock" => Outcome::HoldAll("clock"),
        "underway" => Outcome::Retry,
        "busy" | "unavailable" | "stopping" | "standby" => Outcome::Busy { asked },
        // Of another chunk, of bytes that were changed on the way, or a word of tomorrow.
        _ => Outcome::HoldAll("not_understood"),
    }
}

fn by_status(answer: &Answer) -> Outcome {
    match answer.status.as_u16() {
        413 => Outcome::Split { foreign: true },
        429 | 500..=599 => Outcome::Busy { asked: answer.retry_after },
        _ => Outcome::HoldAll("not_understood"),
    }
}

fn names(sent: &Sent, document: &Value) -> bool {
    let chunk = &document["chunk"];
    chunk["stream"] == *sent.stream && chunk["first"] == sent.first && chunk["last"] == sent.last
}

fn has_received(sent: &Sent, document: &Value) -> bool {
    let received = &document["received"];
    received["bytes"] == sent.bytes && received["crc32c"] == *format!("{:08x}", sent.crc32c)
}

fn acknowledges(sent: &Sent, document: &Value) -> bool {
    let count = |key: &str| document[key].as_u64();
    let sum = || count("stored")?.checked_add(count("duplicate")?)?.checked_add(count("dead_letters")?);
    names(sent, document) && sum().is_some_and(|sum| sent.records.is_none_or(|records| records == sum))
}

/// What a report of streams came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReportOutcome {
    /// Streams, as hex, whose line was taken.
    pub(crate) taken: Vec<String>,
    /// Why others were not.
    pub(crate) refused: HashMap<String, String>,
    /// Whether weir-analytics itself has answered.
    pub(crate) understood: bool,
}

impl ReportOutcome {
    pub(crate) fn of(answered: &Result<Answer, PostError>) -> Self {
        let Ok(answer) = answered else { return Self::default() };
        let Document::Ours(document) = document(&answer.body) else { return Self::default() };
        let streams = document["taken"].as_array().into_iter().flatten();
        let refused = document["refused"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            taken: streams.map(text).collect(),
            refused: refused.map(|line| (text(&line["stream"]), text(&line["error"]))).collect(),
            understood: true,
        }
    }
}

/// How long to wait after an outcome, after `failures` in a row. Spread over half of it, so that gateways that
/// failed together do not come back together.
pub(crate) fn wait(outcome: &Outcome, failures: u32, random: f64) -> Duration {
    let spread = 0.5 + random / 2.0;
    let grown = || FIRST_WAIT.saturating_mul(1 << failures.min(16)).min(LONGEST_WAIT).mul_f64(spread);
    match outcome {
        Outcome::Stored | Outcome::SetAside(_) => Duration::ZERO,
        Outcome::HoldLife(_) => HELD.mul_f64(spread),
        Outcome::Retry | Outcome::Split { .. } | Outcome::HoldAll(_) => grown(),
        Outcome::Busy { asked } => grown().max(asked.unwrap_or_default().min(LONGEST_ASKED)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use serde_json::json;

    fn sent() -> Sent {
        Sent { stream: "00000000000000ab".into(), first: 10, last: 19, records: Some(8), bytes: 100, crc32c: 0xbeef }
    }

    fn outcome(status: u16, body: &str) -> Outcome {
        let status = StatusCode::from_u16(status).unwrap();
        let retry_after = Some(Duration::from_secs(7));
        Outcome::of(&sent(), &Ok(Answer { status, retry_after, body: body.to_owned().into_bytes().into() }))
    }

    fn ours(status: u16, more: Value) -> Outcome {
        let mut document = json!({
            "protocol": 2, "program": "weir-analytics", "version": "9",
            "chunk": {"stream": "00000000000000ab", "first": 10, "last": 19},
            "received": {"bytes": 100, "crc32c": "0000beef"},
        });
        let members = document.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        outcome(status, &document.to_string())
    }

    fn stored(stored: u64) -> Value {
        json!({"result": "stored", "stored": stored, "duplicate": 2, "dead_letters": 1})
    }

    #[test]
    fn only_a_document_that_names_the_chunk_and_adds_up_acknowledges() {
        assert_eq!(ours(200, stored(5)), Outcome::Stored);
        let not = Outcome::HoldAll("not_understood");
        assert_eq!(ours(200, stored(4)), not);
        assert_eq!(ours(200, json!({"result": "stored"})), not);
        for other in [
            json!({"stream": "00000000000000ac", "first": 10, "last": 19}),
            json!({"stream": "00000000000000ab", "first": 11, "last": 19}),
            json!({"stream": "00000000000000ab", "first": 10, "last": 20}),
            json!(null),
        ] {
            let mut document = stored(5);
            document["chunk"] = other;
            assert_eq!(ours(200, document), not);
        }
    }

    #[test]
    fn no_answer_of_somebody_else_says_anything_about_data() {
        let busy = Outcome::Busy { asked: Some(Duration::from_secs(7)) };
        for body in ["", "<html>Sign in</html>", "{}", "[]", "null", r#"{"ok":true}"#, r#"{"stored":8}"#] {
            for status in [200, 201, 204, 301, 302, 400, 401, 403, 404, 405, 409, 415, 422, 426] {
                assert_eq!(outcome(status, body), Outcome::HoldAll("not_understood"), "{status} {body}");
            }
            for status in [429, 500, 502, 503, 504] {
                assert_eq!(outcome(status, body), busy, "{status} {body}");
            }
            assert_eq!(outcome(413, body), Outcome::Split { foreign: true });
        }
    }

    #[test]
    fn an_older_ingestor_is_known_by_its_answer() {
        let body = r#"{"stored":8,"duplicate":0,"dead_letters":0}"#;
        assert_eq!(outcome(200, body), Outcome::HoldAll("older_analytics"));
        assert_eq!(outcome(503, body), Outcome::Busy { asked: Some(Duration::from_secs(7)) });
    }

    #[test]
    fn each_refusal_has_its_consequence() {
        let of = |status, word: &str| ours(status, json!({"result": word, "error": "because"}));
        assert_eq!(of(400, "malformed"), Outcome::SetAside("malformed"));
        assert_eq!(of(422, "rejected"), Outcome::SetAside("rejected"));
        assert_eq!(of(413, "too_large"), Outcome::Split { foreign: false });
        assert_eq!(of(401, "token"), Outcome::HoldAll("token"));
        assert_eq!(of(403, "identity"), Outcome::HoldLife("identity"));
        assert_eq!(of(409, "version"), Outcome::HoldLife("version"));
        assert_eq!(of(503, "clock"), Outcome::HoldAll("clock"));
        assert_eq!(of(503, "underway"), Outcome::Retry);
        assert_eq!(of(503, "standby"), Outcome::Busy { asked: Some(Duration::from_secs(7)) });
        assert_eq!(of(200, "tomorrow"), Outcome::HoldAll("not_understood"));
        let changed = json!({"result": "malformed", "received": {"bytes": 100, "crc32c": "0000beee"}});
        assert_eq!(ours(400, changed), Outcome::HoldAll("not_understood"), "bytes that were changed on the way");
    }

    #[test]
    fn a_report_counts_line_by_line() {
        let body = r#"{"protocol":2,"program":"weir-analytics","result":"partly","taken":["a"],
                       "refused":[{"stream":"b","result":"identity","error":"not yours"}]}"#;
        let status = StatusCode::FORBIDDEN;
        let taken =
            |body: &str| ReportOutcome::of(&Ok(Answer { status, retry_after: None, body: body.to_owned().into() }));
        let foreign = taken("<html>");
        let taken = taken(body);
        assert_eq!(
            (&*taken.taken, taken.refused["b"].as_str(), taken.understood),
            (&["a".to_owned()][..], "not yours", true)
        );
        assert_eq!(foreign, ReportOutcome::default());
    }

    #[test]
    fn waits_grow_and_end() {
        let busy = |failures| wait(&Outcome::Busy { asked: None }, failures, 1.0);
        assert_eq!([0, 1, 2].map(busy), [200, 400, 800].map(Duration::from_millis));
        assert_eq!(busy(u32::MAX), LONGEST_WAIT);
        let asked = Outcome::Busy { asked: Some(Duration::from_secs(7)) };
        assert_eq!(wait(&asked, 0, 0.0), Duration::from_secs(7));
        let forever = Outcome::Busy { asked: Some(Duration::MAX) };
        assert_eq!(wait(&forever, 0, 0.0), LONGEST_ASKED);
        assert_eq!(wait(&Outcome::HoldAll("token"), 9, 0.0), Duration::from_secs(15));
        assert_eq!(wait(&Outcome::HoldLife("identity"), 0, 0.0), Duration::from_secs(15));
    }
}
