//! How it ends: SIGTERM and SIGINT, with queries running, and without.

use std::io::BufReader;
use std::time::{Duration, Instant};

use crate::engine::{Engine, receive, send};

#[test]
fn a_signal_lets_queries_finish() {
    // The engine itself cuts what runs for 5 s more; this program waits before it tells it.
    for (signal, seconds) in [("-TERM", 8), ("-INT", 1)] {
        let engine = Engine::start();
        let mut running = engine.connect();
        let sql = format!("SELECT sleepEachRow(1), 'done' FROM numbers({seconds}) SETTINGS max_block_size = 1");
        send(&mut running, "POST", "/", &[], sql.as_bytes());
        engine.await_running("sleepEachRow", 1);
        engine.signal(signal);
        let reply = receive(&mut BufReader::new(running));
        assert!(reply.status == 200 && reply.complete, "{signal}: {}", reply.text());
        assert_eq!(reply.text().matches("done").count(), seconds, "{}", reply.text());
        let (status, _, log) = engine.end();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

#[test]
fn a_query_that_does_not_end_is_cut_after_a_bounded_time() {
    let engine = Engine::with(&["--drain-timeout", "1"]);
    let mut running = engine.connect();
    let sql = b"SELECT count() FROM numbers(100000000000000) WHERE NOT ignore(sipHash64(number))";
    send(&mut running, "POST", "/", &[], sql);
    engine.await_running("sipHash64", 1);
    engine.signal("-TERM");
    let began = Instant::now();
    let (status, folder, log) = engine.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_ne!(receive(&mut BufReader::new(running)).status, 200);
    assert_eq!(Engine::on(folder, &[]).sql("SELECT 1"), "1");
}

#[test]
fn a_second_signal_waits_for_nobody() {
    let engine = Engine::with(&["--drain-timeout", "600"]);
    let mut running = engine.connect();
    send(
        &mut running,
        "POST",
        "/",
        &[],
        b"SELECT count() FROM numbers(100000000000000) WHERE NOT ignore(sipHash64(number))",
    );
    engine.await_running("sipHash64", 1);
    engine.signal("-TERM");
    engine.logged("stops when the queries");
    engine.signal("-TERM");
    let began = Instant::now();
    let (status, folder, log) = engine.end();
    // 4: what it had to put in order took longer than the moment that is left then.
    assert!(matches!(status.code(), Some(0 | 4)), "{status}: {log}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(Engine::on(folder, &[]).sql("SELECT 1"), "1");
}

#[test]
fn an_idle_engine_ends_soon_and_cleanly() {
    for round in 0..4 {
        let engine = Engine::start();
        engine.sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
        engine.sql("INSERT INTO t SELECT number FROM numbers(100000)");
        // A client keeps its connection, for which the server waits 5 s.
        let mut kept = BufReader::new(engine.connect());
        send(kept.get_mut(), "GET", "/ping", &[], b"");
        assert_eq!(receive(&mut kept).status, 200);
        if round % 2 == 0 {
            drop(kept);
        }
        engine.signal("-TERM");
        let began = Instant::now();
        let (status, _, log) = engine.end();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}: {log}", began.elapsed());
    }
}
