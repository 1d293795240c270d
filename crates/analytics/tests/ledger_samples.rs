//! The ledger's document in each state, from fixed facts, as golden files: what docs/ledger.md shows is made of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use expect_test::expect_file;
use std::collections::BTreeMap;
use std::path::Path;
use weir_analytics::query::account::{Facts, History, Limits, Report};
use weir_analytics::query::facts::Owner;
use weir_analytics::query::ledger::{Accounted, summary};
use weir_event::Ranges;

/// 2026-11-26 14:02:15 UTC.
const NOW: i64 = 1_795_701_735_000;

fn report(accepted: u64) -> Report {
    Report { accepted, counted_ms: NOW - 5_000, received_ms: NOW - 4_980, ..Report::default() }
}

fn stream(site: &str, gateway: &str, worker: u16, facts: &Facts, history: History) -> Accounted {
    let owner = Owner {
        organization: "acme".to_owned(),
        environment: "production".to_owned(),
        site: site.to_owned(),
        gateway: gateway.to_owned(),
        replica: "r1".to_owned(),
        boot: "0199f0c8a1b27c3d8e4f5a6b7c8d9e0f".to_owned(),
        worker: facts.report.is_some().then_some(worker),
    };
    let report = facts.report.as_ref();
    Accounted {
        id: 0x8f3a_5c0e_1d2b_4a60 + u64::from(worker) + if site == "cloud" { 0x100 } else { 0 },
        owner,
        account: facts.account(history, NOW, Limits::default()),
        reported_ms: report.map(|report| report.received_ms),
        counted_ms: report.map(|report| report.counted_ms),
        closed: report.is_some_and(|report| report.closed),
        held: report.and_then(|report| report.held.clone()).map(|(reason, _)| reason),
    }
}

fn stored(count: u64) -> Ranges {
    Ranges::of(0, count - 1)
}

fn whole(count: u64) -> Facts {
    Facts { report: Some(report(count)), stored: stored(count), ..Facts::default() }
}

fn named(reason: &str, first: u64, last: u64) -> BTreeMap<String, Ranges> {
    [(reason.to_owned(), Ranges::of(first, last))].into()
}

/// The streams of each sample.
fn samples() -> Vec<(&'static str, Vec<Accounted>)> {
    let none = History::default;
    let core = || stream("cloud", "core", 0, &whole(48_210), none());
    let edge = |facts: &Facts| stream("on-prem", "edge", 0, facts, none());

    let mut waits = whole(31_000);
    waits.stored = stored(30_655);
    waits.report.as_mut().unwrap().waiting = Some(Ranges::of(30_655, 30_999));
    let history = History { before_ms: Some(NOW - 15_000), counted_ms: Some(NOW - 5_000) };

    let mut lost = whole(31_000);
    lost.gaps = named("ring_full", 20_000, 20_511);
    lost.dead = named("ts_ahead", 30_990, 30_999);
    lost.stored = stored(30_990);
    lost.stored.remove(20_000, 20_511);
    let mut acknowledged = lost.clone();
    acknowledged.acknowledged.missing = [(20_000, 20_511), (30_990, 30_999)].into_iter().collect();
    let mut gone = whole(12_000);
    gone.gone = Ranges::of(0, 6_999);

    let mut silent = whole(31_000);
    silent.report.as_mut().unwrap().counted_ms = NOW - 310_000;
    silent.report.as_mut().unwrap().received_ms = NOW - 309_990;
    let mut torn = whole(5_000);
    torn.report.as_mut().unwrap().closed = true;
    torn.report.as_mut().unwrap().unknown_from = Some((5_000, "torn".to_owned()));
    let fresh = Facts { report: None, ..whole(2_000) };

    vec![
        ("empty", vec![]),
        ("balanced", vec![core(), edge(&whole(31_000))]),
        ("waiting", vec![core(), stream("on-prem", "edge", 0, &waits, history)]),
        ("missing", vec![core(), edge(&lost), stream("on-prem", "edge", 1, &gone, none())]),
        ("acknowledged", vec![core(), edge(&acknowledged)]),
        (
            "unknown",
            vec![
                core(),
                edge(&silent),
                stream("on-prem", "edge", 1, &torn, none()),
                stream("on-prem", "edge", 2, &fresh, none()),
            ],
        ),
    ]
}

/// `UPDATE_EXPECT=1 cargo test -p weir-analytics --test ledger_samples` writes them anew.
#[test]
fn the_documents_are_the_golden_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/ledger");
    for (name, accounts) in samples() {
        let ledger = summary(&accounts, NOW, Some(NOW - 86_400_000), Some(NOW - 40));
        let text = serde_json::to_string_pretty(&ledger).unwrap() + "\n";
        expect_file![folder.join(format!("{name}.json"))].assert_eq(&text);
    }
}
