//! ClickHouse's HTTP interface as its clients see it: mostly what an HTTP layer of our own got wrong once
//! (rows E1-E11 of the cases), so that a library that changes it is noticed.

use std::io::{BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::engine::{Engine, receive, send};

#[test]
fn it_answers_like_a_server() {
    let engine = Engine::start();
    assert_eq!(engine.get("/ping").text(), "Ok.\n");
    assert_eq!(engine.get("/").text(), "Ok.\n");
    for (target, status) in [("/replicas_status", 200), ("/play", 200), ("/dashboard", 200), ("/nothing", 403)] {
        assert_eq!(engine.get(target).status, status, "{target}");
    }
    let reply = engine.get("/?query=SELECT%201&query_id=mine&default_format=JSONEachRow");
    assert_eq!((reply.status, reply.text().as_str()), (200, "{\"1\":1}\n"));
    assert_eq!(reply.header("x-clickhouse-query-id"), Some("mine"));
    assert_eq!(reply.header("x-clickhouse-format"), Some("JSONEachRow"));
    assert!(reply.header("x-clickhouse-summary").is_some_and(|summary| summary.contains("\"read_rows\":\"1\"")));
    // The query may begin in the URL and end in the body.
    assert_eq!(engine.post("/?query=SELECT%20number", "FROM numbers(2)").text(), "0\n1\n");
    let bound = engine.post("/?param_a=%27)%3B%20DROP&param_n=41", "SELECT {a:String}, {n:UInt8} + 1");
    assert_eq!(bound.text(), "\\'); DROP\t42\n");
    // It is a server, also where a clickhouse-local would be more lenient.
    assert_eq!(engine.post("/", "1 + 1").code(), "62");
    assert_eq!(
        engine.sql("SELECT getSetting('allow_introspection_functions'), getSetting('async_insert')"),
        "false\tfalse"
    );
}

#[test]
fn get_may_only_read() {
    let engine = Engine::start();
    engine.sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    for query in ["DROP%20TABLE%20t", "INSERT%20INTO%20t%20VALUES%20(1)", "INSERT%20INTO%20t%20SELECT%201"] {
        let reply = engine.get(&format!("/?query={query}"));
        assert_eq!(reply.code(), "164", "{query}: {}", reply.text());
    }
    assert_eq!(engine.sql("SELECT count() FROM t"), "0");
}

/// E1.
#[test]
fn one_query_gives_the_same_numbers_in_every_format() {
    let engine = Engine::start();
    let sql = "SELECT max(blockSize()) AS a, sum(rowNumberInBlock()) AS b, uniq(blockNumber()) AS c, count() AS d FROM numbers(300000)";
    let wanted = engine.sql(sql);
    assert!(wanted.ends_with("\t300000"), "{wanted}");
    let formats =
        ["CSV", "JSON", "JSONEachRow", "JSONCompact", "Native", "RowBinary", "Parquet", "Arrow", "Values", "Pretty"];
    for format in formats {
        let result = engine.post(&format!("/?default_format={format}"), sql);
        assert_eq!(result.status, 200, "{format}: {}", result.text());
        if format == "Pretty" {
            wanted.split('\t').for_each(|number| assert!(result.text().contains(number), "{}", result.text()));
            continue;
        }
        engine.sql("CREATE OR REPLACE TABLE back (a UInt64, b UInt64, c UInt64, d UInt64) ENGINE = Memory");
        let back = engine.post(&format!("/?query=INSERT%20INTO%20back%20FORMAT%20{format}"), &result.body);
        assert_eq!(back.status, 200, "{format}: {}", back.text());
        assert_eq!(engine.sql("SELECT * FROM back"), wanted, "{format}");
    }
}

/// E2.
#[test]
fn a_session_is_free_as_soon_as_its_result_is_read() {
    let engine = Engine::start();
    engine.sql_with("session_id=s", "CREATE TEMPORARY TABLE mine AS SELECT 7 AS a");
    let mut reader = BufReader::new(engine.connect());
    for round in 0..150 {
        let target = "/?session_id=s&query_id=always-the-same";
        send(reader.get_mut(), "POST", target, &[], b"SELECT number, (SELECT a FROM mine) FROM numbers(20000)");
        let reply = receive(&mut reader);
        assert!(reply.status == 200 && reply.complete, "round {round}: {} {}", reply.code(), reply.text());
    }
    assert_eq!(engine.post("/", "SELECT a FROM mine").code(), "60");
}

/// E4.
#[test]
fn an_administrator_may_drop_the_database_default() {
    let engine = Engine::start();
    engine.sql("CREATE DATABASE other");
    engine.sql("CREATE TABLE other.t (a UInt64) ENGINE = MergeTree ORDER BY a");
    engine.sql("INSERT INTO other.t VALUES (5)");
    let dropped = engine.post("/", "DROP DATABASE default SYNC");
    let asked = engine.post("/?database=other", "SELECT a FROM t");
    assert_eq!((asked.status, asked.text().as_str()), (200, "5\n"), "after {}: {}", dropped.text(), asked.text());
    assert_eq!(engine.sql("SELECT 1"), "1");
    let engine = Engine::on(engine.kill(), &[]);
    assert_eq!(engine.sql("SELECT a FROM other.t"), "5");
}

/// E6.
#[test]
fn a_query_of_70_kib_in_the_url_is_answered() {
    let engine = Engine::start();
    let long = "x".repeat(70 << 10);
    let reply = engine.get(&format!("/?query=SELECT%20length('{long}')"));
    assert_eq!((reply.status, reply.text()), (200, format!("{}\n", long.len())));
}

/// E7.
#[test]
fn names_may_be_those_of_clauses() {
    let engine = Engine::start();
    let names = ["format", "settings", "limit", "values", "into", "final", "sample", "offset", "window", "totals"];
    for name in names {
        let sql = format!("SELECT number AS `{name}` FROM numbers(3) ORDER BY `{name}` DESC LIMIT 2 FORMAT CSV");
        assert_eq!(engine.sql(&sql), "2\n1", "{name}");
    }
    assert_eq!(engine.sql("SELECT 'FORMAT Null' AS format, 1 AS settings ORDER BY format, settings"), "FORMAT Null\t1");
    // What ends a statement as `FORMAT name` would.
    assert_eq!(engine.sql("SELECT number AS format FROM numbers(3) ORDER BY format DESC"), "2\n1\n0");
    assert_eq!(
        engine.sql("SELECT count() AS format FROM numbers(3) HAVING format BETWEEN 1 AND 5 ORDER BY format ASC"),
        "3"
    );
    assert_eq!(engine.sql("WITH 3 AS select SELECT select + 1 -- FORMAT Null"), "4");
}

/// E8.
#[test]
fn a_refusal_before_the_body_was_read_closes_the_connection_and_says_so() {
    let engine = Engine::of_users(&[("w", "full")], &[]);
    let mut stream = engine.connect();
    // A body that never comes whole.
    let head = "POST /?user=w&password=wrong&query=INSERT%20INTO%20t%20FORMAT%20TSV HTTP/1.1\r\nhost: a\r\ncontent-length: 500000000\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("written");
    stream.write_all(&vec![b'1'; 1000]).expect("written");
    stream.shutdown(std::net::Shutdown::Write).expect("half closed");
    let reply = receive(&mut BufReader::new(stream));
    assert_eq!((reply.status, reply.code()), (403, "516"), "{}", reply.text());
    assert!(
        reply.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
        "no Connection: close"
    );
}

/// E9.
#[test]
fn the_time_zone_of_a_request_is_that_of_its_answer() {
    let engine = Engine::start();
    let reply = engine.post("/?session_timezone=Asia/Tokyo", "SELECT toDateTime(1767225600), timezone()");
    assert_eq!(reply.header("x-clickhouse-timezone"), Some("Asia/Tokyo"));
    assert_eq!(reply.text(), "2026-01-01 09:00:00\tAsia/Tokyo\n");
}

/// E10.
#[test]
fn a_query_is_killed_by_its_id() {
    let engine = Engine::start();
    let mut running = engine.connect();
    let began = Instant::now();
    send(
        &mut running,
        "POST",
        "/?query_id=long&function_sleep_max_microseconds_per_block=100000000",
        &[],
        b"SELECT count() FROM numbers(100000000000000) WHERE NOT ignore(sipHash64(number))",
    );
    engine.await_running("sipHash64", 1);
    let killed = engine.sql_with("param_id=long", "KILL QUERY WHERE query_id = {id:String} SYNC");
    assert!(killed.contains("long"), "{killed}");
    let reply = receive(&mut BufReader::new(running));
    assert_eq!(reply.code(), "394", "{}", reply.text());
    assert!(began.elapsed() < Duration::from_secs(60));
    engine.await_running("sipHash64", 0);
}

#[test]
fn a_killing_of_everything_does_not_end_the_server() {
    let engine = Engine::start();
    engine.sql("KILL QUERY WHERE 1 SYNC");
    assert_eq!(engine.sql("SELECT 1"), "1");
}

#[test]
fn a_late_error_cuts_the_response_and_names_itself() {
    let engine = Engine::start();
    let sql = "SELECT throwIf(number = 3000000, 'late'), number FROM numbers(4000000)";
    let reply = engine.post("/", sql);
    let tag = reply.header("x-clickhouse-exception-tag").expect("a tag").to_owned();
    assert!(reply.status == 200 && !reply.complete, "{}", reply.status);
    assert!(reply.text().contains(&tag) && reply.text().contains("Code: 395. DB::Exception: late"));
    // Asked to wait for the end, the same statement fails with its status.
    let waited = engine.post("/?wait_end_of_query=1", sql);
    assert_eq!((waited.status, waited.code()), (500, "395"));
}

#[test]
fn a_page_of_another_site_is_refused_where_nobody_needs_a_password() {
    let engine = Engine::start();
    engine.sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    for (headers, status) in [
        (&[("origin", "http://evil.example")][..], 403),
        (&[("origin", "null")], 403),
        (&[("origin", "http://localhost.evil.example:8123")], 403),
        (&[("origin", "http://localhost:8123")], 200),
    ] {
        for target in ["/", "/query", "/metrics", "/play"] {
            let reply = engine.request("POST", target, headers, b"SELECT 1");
            let refused = target == "/metrics" || status == 403;
            assert_eq!(reply.status == 403, refused, "{headers:?} {target}: {} {}", reply.status, reply.text());
        }
    }
    for (host, status) in [
        ("evil.example:8123", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost", 200),
        ("[::1]:8123", 200),
        ("127.0.0.1", 200),
    ] {
        let mut rebound = engine.connect();
        rebound
            .write_all(format!("GET /?query=SELECT%201 HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes())
            .expect("written");
        assert_eq!(receive(&mut BufReader::new(rebound)).status, status, "{host}");
    }
    // Where everybody has a password there is nothing to ride on.
    let engine = Engine::of_users(&[("w", "full")], &[]);
    let headers = [("origin", "http://a.example"), ("x-clickhouse-user", "w"), ("x-clickhouse-key", "secret")];
    assert_eq!(engine.request("POST", "/", &headers, b"SELECT 1").text(), "1\n");
}

#[test]
fn the_server_s_figures_are_the_server_s() {
    let engine = Engine::start();
    engine.sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    let value = |name: &str| -> u64 {
        let text = engine.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name}"))
    };
    let inserted = "ClickHouseProfileEvents_InsertedRows";
    let before = value(inserted);
    engine.sql("INSERT INTO t SELECT number FROM numbers(12)");
    assert_eq!(value(inserted), before + 12);
    assert!(value("ClickHouseMetrics_MemoryTracking") > 1 << 20);
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool runs; it is in Debian's package prometheus");
    let text = engine.get("/metrics");
    promtool.stdin.take().expect("piped").write_all(&text.body).expect("written");
    let output = promtool.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    // The names are ClickHouse's own; that it can be read is what counts.
    assert!(output.status.code() != Some(1), "{said}");
}
