//! Whoever answers at a port that is neither a gateway's nor weir-analytics', weirctl says so in one sentence; and what a
//! server sends is shown by a terminal, not obeyed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

/// A server that gives every connection `answer`, whatever it asks.
fn stranger(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let _asked = stream.read(&mut head);
            let _left = stream.write_all(answer.as_bytes());
        }
    });
    url
}

fn http(status: &str, kind: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn weirctl(url: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weirctl"));
    command.args(["--admin", url, "--analytics", url]).args(args).output().unwrap()
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn a_stranger_is_reported_in_one_sentence() {
    let html = "<!doctype html>\n<title>Not here</title>\n<h1>Nothing</h1>\n";
    let answers = [
        ("404", http("404 Not Found", "text/html", html)),
        ("500", http("500 Internal Server Error", "application/json", "{\"error\": \"no\"}")),
        ("500 without a body", http("500 Internal Server Error", "text/plain", "")),
        ("a page", http("200 OK", "text/html", html)),
        ("no page", http("200 OK", "text/html", "")),
        ("other JSON", http("200 OK", "application/json", "[1, 2]\n")),
        ("lines of rubbish", http("200 OK", "application/x-ndjson", "rubbish\n{}\n")),
        ("lines of other JSON", http("200 OK", "application/x-ndjson", "{\"a\": 1}\n")),
        ("rubbish without an end of line", http("200 OK", "application/x-ndjson", "rubbish")),
        ("another protocol", "SSH-2.0-OpenSSH_9.9\r\n".to_owned()),
        ("nothing", String::new()),
        (
            "half an answer",
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ncontent-length: 99\r\n\r\n{".to_owned(),
        ),
    ];
    for (what, answer) in answers {
        let url = stranger(answer);
        for command in [
            &["tail"][..],
            &["tail", "--json"],
            &["cardinality"],
            &["top", "--count=1"],
            &["ledger"],
            &["ledger", "--json"],
            &["trace", TRACE],
        ] {
            let output = weirctl(&url, command);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(3), "{command:?}, {what}: {said}");
            assert_eq!(said.lines().count(), 1, "{command:?}, {what}: {said}");
            assert!(said.contains(&url), "{command:?}, {what}: {said}");
        }
    }
}

#[test]
fn what_a_server_sends_is_shown_and_not_obeyed() {
    let evil = "\u{1b}[2J\u{9b}31m\u{202e}";
    let ledger = serde_json::json!({ "state": "balanced", "sentence": format!("fine{evil}\nbalanced"), "streams": [] });
    let span = serde_json::json!({ "site": evil, "path": format!("/{evil}\n"), "ts": evil });
    let event = serde_json::json!({ "trace_id": evil, "path": evil, "site": evil, "ts": "2026-11-23T06:41:25.123456Z", "reason": evil });
    let cases = [
        (&["ledger"][..], http("200 OK", "application/json", &ledger.to_string())),
        (&["ledger", "--json"], http("200 OK", "application/json", &ledger.to_string())),
        (
            &["trace", TRACE],
            http("200 OK", "application/json", &serde_json::json!({ "trace_id": TRACE, "events": [span] }).to_string()),
        ),
        (&["tail"], http("200 OK", "application/x-ndjson", &format!("{event}\n"))),
        (&["tail", "--json"], http("200 OK", "application/x-ndjson", &format!("{event}\n"))),
        (&["probe", "--check", "liveness"], http("503 Service Unavailable", "text/plain", evil)),
        (&["ledger"], http("500 Internal Server Error", "text/plain", evil)),
        (&["dump"], http("200 OK", "application/json", &serde_json::json!({ "a": evil }).to_string())),
        (
            &["reload"],
            http(
                "422 Unprocessable Entity",
                "application/json",
                &serde_json::json!({ "outcome": "refused", "errors": [evil] }).to_string(),
            ),
        ),
    ];
    for (command, answer) in cases {
        let output = weirctl(&stranger(answer), command);
        let printed = [output.stdout.clone(), output.stderr].concat();
        let printed = String::from_utf8(printed).unwrap();
        assert!(!printed.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{command:?}: {printed:?}");
        let escape = if command.contains(&"--json") || command[0] == "dump" { "\\u202e" } else { "\\u{202e}" };
        assert!(printed.contains(escape), "{command:?}: {printed:?}");
        if command.contains(&"--json") {
            let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(document.to_string().contains('\u{202e}'), "the same JSON");
        }
    }
}
