//! From chunks to rows: each event once, in raw and in every roll-up.

mod common;

use common::{Analytics, Engine, chunk, now_us, stream};

const RAW: &str = "SELECT count() FROM weir.access_events";

#[test]
fn a_chunk_becomes_rows_and_a_resend_nothing() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let chunk = chunk(&stream("on-prem", "edge", 0), 0..1000, now_us() - 1_000_000, 100);
    let first = analytics.post(&chunk);
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(first.json(), serde_json::json!({ "stored": 1000, "duplicate": 0, "dead_letters": 0 }));
    assert_eq!(analytics.post(&chunk).json(), serde_json::json!({ "stored": 0, "duplicate": 1000, "dead_letters": 0 }));
    assert_eq!(engine.number(RAW), 1000);
    assert_eq!(engine.number("SELECT sum(n) FROM weir.requests_1m"), 1000);
    assert_eq!(engine.number("SELECT sum(n) FROM weir.requests_1h"), 1000);
    assert_eq!(engine.sql("SELECT first, last, n FROM weir.stored_seqs"), "0\t999\t1000");
}
