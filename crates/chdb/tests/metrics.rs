//! The program's own figures, asserted like a response: each test asks for the change that its own requests made.

mod common;

use std::io::Write;
use std::process::{Command, Stdio};

use common::Engine;

fn value(engine: &Engine, series: &str) -> f64 {
    let text = engine.get("/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
}

#[test]
fn what_was_done_is_counted() {
    let engine = Engine::start();
    engine.sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    assert_eq!(engine.post("/?query=INSERT%20INTO%20t%20FORMAT%20TSV", "1\n2\n3\n").status, 200);
    assert_eq!(engine.post("/", "INSERT INTO t SELECT number FROM numbers(10)").status, 200);
    assert_eq!(engine.sql("SELECT count() FROM (SELECT a FROM t)"), "13");
    engine.post("/", "SELECT nosuch");
    engine.post("/", "SELECT nosuch FROM t");
    engine.post("/?user=nobody", "SELECT 1");
    let late = engine.post("/", "SELECT throwIf(number = 3000000, 'late') FROM numbers(4000000)");
    assert!(!late.complete);
    for (series, wanted) in [
        ("weir_chdb_queries_total{kind=\"insert\"}", 2.0),
        ("weir_chdb_queries_total{kind=\"select\"}", 4.0),
        ("weir_chdb_queries_total{kind=\"other\"}", 1.0),
        ("weir_chdb_query_duration_seconds_count{kind=\"select\"}", 4.0),
        ("weir_chdb_errors_total{code=\"47\"}", 2.0),
        ("weir_chdb_errors_total{code=\"395\"}", 1.0),
        ("weir_chdb_errors_total{code=\"516\"}", 1.0),
        ("weir_chdb_inserted_rows_total", 13.0),
        ("weir_chdb_queries_running", 0.0),
        ("weir_chdb_sessions", 0.0),
        ("weir_chdb_connections", 1.0),
    ] {
        engine.await_metric(&format!("{series} {wanted}"));
    }
    assert!(value(&engine, "weir_chdb_read_rows_total") >= 13.0);
    assert!(value(&engine, "weir_chdb_resident_memory_bytes") > 50e6);
    engine.post("/?session_id=s", "SELECT 1");
    engine.await_metric("weir_chdb_sessions 1");
}

#[test]
fn promtool_has_nothing_against_it() {
    let engine = Engine::start();
    engine.post("/", "SELECT nosuch");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs; it is in Debian's package prometheus");
    let text = engine.get("/metrics");
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    promtool.stdin.take().expect("piped").write_all(&text.body).expect("written");
    let output = promtool.wait_with_output().expect("ended");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
