//! Samples of gateways: each is a row with every value in its column, and whatever happens to a sample, neither the report
//! that it came with nor an event suffers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::{Analytics, Engine, chunk, now_us, stream, until};
use serde_json::{Map, Value, json};
use weir_api::gauges::{Gauges, Resource};

/// One line of a report, with `gauges`.
fn line(worker: u16, gauges: Value) -> Value {
    let of = stream("on-prem", "edge", worker);
    let identity = &of.identity;
    json!({
        "stream": of.id().to_string(), "organization": identity.organization, "environment": identity.environment,
        "site": identity.site, "gateway": identity.gateway, "replica": identity.replica, "boot": of.boot.to_string(),
        "worker": worker, "accepted": 7, "counted_ms": now_us() / 1000, "gauges": gauges,
    })
}

/// A sample in which no two members are alike.
fn distinct() -> Map<String, Value> {
    let text = serde_json::to_value(Gauges::default()).unwrap();
    let (mut sample, mut next) = (text.as_object().unwrap().clone(), 10);
    for (name, value) in &mut sample {
        next += 1;
        *value = match value {
            Value::String(_) => json!(format!("text-{next}")),
            Value::Bool(_) => json!(true),
            Value::Array(_) => json!([f64::from(next) + 0.25, 0.5]),
            Value::Object(_) => json!({"ring_full": next, "too_old": 3}),
            _ if name.ends_with("_ms") => json!(1_764_115_200_000_i64 + i64::from(next)),
            _ => json!(next),
        };
    }
    sample
}

#[test]
fn every_member_of_a_sample_is_in_its_column() {
    let engine = Engine::start();
    // The sample is of a day that may be long ago.
    let keep = ["--retention-gauges", "18250d"];
    let analytics = Analytics::with_args(&engine, tempfile::tempdir().unwrap(), &[], &keep);
    let sample = distinct();
    let reply = analytics.report(&json!([line(0, Value::Object(sample.clone())), line(1, Value::Null)]));
    assert_eq!((reply.status, reply.json()["taken"].as_array().unwrap().len()), (200, 2));
    until("the sample is stored", || engine.number("SELECT count() FROM weir.gateway_gauges") == 1);
    // What has expired is gone behind this.
    engine.sql("OPTIMIZE TABLE weir.gateway_gauges FINAL");
    let row = engine.sql(
        "SELECT * REPLACE (toUnixTimestamp64Milli(t) AS t, toUnixTimestamp64Milli(started) AS started, \
         toUnixTimestamp(tls_expires) AS tls_expires, lower(hex(boot)) AS boot) \
         FROM weir.gateway_gauges FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0",
    );
    let mut row: Map<String, Value> = serde_json::from_str(&row).unwrap();
    for (member, value) in &sample {
        let column = match member.as_str() {
            "sampled_ms" => "t",
            "started_ms" => "started",
            "tls_expires_s" => "tls_expires",
            same => same,
        };
        let stored = row.remove(column).unwrap_or_else(|| panic!("no column `{column}`"));
        let expected = if *value == json!(true) { json!(1) } else { value.clone() };
        assert_eq!(stored, expected, "{column}");
    }
    let gauges: Gauges = serde_json::from_value(Value::Object(sample)).unwrap();
    let (saturation, by) = gauges.saturation();
    assert_eq!((saturation, by), (gauges.worker_busy[0], Resource::Worker), "of which most is used here");
    let rest: Vec<_> = row.iter().filter(|(name, _)| *name != "received").collect();
    let of = stream("on-prem", "edge", 0);
    let identity = of.identity;
    let expected = json!({
        "boot": of.boot.to_string(), "environment": identity.environment, "gateway": identity.gateway,
        "organization": identity.organization, "replica": identity.replica, "saturated_by": "worker",
        "saturation": saturation, "site": identity.site,
    });
    assert_eq!(rest, expected.as_object().unwrap().iter().collect::<Vec<_>>());
}

/// A gateway's clock that is ahead makes no claim about times to come; a sample that came twice is one row.
#[test]
fn a_sample_is_never_of_the_future_and_once_there() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let ahead = json!({"sampled_ms": now_us() / 1000 + 60_000, "connections": 1});
    let past = json!({"sampled_ms": now_us() / 1000 - 1000, "connections": 2});
    for sample in [&ahead, &past, &past] {
        assert_eq!(analytics.report(&json!([line(0, sample.clone())])).status, 200);
    }
    until("the samples are stored", || counted(&analytics, "stored") == 3);
    assert_eq!(engine.sql("SELECT count() FROM weir.gateway_gauges FINAL"), "2");
    assert_eq!(engine.sql("SELECT countIf(t > received) FROM weir.gateway_gauges"), "0");
}

/// Of `weir_ingest_gauges_total`.
fn counted(analytics: &Analytics, outcome: &str) -> u64 {
    let series = format!("weir_ingest_gauges_total{{outcome=\"{outcome}\"}} ");
    let metrics = analytics.get("/metrics").text();
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series)).expect("the series");
    value.parse().unwrap()
}

#[test]
fn a_sample_that_is_not_understood_costs_no_report() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let of_tomorrow = json!({"sampled_ms": now_us() / 1000, "connections": 9, "of_tomorrow": {"deep": [1, {}]}});
    let wrong = [
        json!({"connections": "many"}),
        json!({"connections": -1}),
        json!([1, 2]),
        json!("text"),
        json!({"version": "v".repeat(65)}),
        json!({"worker_busy": vec![0.5; 1025]}),
    ];
    let samples = wrong.iter().chain([&of_tomorrow]);
    let lines = (0..).zip(samples).map(|(worker, sample)| line(worker, sample.clone()));
    let lines: Vec<_> = lines.collect();
    let reply = analytics.report(&json!(lines));
    assert_eq!((reply.status, reply.json()["taken"].as_array().unwrap().len()), (200, wrong.len() + 1));
    assert_eq!(engine.number("SELECT count() FROM weir.streams"), wrong.len() as u64 + 1);
    until("what is understood is stored", || {
        engine.sql("SELECT groupArray(connections) FROM weir.gateway_gauges") == "[9]"
    });
    assert_eq!((counted(&analytics, "malformed"), counted(&analytics, "stored")), (wrong.len() as u64, 1));
}

/// The report of an older gateway has no sample; a token that does not speak for the line stores none.
#[test]
fn no_sample_comes_from_an_older_gateway_or_a_stranger() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    let mut older = line(0, Value::Null);
    older.as_object_mut().unwrap().remove("gauges");
    let mut stranger = line(1, json!({"connections": 5}));
    stranger["environment"] = json!("another");
    let reply = analytics.report(&json!([older, stranger]));
    assert_eq!((reply.status, reply.json()["taken"].as_array().unwrap().len()), (403, 1));
    // What comes later has been stored: so nothing of before is on its way.
    analytics.report(&json!([line(2, json!({"sampled_ms": now_us() / 1000, "connections": 6}))]));
    until("the last one is stored", || engine.number("SELECT count() FROM weir.gateway_gauges") > 0);
    assert_eq!(engine.sql("SELECT groupArray(connections) FROM weir.gateway_gauges"), "[6]");
    assert_eq!(counted(&analytics, "malformed"), 0);
}

#[test]
fn samples_that_cannot_be_stored_hold_up_neither_reports_nor_events() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    engine.sql("DROP TABLE weir.gateway_gauges");
    let reply = analytics.report(&json!([line(0, json!({"connections": 1}))]));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let edge = stream("on-prem", "edge", 0);
    assert_eq!(analytics.store(&chunk(&edge, 0..7, now_us(), 10))["stored"], 7);
    until("the sample is given up, and counted", || counted(&analytics, "dropped") == 1);
    let reply = analytics.report(&json!([line(0, json!({"connections": 2}))]));
    assert_eq!(reply.status, 200);
    assert_eq!(analytics.store(&chunk(&edge, 7..9, now_us(), 10))["stored"], 2);
    analytics.await_log("samples of gateways are not stored, and given up");
}
