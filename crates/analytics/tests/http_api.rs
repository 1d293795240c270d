//! The HTTP API: who may come in with what, and what is said to the others.

mod common;

use common::{Analytics, Engine, TOKEN, chunk, now_us, request, stream, until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

#[test]
fn only_a_known_token_that_speaks_for_the_gateway_stores() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let chunk = chunk(&stream("on-prem", "edge", 0), 0..10, now_us(), 10);
    assert_eq!(request(analytics.address(), "POST", "/v1/chunks", &[], &chunk).status, 401);
    assert_eq!(analytics.post_as("a-token-of-acmE", &chunk).status, 401);
    assert_eq!(analytics.post_as("", &chunk).status, 401);
    let foreign = analytics.post_as("another-token", &chunk);
    assert_eq!(foreign.status, 403);
    assert!(foreign.text().contains("acme/demo/on-prem/edge"), "{}", foreign.text());
    assert_eq!(analytics.get("/v1/chunks").status, 405);
    assert_eq!(engine.number("SELECT count() FROM weir.access_events"), 0);
    assert_eq!(analytics.post(&chunk).status, 200);
}

#[test]
fn tokens_are_read_again_and_a_broken_file_changes_nothing() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let chunk = chunk(&stream("on-prem", "edge", 0), 0..10, now_us(), 10);
    let tokens = analytics.state.path().join("tokens");
    std::fs::write(&tokens, format!("{TOKEN} acme demo * *\nbrand-new-token acme demo on-prem edge\n"))
        .expect("written");
    until("the new token", || analytics.post_as("brand-new-token", &chunk).status == 200);
    std::fs::write(&tokens, "half a line\n").expect("written");
    analytics.await_log("the tokens of before stay in force");
    assert_eq!(analytics.post(&chunk).status, 200);
}

#[test]
fn bad_chunks_are_distinguished_and_those_after_them_flow() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let good = chunk(&stream("on-prem", "edge", 0), 0..10, now_us(), 10);
    assert_eq!(analytics.post(b"").status, 400);
    assert_eq!(analytics.post(b"garbage").status, 400);
    for at in [9, 17, 60, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        assert_eq!(analytics.post(&bad).status, 400, "byte {at}");
        assert_eq!(analytics.post(&good[..at]).status, 400, "cut at {at}");
    }
    let reply = analytics.post(&newer(&good));
    assert_eq!(reply.status, 409, "a version of tomorrow is kept by the gateway: {}", reply.text());
    let token = format!("Bearer {TOKEN}");
    let claims = [("authorization", token.as_str()), ("content-length", "4000000000")];
    assert_eq!(request(analytics.address(), "POST", "/v1/chunks", &claims, b"").status, 413);
    assert_eq!(endless(&analytics), 413);
    assert_eq!(analytics.report(&serde_json::json!({ "no": "list" })).status, 400);
    assert_eq!(analytics.post(&good).status, 200);
}

/// `chunk` as if of schema version 99, its checksum right.
fn newer(chunk: &[u8]) -> Vec<u8> {
    let mut newer = chunk.to_vec();
    let header = 16..16 + u32::from_le_bytes(newer[8..12].try_into().expect("4 bytes")) as usize;
    newer[16..18].copy_from_slice(&99_u16.to_le_bytes());
    let crc = crc32c::crc32c(&newer[header]);
    newer[12..16].copy_from_slice(&crc.to_le_bytes());
    newer
}

/// A body without a length that never ends; the status that ends it.
fn endless(analytics: &Analytics) -> u16 {
    let mut stream = TcpStream::connect(analytics.address()).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout set");
    let head = format!(
        "POST /v1/chunks HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("head written");
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        let written = stream.write_all(b"100000\r\n").and_then(|()| stream.write_all(&piece));
        if written.and_then(|()| stream.write_all(b"\r\n")).is_err() {
            break;
        }
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer[9..]).parse().expect("a status")
}

#[test]
fn each_page_is_one_document_that_runs_nothing_but_its_own() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    for path in ["/", "/d/weir-fleet", "/live"] {
        is_one_document(&analytics, path);
    }
}

fn is_one_document(analytics: &Analytics, path: &str) {
    let page = analytics.get(path);
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").expect("a policy").to_owned();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let text = page.text();
    assert!(!text.contains("/*STYLE*/") && !text.contains("/*SCRIPT*/"));
    for (tag, directive) in [("style", "style-src"), ("script", "script-src")] {
        let inline = text.split_once(&format!("<{tag}>")).and_then(|(_, rest)| rest.split_once(&format!("</{tag}>")));
        let (inline, _) = inline.expect("an inline part");
        use base64::Engine as _;
        use sha2::Digest as _;
        let digest = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(inline));
        assert!(policy.contains(&format!("{directive} 'sha256-{digest}'")), "{tag}: {policy}");
    }
    for outside in
        ["src=\"http", "href=\"http", "@import", "innerHTML", "insertAdjacentHTML", "document.write", "eval("]
    {
        assert!(!text.contains(outside), "the page has `{outside}`");
    }
}

/// Runs the program to its end; its exit code and what it said.
fn ended(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_wrong_start_is_one_sentence_with_its_cure() {
    let engine = Engine::start();
    let state = tempfile::TempDir::new().expect("a temporary folder");
    let with = |arguments: &[&str]| {
        let mut command = Analytics::command(&engine, state.path(), &[]);
        command.args(arguments);
        ended(command)
    };
    let said = |arguments: &[&str], code: i32, what: &str| {
        let (found, text) = with(arguments);
        assert!(found == Some(code) && text.contains(what), "{arguments:?}: {found:?} {text}");
    };
    said(&["--retention-raw", "24h"], 1, "must be more than --spool-max-age");
    said(&["--durable-inserts", "quorum"], 1, "one server has none; give --cluster");
    said(&["--retention-raw", "soon"], 2, "give a time like");
    said(&["--tokens", "/nowhere/tokens"], 1, "give a readable file by --tokens");
    said(&["--state", "/proc/nowhere"], 1, "give a folder of weir-analytics' own by --state");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = taken.local_addr().expect("an address").to_string();
    said(&["--listen", &port], 1, "give another --listen");
    let mut open = Command::new(env!("CARGO_BIN_EXE_weir-analytics"));
    open.args(["--listen", "0.0.0.0:0", "--clickhouse", &engine.url(), "--state"]).arg(state.path());
    let (code, text) = ended(open);
    assert!(code == Some(1) && text.contains("by --tokens"), "{text}");
    let mut away = Command::new(env!("CARGO_BIN_EXE_weir-analytics"));
    away.args(["migrate", "--clickhouse", "http://127.0.0.1:1"]);
    let (code, text) = ended(away);
    assert!(code == Some(3) && text.contains("cannot be reached"), "{code:?} {text}");
    let running = Analytics::start(&engine);
    let (code, text) = ended(Analytics::command(&engine, running.state.path(), &[]));
    assert!(code == Some(1) && text.contains("a weir-analytics that is running"), "{text}");
}
