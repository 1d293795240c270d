//! From chunks to rows: each event once, in raw and in every roll-up.

mod common;

use bytes::Bytes;
use common::{Analytics, Engine, chunk, chunk_of, exchange, name, now_us, stream};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use weir_analytics::ingest::stored_seqs::StoredSeqs;
use weir_analytics::schema::Schema;
use weir_analytics::store::Store;
use weir_event::Ranges;
use weir_event::chunk::{Chunk, Gap, GapReason};
use weir_event::exchange::{Attempt, PolicyRun};
use weir_event::{AuthKind, NameId, Reason, Scheme, TlsVersion, Verdict};
use weir_testkit::rollups;

const RAW: &str = "SELECT count() FROM weir.access_events";
const DAY: i64 = 86_400_000_000;

fn answer(stored: u64, duplicate: u64, dead: u64) -> serde_json::Value {
    json!({ "stored": stored, "duplicate": duplicate, "dead_letters": dead })
}

/// The counts of an acknowledgement.
fn stored(analytics: &Analytics, chunk: &[u8]) -> serde_json::Value {
    let document = analytics.store(chunk);
    json!({ "stored": document["stored"], "duplicate": document["duplicate"], "dead_letters": document["dead_letters"] })
}

#[test]
fn a_chunk_becomes_rows_and_a_resend_nothing() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    let start = now_us() - 1_000_000;
    assert_eq!(stored(&analytics, &chunk(&edge, 0..1000, start, 100)), answer(1000, 0, 0));
    assert_eq!(stored(&analytics, &chunk(&edge, 0..1000, start, 100)), answer(0, 1000, 0));
    assert_eq!(stored(&analytics, &chunk(&edge, 900..1100, start, 100)), answer(100, 100, 0));
    // A process that has forgotten everything reads it from the tables.
    let (code, state) = analytics.terminate();
    assert_eq!(code, Some(0));
    let analytics = Analytics::on(&engine, state, &[]);
    assert_eq!(stored(&analytics, &chunk(&edge, 0..1200, start, 100)), answer(100, 1100, 0));
    assert_eq!(engine.number(RAW), 1200);
    assert_eq!(engine.sql("SELECT min(first), max(last), sum(n) FROM weir.stored_seqs"), "0\t1199\t1200");
    engine.assert_rolled_up();
}

#[test]
fn every_column_comes_back_as_it_went_in() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 3);
    let now = now_us();
    let bare = weir_event::Exchange::new(weir_event::Instant::now(), now);
    let mut full = exchange(1, now);
    full.scheme = Scheme::Https;
    full.tls_version = TlsVersion::Tls13;
    full.tls_cipher = "TLS_AES_128_GCM_SHA256";
    full.auth = AuthKind::Basic;
    full.consumer = Bytes::from_static(b"m\xc3\xb6bius");
    full.client = "2001:db8::7".parse().expect("an address");
    full.answered_by = NameId(6);
    full.reason = Reason::PolicyAnswered;
    full.trace.parent.0 = [7; 8];
    full.trace.sampled = true;
    full.link = Duration::from_micros(77);
    full.generation = 5;
    full.attrs = vec![(Bytes::from_static(b"tenant"), Bytes::from_static(b"blue")), (Bytes::new(), Bytes::new())];
    for (start_us, took, waited_us) in [(1, 9, 0), (10, 300, 290)] {
        let took = Duration::from_micros(took);
        full.policies.push(PolicyRun { start_us, took, waited_us, ..PolicyRun::new(NameId(3), Verdict::Rejected) });
    }
    full.attempts.push(Attempt { start_us: 311, outcome: Reason::ConnectionTimeout, connect_us: 8, ..Attempt::new() });
    let mut plain = exchange(2, now);
    plain.user_agent = Some(http::HeaderValue::from_bytes(b"caf\xe9 \xff").expect("a value"));
    let bytes = chunk_of(&edge, [(0, bare), (1, full), (2, plain)], &[]);
    analytics.store(&bytes);

    let wanted = Chunk::decode(&bytes).expect("a chunk");
    for event in wanted.events() {
        let json = weir_event::json::to_json(&event, &edge, |id| name(id).or_else(|| (id.0 == 0).then(String::new)));
        let trace = analytics.api(&format!("trace/{}", event.trace()));
        let found = trace["events"].as_array().expect("events").iter().find(|found| found["seq"] == json["seq"]);
        let found = found.expect("the event");
        for (field, value) in json.as_object().expect("an object") {
            let value = if field == "sampled" { json!(u8::from(value == true)) } else { value.clone() };
            assert_eq!(found[field], value, "{field}");
        }
        assert_eq!(found["block"].as_str().map(str::len), Some(36));
        assert!(found["ts_received"].as_str().is_some_and(|ts| ts > found["ts"].as_str().expect("ts")), "{found}");
    }
    engine.assert_rolled_up();
}

/// Whatever its status: a response that broke off has failed, a policy's answer has not, and nothing counts twice.
#[test]
fn a_consumer_has_the_failures_that_the_overview_has() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 4);
    let now = now_us();
    let cases = [
        ("whole", 200, Reason::None),
        ("whole", 204, Reason::PolicyAnswered),
        ("whole", 200, Reason::ClientClosed),
        ("failed", 200, Reason::ResponseIncomplete),
        ("failed", 404, Reason::ResponseIncomplete),
        ("failed", 200, Reason::GatewayPanic),
        ("failed", 500, Reason::None),
        ("failed", 502, Reason::ConnectionRefused),
        ("refused", 404, Reason::None),
        ("refused", 401, Reason::AuthenticationFailed),
        ("refused", 403, Reason::PolicyAnswered),
    ];
    let events = cases.iter().enumerate().map(|(seq, (consumer, status, reason))| {
        let mut exchange = exchange(seq as u64, now);
        exchange.consumer = Bytes::from_static(consumer.as_bytes());
        (exchange.status, exchange.reason) = (*status, *reason);
        (seq as u64, exchange)
    });
    analytics.store(&chunk_of(&edge, events, &[]));
    let sql =
        "SELECT consumer, sum(n), sum(failed), sum(refused) FROM weir.consumers_1m GROUP BY consumer ORDER BY consumer";
    assert_eq!(engine.sql(sql).trim_end(), "failed\t5\t5\t0\nrefused\t3\t0\t3\nwhole\t3\t0\t0");
    engine.assert_rolled_up();
    let overview = analytics.api("overview");
    let errors: u64 = overview["rows"].as_array().expect("rows").iter().filter_map(|row| row["errors"].as_u64()).sum();
    assert_eq!(errors, 5, "{overview}");
}

#[test]
fn an_event_is_of_the_day_that_it_is_of() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    // Around the last midnight, to and fro.
    let midnight = now_us().div_euclid(DAY) * DAY;
    let events = (0..100).map(|seq| (seq, exchange(seq, midnight + if seq % 2 == 0 { -1 } else { 0 })));
    let both = chunk_of(&edge, events, &[]);
    assert_eq!(stored(&analytics, &both), answer(100, 0, 0));
    let split =
        "SELECT count(), uniqExact(block), uniqExact(toDate(ts)), countIf(ts != toDate(ts)) FROM weir.access_events";
    assert_eq!(engine.sql(split), "100\t2\t2\t50");
    assert_eq!(engine.sql("SELECT uniqExact(day), sum(n) FROM weir.stored_seqs"), "2\t100");
    assert_eq!(stored(&analytics, &both), answer(0, 100, 0));
    engine.assert_rolled_up();
}

#[test]
fn streams_share_a_block() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let start = now_us() - 1_000_000;
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let analytics = &analytics;
            scope.spawn(move || analytics.store(&chunk(&stream("cloud", "core", worker), 0..500, start, 100)));
        }
    });
    assert_eq!(engine.number(RAW), 4000);
    assert!(engine.number("SELECT uniqExact(block) FROM weir.access_events") < 8, "every chunk had a block of its own");
    engine.assert_rolled_up();
}

#[test]
fn the_same_chunk_many_times_at_once_is_stored_once() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let chunk = chunk(&stream("on-prem", "edge", 0), 0..2000, now_us() - 1_000_000, 100);
    let stored: u64 = std::thread::scope(|scope| {
        let offers: Vec<_> = (0..8).map(|_| scope.spawn(|| analytics.store(&chunk))).collect();
        offers.into_iter().map(|offer| offer.join().expect("answered")["stored"].as_u64().expect("a number")).sum()
    });
    assert_eq!(stored, 2000);
    engine.assert_rolled_up();
}

#[test]
fn what_is_out_of_range_is_a_dead_letter_and_known_as_such() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    let now = now_us();
    let times = [now, now - 31 * DAY, now + 2 * DAY, now - 29 * DAY, i64::MIN, i64::MAX];
    let events = times.iter().enumerate().map(|(seq, time)| (seq as u64, exchange(seq as u64, *time)));
    let chunk = chunk_of(&edge, events, &[]);
    assert_eq!(stored(&analytics, &chunk), answer(2, 0, 4));
    let letters = "SELECT seq, reason, JSONExtractString(event, 'path') FROM weir.dead_letters FINAL ORDER BY seq";
    let expected = "1\tts_too_old\t/orders/1\n2\tts_ahead\t/orders/2\n4\tts_too_old\t/orders/4\n5\tts_ahead\t/orders/5";
    assert_eq!(engine.sql(letters), expected);
    assert_eq!(stored(&analytics, &chunk), answer(0, 6, 0));
    let analytics = Analytics::on(&engine, analytics.kill(), &[]);
    assert_eq!(stored(&analytics, &chunk), answer(0, 6, 0));
    assert_eq!(engine.number("SELECT count() FROM weir.dead_letters"), 4);
    engine.assert_rolled_up();
}

#[test]
fn a_chunk_that_the_engine_refuses_takes_no_other_with_it() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    engine.sql("ALTER TABLE weir.access_events ADD CONSTRAINT odd CHECK path != '/orders/13'");
    let start = now_us() - 1_000_000;
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let offers: Vec<_> = (0..4_u16)
            .map(|worker| {
                let first = u64::from(worker) * 100;
                let chunk = chunk(&stream("cloud", "core", worker), first..first + 100, start, 100);
                let analytics = &analytics;
                scope.spawn(move || analytics.post(&chunk).status)
            })
            .collect();
        offers.into_iter().map(|offer| offer.join().expect("answered")).collect()
    });
    assert_eq!(statuses, [422, 200, 200, 200]);
    assert_eq!(engine.number(RAW), 300);
    engine.assert_rolled_up();
}

/// Its head is read at once and its records where blocks are built: what is found wrong there is its own affair.
#[test]
fn a_chunk_whose_records_are_damaged_takes_no_other_with_it() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let start = now_us() - 1_000_000;
    let chunks: Vec<_> = (0..4).map(|worker| chunk(&stream("cloud", "core", worker), 0..100, start, 100)).collect();
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let offers: Vec<_> = chunks
            .iter()
            .enumerate()
            .map(|(number, chunk)| {
                let (mut chunk, analytics) = (chunk.clone(), &analytics);
                if number == 2 {
                    *chunk.last_mut().expect("a byte") ^= 1;
                }
                scope.spawn(move || analytics.post(&chunk).status)
            })
            .collect();
        offers.into_iter().map(|offer| offer.join().expect("answered")).collect()
    });
    assert_eq!(statuses, [200, 200, 400, 200]);
    assert_eq!(stored(&analytics, &chunks[2]), answer(100, 0, 0), "nothing of it counts as known");
    assert_eq!(engine.number(RAW), 400);
    engine.assert_rolled_up();
}

/// As after a restart of the ingestor: every gateway comes at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_wanted_together_are_read_together() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let streams: Vec<_> = (0..40).map(|worker| stream("cloud", "core", worker)).collect();
    let start = now_us() - 1_000_000;
    analytics.store(&chunk(&streams[7], 0..100, start, 100));
    analytics.store(&chunk(&streams[7], 200..300, start, 100));
    let store = Store::new(&engine.url(), "", "", Schema::single("weir")).expect("a store");
    let queries = || engine.number("SELECT value FROM system.events WHERE event = 'SelectQuery'");
    let (known, before) = (Arc::new(StoredSeqs::default()), queries());
    let loads = streams.iter().map(|stream| {
        let (known, store, id) = (Arc::clone(&known), store.clone(), stream.id());
        tokio::spawn(async move { known.load(&store, id).await })
    });
    for load in loads.collect::<Vec<_>>() {
        load.await.expect("it ends").expect("loaded");
    }
    let asked = queries() - before;
    assert!(asked < 30, "{asked} queries for 40 streams");
    let offered = Ranges::of(50, 249);
    let mut new = Ranges::of(100, 199);
    assert_eq!(known.claim(streams[7].id(), &offered), Some(Ok(new.clone())));
    new.union(&offered);
    assert_eq!(known.claim(streams[8].id(), &offered), Some(Ok(new)));
}

/// Nobody hangs because another one's query failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_cannot_be_read_is_read_when_it_can() {
    let mut engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    analytics.store(&chunk(&edge, 0..100, now_us() - 1_000_000, 100));
    drop(analytics);
    let store = Store::new(&engine.url(), "", "", Schema::single("weir")).expect("a store");
    let known = Arc::new(StoredSeqs::default());
    engine.kill();
    let (one, other) = tokio::join!(known.load(&store, edge.id()), known.load(&store, edge.id()));
    assert!(one.is_err() && other.is_err());
    let _engine = engine.start_again();
    known.load(&store, edge.id()).await.expect("loaded");
    assert_eq!(known.claim(edge.id(), &Ranges::of(90, 109)), Some(Ok(Ranges::of(100, 109))));
}

/// What the other tests rely on can say no, of each roll-up.
#[test]
fn a_roll_up_that_lacks_something_is_seen() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    analytics.store(&chunk(&stream("on-prem", "edge", 0), 0..100, now_us() - 1_000_000, 100));
    for (table, differs) in rollups::differences("weir") {
        assert_eq!(engine.sql(&differs), "", "{table}");
        engine.sql(&format!("TRUNCATE TABLE weir.{table}"));
        assert!(engine.sql(&differs).starts_with("only in raw\t"), "{table}");
    }
}

#[test]
fn sampled_events_weigh_what_they_stand_for() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let now = now_us();
    let weighted = |seq: u64| {
        let mut exchange = exchange(seq, now);
        exchange.sample_interval = seq as u32;
        exchange
    };
    analytics.store(&chunk_of(&stream("on-prem", "edge", 0), (0..5).map(|seq| (seq, weighted(seq))), &[]));
    // 0 is a probe's, which is nobody's request.
    assert_eq!(engine.number("SELECT count() FROM weir.access_events"), 5);
    assert_eq!(engine.number("SELECT sum(n) FROM weir.requests_1m"), 1 + 2 + 3 + 4);
    assert_eq!(engine.number("SELECT sum(n) FROM weir.consumers_1m"), 1 + 2 + 3 + 4);
    engine.assert_rolled_up();
}

#[test]
fn the_ledger_accounts_for_every_number() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    let now = now_us();
    let report = |accepted: u64, closed: bool| {
        let of = &edge.identity;
        json!([{ "stream": edge.id().to_string(), "organization": of.organization, "environment": of.environment,
            "site": of.site, "gateway": of.gateway, "replica": of.replica, "boot": edge.boot.to_string(),
            "worker": edge.worker, "accepted": accepted, "closed": closed }])
    };
    let gap = Gap { first: 50, last: 59, reason: GapReason::RingFull };
    let events = (0..50).chain(60..100).map(|seq| (seq, exchange(seq, if seq == 7 { 0 } else { now })));
    let first = chunk_of(&edge, events, &[gap]);
    analytics.store(&first);
    assert_eq!(analytics.api("ledger")["streams"][0]["accepted"], 100, "what is named was accepted");
    assert_eq!(analytics.report(&report(110, false)).status, 200);
    let ledger = analytics.api("ledger");
    assert_eq!((&ledger["state"], &ledger["waiting"]), (&json!("missing"), &json!(10)), "{ledger}");
    assert_eq!((&ledger["stored"], &ledger["classes"]), (&json!(89), &json!({ "lost": 10, "dead_letter": 1 })));
    analytics.store(&chunk(&edge, 100..110, now, 1));
    analytics.store(&first);
    // An older report that comes late takes nothing back.
    assert_eq!(analytics.report(&report(90, false)).status, 200);
    assert_eq!(analytics.report(&report(110, true)).status, 200);
    let ledger = analytics.api("ledger");
    assert_eq!((&ledger["accepted"], &ledger["stored"], &ledger["waiting"]), (&json!(110), &json!(99), &json!(0)));
    let gateways = analytics.api("gateways");
    assert_eq!((&gateways["rows"][0]["gateway"], &gateways["rows"][0]["accepted"]), (&json!("edge"), &json!(110)));
    assert_eq!(gateways["rows"][0]["closed"], true);
    let mut wrong = report(1, false);
    wrong[0]["stream"] = json!("0000000000000001");
    assert_eq!(analytics.report(&wrong).status, 400, "a stream that does not follow from its identity");
}
