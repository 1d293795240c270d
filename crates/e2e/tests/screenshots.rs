//! `make screenshots`: the pictures of the README, of the demo as it runs.
//!
//! Ignored, since it needs a demo that has run for some minutes; `WEIR_DEMO` is the address of its page. That the pictures are
//! there and small is held of those that are committed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use weir_e2e::{Browser, DRAWN};
use weir_testkit::get;

/// Bytes of one picture, at most.
const MOST: u64 = 150 * 1024;
const WIDTH: u32 = 1200;
const HEIGHT: u32 = 780;
/// Their names, and what they show; the last takes a trace.
const PICTURES: [(&str, &str); 3] = [
    ("fleet", "/d/weir-fleet?from=now-15m&to=now&refresh="),
    ("api", "/d/weir-api?from=now-15m&to=now&refresh=&var-api=orders"),
    ("chain", "/d/weir-chain?from=now-15m&to=now&refresh=&var-trace="),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/images")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the demo: make screenshots"]
async fn pictures_are_taken() {
    let demo = std::env::var("WEIR_DEMO").expect("the address of the demo's page");
    let (status, body) = get(&format!("{demo}/api/v1/slow?minutes=15&limit=1")).await.unwrap();
    assert_eq!(status, 200, "{body}");
    let slowest: Value = serde_json::from_str(&body).unwrap();
    let trace = slowest["rows"][0]["trace_id"].as_str().expect("a request in the last 15 minutes");
    let profile = tempfile::tempdir().unwrap();
    let mut browser = Browser::start(profile.path(), WIDTH, HEIGHT).unwrap();
    std::fs::create_dir_all(folder()).unwrap();
    for (name, path) in PICTURES {
        let trace = if path.ends_with('=') && name == "chain" { trace } else { "" };
        browser.go(&format!("{demo}{path}{trace}")).unwrap();
        browser.wait_for(&format!("location.pathname === '/d/weir-{name}'")).unwrap();
        browser.wait_for(DRAWN).unwrap();
        browser.picture(&folder().join(format!("{name}.png")), WIDTH, HEIGHT).unwrap();
    }
}

#[test]
fn the_pictures_of_the_readme_are_there_and_small() {
    let readme = std::fs::read_to_string(folder().join("../../README.md")).unwrap();
    for (name, _) in PICTURES {
        let file = folder().join(format!("{name}.png"));
        let bytes = std::fs::metadata(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).len();
        assert!(bytes < MOST, "{name}: {bytes} bytes");
        assert!(readme.contains(&format!("(docs/images/{name}.png)")), "{name} is not in the README");
    }
}
