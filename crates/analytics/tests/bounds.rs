//! What clients may have of weir-analytics, and what a reader's query may cost.

mod common;

use common::{Analytics, Engine, chunk, now_us, stream};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinSet;
use weir_analytics::ingest::intent::Intents;
use weir_analytics::ingest::lease::{Lease, Watching};
use weir_analytics::ingest::{Ingest, Limits, Refusal, Stored};
use weir_analytics::schema::{Durability, Layout, Retention, Schema, migrate};
use weir_analytics::store::{Costs, Store, StoreError};

#[test]
fn a_connection_that_says_nothing_whole_is_closed_within_seconds() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    for part in ["", "GET /healthz HT", "GET /healthz HTTP/1.1\r\nhost: a\r\n"] {
        let mut stream = TcpStream::connect(analytics.address()).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout set");
        stream.write_all(part.as_bytes()).expect("written");
        let began = Instant::now();
        let mut said = Vec::new();
        let _reset = stream.read_to_end(&mut said);
        let took = began.elapsed();
        assert!(said.is_empty() && took < Duration::from_secs(12), "{part:?}: {took:?}");
        assert!(took > Duration::from_secs(3), "{part:?}: a slow client has a moment");
    }
    let health = analytics.get("/healthz").text();
    assert!(health.contains(" 3 without a request"), "{health}");
}

/// A body that never comes holds nothing of whoever may not send it.
#[test]
fn a_body_that_never_comes_is_not_waited_for() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    for (line, status) in [("POST /v1/chunks", "401"), ("GET /healthz", "200"), ("POST /api/v1/ledger/verify", "200")] {
        let mut stream = TcpStream::connect(analytics.address()).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout set");
        let head = format!("{line} HTTP/1.1\r\nhost: {}\r\ncontent-length: 1000\r\n\r\nhalf", analytics.address());
        stream.write_all(head.as_bytes()).expect("written");
        let began = Instant::now();
        let mut said = String::new();
        let _reset = stream.read_to_string(&mut said);
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {said}");
        assert!(began.elapsed() < Duration::from_secs(25), "{line}: closed after {:?}", began.elapsed());
    }
}

#[test]
fn few_open_files_mean_fewer_connections_and_gateways_still_have_theirs() {
    let engine = Engine::start();
    let analytics = Analytics::with_files(&engine, 256);
    analytics.await_log("fewer files may be open than --connections needs");
    let silent: Vec<_> = (0..400).map(|_| TcpStream::connect(analytics.address())).collect();
    for worker in 0..20 {
        let one = chunk(&stream("on-prem", "edge", worker), 0..5, now_us(), 10);
        assert_eq!(analytics.post(&one).status, 200);
    }
    assert_eq!(analytics.get("/healthz").status, 200);
    drop(silent);
    analytics.await_log("was closed for another");
    let log = std::fs::read_to_string(analytics.state.path().join("log")).expect("a log");
    assert!(!log.contains("could not be accepted"), "{log}");
}

#[tokio::test]
async fn a_reader_costs_what_it_may_and_a_writer_is_not_bound_by_it() {
    let engine = Engine::start();
    let (retention, durability) = (Retention::default(), Durability::Off);
    let schema = Schema { database: "default".to_owned(), layout: Layout::Single, retention, durability };
    let writer = Store::new(&engine.url(), "", "", schema).expect("a store");
    let costs = Costs { rows: 1000, memory: 64 << 20, ..Costs::of_reader(Duration::from_secs(1)) };
    let reader = writer.for_readers(costs).expect("a store");
    let cases = [
        (159, "SELECT sum(sleepEachRow(0.5)) FROM numbers(6) SETTINGS max_block_size = 1"),
        (396, "SELECT number FROM numbers(5000)"),
        (241, "SELECT uniqExact(number) FROM numbers(20000000)"),
    ];
    for (code, sql) in cases {
        match reader.json_rows::<serde_json::Value>(sql, &[]).await {
            Err(StoreError::Refused { code: found, .. }) => assert_eq!(found, code, "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
    assert_eq!(
        reader.json_rows::<serde_json::Value>("SELECT number FROM numbers(1000)", &[]).await.expect("rows").len(),
        1000
    );
    assert_eq!(
        writer.json_rows::<serde_json::Value>("SELECT number FROM numbers(5000)", &[]).await.expect("rows").len(),
        5000
    );
}

/// A chunk for which there is no room is refused at once. One that waits longer than its sender is stored all the same:
/// offered again, it is a duplicate.
#[tokio::test]
async fn a_full_queue_refuses_and_what_waits_is_stored() {
    const CHUNKS: u64 = 20;
    let (engine, state) = (Engine::start(), TempDir::new().expect("a folder"));
    let store = Store::new(&engine.url(), "", "", Schema::single("weir")).expect("a store");
    migrate(&store).await.expect("migrated");
    let intents = Arc::new(Intents::open(state.path()).expect("the state"));
    let lease = Lease::new(store.clone(), &intents.holder(), Duration::from_secs(600));
    assert!(lease.campaign(&mut Watching::default(), &intents).await.expect("claimed"));
    let limits = Limits { queue: 4, ack_timeout: Duration::from_millis(500), ..Limits::default() };
    let (ingest, _settled) = Ingest::start(store, lease, intents, limits);
    let (edge, now) = (stream("on-prem", "edge", 0), now_us());
    let offer = |number: u64| {
        let (ingest, bytes) = (ingest.clone(), chunk(&edge, number * 10..number * 10 + 10, now, 10));
        async move { ingest.offer(Ingest::header(&bytes)?, bytes.into(), None).await }
    };
    // An offer that is refused at once waits for nothing: whoever stores it needs this thread meanwhile.
    let stored = async |number: u64| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(refusal) = offer(number).await {
            assert!(Instant::now() < deadline, "{refusal}");
            tokio::task::yield_now().await;
        }
    };
    // The stream is known from here on: an offer needs no look-up.
    stored(0).await;
    engine.signal("-STOP");
    // They are all offered before the batcher takes one.
    let offers: JoinSet<Result<Stored, Refusal>> = (1..CHUNKS).map(offer).collect();
    let answers = offers.join_all().await;
    let full = answers.iter().filter(|answer| matches!(answer, Err(Refusal::Full))).count();
    let waited = answers.iter().filter(|answer| matches!(answer, Err(Refusal::Unavailable(_)))).count();
    assert_eq!((full as u64, waited), (CHUNKS - 1 - 4, 4), "{answers:?}");
    engine.signal("-CONT");
    for number in 1..CHUNKS {
        stored(number).await;
    }
    assert_eq!(engine.sql("SELECT count(), uniqExact(seq) FROM weir.access_events"), "200\t200");
    engine.assert_rolled_up();
}
