//! Events as a list and as files: what matches, whole or visibly not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::{Analytics, Engine, chunk, chunk_of, exchange, now_us, stream};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use weir_event::field::FIELDS;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(analytics: &Analytics, target: &str) -> String {
    let reply = analytics.get(target);
    assert_eq!(reply.status, 200, "{target}: {}", reply.text());
    reply.text()
}

#[test]
fn a_list_has_the_newest_that_match() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    analytics.store(&chunk(&stream("on-prem", "edge", 0), 0..90, now_us() - 1_000_000, 1000));
    let list = analytics.api("events?limit=50");
    let seqs: Vec<_> = list["rows"].as_array().unwrap().iter().map(|row| row["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (40..90).rev().collect::<Vec<_>>());
    assert_eq!(analytics.api("events")["rows"].as_array().map(Vec::len), Some(90));
    let failed = analytics.api("events?var=result:failed&var=api:users");
    let rows = failed["rows"].as_array().unwrap();
    assert!(rows.len() == 3 && rows.iter().all(|row| row["status"] == 502 && row["api"] == "users"), "{failed}");
    let received = list["rows"][0]["received_ms"].as_i64().unwrap();
    assert_eq!(analytics.api(&format!("events?received={received}"))["rows"], json!([]), "nothing came after that");
    assert_eq!(analytics.api(&format!("events?received={}", received - 1))["rows"].as_array().map(Vec::len), Some(90));
    for (query, said) in [
        ("limit=1001", "`limit` is at most 1000 for a list"),
        ("limit=0", "`limit` is a whole number from 1 to 1000000"),
        ("format=xml", "`format` is `json`, `csv` or `ndjson`"),
        ("var=nosuch:a", "has no variable `nosuch`"),
    ] {
        let reply = analytics.get(&format!("/api/v1/events?{query}"));
        assert!(reply.status == 400 && reply.text().contains(said), "{query}: {}", reply.text());
    }
}

#[test]
fn a_file_has_every_event_and_every_field() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let begin_us = now_us() - 10_000_000;
    let mut events: Vec<_> = (0..3000).map(|seq| (seq, exchange(seq, begin_us + seq as i64 * 1000))).collect();
    events[7].1.user_agent = Some("=HYPERLINK(\"http://evil\")".parse().unwrap());
    analytics.store(&chunk_of(&stream("on-prem", "edge", 0), events, &[]));
    let reply = analytics.get("/api/v1/events?format=ndjson");
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(reply.header("content-disposition"), Some("attachment; filename=\"weir-events.ndjson\""));
    let rows = lines(&reply.text());
    let seqs: BTreeSet<_> = rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect();
    assert_eq!((rows.len(), seqs.len()), (3000, 3000));
    let names: BTreeSet<_> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, FIELDS.iter().map(|field| field.name).collect());
    let evil = rows.iter().find(|row| row["seq"] == 7).unwrap();
    assert_eq!(evil["user_agent"], "=HYPERLINK(\"http://evil\")", "a program is given what was sent");

    let csv = text(&analytics, "/api/v1/events?format=csv");
    let names: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
    let mut rows = csv.split("\r\n");
    assert_eq!(rows.next(), Some(names.join(",").as_str()));
    assert_eq!((rows.count(), csv.ends_with("\r\n")), (3001, true), "the rows, and nothing after the last line end");
    assert!(csv.contains(",\"'=HYPERLINK(\"\"http://evil\"\")\","), "a spreadsheet is given no formula");
    let same = analytics.api(&format!("trace/{}", evil["trace_id"].as_str().unwrap()));
    assert_eq!(same["events"][0], *evil, "as a trace shows it");

    assert_eq!(text(&analytics, "/api/v1/events?format=csv&var=site:nowhere").lines().count(), 1);
    assert_eq!(text(&analytics, "/api/v1/events?format=ndjson&var=site:nowhere"), "");
    assert_eq!(lines(&text(&analytics, "/api/v1/events?format=ndjson&var=result:failed")).len(), 300);
    let more = analytics.get("/api/v1/events?format=csv&limit=2999");
    assert_eq!(more.status, 422, "a file is whole or it is none");
    assert!(more.text().contains("3000 events match, and this file may have 2999"), "{}", more.text());
    assert_eq!(text(&analytics, "/api/v1/events?format=ndjson&limit=3000").lines().count(), 3000);
}

/// A request for a file of which nobody reads yet.
fn asked(analytics: &Analytics) -> TcpStream {
    let mut client = TcpStream::connect(analytics.address()).unwrap();
    let head = "GET /api/v1/events?format=ndjson HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    client
}

/// A figure of the process's memory in KiB.
fn memory(analytics: &Analytics, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", analytics.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_file_that_breaks_off_does_not_look_whole() {
    let mut engine = Engine::start();
    let analytics = Analytics::start(&engine);
    for part in 0..4 {
        let seqs = part * 15_000..(part + 1) * 15_000;
        analytics.store(&chunk(&stream("on-prem", "edge", 0), seqs, now_us() - 60_000_000, 100));
    }
    let before = memory(&analytics, "VmRSS");
    // The peak is measured from here on (proc_pid_clear_refs(5)).
    std::fs::write(format!("/proc/{}/clear_refs", analytics.id()), "5").unwrap();
    let mut whole = String::new();
    asked(&analytics).read_to_string(&mut whole).unwrap();
    let grown = memory(&analytics, "VmHWM").saturating_sub(before);
    println!("{} bytes took {grown} KiB", whole.len());
    assert!(grown < 16 * 1024, "a file is handed on as it comes: {grown} KiB");
    assert!(whole.ends_with("\r\n0\r\n\r\n") && whole.starts_with("HTTP/1.1 200 "));
    assert!(whole.len() > 40_000_000, "more than sockets hold: {}", whole.len());
    let mut client = asked(&analytics);
    let mut first = [0; 1000];
    client.read_exact(&mut first).unwrap();
    engine.kill();
    let mut rest = Vec::new();
    let ended = client.read_to_end(&mut rest);
    assert!(ended.is_err() || !rest.ends_with(b"\r\n0\r\n\r\n"), "it ends as a whole one does");
    assert!(rest.len() < whole.len() - 1000, "{}", rest.len());
    analytics.await_log("a file of events broke off");
}

#[test]
fn few_files_are_made_at_once() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    for part in 0..4 {
        let seqs = part * 15_000..(part + 1) * 15_000;
        analytics.store(&chunk(&stream("on-prem", "edge", 0), seqs, now_us() - 60_000_000, 100));
    }
    let mut held: Vec<_> = (0..2).map(|_| asked(&analytics)).collect();
    for client in &mut held {
        client.read_exact(&mut [0; 1000]).unwrap();
    }
    let refused = analytics.get("/api/v1/events?format=csv");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")));
    assert_eq!(analytics.api("events?limit=1")["rows"].as_array().map(Vec::len), Some(1), "lists go on");
    drop(held);
    common::until("the places come back", || analytics.get("/api/v1/events?format=csv&limit=60000").status == 200);
}
