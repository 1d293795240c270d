//! Data on its way in: every format, every packing, and what becomes of half a body.

mod common;

use std::io::Write;

use common::Engine;

const TABLE: &str = "CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a";
const SUM: &str = "SELECT count(), sum(a), groupArray(s) FROM (SELECT * FROM t ORDER BY a)";

#[test]
fn every_format_is_taken_from_url_and_body() {
    let native = b"\x02\x02\x01a\x06UInt64\x01\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\x01s\x06String\x01x\x01\n".to_vec();
    let row_binary = b"\x01\0\0\0\0\0\0\0\x01x\x0a\0\0\0\0\0\0\0\x01\n".to_vec();
    let engine = Engine::start();
    for (format, data) in [
        ("Native", native),
        ("RowBinary", row_binary),
        ("JSONEachRow", b"{\"a\":1,\"s\":\"x\"}\n{\"a\":10,\"s\":\"\\n\"}".to_vec()),
        ("TSV", b"1\tx\n10\t\\n\n".to_vec()),
        ("TabSeparated", b"1\tx\n10\t\\n".to_vec()),
        ("Values", b"(1, 'x'), (10, '\\n');".to_vec()),
    ] {
        let statement = format!("INSERT INTO t (a, s) FORMAT {format}");
        let in_body = [statement.as_bytes(), b"\n", &data].concat();
        for (target, body) in [(format!("/?query={}", statement.replace(' ', "%20")), data), ("/".to_owned(), in_body)]
        {
            engine.sql("DROP TABLE IF EXISTS t SYNC");
            engine.sql(TABLE);
            let reply = engine.post(&target, body);
            assert_eq!(reply.status, 200, "{format} {target}: {}", reply.text());
            assert!(
                reply.header("x-clickhouse-summary").is_some_and(|summary| summary.contains("\"written_rows\":\"2\""))
            );
            assert_eq!(engine.sql(SUM), "2\t11\t['x','\\n']", "{format} {target}");
        }
    }
}

#[test]
fn inserts_without_data_of_their_own_work() {
    let engine = Engine::start();
    engine.sql(TABLE);
    engine.sql("INSERT INTO t VALUES (1, 'x'), (2, 'it''s (3')");
    engine.sql("INSERT INTO t SELECT number + 3, 'n' FROM numbers(2)");
    engine.sql("insert into t (s, a) values ('y', 5 + 1);");
    let values = engine.post("/?query=INSERT%20INTO%20t%20VALUES", "(7, 'z')");
    assert_eq!(values.status, 200, "{}", values.text());
    assert_eq!(engine.sql("SELECT count(), sum(a) FROM t"), "6\t23");
    let with_parameter =
        engine.post("/?query=INSERT%20INTO%20%7Bname:Identifier%7D%20FORMAT%20TSV&param_name=t", "9\tp\n");
    assert_eq!(with_parameter.status, 200, "{}", with_parameter.text());
    assert_eq!(engine.sql("SELECT s FROM t WHERE a = 9"), "p");
}

#[test]
fn packed_bodies_are_unpacked() {
    let engine = Engine::start();
    engine.sql(TABLE);
    let data = "1\tx\n".repeat(100_000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(data.as_bytes()).expect("packed");
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(data.as_bytes()).expect("packed");
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(data.as_bytes()).expect("packed");
    let bodies = [
        ("gzip", gzip.finish().expect("packed")),
        ("deflate", zlib.finish().expect("packed")),
        ("lz4", lz4.finish().expect("packed")),
        ("zstd", zstd::stream::encode_all(data.as_bytes(), 1).expect("packed")),
    ];
    for (at, (coding, body)) in bodies.iter().enumerate() {
        let reply =
            engine.request("POST", "/?query=INSERT%20INTO%20t%20FORMAT%20TSV", &[("content-encoding", coding)], body);
        assert_eq!(reply.status, 200, "{coding}: {}", reply.text());
        assert_eq!(engine.sql("SELECT count() FROM t"), format!("{}", (at + 1) * 100_000));
        let torn = engine.request(
            "POST",
            "/?query=INSERT%20INTO%20t%20FORMAT%20TSV",
            &[("content-encoding", coding)],
            &body[..body.len() / 2],
        );
        assert_ne!(torn.status, 200, "{coding} torn");
    }
    assert_eq!(engine.sql("SELECT count() FROM t"), "400000");
    let bomb = engine.request(
        "POST",
        "/?query=INSERT%20INTO%20t%20FORMAT%20TSV&decompress=1",
        &[],
        &[&[0; 16][..], &[0x82, 255, 255, 255, 63, 255, 255, 255, 63]].concat(),
    );
    assert_eq!((bomb.status, bomb.code()), (500, "271"), "{}", bomb.text());
    assert_eq!(engine.request("POST", "/", &[("content-encoding", "br")], b"x").code(), "89");
}

#[test]
fn packed_results_come_back() {
    let engine = Engine::start();
    for sql in ["SELECT number FROM numbers(1000)", "SELECT number FROM numbers(1000000)"] {
        let plain = engine.post("/", sql).body;
        for coding in ["gzip", "zstd", "lz4", "deflate"] {
            let reply =
                engine.request("POST", "/?enable_http_compression=1", &[("accept-encoding", coding)], sql.as_bytes());
            assert_eq!(reply.header("content-encoding"), Some(coding));
            let body: Box<dyn std::io::Read> = match coding {
                "gzip" => Box::new(flate2::read::GzDecoder::new(&reply.body[..])),
                "deflate" => Box::new(flate2::read::ZlibDecoder::new(&reply.body[..])),
                "lz4" => Box::new(lz4_flex::frame::FrameDecoder::new(&reply.body[..])),
                _ => Box::new(zstd::stream::read::Decoder::new(&reply.body[..]).expect("zstd")),
            };
            let unpacked: Vec<u8> =
                std::io::Read::bytes(std::io::BufReader::new(body)).collect::<Result<_, _>>().expect("unpacked");
            assert!(unpacked == plain, "{coding}");
        }
        let blocks = engine.post("/?compress=1", sql);
        assert!(blocks.header("content-encoding").is_none() && blocks.body[16] == 0x82);
        // Its own blocks are what it reads.
        engine.sql("CREATE OR REPLACE TABLE n (a UInt64) ENGINE = MergeTree ORDER BY a");
        let back = engine.post("/?decompress=1&query=INSERT%20INTO%20n%20FORMAT%20TSV", &blocks.body);
        assert_eq!(back.status, 200, "{}", back.text());
        assert_eq!(engine.post("/", "SELECT a FROM n ORDER BY a").body.len(), plain.len());
    }
    let unwanted = engine.request("POST", "/?enable_http_compression=0", &[("accept-encoding", "gzip")], b"SELECT 1");
    assert_eq!(unwanted.text(), "1\n");
}

#[test]
fn bad_data_stores_nothing() {
    let engine = Engine::start();
    engine.sql(TABLE);
    for (format, data) in [
        ("Native", &b"\x01\x02garbage\n\n"[..]),
        ("TSV", b"1\tx\nzz\ty\n"),
        ("JSONEachRow", b"{\"a\":1,\"s\":\"x\"}\n{\"a\""),
    ] {
        let reply = engine.post(&format!("/?query=INSERT%20INTO%20t%20FORMAT%20{format}"), data);
        assert!(reply.status >= 400 && reply.code() != "none", "{format}: {}", reply.text());
    }
    assert_eq!(engine.sql("SELECT count() FROM t"), "0");
}

#[test]
fn half_a_body_is_not_committed() {
    let engine = Engine::start();
    engine.sql(TABLE);
    let mut stream = engine.connect();
    let head =
        "POST /?query=INSERT%20INTO%20t%20FORMAT%20TSV HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("head");
    stream.write_all("1\tx\n".repeat(1000).as_bytes()).expect("part of the body");
    engine.await_sql("SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO t%'", "1");
    drop(stream);
    engine.await_sql("SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO t%'", "0");
    assert_eq!(engine.sql("SELECT count() FROM t"), "0");
}

#[test]
fn a_token_stores_once_here_and_in_every_view() {
    let engine = Engine::start();
    let window = "SETTINGS non_replicated_deduplication_window = 100";
    engine.sql(&format!("CREATE TABLE raw (a UInt64) ENGINE = MergeTree ORDER BY a {window}"));
    engine.sql(&format!("CREATE TABLE one (k UInt64, n UInt64) ENGINE = SummingMergeTree ORDER BY k {window}"));
    engine.sql(&format!("CREATE TABLE two (k UInt64, n UInt64) ENGINE = SummingMergeTree ORDER BY k {window}"));
    engine.sql("CREATE MATERIALIZED VIEW one_mv TO one AS SELECT a % 10 AS k, count() AS n FROM raw GROUP BY k");
    engine.sql("CREATE MATERIALIZED VIEW two_mv TO two AS SELECT k % 2 AS k, sum(n) AS n FROM one GROUP BY k");
    let rows: String = (0..1000).map(|a| format!("{a}\n")).collect();
    for (token, total) in [("x", "1000"), ("x", "1000"), ("y", "2000"), ("x", "2000")] {
        let reply = engine
            .post(&format!("/?query=INSERT%20INTO%20raw%20FORMAT%20TSV&insert_deduplication_token={token}"), &rows);
        assert_eq!(reply.status, 200, "{}", reply.text());
        for table in ["(SELECT count() AS n FROM raw)", "one", "two"] {
            assert_eq!(engine.sql(&format!("SELECT sum(n) FROM {table}")), total, "{table} after token {token}");
        }
    }
}
