//! The arrows between the crates are those of the map, and no others.
//!
//! `a -> b`: b uses a. An arrow that is not in the table is a decision, and decisions are made in the map first.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// For each crate, those of the workspace that it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("weir-api", &[]),
    ("weir-event", &[]),
    ("weir-program", &["weir-transport"]),
    ("weir-transport", &[]),
    ("weir-metrics", &[]),
    ("weir-http1", &[]),
    ("weir-config", &["weir-event"]),
    ("weir-router", &["weir-event", "weir-config", "weir-http1"]),
    ("weir-policies", &["weir-event", "weir-config", "weir-http1", "weir-transport"]),
    ("weir-upstream", &["weir-event", "weir-config", "weir-http1", "weir-transport"]),
    ("weir-telemetry", &["weir-event", "weir-config", "weir-http1", "weir-metrics"]),
    ("weir-spool", &["weir-api", "weir-event", "weir-transport"]),
    ("weir-otlp", &["weir-event", "weir-config", "weir-transport"]),
    ("weir-logs", &["weir-event", "weir-config", "weir-otlp"]),
    (
        "weir-proxy",
        &[
            "weir-event",
            "weir-config",
            "weir-router",
            "weir-policies",
            "weir-upstream",
            "weir-http1",
            "weir-telemetry",
            "weir-transport",
        ],
    ),
    (
        "weir-gateway",
        &[
            "weir-api",
            "weir-event",
            "weir-config",
            "weir-metrics",
            "weir-logs",
            "weir-otlp",
            "weir-policies",
            "weir-proxy",
            "weir-telemetry",
            "weir-spool",
            "weir-program",
        ],
    ),
    ("weir-analytics", &["weir-api", "weir-event", "weir-metrics", "weir-program", "weir-transport"]),
    ("weir-chdb", &["weir-http1", "weir-program"]),
    ("weir-ctl", &["weir-api", "weir-event", "weir-config", "weir-program", "weir-transport"]),
];

/// Crates for development, which may use all.
const DEVELOPMENT: &[&str] = &["weir-testkit", "weir-e2e", "weir-fuzz", "weir-loadtests"];

fn used() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let of = |package: &Value| {
        let all = package["dependencies"].as_array().cloned().unwrap_or_default();
        // What only tests use is no arrow of the house.
        let built = all.iter().filter(|dependency| dependency["kind"] != "dev");
        built.map(&name).filter(|name| name.starts_with("weir-")).collect()
    };
    packages.iter().map(|package| (name(package), of(package))).collect()
}

fn wrong(used: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let allowed: BTreeMap<_, BTreeSet<_>> =
        MAY_USE.iter().map(|(name, uses)| (*name, uses.iter().copied().collect())).collect();
    let mut wrong = Vec::new();
    for (name, uses) in used.iter().filter(|(name, _)| !DEVELOPMENT.contains(&name.as_str())) {
        let Some(allowed) = allowed.get(name.as_str()) else {
            wrong.push(format!("`{name}` is not in the table"));
            continue;
        };
        wrong.extend(
            uses.iter()
                .filter(|other| !allowed.contains(other.as_str()))
                .map(|other| format!("`{name}` uses `{other}`")),
        );
    }
    wrong
}

#[test]
fn every_arrow_is_in_the_table() {
    assert_eq!(wrong(&used()), Vec::<String>::new());
}

#[test]
fn the_table_can_say_no() {
    let uses = ["weir-spool".to_owned()].into();
    let invented = BTreeMap::from([("weir-proxy".to_owned(), uses), ("weir-new".to_owned(), BTreeSet::new())]);
    assert_eq!(wrong(&invented), ["`weir-new` is not in the table", "`weir-proxy` uses `weir-spool`"]);
}
