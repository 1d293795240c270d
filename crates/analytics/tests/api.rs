//! What the API answers and what the page is.

mod common;

use common::{Analytics, Engine, chunk, now_us, stream};

#[test]
fn the_api_shows_what_came_in() {
    let engine = Engine::start();
    let analytics = Analytics::start(&engine);
    assert_eq!(analytics.api("overview?minutes=60")["rows"], serde_json::json!([]));
    analytics.store(&chunk(&stream("on-prem", "edge", 0), 0..90, now_us() - 1_000_000, 100));

    let overview = analytics.api("overview?minutes=60");
    let rows = overview["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2, "{overview}");
    let orders = &rows[0];
    assert_eq!((orders["site"].as_str(), orders["api"].as_str()), (Some("on-prem"), Some("orders")));
    assert_eq!((orders["requests"].as_u64(), orders["errors"].as_u64()), (Some(60), Some(6)));
    let (p50, p99) = (orders["p50_us"].as_f64().expect("p50"), orders["p99_us"].as_f64().expect("p99"));
    // Totals are 150 + 13 seq: their median over the API's numbers is about 735.
    assert!((700.0..780.0).contains(&p50) && (1200.0..=1307.0).contains(&p99), "{orders}");

    let trace = analytics.api("trace/00000000000000080000000000000000");
    let event = &trace["events"][0];
    assert_eq!(trace["events"].as_array().map(Vec::len), Some(1), "{trace}");
    assert_eq!((event["seq"].as_u64(), event["span_id"].as_str()), (Some(7), Some("0000000000000008")));
    assert_eq!((event["client_ip"].as_str(), event["parent_span_id"].as_str()), (Some("192.0.2.7"), Some("")));
    assert_eq!(event["policy_names"], serde_json::json!(["basic-auth"]));
    assert_eq!(analytics.get("/api/v1/trace/xyz").status, 400);

    let errors = analytics.api("errors");
    assert_eq!(errors["rows"].as_array().map(Vec::len), Some(9));
    assert_eq!(errors["rows"][0]["reason"], "connection_refused");
    assert_eq!(analytics.api("slow?limit=1")["rows"][0]["total_us"], 150 + 13 * 89);
    let series = analytics.api("series?minutes=5&api=orders");
    let points = series["rows"][0]["points"].as_array().expect("points");
    assert_eq!(points.iter().filter_map(|point| point[1].as_u64()).sum::<u64>(), 60);
    assert_eq!(analytics.api("ledger")["streams"][0]["stored"], 90);
    assert_eq!(analytics.api("gateways")["rows"], serde_json::json!([]));
    assert_eq!(analytics.get("/api/v1/nosuch").status, 404);
    assert_eq!(analytics.get("/healthz").status, 200);
}
