//! Whatever dies wherever: after a restart and a resend, each event is there once, in raw and in every roll-up.

mod common;

use common::{Analytics, Engine, chunk, forge_intent, now_us, stream, until};
use weir_analytics::ingest::intent::Intents;
use weir_analytics::schema::ROLLUPS;

const RAW: &str = "SELECT count() FROM weir.access_events";

#[test]
fn the_ingestor_dies_at_every_point() {
    let engine = Engine::start();
    let mut state = tempfile::TempDir::new().expect("a temporary folder");
    let points = ["after_decode", "before_intent", "after_intent", "after_insert", "before_ack"];
    for (index, point) in points.into_iter().enumerate() {
        let worker = index as u16;
        let chunks: Vec<_> =
            (0..3).map(|n| chunk(&stream("on-prem", "edge", worker), n * 100..n * 100 + 100, now_us(), 10)).collect();
        // The second of three chunks meets the point.
        let failpoint = format!("ingest.{point}:2");
        let analytics = Analytics::on(&engine, state, &[("WEIR_FAILPOINT", &failpoint)]);
        analytics.store(&chunks[0]);
        assert_eq!(analytics.post(&chunks[1]).status, 0, "{point}: it was to die");
        let analytics = Analytics::on(&engine, analytics.wait(), &[]);
        for chunk in &chunks {
            analytics.store(chunk);
        }
        assert_eq!(engine.number(RAW), 300 * (index as u64 + 1), "{point}");
        engine.assert_rolled_up();
        state = analytics.kill();
        let left = Intents::open(state.path()).expect("the state").read().expect("intents");
        assert_eq!(left.intents, [], "{point}: an intent is open that was settled");
    }
}

#[test]
fn the_engine_dies_under_load() {
    let mut engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let intents = analytics.state.path().join("intents");
    let start = now_us() - 1_000_000;
    for round in 0..3_u64 {
        let chunks: Vec<_> = (0..4)
            .map(|worker| chunk(&stream("cloud", "core", worker), round * 3000..round * 3000 + 3000, start, 5))
            .collect();
        std::thread::scope(|scope| {
            // As gateways do: a start of the engine that is noticed late ends the session, and they come again.
            let offers: Vec<_> = chunks.iter().map(|chunk| scope.spawn(|| analytics.store(chunk))).collect();
            // Before the block is there, when raw has it, when the first roll-up has it.
            match round {
                0 => until("an intent", || std::fs::read_dir(&intents).is_ok_and(|found| found.count() > 0)),
                1 => until("rows", || engine.number(RAW) > 12_000),
                _ => until("a roll-up", || engine.number("SELECT sum(n) FROM weir.requests_1m") > 24_000),
            }
            engine.kill();
            engine = std::mem::replace(&mut engine, Engine::start()).start_again();
            offers.into_iter().for_each(|offer| drop(offer.join().expect("stored")));
        });
        chunks.iter().for_each(|chunk| drop(analytics.store(chunk)));
        assert_eq!(engine.number(RAW), 12_000 * (round + 1));
        engine.assert_rolled_up();
    }
}

#[test]
fn a_view_that_fails_is_made_good_when_it_works_again() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let chunk = chunk(&stream("on-prem", "edge", 0), 0..500, now_us(), 10);
    let select = engine
        .sql("SELECT as_select FROM system.tables WHERE database = 'weir' AND name = 'requests_1h_mv' FORMAT TSVRaw");
    engine.sql("ALTER TABLE weir.requests_1h_mv MODIFY QUERY SELECT toStartOfHour(t) AS t, throwIf(n > 0) AS n FROM weir.requests_1m");
    std::thread::scope(|scope| {
        let offer = scope.spawn(|| analytics.post(&chunk).status);
        until("raw has the block", || engine.number(RAW) == 500);
        engine.sql(&format!("ALTER TABLE weir.requests_1h_mv MODIFY QUERY {select}"));
        assert_eq!(offer.join().expect("answered"), 200);
    });
    engine.assert_rolled_up();
}

/// Stores 500 events, breaks the tables with `sql`, starts again with an open intent, offers the chunk again.
fn broken_and_settled(sql: &[&str]) {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let start = now_us();
    let edge = stream("on-prem", "edge", 0);
    let first = chunk(&edge, 0..500, start, 10);
    analytics.store(&first);
    let state = analytics.kill();
    forge_intent(&engine, state.path());
    sql.iter().for_each(|sql| drop(engine.sql(sql)));
    let analytics = Analytics::on(&engine, state, &[]);
    analytics.store(&first);
    analytics.store(&chunk(&edge, 500..600, start, 10));
    assert_eq!(engine.number(RAW), 600, "{sql:?}");
    engine.assert_rolled_up();
    assert_eq!(engine.sql("SELECT name FROM system.tables WHERE name LIKE 'repair%'"), "");
}

#[test]
fn a_roll_up_that_lost_its_part_is_rebuilt() {
    for table in ROLLUPS.iter().map(|rollup| rollup.table).chain(["stored_seqs"]) {
        broken_and_settled(&[&format!("TRUNCATE TABLE weir.{table}")]);
    }
}

#[test]
fn a_start_that_dies_while_it_heals_is_healed_by_the_next() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    analytics.store(&chunk(&stream("on-prem", "edge", 0), 0..500, now_us(), 10));
    let state = analytics.kill();
    forge_intent(&engine, state.path());
    engine.sql("TRUNCATE TABLE weir.requests_1h");
    let mut dies = Analytics::command(&engine, state.path(), &[("WEIR_FAILPOINT", "settle.after_heal")]);
    assert_eq!(dies.output().expect("it runs").status.code(), None, "it was to die");
    let _healed = Analytics::on(&engine, state, &[]);
    assert_eq!(engine.number(RAW), 500);
    engine.assert_rolled_up();
}

#[test]
fn roll_ups_of_a_block_that_raw_lost_are_taken_back() {
    broken_and_settled(&["TRUNCATE TABLE weir.access_events"]);
}

#[test]
fn a_block_that_is_there_twice_is_there_once_after() {
    broken_and_settled(&["INSERT INTO weir.access_events SELECT * FROM weir.access_events"]);
}

#[test]
fn a_repair_that_dies_is_repaired_by_the_next() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    analytics.store(&chunk(&stream("on-prem", "edge", 0), 0..500, now_us(), 10));
    let state = analytics.kill();
    let day = engine.sql("SELECT toString(any(toDate(ts))) FROM weir.access_events");
    let repair = |failpoint: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weir-analytics"));
        command.args(["repair", "--day", &day, "--clickhouse", &engine.url()]).env("WEIR_FAILPOINT", failpoint);
        command.output().expect("it runs")
    };
    engine.sql("INSERT INTO weir.access_events SELECT * FROM weir.access_events");
    for failpoint in
        ["repair.before_swap", "repair.between_swaps:1", "repair.between_swaps:2", "repair.between_swaps:3"]
    {
        assert_eq!(repair(failpoint).status.code(), None, "{failpoint}: it was to die");
    }
    let done = repair("");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8_lossy(&done.stdout).starts_with("500 events"));
    assert_eq!(engine.number(RAW), 500);
    engine.assert_rolled_up();
    drop(state);
}

#[test]
fn an_ingestor_without_an_engine_waits_and_refuses_for_now() {
    let mut engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let edge = stream("on-prem", "edge", 0);
    let first = chunk(&edge, 0..10, now_us(), 10);
    analytics.store(&first);
    engine.kill();
    let refused = analytics.post(&chunk(&stream("on-prem", "edge", 1), 0..10, now_us(), 10));
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert_eq!(analytics.get("/healthz").status, 503);
    assert_eq!(analytics.get("/").status, 200, "the page is there without an engine");
    let engine = engine.start_again();
    assert_eq!(analytics.store(&first)["duplicate"], 10);
    analytics.store(&chunk(&edge, 10..20, now_us(), 10));
    assert_eq!(engine.number(RAW), 20);
    engine.assert_rolled_up();
}
