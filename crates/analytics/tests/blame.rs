//! What changed when an API got worse, of events in a real engine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::{Analytics, Engine, chunk_of, exchange, now_us, stream};
use serde_json::{Value, json};
use weir_api::gauges::Gauges;
use weir_event::{BootId, NameId, Reason, Stream};

/// Requests of `orders` by one generation: so many, of which every so many fails.
fn served(of: &Stream, seqs: std::ops::Range<u64>, generation: u32, fails: u64, begin_us: i64) -> Vec<u8> {
    let events = seqs.map(|seq| {
        // Times are the same for each generation.
        let mut event = exchange(seq % 1000, begin_us + seq as i64 * 1000);
        event.api = NameId(1);
        event.generation = generation;
        (event.status, event.reason) = (200, Reason::None);
        if seq % fails == 0 {
            (event.status, event.reason) = (502, Reason::ConnectionRefused);
        }
        (seq, event)
    });
    chunk_of(of, events, &[])
}

/// Has the process of `of` say which version it is.
fn sampled(analytics: &Analytics, engine: &Engine, of: &Stream, version: &str, count: u64) {
    let gauges = Gauges { sampled_ms: now_us() / 1000, version: version.to_owned(), ..Gauges::default() };
    let identity = &of.identity;
    let line = json!({
        "stream": of.id().to_string(), "organization": identity.organization, "environment": identity.environment,
        "site": identity.site, "gateway": identity.gateway, "replica": identity.replica, "boot": of.boot.to_string(),
        "worker": 0, "accepted": 1, "counted_ms": now_us() / 1000, "gauges": gauges,
    });
    common::report_sample(analytics, engine, &line, count);
}

fn blame(analytics: &Analytics, more: &str) -> Value {
    analytics.api(&format!("blame?var=api:orders{more}"))
}

#[test]
fn the_change_after_which_errors_rose_is_named() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    assert!(blame(&analytics, "")["sentence"].as_str().unwrap().starts_with("no gateway changed"));
    let begin_us = now_us() - 60_000_000;
    let (first, second) =
        (stream("on-prem", "edge", 0), Stream { boot: BootId([8; 16]), ..stream("on-prem", "edge", 0) });
    analytics.store(&served(&first, 0..1000, 6, 100, begin_us));
    analytics.store(&served(&first, 1000..2000, 7, 10, begin_us));
    analytics.store(&served(&second, 2000..3000, 7, 10, begin_us));
    // Another gateway, which got no worse.
    let other = stream("cloud", "core", 0);
    analytics.store(&served(&other, 0..1000, 3, 100, begin_us));
    analytics.store(&served(&other, 1000..2000, 4, 100, begin_us));
    sampled(&analytics, &engine, &first, "1.0.0", 1);
    sampled(&analytics, &engine, &second, "1.1.0", 2);
    let found = blame(&analytics, "");
    assert_eq!((&found["found"], &found["comparisons"]), (&json!(3), &json!(6)), "{found}");
    let expected = |side: &Value| (side["requests"].as_u64().unwrap(), side["failed"].as_u64().unwrap());
    assert_eq!(
        (expected(&found["changes"][0]["before"]), expected(&found["changes"][0]["after"])),
        ((1000, 10), (1000, 100))
    );
    let said = found["sentence"].as_str().unwrap();
    assert!(
        said.starts_with(
            "errors rose from 10 of 1000 to 100 of 1000 after generation 7 at on-prem/edge (two-proportion z-test, p < 0.001)"
        ),
        "{said}"
    );
    let first = &found["changes"][0];
    assert_eq!((&first["before"]["generation"], &first["after"]["generation"]), (&json!(6), &json!(7)));
    assert_eq!((&first["before"]["version"], &first["after"]["version"]), (&json!("1.0.0"), &json!("1.0.0")));
    let of = |gateway: &str| blame(&analytics, &format!("&var=gateway:{gateway}"));
    let core = of("core");
    assert_eq!(core["found"], 1);
    assert_eq!(core["changes"][0]["sentences"], json!([]), "{core}");
    assert!(core["sentence"].as_str().unwrap().starts_with("after no change did errors or durations rise"), "{core}");
    let edge = of("edge");
    let versions: Vec<_> =
        edge["changes"].as_array().unwrap().iter().map(|one| one["after"]["version"].clone()).collect();
    assert!(versions.contains(&json!("1.1.0")), "{edge}");

    for (query, said) in [
        ("", "which API is meant"),
        ("?var=api:a&var=api:b", "which API is meant"),
        ("?var=api:a&var=x:b", "no variable `x`"),
    ] {
        let reply = analytics.get(&format!("/api/v1/blame{query}"));
        assert!(reply.status == 400 && reply.text().contains(said), "{query}: {}", reply.text());
    }
}
