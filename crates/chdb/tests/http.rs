//! ClickHouse's HTTP interface, as a client sees it.

mod common;

use std::io::BufReader;
use std::process::Command;

use common::Engine;

#[test]
fn it_answers_like_a_server() {
    let engine = Engine::start();
    assert_eq!(engine.get("/ping").text(), "Ok.\n");
    assert_eq!(engine.get("/").text(), "Ok.\n");
    assert_eq!(engine.get("/replicas_status").status, 200);
    assert_eq!(engine.get("/nothing").status, 404);

    let reply = engine.get("/?query=SELECT%201&query_id=mine&default_format=JSONEachRow");
    assert_eq!((reply.status, reply.text().as_str()), (200, "{\"1\":1}\n"));
    assert_eq!(reply.header("x-clickhouse-query-id"), Some("mine"));
    assert_eq!(reply.header("x-clickhouse-format"), Some("JSONEachRow"));
    assert_eq!(reply.header("content-length"), Some("8"));
    assert!(reply.header("x-clickhouse-summary").is_some_and(|summary| summary.contains("\"read_rows\":\"1\"")));
    assert!(reply.header("x-clickhouse-timezone").is_some());

    assert_eq!(engine.post("/", "SELECT 1 FORMAT CSV").header("x-clickhouse-format"), Some("CSV"));
    // The query may begin in the URL and end in the body.
    assert_eq!(engine.post("/?query=SELECT%20number", "FROM numbers(2)").text(), "0\n1\n");
    let by_header = engine.request(
        "POST",
        "/",
        &[("x-clickhouse-format", "CSV"), ("x-clickhouse-database", "system")],
        b"SELECT currentDatabase()",
    );
    assert_eq!(by_header.text(), "\"system\"\n");
    assert_eq!(engine.post("/?database=system", "SELECT count() > 0 FROM one").text(), "1\n");
}

#[test]
fn curl_talks_to_it() {
    let engine = Engine::start();
    let curl = |arguments: &[&str]| {
        let output =
            Command::new("curl").args(["-sS", "--fail-with-body", "--max-time", "20"]).args(arguments).output();
        let output = output.expect("curl runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let url = engine.url();
    assert_eq!(curl(&[&format!("{url}/ping")]), "Ok.\n");
    assert_eq!(curl(&[&url, "-d", "SELECT 1 + 1"]), "2\n");
    assert_eq!(curl(&["-G", &url, "--data-urlencode", "query=SELECT {a:String}", "-d", "param_a=x"]), "x\n");
    assert_eq!(curl(&[&url, "-F", "query=SELECT {a:UInt8} + 1", "-F", "param_a=4"]), "5\n");
    let packed = curl(&[
        "--compressed",
        &format!("{url}/?enable_http_compression=1"),
        "-d",
        "SELECT sum(number) FROM numbers(10)",
    ]);
    assert_eq!(packed, "45\n");
    curl(&[&url, "-d", "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a"]);
    curl(&[
        &format!("{url}/?query=INSERT%20INTO%20t%20FORMAT%20CSV"),
        "--data-binary",
        "1\n2\n3\n",
        "-H",
        "Expect: 100-continue",
    ]);
    assert_eq!(curl(&[&url, "-d", "SELECT sum(a) FROM t"]), "6\n");
}

#[test]
fn errors_come_as_clickhouse_reports_them() {
    let engine = Engine::start();
    for (sql, status, code, name) in [
        ("SELECT * FROM nosuch", 404, "60", "UNKNOWN_TABLE"),
        ("SELECT nosuch", 404, "47", "UNKNOWN_IDENTIFIER"),
        ("SELEC 1", 400, "62", "SYNTAX_ERROR"),
        ("SELECT throwIf(1)", 500, "395", "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT 1 FORMAT Nosuch", 404, "73", "UNKNOWN_FORMAT"),
        ("SELECT toDate('x')", 400, "38", "CANNOT_PARSE_DATE"),
        ("SELECT 1; SELECT 2", 400, "62", "Multi-statements"),
        (" ; ", 400, "62", "Empty query"),
        ("SELECT 1 INTO OUTFILE '/tmp/weir-never'", 501, "48", "NOT_IMPLEMENTED"),
        ("INSERT INTO nosuch VALUES (1)", 404, "60", "UNKNOWN_TABLE"),
        ("CREATE USER a", 500, "514", "ACCESS_STORAGE_FOR_INSERTION_NOT_FOUND"),
    ] {
        let reply = engine.post("/", sql);
        assert_eq!((reply.status, reply.code()), (status, code), "{sql}: {}", reply.text());
        assert!(reply.text().starts_with(&format!("Code: {code}. DB::Exception: ")), "{}", reply.text());
        assert!(reply.text().contains(name) && reply.text().contains("(version 26.7"), "{}", reply.text());
    }
    let unknown = engine.post("/?database=nosuch", "SELECT 1");
    assert_eq!((unknown.status, unknown.code()), (404, "81"));
    let setting = engine.post("/?nosuch_setting=1", "SELECT 1");
    assert_eq!((setting.status, setting.code()), (404, "115"));
}

#[test]
fn a_late_error_cuts_the_response_and_names_itself() {
    let engine = Engine::start();
    let sql = "SELECT throwIf(number = 3000000, 'late'), number FROM numbers(4000000)";
    let reply = engine.post("/", sql);
    let tag = reply.header("x-clickhouse-exception-tag").expect("a tag").to_owned();
    assert_eq!((reply.status, reply.complete), (200, false));
    assert!(reply.text().ends_with(&format!(" {tag}\r\n__exception__\r\n")), "no frame at the end");
    assert!(reply.text().contains("Code: 395. DB::Exception: late"));
    // Asked to wait for the end, the same statement fails with its status.
    let waited = engine.post("/?wait_end_of_query=1", sql);
    assert_eq!((waited.status, waited.code()), (500, "395"));
}

#[test]
fn get_may_only_read() {
    let engine = Engine::start();
    engine.sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    for query in [
        "DROP%20TABLE%20t",
        "INSERT%20INTO%20t%20VALUES%20(1)",
        "INSERT%20INTO%20t%20SELECT%201",
        "KILL%20QUERY%20WHERE%201",
        "SYSTEM%20FLUSH%20LOGS",
    ] {
        let reply = engine.get(&format!("/?query={query}"));
        assert_eq!(reply.code(), "164", "{query}: {}", reply.text());
    }
    assert_eq!(engine.get("/?query=SELECT%201&readonly=0").code(), "164");
    assert_eq!(engine.get("/?query=SELECT%201%20SETTINGS%20readonly%3D0").code(), "164");
    assert_eq!(engine.sql("SELECT count() FROM t"), "0");
}

#[test]
fn parameters_are_bound_by_the_engine() {
    let engine = Engine::start();
    let reply = engine.post(
        "/?param_a=%27)%3B%20DROP&param_n=41&param_t=one",
        "SELECT {a:String}, {n:UInt8} + 1, count() FROM system.{t:Identifier}",
    );
    assert_eq!(reply.text(), "\\'); DROP\t42\t1\n");
    assert_eq!(engine.post("/", "SELECT {a:String}").code(), "456");
    assert_eq!(engine.post("/?param_a=x", "SELECT {a:UInt8}").code(), "457");
}

#[test]
fn settings_hold_for_one_request_only() {
    let engine = Engine::start();
    let ask = "SELECT getSetting('max_threads'), getSetting('max_block_size'), currentDatabase()";
    let usual = engine.sql(ask);
    // On one kept connection, one after the other.
    let mut reader = BufReader::new(engine.connect());
    let mut on_kept = |target: &str, sql: &str| {
        common::send(reader.get_mut(), "POST", target, &[], sql.as_bytes());
        common::receive(&mut reader).text().trim_end().to_owned()
    };
    assert_eq!(on_kept("/?max_threads=1&max_block_size=77&database=system", ask), "1\t77\tsystem");
    assert_eq!(on_kept("/", ask), usual);
    assert_eq!(on_kept("/", "SET max_block_size = 99"), "");
    assert_eq!(on_kept("/", "USE system"), "");
    assert_eq!(on_kept("/", "CREATE TEMPORARY TABLE tt (a UInt8)"), "");
    assert_eq!(on_kept("/", ask), usual);
    assert!(on_kept("/", "SELECT * FROM tt").contains("UNKNOWN_TABLE"));
    // Over many at once.
    std::thread::scope(|scope| {
        for thread in 1..=4 {
            let (engine, usual) = (&engine, &usual);
            scope.spawn(move || {
                for _ in 0..25 {
                    let given = engine.post(&format!("/?max_block_size={thread}00"), ask).text();
                    assert_eq!(given.split('\t').nth(1), Some(format!("{thread}00").as_str()));
                    assert_eq!(engine.sql(ask), *usual);
                }
            });
        }
    });
}

#[test]
fn big_results_are_streamed_and_whole() {
    let engine = Engine::start();
    let sql = "SELECT number, toString(number) FROM numbers(1000000)";
    for format in [
        "TSVWithNames",
        "TSVWithNamesAndTypes",
        "CSVWithNames",
        "JSONCompactEachRowWithNames",
        "RowBinaryWithNamesAndTypes",
        "JSONEachRow",
        "CSV",
        "RowBinary",
    ] {
        let target = format!("/?default_format={format}");
        let streamed = engine.post(&target, sql);
        // Named in the URL, this setting makes the engine format the result in one go.
        let whole = engine.post(&format!("{target}&extremes=0"), sql);
        assert_eq!((streamed.header("transfer-encoding"), whole.header("transfer-encoding")), (Some("chunked"), None));
        let waited = engine.post(&format!("{target}&wait_end_of_query=1"), sql);
        assert!(waited.complete && waited.body == whole.body, "{format}: {}", waited.body.len());
        assert!(waited.header("x-clickhouse-summary").is_some_and(|told| told.contains("\"result_rows\":\"1000000\"")));
        assert!(
            streamed.complete && streamed.body == whole.body,
            "{format}: {} and {}",
            streamed.body.len(),
            whole.body.len()
        );
    }
    let json = engine.post("/?default_format=JSON", "SELECT number FROM numbers(200000)").text();
    assert!(json.contains("\"rows\": 200000") && json.matches("\"meta\"").count() == 1);
    let totals = engine
        .sql("SELECT number % 3 AS k, count() FROM numbers(10) GROUP BY k WITH TOTALS ORDER BY k FORMAT TSVWithNames");
    assert_eq!(totals, "k\tcount()\n0\t4\n1\t3\n2\t3\n\n0\t10");
}

#[test]
fn a_client_that_leaves_ends_its_statement() {
    let engine = Engine::start();
    let running =
        "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64%' AND query NOT LIKE '%system.processes%'";
    for sql in [
        "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 3 FORMAT JSON",
        "SELECT sipHash64(number) FROM system.numbers",
    ] {
        let mut stream = engine.connect();
        common::send(&mut stream, "POST", "/", &[], sql.as_bytes());
        engine.await_sql(running, "1");
        drop(stream);
        engine.await_sql(running, "0");
    }
}

#[test]
fn clients_that_stall_are_let_go() {
    let engine = Engine::with(&["--idle-timeout", "1", "--transfer-timeout", "1"]);
    engine.sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    let mut silent = engine.connect();
    let mut unfinished = engine.connect();
    std::io::Write::write_all(&mut unfinished, b"GET / HTTP/1.1\r\nhost: 127").expect("written");
    let mut slow = engine.connect();
    let head =
        b"POST /?query=INSERT%20INTO%20t%20FORMAT%20TSV HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n1\n";
    std::io::Write::write_all(&mut slow, head).expect("written");
    let timed_out = common::receive(&mut BufReader::new(slow));
    assert_eq!((timed_out.status, timed_out.code()), (503, "209"), "{}", timed_out.text());
    for stream in [&mut silent, &mut unfinished] {
        let mut rest = Vec::new();
        std::io::Read::read_to_end(stream, &mut rest).expect("closed by the server");
    }
    assert_eq!(engine.sql("SELECT count() FROM t"), "0");
}

#[test]
fn a_browser_s_page_of_another_site_is_refused() {
    let engine = Engine::start();
    let page = engine.request("POST", "/", &[("origin", "http://evil.example")], b"SELECT 1");
    assert_eq!((page.status, page.code()), (403, "497"), "{}", page.text());
    let mut rebound = engine.connect();
    std::io::Write::write_all(&mut rebound, b"GET /?query=SELECT%201 HTTP/1.1\r\nhost: evil.example:8123\r\n\r\n")
        .expect("written");
    assert_eq!(common::receive(&mut BufReader::new(rebound)).status, 403);
    assert_eq!(engine.get("/?query=SELECT%201").status, 200);
}

#[test]
fn limits_answer_and_do_not_hang() {
    let engine = Engine::with(&["--max-queries", "1", "--max-query-size", "1000", "--max-head", "8192"]);
    engine.sql("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a");
    // One after the other there is always room.
    for _ in 0..50 {
        engine.sql("SELECT 1");
    }
    // An insert whose body is asked for has the only slot.
    let mut busy = BufReader::new(engine.connect());
    let head = b"POST /?query=INSERT%20INTO%20t%20FORMAT%20TSV HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n";
    std::io::Write::write_all(busy.get_mut(), head).expect("written");
    assert_eq!(common::receive(&mut busy).status, 100);
    let refused = engine.post("/", "SELECT 1");
    assert_eq!((refused.status, refused.code()), (500, "202"));
    assert_eq!(engine.get("/ping").status, 200);
    std::io::Write::write_all(busy.get_mut(), b"7\n").expect("written");
    assert_eq!(common::receive(&mut busy).status, 200);
    assert_eq!(engine.sql("SELECT a FROM t"), "7");
    let long = engine.post("/", format!("SELECT '{}'", "x".repeat(2000)));
    assert_eq!((long.status, long.code()), (413, "229"));
    let head = engine.request("GET", "/ping", &[("x-long", &"x".repeat(20_000))], b"");
    assert_eq!(head.status, 431);
}
