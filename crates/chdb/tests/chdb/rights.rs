//! Who may do what: user × statement → answer, through the whole program. Row E11 of the cases is here.

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;

use crate::engine::{Engine, LOOK, receive, send};

fn served() -> Engine {
    Engine::of_users(&[("writer", "full"), ("reader", "readonly"), ("other", "readonly")], &[])
}

/// What the table says of an answer.
const WELL: &str = "none";
const READONLY: &str = "164";
const DENIED: &str = "497";
/// The kernel refuses the file.
const NO_FILE: &str = "76";
/// Let through to another machine, which is not there: not tried.
const ELSEWHERE: &str = "elsewhere";

/// Statement, what a user with all rights gets, what a reader gets. `@` is a file beside the folder that holds a secret.
const TABLE: &[(&str, &str, &str)] = &[
    ("SELECT a FROM t", WELL, WELL),
    ("SHOW TABLES", WELL, WELL),
    ("SHOW CREATE TABLE t", WELL, WELL),
    ("DESCRIBE TABLE t", WELL, WELL),
    ("EXPLAIN SELECT a FROM t", WELL, WELL),
    ("SELECT 1 SETTINGS max_threads = 1, log_comment = 'x'", WELL, WELL),
    ("INSERT INTO t VALUES (2)", WELL, DENIED),
    ("INSERT INTO t SELECT 2", WELL, DENIED),
    ("ALTER TABLE t DELETE WHERE a = 9", WELL, DENIED),
    ("OPTIMIZE TABLE t", WELL, DENIED),
    ("TRUNCATE TABLE t2", WELL, DENIED),
    ("DROP TABLE t2", WELL, DENIED),
    ("CREATE TABLE u (a UInt8) ENGINE = Memory", WELL, DENIED),
    ("CREATE DATABASE d", WELL, DENIED),
    ("SYSTEM STOP MERGES t", WELL, DENIED),
    ("SYSTEM STOP LISTEN TCP", WELL, DENIED),
    ("SELECT 1 SETTINGS readonly = 0", WELL, READONLY),
    ("GRANT SELECT ON *.* TO reader", "495", DENIED),
    ("CREATE USER u", "514", DENIED),
    ("SELECT * FROM file('@', 'LineAsString', 'a String')", NO_FILE, DENIED),
    ("SELECT * FROM `@`", NO_FILE, DENIED),
    ("CREATE TEMPORARY TABLE f (a String) ENGINE = File('TSV', '@')", WELL, DENIED),
    ("DESCRIBE file('@')", NO_FILE, DENIED),
    // These ask for no right.
    ("SELECT file('@')", NO_FILE, NO_FILE),
    ("SELECT file('/proc/1/environ')", NO_FILE, NO_FILE),
    ("SELECT 1 FORMAT Template SETTINGS format_template_row = '@'", NO_FILE, NO_FILE),
    ("SELECT 1 SETTINGS additional_result_filter = 'file(\\'@\\') != \\'\\''", NO_FILE, NO_FILE),
    ("SELECT * FROM url('http://127.0.0.1:1/', 'TSV', 'a String')", ELSEWHERE, DENIED),
    ("SELECT * FROM s3('http://127.0.0.1:1/bucket/key', 'TSV', 'a String')", ELSEWHERE, DENIED),
    ("SELECT * FROM remote('127.0.0.1:1', system.one)", ELSEWHERE, DENIED),
    ("SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')", ELSEWHERE, DENIED),
    ("SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')", ELSEWHERE, DENIED),
    ("SELECT * FROM sqlite('x', 'y')", ELSEWHERE, DENIED),
    ("SELECT * FROM system.users", WELL, DENIED),
    ("BACKUP TABLE t TO File('x')", WELL, DENIED),
];

#[test]
fn the_table_of_rights_holds() {
    let engine = served();
    let secret = engine.beside.path().join("secret.txt");
    std::fs::write(&secret, "classified ${0:Raw}\n").expect("written");
    let secret = secret.to_str().expect("a path");
    for sql in
        ["CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a", "CREATE TABLE t2 AS t", "INSERT INTO t VALUES (1)"]
    {
        assert_eq!(engine.ask("writer", "/", sql).code(), WELL);
    }
    for (sql, full, readonly) in TABLE {
        let sql = sql.replace('@', secret);
        // The reader first: nothing that he does may be what the other is refused for.
        let session = "/?session_id=s";
        for (user, target, wanted) in [("reader", "/", readonly), ("reader", session, readonly), ("writer", "/", full)]
        {
            if *wanted == ELSEWHERE {
                continue;
            }
            let reply = engine.ask(user, target, &sql);
            assert_eq!(reply.code(), *wanted, "{user} {target}: {sql}: {}", reply.text());
            assert!(!reply.text().contains("classified"), "{sql}: {}", reply.text());
        }
    }
    assert_eq!(engine.ask("writer", "/", "SELECT count() FROM t").text(), "3\n");
}

#[test]
fn what_a_url_brings_gives_no_more_rights() {
    let engine = served();
    assert_eq!(engine.ask("writer", "/", "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a").code(), WELL);
    // What Grafana's driver sends.
    assert_eq!(engine.ask("reader", "/?max_execution_time=60&log_comment=x&readonly=2", "SELECT 1").code(), WELL);
    for (target, wanted) in [("/?readonly=0", READONLY), ("/?profile=full", WELL), ("/?profile=default", WELL)] {
        assert_eq!(engine.ask("reader", target, "SELECT 1").code(), wanted, "{target}");
        assert_ne!(engine.ask("reader", target, "INSERT INTO t VALUES (1)").code(), WELL, "{target}");
    }
    // Asking to read only, one may not write.
    for target in ["/?readonly=1", "/?readonly=2"] {
        assert_eq!(engine.ask("writer", target, "INSERT INTO t VALUES (1)").code(), READONLY, "{target}");
    }
    assert_eq!(engine.ask("writer", "/", "SELECT count() FROM t").text(), "0\n");
}

/// E11.
#[test]
fn users_do_not_see_each_other_s_queries_sessions_and_tables() {
    let engine = served();
    let mut running = engine.connect();
    let head = "/?user=writer&password=secret&query_id=private";
    send(
        &mut running,
        "POST",
        head,
        &[],
        b"SELECT count() FROM numbers(100000000000000) WHERE NOT ignore(sipHash64(number))",
    );
    let seen =
        |user: &str| engine.ask(user, "/", "SELECT query_id FROM system.processes WHERE query_id = 'private'").text();
    while seen("writer").is_empty() {
        std::thread::park_timeout(LOOK);
    }
    for user in ["reader", "other"] {
        assert_eq!(seen(user), "", "{user}");
        assert!(!engine.ask(user, "/", "SHOW PROCESSLIST").text().contains("sipHash64"), "{user}");
        let killed = engine.ask(user, "/", "KILL QUERY WHERE query_id = 'private' SYNC");
        assert!(!killed.text().contains("private"), "{user}: {}", killed.text());
    }
    assert_eq!(seen("writer"), "private\n");
    engine.ask("writer", "/", "KILL QUERY WHERE query_id = 'private' SYNC");
    assert_eq!(receive(&mut BufReader::new(running)).code(), "394");
    // A session's name is a user's own.
    assert_eq!(engine.ask("reader", "/?session_id=s", "CREATE TEMPORARY TABLE mine AS SELECT 7 AS a").code(), WELL);
    assert_eq!(engine.ask("reader", "/?session_id=s", "SELECT a FROM mine").text(), "7\n");
    for user in ["other", "writer"] {
        assert_eq!(engine.ask(user, "/?session_id=s", "SELECT a FROM mine").code(), "60", "{user}");
    }
}

#[test]
fn passwords_and_names_are_asked_for() {
    let engine = served();
    assert_eq!(engine.post("/?user=reader&password=wrong", "SELECT 1").code(), "516");
    assert_eq!(engine.post("/?user=nobody&password=secret", "SELECT 1").code(), "516");
    assert_eq!(engine.post("/?user=reader&password=secret", "SELECT 1").text(), "1\n");
    let basic = engine.request("GET", "/?query=SELECT%201", &[("authorization", "Basic cmVhZGVyOnNlY3JldA==")], b"");
    assert_eq!(basic.text(), "1\n");
    assert_eq!((engine.get("/ping").status, engine.get("/metrics").status), (200, 200));
}

/// The engine logs in to itself as `default` without a password; nobody else gets anything by that name.
#[test]
fn the_engine_s_own_name_is_of_no_use_to_others() {
    let engine = served();
    for sql in [
        "SELECT 1",
        "SELECT file('/etc/passwd')",
        "SYSTEM STOP LISTEN HTTP",
        "SET max_threads = 1",
        "USE system",
        "SHOW TABLES",
        "SHOW PROCESSLIST",
    ] {
        for target in ["/", "/?user=default", "/?max_ast_elements=1000", "/?profile=full", "/?session_id=x"] {
            let reply = engine.post(target, sql);
            assert!(
                ["168", "201", "452", "497"].contains(&reply.code()),
                "{target} {sql}: {} {}",
                reply.code(),
                reply.text()
            );
        }
    }
    assert_eq!(engine.ask("reader", "/", "SELECT 1").text(), "1\n");
}

/// A password of the file is asked for by the first answer that there is: whoever connects while the program starts is
/// refused or let in by it, and never served without it.
#[test]
fn no_listener_is_open_before_users_exist() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr()).expect("a port").port();
    let address = format!("127.0.0.1:{port}");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let answers = scope.spawn(|| {
            let mut answers = Vec::new();
            while !done.load(std::sync::atomic::Ordering::Relaxed) || answers.is_empty() {
                let Ok(mut stream) = TcpStream::connect(&address) else { continue };
                let mut answer = String::new();
                let ask = "GET /?query=SELECT%20name%20FROM%20system.tables HTTP/1.0\r\n\r\n";
                if stream.write_all(ask.as_bytes()).is_ok() && stream.read_to_string(&mut answer).is_ok() {
                    answers.push(answer);
                }
            }
            answers
        });
        let engine = Engine::of_users(&[("writer", "full")], &["--listen", &address]);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let answers = answers.join().expect("ended");
        assert!(answers.iter().all(|answer| !answer.contains("200 OK")), "{answers:?}");
        assert_eq!(engine.ask("writer", "/", "SELECT 1").text(), "1\n");
    });
}
