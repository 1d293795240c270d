//! What the ingestor is told of every stream: how many numbers were given out, and whether more will come. This is
//! what the ledger's `accepted` is held against.

use crate::shelf::StreamLedger;
use serde_json::{Value, json};
use weir_event::StreamId;

/// The body of `POST /v1/streams`, and the streams that it says have ended.
pub(crate) fn report(ledgers: &[StreamLedger], closing: bool) -> (String, Vec<StreamId>) {
    let closed = |ledger: &StreamLedger| ledger.closed || closing;
    let untold = || ledgers.iter().filter(|ledger| !ledger.end_told);
    let lines: Vec<Value> = untold().map(|ledger| line(ledger, closed(ledger))).collect();
    let ended = untold().filter(|ledger| closed(ledger)).map(|ledger| ledger.stream.id()).collect();
    (Value::Array(lines).to_string(), ended)
}

fn line(ledger: &StreamLedger, closed: bool) -> Value {
    let identity = &ledger.stream.identity;
    json!({
        "stream": ledger.stream.id().to_string(),
        "organization": identity.organization,
        "environment": identity.environment,
        "site": identity.site,
        "gateway": identity.gateway,
        "replica": identity.replica,
        "boot": ledger.stream.boot.to_string(),
        "worker": ledger.stream.worker,
        "accepted": ledger.accepted,
        "closed": closed,
    })
}
