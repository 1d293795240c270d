//! What it holds: memory, big results, many connections.

use std::io::{BufRead as _, BufReader};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::{Engine, chunks, receive, send};

#[test]
fn memory_is_bounded_and_said() {
    let engine = Engine::with(&["--memory", "700MiB"]);
    engine.sql("SELECT 1");
    for sql in [
        "SELECT count() FROM (SELECT number, groupArray(toString(number)) FROM numbers(30000000) GROUP BY number)",
        "SELECT length(arrayMap(x -> toString(x), range(40000000)))",
    ] {
        let reply =
            engine.post("/?max_bytes_before_external_group_by=0&max_bytes_ratio_before_external_group_by=0", sql);
        assert_eq!(reply.code(), "241", "{sql}: {}", reply.text());
        assert!(reply.text().contains("memory limit exceeded"), "{}", reply.text());
    }
    assert_eq!(engine.sql("SELECT 1"), "1");
    // The limit is of what the engine counts; the library's own pages come on top.
    let peak = engine.memory("VmHWM");
    assert!(peak < 1200 << 20, "{} MiB", peak >> 20);
}

/// Rows of 1 KiB, as wide as those of an event with everything in it; of a table, and made by the query.
#[test]
fn a_result_of_a_gibibyte_is_streamed_in_bounded_memory() {
    let made = "SELECT number, repeat(toString(number % 10), 1016) AS s FROM numbers(1048576)";
    let engine = Engine::start();
    engine.sql("CREATE TABLE big (number UInt64, s String) ENGINE = MergeTree ORDER BY number");
    engine.sql(&format!("INSERT INTO big {made} SETTINGS max_block_size = 8192"));
    // Peaks of the writing are forgotten.
    let engine = Engine::on(engine.kill(), &["--memory", "1GiB"]);
    engine.sql("SELECT count() FROM big");
    let before = engine.memory("VmHWM");
    for (target, sql, most) in [
        ("/?default_format=RowBinary", "SELECT * FROM big", 384),
        ("/?default_format=RowBinary&compress=1", "SELECT * FROM big", 384),
        ("/?default_format=JSONEachRow", "SELECT * FROM big", 384),
        ("/?default_format=Native", "SELECT * FROM big", 384),
        // Not of a table: blocks are of 65,409 rows, however wide they are.
        ("/?default_format=RowBinary", made, 1024),
    ] {
        let mut reader = BufReader::with_capacity(1 << 20, engine.connect());
        send(reader.get_mut(), "POST", target, &[], sql.as_bytes());
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            line.clear();
        }
        let mut length = 0;
        assert!(chunks(&mut reader, |piece| length += piece.len() as u64), "{target} {sql}: cut after {length} bytes");
        assert!(length > 1 << 30 || target.contains("compress"), "{target}: {length}");
        let grown = engine.memory("VmHWM").saturating_sub(before);
        println!("{target} {sql}: peak grown by {} MiB", grown >> 20);
        assert!(grown < most << 20, "{target} {sql}: {} MiB", grown >> 20);
    }
}

#[test]
fn two_hundred_clients_are_served_at_once() {
    let engine = Engine::start();
    engine.sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    engine.sql("INSERT INTO t SELECT number FROM numbers(1000)");
    let (ready, served) = (Barrier::new(200), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for client in 0..200 {
            let (engine, ready, served) = (&engine, &ready, &served);
            scope.spawn(move || {
                let mut reader = BufReader::new(engine.connect());
                ready.wait();
                // All are connected; and each asks twice on its connection.
                for _ in 0..2 {
                    let sql = format!("SELECT sum(a) + {client}, sleep(0.2) FROM t GROUP BY ()");
                    send(reader.get_mut(), "POST", "/?max_threads=1", &[], sql.as_bytes());
                    let reply = receive(&mut reader);
                    assert_eq!((reply.status, reply.text()), (200, format!("{}\t0\n", 499_500 + client)));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(served.load(Ordering::Relaxed), 400);
}

#[test]
fn queries_beyond_the_limit_are_refused() {
    let engine = Engine::with(&["--max-queries", "1"]);
    let mut running = engine.connect();
    send(
        &mut running,
        "POST",
        "/?query_id=only",
        &[],
        b"SELECT count() FROM numbers(100000000000000) WHERE NOT ignore(sipHash64(number))",
    );
    let refused = loop {
        let reply = engine.post("/", "SELECT 1");
        if reply.status != 200 {
            break reply;
        }
    };
    assert_eq!(refused.code(), "202", "{}", refused.text());
    assert_eq!(engine.get("/ping").status, 200);
}
