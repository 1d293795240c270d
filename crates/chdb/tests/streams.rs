//! Long results: how much memory they take, what a slow client does, and what is refused.

mod common;

use std::io::{BufRead, BufReader, Read};

use common::Engine;

const GIB: u64 = 1 << 30;

/// Peak of resident memory, in bytes.
fn peak(engine: &Engine) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", engine.pid())).expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

/// Reads the whole answer without keeping it, and gives the length of its body with the framing of its chunks.
fn swallow(engine: &Engine, target: &str, headers: &[(&str, &str)], sql: &str) -> u64 {
    let mut stream = engine.connect();
    common::send(&mut stream, "POST", target, headers, sql.as_bytes());
    let mut reader = BufReader::with_capacity(1 << 20, stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status");
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    while line.trim() != "" {
        line.clear();
        reader.read_line(&mut line).expect("a header");
    }
    let mut length = 0;
    let mut tail = Vec::new();
    loop {
        let buffer = reader.fill_buf().expect("a piece");
        if buffer.is_empty() {
            panic!("the body does not end");
        }
        let count = buffer.len();
        tail.extend_from_slice(buffer);
        tail.drain(..tail.len().saturating_sub(5));
        reader.consume(count);
        length += count as u64;
        if tail == b"0\r\n\r\n" {
            return length;
        }
    }
}

#[test]
fn a_gibibyte_takes_little_memory() {
    let made = |rows: u64| format!("SELECT number, repeat(toString(number % 10), 1016) AS s FROM numbers({rows})");
    let engine = Engine::start();
    engine.sql("CREATE TABLE big (number UInt64, s String) ENGINE = MergeTree ORDER BY number");
    engine.sql(&format!("INSERT INTO big {} SETTINGS max_block_size = 8192", made(GIB / 1024)));
    // Peaks of the writing are forgotten.
    engine.terminate();
    let engine = Engine::on(engine.end(), &[]);
    let stored = |rows: u64| format!("SELECT * FROM big LIMIT {rows}");
    swallow(&engine, "/?default_format=RowBinary", &[], &stored(10_000));
    let before = peak(&engine);
    for (target, headers, sql) in [
        ("/?default_format=RowBinary", &[][..], &stored as &dyn Fn(u64) -> String),
        ("/?default_format=RowBinary", &[][..], &made),
        ("/?default_format=RowBinary&wait_end_of_query=1", &[], &made),
        ("/?default_format=Native&client_protocol_version=54460", &[], &made),
        ("/?default_format=RowBinary", &[("accept-encoding", "zstd")], &made),
        ("/?default_format=RowBinary&compress=1", &[], &made),
    ] {
        let length = swallow(&engine, target, headers, &sql(GIB / 1024));
        let grown = peak(&engine) - before;
        println!("{target} {headers:?}: {} MiB on the wire, peak grown by {} MiB", length >> 20, grown >> 20);
        assert!(length > GIB || !headers.is_empty() || target.contains("compress"), "{target}: {length}");
        assert!(grown < 100 << 20, "{target} {headers:?}: {} MiB", grown >> 20);
    }
}

#[test]
fn what_must_be_whole_is_bounded() {
    let engine = Engine::with(&["--max-whole-result", "1000000"]);
    let sql = "SELECT repeat(toString(number % 10), 1000) FROM numbers(10000) SETTINGS max_block_size = 100";
    for format in ["JSON", "JSONCompact", "Pretty", "Parquet", "XML"] {
        let reply = engine.post(&format!("/?default_format={format}"), sql);
        assert_eq!(reply.code(), "396", "{format}: {} bytes", reply.body.len());
        let short = engine.post(&format!("/?default_format={format}"), "SELECT 1");
        assert_eq!(short.status, 200, "{format}: {}", short.text());
    }
    // A narrower bound of the client's own holds, a wider one does not.
    let asked = |bytes: u64| {
        engine.post(
            &format!("/?default_format=JSON&max_result_bytes={bytes}"),
            "SELECT repeat(toString(number % 10), 1000) FROM numbers(500)",
        )
    };
    assert_eq!((asked(1000).code(), asked(900_000).status, asked(100_000_000).status), ("396", 200, 200));
    assert_eq!(engine.post("/?default_format=JSON&max_result_bytes=100000000", sql).code(), "396");
    assert_eq!(engine.post("/?default_format=CSV", sql).status, 200);
}

#[test]
fn a_client_that_does_not_read_is_let_go() {
    let engine = Engine::with(&["--transfer-timeout", "1"]);
    let running =
        "SELECT count() FROM system.processes WHERE query LIKE '%system.numbers%' AND query NOT LIKE '%processes%'";
    let mut stream = engine.connect();
    common::send(&mut stream, "POST", "/", &[], b"SELECT number FROM system.numbers");
    let mut first = [0; 100];
    stream.read_exact(&mut first).expect("it begins");
    engine.await_sql(running, "1");
    engine.await_sql(running, "0");
}

#[test]
fn many_statements_run_at_once() {
    let engine = Engine::start();
    engine.sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                (0..10).for_each(|_| {
                    assert_eq!(engine.post("/", "INSERT INTO t SELECT number FROM numbers(1000)").status, 200)
                })
            });
            scope.spawn(|| {
                for _ in 0..10 {
                    let reply = engine.post("/", "SELECT number FROM numbers(300000)");
                    assert!(reply.complete && reply.text().ends_with("299999\n"));
                }
            });
        }
    });
    assert_eq!(engine.sql("SELECT count() FROM t"), "40000");
}
