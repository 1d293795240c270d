//! The account under the faults that operators have: what is acknowledged is stored, durably, once.
//!
//! The independent count is that of the chunks that the tests make themselves.

mod common;

use common::{Analytics, Engine, TOKEN, chunk, now_us, request, stream, until};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use tempfile::TempDir;
use weir_analytics::block::BlockId;
use weir_analytics::ingest::intent::{Intent, Intents};
use weir_event::{Ranges, StreamId};

const RAW: &str = "SELECT count() FROM weir.access_events";
const DAY: i64 = 86_400_000_000;

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

/// Posts as a gateway of protocol 2 whose clock shows `sent_us`.
fn post_at(analytics: &Analytics, chunk: &[u8], sent_us: i64) -> common::Reply {
    let (token, sent) = (format!("Bearer {TOKEN}"), sent_us.to_string());
    let headers = [("authorization", token.as_str()), ("weir-protocol", "2"), ("weir-sent-us", sent.as_str())];
    request(analytics.address(), "POST", "/v1/chunks", &headers, chunk)
}

#[test]
fn an_acknowledgement_names_the_chunk_and_adds_up() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    let bytes = chunk(&edge, 0..100, now_us(), 10);
    let reply = post_at(&analytics, &bytes, now_us());
    assert_eq!((reply.status, reply.header("weir-protocol")), (200, Some("2")));
    let document = reply.json();
    assert_eq!(document["chunk"], json!({ "stream": edge.id().to_string(), "first": 0, "last": 99 }));
    let crc = format!("{:08x}", crc32c::crc32c(&bytes));
    assert_eq!(document["received"], json!({ "bytes": bytes.len(), "crc32c": crc }));
    assert_eq!((&document["protocol"], &document["result"]), (&json!(2), &json!("stored")));
    assert_eq!((&document["stored"], &document["duplicate"]), (&json!(100), &json!(0)));
    assert_eq!(post_at(&analytics, &bytes, now_us()).json()["duplicate"], 100);
    let malformed = post_at(&analytics, &bytes[..bytes.len() - 1], now_us());
    assert_eq!((malformed.status, &malformed.json()["result"]), (400, &json!("malformed")));
    assert_eq!(malformed.json()["received"]["bytes"], bytes.len() - 1, "of what arrived");
    assert_eq!(malformed.header("weir-protocol"), Some("2"));
    let stranger = analytics.post_as("nobody-knows-it", &bytes);
    assert_eq!((stranger.status, &stranger.json()["result"]), (401, &json!("token")));
    assert!(stranger.json().get("received").is_none(), "its body was not read");
}

#[test]
fn one_line_of_a_report_never_affects_another() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let line = |site: &str, gateway: &str, boot: Option<&str>| {
        let of = stream(site, gateway, 0);
        json!({ "stream": of.id().to_string(), "organization": "acme", "environment": "demo", "site": site,
            "gateway": gateway, "replica": "r1", "boot": boot.map_or(of.boot.to_string(), str::to_owned), "worker": 0,
            "accepted": 7 })
    };
    let body = json!([line("on-prem", "edge", None), line("cloud", "core", None), { "no": "report" }]).to_string();
    // This token speaks for cloud/core alone.
    let headers = [("authorization", "Bearer another-token")];
    let reply = request(analytics.address(), "POST", "/v1/streams", &headers, body.as_bytes());
    let document = reply.json();
    assert_eq!((reply.status, &document["result"]), (403, &json!("partly")), "{document}");
    assert_eq!(document["taken"], json!([stream("cloud", "core", 0).id().to_string()]));
    let refused: Vec<_> = document["refused"].as_array().expect("lines").iter().map(|line| &line["result"]).collect();
    assert_eq!(refused, ["identity", "malformed"]);
    assert_eq!(engine.sql("SELECT gateway FROM weir.streams"), "core");
    let wrong = line("cloud", "core", Some("00000000000000000000000000000001"));
    let reply = analytics.report(&json!([wrong, line("on-prem", "edge", None)]));
    assert_eq!((reply.status, &reply.json()["result"]), (400, &json!("partly")));
    assert_eq!(engine.number("SELECT uniqExact(stream) FROM weir.streams"), 2);
}

#[test]
fn a_wrong_clock_makes_no_dead_letters() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    // As of a gateway whose clock is right, when this machine's is two days behind or forty ahead.
    for (worker, off) in [(0, 2 * DAY), (1, -40 * DAY)] {
        let bytes = chunk(&stream("on-prem", "edge", worker), 0..100, now_us() + off, 10);
        let reply = post_at(&analytics, &bytes, now_us() + off);
        assert_eq!((reply.status, &reply.json()["result"]), (503, &json!("clock")), "{}", reply.text());
        assert!(reply.header("retry-after").is_some() && reply.json()["clock"]["gateway_us"].is_i64());
        assert!(analytics.get("/healthz").text().contains("clock of acme/demo/*/* differs"));
    }
    assert_eq!(engine.number("SELECT count() FROM weir.dead_letters"), 0);
    assert_eq!(engine.number(RAW), 0);
    analytics.await_log("differ by more than --max-clock-difference");
    let bytes = chunk(&stream("on-prem", "edge", 0), 0..100, now_us(), 10);
    assert_eq!(post_at(&analytics, &bytes, now_us()).status, 200);
    assert!(!analytics.get("/healthz").text().contains("differs"), "and it is over");
    assert_eq!(engine.number(RAW), 100);
}

#[test]
fn what_is_acknowledged_is_synced() {
    let engine = Engine::start();
    let syncs = |event: &str| engine.number(&format!("SELECT sum(value) FROM system.events WHERE event = '{event}'"));
    let unsynced = "SELECT arrayStringConcat(groupArray(name), ' ') FROM system.tables WHERE database = 'weir' AND \
                    engine LIKE '%MergeTree' AND (position(create_table_query, 'fsync_after_insert = 1') = 0 OR \
                    position(create_table_query, 'fsync_part_directory = 1') = 0)";
    let state = {
        let analytics = Analytics::start(&engine);
        assert_eq!(engine.sql(unsynced), "", "tables that an insert does not sync");
        let (files, folders) = (syncs("FileSync"), syncs("DirectorySync"));
        analytics.store(&chunk(&stream("on-prem", "edge", 0), 0..100, now_us(), 10));
        // Raw, stored_seqs, minutes, hours: a file and a folder each at least.
        assert!(syncs("FileSync") >= files + 4, "{} files synced", syncs("FileSync") - files);
        assert!(syncs("DirectorySync") >= folders + 4, "{} folders synced", syncs("DirectorySync") - folders);
        analytics.terminate().1
    };
    let analytics = Analytics::with_args(&engine, state, &[], &["--durable-inserts", "off"]);
    let tables =
        engine.number("SELECT count() FROM system.tables WHERE database = 'weir' AND engine LIKE '%MergeTree'");
    assert_eq!(engine.sql(unsynced).split(' ').count() as u64, tables, "it is a setting");
    analytics.store(&chunk(&stream("on-prem", "edge", 0), 100..200, now_us(), 10));
    assert_eq!(engine.number(RAW), 200);
}

/// Runs `repair` of a day; its exit code and what it said.
fn repair(engine: &Engine, day: &str, more: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weir-analytics"));
    command.args(["repair", "--day", day, "--clickhouse", &engine.url()]).args(more);
    command.env("WEIR_LOG", "error").env("SUDO_USER", "ann");
    let done = command.output().expect("it runs");
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
}

/// Hours, minutes and numbers as they are counted now.
fn rolled(engine: &Engine) -> String {
    engine.sql("SELECT (SELECT sum(n) FROM weir.requests_1h), (SELECT sum(n) FROM weir.requests_1m), (SELECT sum(n) FROM weir.stored_seqs)")
}

#[test]
fn a_repair_never_removes_what_it_cannot_make_again() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let then = now_us().div_euclid(DAY) * DAY - 3 * DAY + 1000;
    analytics.store(&chunk(&stream("on-prem", "edge", 0), 0..400, then, 10));
    let day = engine.sql("SELECT toString(any(toDate(ts))) FROM weir.access_events");
    let state = analytics.terminate().1;
    let before = rolled(&engine);
    assert_eq!(before, "400\t400\t400");
    // Raw has lost a part that was acknowledged.
    engine.sql("ALTER TABLE weir.access_events DELETE WHERE seq < 100 SETTINGS mutations_sync = 2");
    let (code, said) = repair(&engine, &day, &[]);
    assert!(code == Some(1) && said.contains("100 events of"), "{code:?} {said}");
    assert_eq!(rolled(&engine), before);
    // All of raw is gone, as after its retention.
    engine.sql("TRUNCATE TABLE weir.access_events");
    let (code, said) = repair(&engine, &day, &["--retention-raw", "2d"]);
    assert!(code == Some(1) && said.contains("have begun to expire"), "{code:?} {said}");
    assert_eq!(rolled(&engine), before);
    // Nor does a start with an intent of then.
    let block = engine.sql("SELECT any(block) FROM weir.stored_seqs");
    let seqs = [(StreamId(engine.number("SELECT any(stream) FROM weir.stored_seqs")), Ranges::of(0, 399))];
    let intent =
        Intent::new(BlockId::parse(&block).expect("a block"), then.div_euclid(DAY), 400, (then, then + 4000), &seqs);
    Intents::open(state.path()).expect("the state").write(&intent).expect("written");
    let _analytics = Analytics::with_args(&engine, state, &[], &["--retention-raw", "26h"]);
    assert_eq!(rolled(&engine), before);
}

/// Set when it is dropped.
struct Sets<'a>(&'a AtomicBool);

impl Drop for Sets<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_repair_can_run_while_events_come_in() {
    let engine = Engine::start();
    let analytics = Analytics::on(&engine, folder(), &[("WEIR_ANALYTICS_LEASE", "2s")]);
    let day = engine.sql("SELECT toString(today())");
    for part in 0..10 {
        analytics.store(&chunk(&stream("on-prem", "edge", 0), part * 10_000..(part + 1) * 10_000, now_us(), 1));
    }
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        // A failed assertion below ends the writers too, and is reported.
        let _ends = Sets(&stop);
        for worker in 0..4 {
            let (stop, acknowledged, analytics) = (&stop, &acknowledged, &analytics);
            scope.spawn(move || {
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let bytes = chunk(&stream("cloud", "core", worker), round * 100..round * 100 + 100, now_us(), 1);
                    let document = analytics.store(&bytes);
                    let of = |part: &str| document[part].as_u64().expect("a number");
                    assert_eq!(of("stored") + of("duplicate"), 100);
                    acknowledged.fetch_add(100, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..5 {
            // A second copy of an event, so that raw itself is rebuilt.
            engine.sql("INSERT INTO weir.access_events SELECT * REPLACE (generateUUIDv4() AS lease) FROM weir.access_events WHERE gateway = 'edge' AND seq = 7 LIMIT 1");
            let so_far = acknowledged.load(Ordering::Relaxed);
            until("more events", || acknowledged.load(Ordering::Relaxed) > so_far + 400);
            let (code, said) = repair(&engine, &day, &[]);
            assert_eq!(code, Some(0), "{said}");
        }
    });
    assert_eq!(engine.number(RAW), 100_000 + acknowledged.load(Ordering::Relaxed));
    engine.assert_rolled_up();
    let kept =
        format!("SELECT count() FROM weir.leases WHERE holder LIKE 'weir-analytics repair --day {day} by ann on %'");
    assert_eq!(engine.number(&kept), 5, "each leaves a line");
}

#[test]
fn of_two_ingestors_one_writes_and_the_other_takes_over() {
    let engine = Engine::start();
    let lease = [("WEIR_ANALYTICS_LEASE", "2s")];
    let first = Analytics::on(&engine, folder(), &lease);
    let second = Analytics::on(&engine, folder(), &lease);
    let edge = stream("on-prem", "edge", 0);
    let one = chunk(&edge, 0..300, now_us(), 10);
    let standby = second.post(&one);
    assert_eq!((standby.status, &standby.json()["result"]), (503, &json!("standby")), "{}", standby.text());
    assert!(second.get("/healthz").text().contains("standby"), "and it answers queries");
    first.store(&one);
    let signal = |name: &str| {
        let done = std::process::Command::new("kill").args([name, &first.id().to_string()]).status();
        assert!(done.expect("kill runs").success());
    };
    // Its answer was lost: the balancer gives the same chunk, and more, to the other.
    signal("-STOP");
    assert_eq!(second.store(&one)["duplicate"], 300);
    second.store(&chunk(&edge, 300..600, now_us(), 10));
    // The first wakes up past the end of its lease and knows nothing of it.
    signal("-CONT");
    let late = first.post(&chunk(&edge, 200..700, now_us(), 10));
    assert_eq!((late.status, &late.json()["result"]), (503, &json!("standby")), "{}", late.text());
    second.store(&chunk(&edge, 200..700, now_us(), 10));
    assert_eq!(engine.number(RAW), 700);
    engine.assert_rolled_up();
    // One that ends in order hands over at once.
    assert_eq!(second.terminate().0, Some(0));
    assert_eq!(first.store(&chunk(&edge, 600..800, now_us(), 10))["stored"], 100);
    assert_eq!(engine.number(RAW), 800);
}

/// Passes everything on, but keeps back an insert of events once it is armed: gives its bytes when its client is gone.
fn holding_proxy(engine: String) -> (String, Arc<AtomicBool>, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address").to_string();
    let (armed, (held, holds)) = (Arc::new(AtomicBool::new(false)), mpsc::channel());
    let arm = Arc::clone(&armed);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (engine, armed, held) = (engine.clone(), Arc::clone(&armed), held.clone());
            std::thread::spawn(move || pass(client, &engine, &armed, &held));
        }
    });
    (address, arm, holds)
}

fn pass(mut client: TcpStream, engine: &str, armed: &AtomicBool, held: &mpsc::Sender<Vec<u8>>) {
    let mut server = TcpStream::connect(engine).expect("connected");
    let (mut back, mut answers) = (client.try_clone().expect("cloned"), server.try_clone().expect("cloned"));
    std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
    let mut buffer = vec![0; 1 << 16];
    let mut kept: Option<Vec<u8>> = None;
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        let bytes = &buffer[..count];
        let insert = bytes.starts_with(b"POST") && String::from_utf8_lossy(bytes).contains("access_events");
        if kept.is_none() && armed.load(Ordering::Relaxed) && insert {
            kept = Some(Vec::new());
        }
        match &mut kept {
            Some(kept) => {
                kept.extend_from_slice(bytes);
                if kept.ends_with(b"\r\n0\r\n\r\n") {
                    let _test_is_over = held.send(std::mem::take(kept));
                }
            }
            None if server.write_all(bytes).is_err() => return,
            None => {}
        }
    }
}

#[test]
fn an_insert_that_arrives_after_settling_stores_nothing() {
    let engine = Engine::start();
    let at = engine.url().trim_start_matches("http://").to_owned();
    let (proxy, armed, held) = holding_proxy(at.clone());
    let analytics = Analytics::with_args(&engine, folder(), &[], &["--clickhouse", &format!("http://{proxy}")]);
    let edge = stream("on-prem", "edge", 0);
    analytics.store(&chunk(&edge, 0..100, now_us(), 10));
    let bytes = chunk(&edge, 100..300, now_us(), 10);
    armed.store(true, Ordering::Relaxed);
    let (state, mut late) = std::thread::scope(|scope| {
        let address = analytics.address().to_owned();
        let token = format!("Bearer {TOKEN}");
        let bytes = &bytes;
        scope.spawn(move || request(&address, "POST", "/v1/chunks", &[("authorization", &token)], bytes).status);
        let late = held.recv_timeout(std::time::Duration::from_secs(60)).expect("the whole insert is with the proxy");
        (analytics.kill(), late)
    });
    let analytics = Analytics::on(&engine, state, &[]);
    assert_eq!(analytics.store(&bytes)["stored"], 200);
    let mut server = TcpStream::connect(&at).expect("connected");
    server.write_all(&late).expect("sent");
    late.clear();
    server.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("set");
    // Head and body may come one after the other.
    let (mut answer, mut piece) = (Vec::new(), vec![0; 4096]);
    while !String::from_utf8_lossy(&answer).contains("DB::Exception") {
        match server.read(&mut piece).expect("an answer") {
            0 => break,
            count => answer.extend_from_slice(&piece[..count]),
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("the lease of this insert has ended"), "{answer}");
    assert_eq!(engine.number(RAW), 300);
    engine.assert_rolled_up();
}

#[test]
fn a_damaged_state_stops_no_start_and_loses_nothing() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    analytics.store(&chunk(&edge, 0..100, now_us(), 10));
    let state = analytics.kill();
    // A roll-up is short of the block whose intent is damaged.
    engine.sql("TRUNCATE TABLE weir.requests_1h");
    std::fs::write(state.path().join("intents/01a2159c-e6bd-7a0d-86af-6da7503650ad.json"), "").expect("written");
    std::fs::write(state.path().join("holder"), "nobody").expect("written");
    let analytics = Analytics::on(&engine, state, &[("WEIR_ANALYTICS_LEASE", "1s")]);
    assert_eq!(analytics.store(&chunk(&edge, 0..200, now_us(), 10))["stored"], 100);
    assert_eq!(engine.number(RAW), 200);
    engine.assert_rolled_up();
    let aside = analytics.state.path().join("intents/01a2159c-e6bd-7a0d-86af-6da7503650ad.json.damaged");
    assert!(aside.exists(), "it is kept");
}

#[test]
fn dead_letters_are_listed_shown_and_replayed_once() {
    let engine = Engine::start();
    let state = folder();
    let token = state.path().join("admin");
    std::fs::write(&token, "an-administrators-token\n").expect("written");
    let args = ["--admin-token-file", token.to_str().expect("text")];
    let analytics = Analytics::with_args(&engine, state, &[], &args);
    let edge = stream("on-prem", "edge", 0);
    // Half of them two hours past the day that is allowed ahead, half in range.
    let ahead = now_us() + DAY + 7_200_000_000;
    let exchange = |seq: u64| (seq, common::exchange(seq, if seq < 50 { ahead } else { now_us() }));
    analytics.store(&common::chunk_of(&edge, (0..100).map(exchange), &[]));
    assert_eq!(engine.number(RAW), 50);
    let call = |method: &str, target: &str, headers: &[(&str, &str)]| {
        request(analytics.address(), method, &format!("/api/v1/deadletters{target}"), headers, b"")
    };
    let admin = [("authorization", "Bearer an-administrators-token")];
    assert_eq!(call("GET", "", &[]).status, 401);
    assert_eq!(call("POST", "/replay", &[("authorization", &format!("Bearer {TOKEN}"))]).status, 401);
    assert_eq!(call("POST", "/replay", &[admin[0], ("origin", "http://attacker.example")]).status, 403);
    let list = call("GET", "", &admin).json();
    let row = &list["rows"][0];
    assert_eq!((&row["events"], &row["why"], &row["can_be_replayed"]), (&json!(50), &json!("ts_ahead"), &json!(true)));
    let shown = call("GET", &format!("/show?stream={}&limit=3", edge.id()), &admin).json();
    assert_eq!(shown["rows"].as_array().expect("rows").len(), 3, "{shown}");
    assert_eq!(call("POST", "/replay", &admin).json(), json!({ "stored": 0, "dead_letters": 50 }), "still ahead");
    // They are in range when the day has come: here their chunk is given times of today.
    let later = common::chunk_of(&edge, (0..100).map(|seq| (seq, common::exchange(seq, now_us()))), &[]);
    let hex: String = later.iter().map(|byte| format!("{byte:02x}")).collect();
    engine.sql(&format!(
        "ALTER TABLE weir.dead_chunks UPDATE chunk = unhex('{hex}') WHERE 1 SETTINGS mutations_sync = 2"
    ));
    assert_eq!(call("POST", "/replay", &admin).json(), json!({ "stored": 50, "dead_letters": 0 }));
    assert_eq!(call("POST", "/replay", &admin).json(), json!({ "stored": 0, "dead_letters": 0 }), "once");
    assert_eq!(engine.number(RAW), 100);
    assert_eq!(engine.number("SELECT count() FROM weir.dead_letters"), 0);
    assert_eq!(analytics.store(&later)["duplicate"], 100);
    engine.assert_rolled_up();
    let audit = std::fs::read_to_string(analytics.state.path().join("audit.log")).expect("the audit log");
    assert_eq!(audit.lines().filter(|line| line.contains("replay")).count(), 3, "{audit}");
}

/// Copies a folder with everything in it.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.expect("cp runs").success());
}

/// The server that wrote goes on: what it remembers to be stored is not, and the lease in the tables is another's.
#[test]
fn a_restored_backup_is_read_again() {
    let root = folder();
    let (data, backup) = (root.path().join("data"), root.path().join("backup"));
    let mut engine = Engine::in_folder(data.clone());
    let edge = stream("on-prem", "edge", 0);
    let earlier = Analytics::on(&engine, folder(), &[]);
    earlier.store(&chunk(&edge, 0..100, now_us(), 10));
    assert_eq!(earlier.terminate().0, Some(0));
    engine.kill();
    copy(&data, &backup);
    engine = engine.start_again();
    let analytics = Analytics::on(&engine, folder(), &[]);
    analytics.store(&chunk(&edge, 100..200, now_us(), 10));
    engine.kill();
    std::fs::remove_dir_all(&data).expect("removed");
    copy(&backup, &data);
    let engine = engine.start_again();
    assert_eq!(engine.number(RAW), 100);
    // What is not there is never acknowledged from memory.
    assert_eq!(analytics.store(&chunk(&edge, 100..200, now_us(), 10))["stored"], 100);
    analytics.store(&chunk(&edge, 0..300, now_us(), 10));
    assert_eq!(engine.number(RAW), 300);
    engine.assert_rolled_up();
}
