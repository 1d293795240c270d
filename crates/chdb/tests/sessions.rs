//! What is kept between requests, and what is not: sessions, roles, external tables, cancellation by id, waiting.

mod common;

use std::io::BufReader;

use common::Engine;

#[test]
fn a_session_keeps_what_statements_set_and_not_what_urls_bring() {
    let engine = Engine::start();
    let ask = "SELECT getSetting('max_block_size'), getSetting('max_threads'), currentDatabase()";
    let in_session = |target: &str, sql: &str| engine.post(&format!("/?session_id=s{target}"), sql);
    let usual = engine.sql("SELECT getSetting('max_threads')");
    assert_eq!(in_session("", "CREATE TEMPORARY TABLE mine (a UInt8)").status, 200);
    assert_eq!(in_session("", "INSERT INTO mine VALUES (1), (2)").status, 200);
    assert_eq!(in_session("", "SELECT sum(a) FROM mine").text(), "3\n");
    // Set within the session it stays; brought by a URL it ends with the request, also where it was set before.
    assert_eq!(in_session("&max_threads=3", "SET max_block_size = 77").status, 200);
    assert_eq!(in_session("&max_threads=1&max_block_size=5&database=system", ask).text(), "5\t1\tsystem\n");
    assert_eq!(in_session("", ask).text(), format!("77\t{usual}\tdefault\n"));
    assert_eq!(in_session("&database=default", "USE system").status, 200);
    assert_eq!(in_session("", ask).text(), format!("77\t{usual}\tsystem\n"));
    // What fails leaves the session as it was.
    assert_eq!(in_session("&max_threads=2&database=default", "SELECT throwIf(1)").code(), "395");
    assert_eq!(in_session("&nosuch_setting=2", "SELECT 1").code(), "115");
    assert_eq!(in_session("", ask).text(), format!("77\t{usual}\tsystem\n"));
    // Another session, and no session, see nothing of it.
    assert_eq!(engine.post("/?session_id=t", "SELECT * FROM mine").code(), "60");
    assert_eq!(engine.post("/", "SELECT * FROM mine").code(), "60");
    // It ends on demand.
    assert_eq!(in_session("&close_session=1", "SELECT 1").text(), "1\n");
    assert_eq!(in_session("&session_check=1", "SELECT 1").code(), "372");
    assert_eq!(in_session("", "SELECT * FROM mine").code(), "60");
}

#[test]
fn a_session_serves_one_request_at_a_time_and_ends() {
    let engine = Engine::with(&["--max-sessions", "2"]);
    let mut busy = BufReader::new(engine.connect());
    common::send(busy.get_mut(), "POST", "/?session_id=s&query_id=busy", &[], b"SELECT count() FROM system.numbers");
    engine.await_sql("SELECT count() FROM system.processes WHERE query LIKE '%system.numbers'", "1");
    let locked = engine.post("/?session_id=s", "SELECT 1");
    assert_eq!(locked.code(), "373", "{}", locked.text());
    // The longest idle makes room; one in use stays.
    assert_eq!(engine.post("/?session_id=a", "CREATE TEMPORARY TABLE x (a UInt8)").status, 200);
    assert_eq!(engine.post("/?session_id=b", "SELECT 1").status, 200);
    assert_eq!(engine.post("/?session_id=a&session_check=1", "SELECT 1").code(), "372");
    assert_eq!(engine.post("/", "KILL QUERY WHERE query_id = 'busy' SYNC").status, 200);
    assert_eq!(common::receive(&mut busy).code(), "394");
    assert_eq!(engine.post("/?session_id=s&session_check=1", "SELECT 1").text(), "1\n");
    // Its time is over at once.
    assert_eq!(engine.post("/?session_id=s&session_timeout=0", "SELECT 1").text(), "1\n");
    assert_eq!(engine.post("/?session_id=s&session_check=1", "SELECT 1").code(), "372");
    assert_eq!(engine.post("/?session_id=s&session_timeout=4000", "SELECT 1").code(), "374");
}

#[test]
fn get_in_a_session_may_only_read() {
    let engine = Engine::start();
    engine.sql("CREATE TABLE t (a UInt8) ENGINE = Memory");
    for query in
        ["INSERT%20INTO%20t%20VALUES%20(1)", "DROP%20TABLE%20t", "SET%20max_threads%20=%201", "SYSTEM%20FLUSH%20LOGS"]
    {
        assert_eq!(engine.get(&format!("/?session_id=s&query={query}")).code(), "164", "{query}");
    }
    // The session is not locked by it.
    assert_eq!(engine.post("/?session_id=s", "INSERT INTO t VALUES (1)").status, 200);
    assert_eq!(engine.get("/?session_id=s&query=SELECT%20a%20FROM%20t").text(), "1\n");
}

#[test]
fn a_statement_is_cancelled_by_the_client_s_id() {
    let engine = Engine::start();
    for by in ["query_id = 'mine'", "query_id IN ('other', 'mine')"] {
        let mut running = BufReader::new(engine.connect());
        let target = "/?query_id=mine&log_comment=kept";
        common::send(running.get_mut(), "POST", target, &[], b"SELECT count() FROM system.numbers");
        engine.await_sql(
            "SELECT Settings['log_comment'] FROM system.processes WHERE query LIKE 'SELECT count() FROM system.numbers%'",
            "kept",
        );
        // The id is taken while it runs.
        assert_eq!(engine.post("/?query_id=mine", "SELECT 1").code(), "216");
        let killed = engine.post("/", format!("KILL QUERY WHERE {by} SYNC"));
        assert!(killed.text().contains("system.numbers"), "{}", killed.text());
        assert_eq!(common::receive(&mut running).code(), "394", "{by}");
        assert_eq!(engine.post("/?query_id=mine", "SELECT 1").text(), "1\n");
    }
}

#[test]
fn a_request_may_wait_for_its_slot() {
    let engine = Engine::with(&["--max-queries", "1"]);
    let mut busy = BufReader::new(engine.connect());
    let head = b"POST /?query=INSERT%20INTO%20FUNCTION%20null('a%20UInt8')%20FORMAT%20TSV HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n";
    std::io::Write::write_all(busy.get_mut(), head).expect("written");
    assert_eq!(common::receive(&mut busy).status, 100);
    assert_eq!(engine.post("/?queue_max_wait_ms=1", "SELECT 1").code(), "202");
    let mut waiting = BufReader::new(engine.connect());
    common::send(waiting.get_mut(), "POST", "/?queue_max_wait_ms=30000", &[], b"SELECT 1");
    engine.await_metric("weir_chdb_queries_queued 1");
    std::io::Write::write_all(busy.get_mut(), b"7\n").expect("written");
    assert_eq!(common::receive(&mut busy).status, 200);
    assert_eq!(common::receive(&mut waiting).text(), "1\n");
    engine.await_metric("weir_chdb_queries_queued 0");
}

#[test]
fn rows_are_selected_from_the_body() {
    let engine = Engine::start();
    engine.sql("CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 10");
    let sql = "INSERT INTO t SELECT n * 10, upper(toString(w)) FROM input('n UInt8, w Enum8(\\'x\\' = 1, \\'y\\' = 2)') WHERE n > 1 FORMAT CSV\n1,x\n2,y\n3,x\n";
    for _ in 0..2 {
        let reply = engine.post("/?session_id=s&insert_deduplication_token=one", sql);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(engine.sql("SELECT groupArray((a, s)) FROM (SELECT * FROM t ORDER BY a)"), "[(20,'Y'),(30,'X')]");
    let broken = engine.post("/", "INSERT INTO t SELECT n, '' FROM input('n UInt8') FORMAT CSV\n1\nx\n");
    assert_ne!(broken.status, 200);
    assert_eq!(engine.sql("SELECT count() FROM t"), "2");
    assert_eq!(engine.post("/", "INSERT INTO t SELECT n FROM input() FORMAT CSV\n1\n").code(), "48");
}

#[test]
fn tables_come_with_a_request() {
    let engine = Engine::start();
    let part = |name: &str, data: &str| {
        format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n{data}\r\n")
    };
    let send = |target: &str, parts: &[String]| {
        let body = parts.concat() + "--B--\r\n";
        engine.request("POST", target, &[("content-type", "multipart/form-data; boundary=B")], body.as_bytes())
    };
    let (one, two) = (part("one", "1\n2\n"), part("two", "{\"_1\":2,\"_2\":\"b\"}\n"));
    let target = "/?query=SELECT%20a,%20_2%20FROM%20one%20JOIN%20two%20ON%20a%20=%20_1&one_structure=a%20UInt8&two_types=UInt8,String&two_format=JSONEachRow";
    for session in ["", "&session_id=s", "&session_id=s"] {
        let reply = send(&format!("{target}{session}"), &[one.clone(), two.clone()]);
        assert_eq!(reply.text(), "2\tb\n", "{session}");
    }
    assert_eq!(send("/?query=SELECT%201", std::slice::from_ref(&one)).code(), "36");
    assert_eq!(send("/?query=SELECT%20*%20FROM%20one&one_structure=a%20UInt8", &[part("one", "x\n")]).code(), "27");
}
