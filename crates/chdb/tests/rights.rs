//! Who may do what: user × statement → answer, through the whole program.

mod common;

use common::{Engine, Reply};

const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"; // of `secret`

struct Served {
    engine: Engine,
    _users: tempfile::TempDir,
}

fn served() -> Served {
    let folder = tempfile::TempDir::new().expect("folder");
    let file = folder.path().join("users");
    std::fs::write(&file, format!("writer:{SECRET}:full\nreader:{SECRET}:readonly\n")).expect("written");
    let engine = Engine::with(&["--users", file.to_str().expect("a path")]);
    Served { engine, _users: folder }
}

impl Served {
    fn ask(&self, user: &str, target: &str, body: &[u8], kind: &str) -> Reply {
        let headers = [("x-clickhouse-user", user), ("x-clickhouse-key", "secret"), ("content-type", kind)];
        self.engine.request("POST", target, &headers, body)
    }

    fn code(&self, user: &str, target: &str, sql: &str) -> String {
        self.ask(user, target, sql.as_bytes(), "text/plain").code().to_owned()
    }
}

/// What the table says of an answer.
const WELL: &str = "none";
const READONLY: &str = "164";
const DENIED: &str = "497";
/// Let through to another machine, which is not there: not tried.
const ELSEWHERE: &str = "elsewhere";

/// Statement, what a user with all rights gets, what a reader gets. `@` is a file that holds a secret.
const TABLE: &[(&str, &str, &str)] = &[
    ("SELECT a FROM t", WELL, WELL),
    ("WITH 1 AS x SELECT x FROM t", WELL, WELL),
    ("SHOW TABLES", WELL, WELL),
    ("SHOW CREATE TABLE t", WELL, WELL),
    ("DESCRIBE TABLE t", WELL, WELL),
    ("EXPLAIN SELECT a FROM t", WELL, WELL),
    ("EXISTS TABLE t", WELL, WELL),
    ("SELECT count() FROM system.processes", WELL, WELL),
    ("SELECT 1 SETTINGS max_threads = 1, log_comment = 'x'", WELL, WELL),
    ("INSERT INTO t VALUES (2)", WELL, READONLY),
    ("INSERT INTO t SELECT 2", WELL, READONLY),
    ("INSERT INTO FUNCTION file('@.new', 'TSV', 'a String') SELECT 'x'", WELL, READONLY),
    ("ALTER TABLE t DELETE WHERE a = 9", WELL, READONLY),
    ("OPTIMIZE TABLE t", WELL, READONLY),
    ("CREATE TABLE u (a UInt8) ENGINE = Memory", WELL, READONLY),
    ("CREATE TEMPORARY TABLE x (a UInt8)", WELL, READONLY),
    ("DROP TABLE u", WELL, READONLY),
    ("SYSTEM FLUSH LOGS", WELL, READONLY),
    ("SYSTEM STOP MERGES u", WELL, READONLY),
    ("KILL QUERY WHERE query_id = 'nobody'", WELL, READONLY),
    ("SET readonly = 0", WELL, READONLY),
    ("SET max_threads = 1", WELL, READONLY),
    ("SET ROLE full", WELL, READONLY),
    ("USE system", WELL, READONLY),
    ("EXECUTE AS default SELECT 1", "344", READONLY),
    ("GRANT full TO default", "495", READONLY),
    ("SELECT 1 SETTINGS readonly = 0", WELL, READONLY),
    ("SELECT 1 INTO OUTFILE '@.out'", "48", "48"),
    ("SELECT * FROM file('@', 'LineAsString')", WELL, DENIED),
    ("SELECT file('@')", WELL, DENIED),
    ("SELECT * FROM `@`", WELL, DENIED),
    ("SELECT 1 FORMAT Template SETTINGS format_template_row = '@'", WELL, READONLY),
    ("SELECT 1 SETTINGS additional_result_filter = 'file(\\'@\\') != \\'\\''", WELL, READONLY),
    ("SELECT 1 SETTINGS output_format_schema = '@.schema'", WELL, READONLY),
    ("SELECT 1 SETTINGS profile = 'default'", WELL, READONLY),
    ("SELECT * FROM url('http://127.0.0.1:1/', 'TSV', 'a String')", ELSEWHERE, DENIED),
    (
        "SELECT * FROM s3('http://127.0.0.1:1/bucket/key', 'TSV', 'a String') SETTINGS s3_max_connections = 1",
        ELSEWHERE,
        DENIED,
    ),
    ("SELECT * FROM remote('127.0.0.1:1', system.one)", ELSEWHERE, DENIED),
    ("SELECT * FROM executable('x', 'TSV', 'a String')", "1", DENIED),
    ("SELECT * FROM system.users", WELL, DENIED),
];

#[test]
fn the_table_of_rights_holds() {
    let served = served();
    let secret = served.engine.folder.path().join("secret.txt");
    std::fs::write(&secret, "classified ${0:Raw}\n").expect("written");
    let secret = secret.to_str().expect("a path");
    assert_eq!(served.code("writer", "/", "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a"), WELL);
    assert_eq!(served.code("writer", "/", "INSERT INTO t VALUES (1)"), WELL);
    for (sql, full, readonly) in TABLE {
        let sql = sql.replace('@', secret);
        // The reader first: nothing that he does may be what the other is refused for.
        for (user, target, wanted) in [
            ("reader", "/", *readonly),
            ("reader", "/?session_id=s", *readonly),
            ("writer", "/?role=readonly", *readonly),
            ("writer", "/", *full),
        ] {
            if wanted == ELSEWHERE {
                continue;
            }
            let reply = served.ask(user, target, sql.as_bytes(), "text/plain");
            assert_eq!(reply.code(), wanted, "{user} {target}: {sql}: {}", reply.text());
            assert!(user == "writer" || !reply.text().contains("classified"), "{sql}: {}", reply.text());
        }
    }
    assert_eq!(served.ask("writer", "/", b"SELECT count() FROM t", "text/plain").text(), "3\n");
}

#[test]
fn what_a_url_brings_gives_no_more_rights() {
    let served = served();
    for (target, wanted) in [
        ("/?max_threads=1", WELL),
        ("/?max_execution_time=60&log_comment=x", WELL),
        ("/?readonly=1", WELL),
        ("/?readonly=2", WELL),
        ("/?role=readonly", WELL),
        ("/?role=full", "512"),
        ("/?role=admin", "511"),
        ("/?profile=default", READONLY),
        ("/?format_template_row=/etc/hostname", READONLY),
        ("/?additional_result_filter=1", READONLY),
        ("/?dialect=kusto", READONLY),
        ("/?nosuch_setting=1", "115"),
    ] {
        assert_eq!(served.code("reader", target, "SELECT 1"), wanted, "{target}");
    }
    // An identifier that is a parameter.
    assert_eq!(served.code("reader", "/?param_t=/etc/hostname", "SELECT * FROM {t:Identifier}"), DENIED);
    // Asking to read only, one may not write, and `readonly` cannot be lifted by the text.
    for target in ["/?readonly=1", "/?readonly=2", "/?readonly=2&session_id=r", "/?role=readonly"] {
        assert_eq!(served.code("writer", target, "CREATE TABLE r (a UInt8) ENGINE = Memory"), READONLY, "{target}");
    }
    assert_eq!(served.code("writer", "/?readonly=1", "SELECT 1 SETTINGS max_threads = 1"), READONLY);
    assert_eq!(served.code("writer", "/", "CREATE TABLE r (a UInt8) ENGINE = Memory"), WELL);
}

#[test]
fn a_reader_s_own_tables_read_nothing_else() {
    let served = served();
    let with = |structure: &str| {
        let body = "--B\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT * FROM e\r\n--B\r\nContent-Disposition: form-data; name=\"e\"; filename=\"e\"\r\n\r\n1\n2\n\r\n--B--\r\n";
        let target = format!("/?e_format=CSV&e_structure={structure}");
        served.ask("reader", &target, body.as_bytes(), "multipart/form-data; boundary=B")
    };
    assert_eq!(with("a%20UInt8").text(), "1\n2\n");
    for structure in [
        "a%20UInt8,%20b%20String%20DEFAULT%20file('/etc/hostname')",
        "a%20UInt8)%20ENGINE%20=%20File('TSV','/etc/hostname'",
        "a%20UInt8)%20AS%20SELECT%20*%20FROM%20(SELECT%201",
    ] {
        let reply = with(structure);
        assert!(["36", "497", "62"].contains(&reply.code()), "{structure}: {} {}", reply.code(), reply.text());
    }
}

#[test]
fn passwords_and_names_are_asked_for() {
    let served = served();
    let engine = &served.engine;
    let none = engine.post("/", "SELECT 1");
    assert_eq!((none.status, none.header("www-authenticate").is_some()), (401, true));
    assert_eq!(engine.post("/?user=reader&password=wrong", "SELECT 1").status, 403);
    assert_eq!(engine.post("/?user=nobody&password=secret", "SELECT 1").status, 403);
    assert_eq!(engine.post("/?user=reader&password=secret", "SELECT 1").text(), "1\n");
    let basic = engine.request("GET", "/?query=SELECT%201", &[("authorization", "Basic cmVhZGVyOnNlY3JldA==")], b"");
    assert_eq!(basic.text(), "1\n");
    assert_eq!((engine.get("/ping").status, engine.get("/metrics").status), (200, 200));
}
