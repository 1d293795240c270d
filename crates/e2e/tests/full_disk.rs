//! A disk that is really full: traffic goes on, every program says what is in the way, and the ledger accounts for
//! every event once there is room again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::path::PathBuf;
use weir_e2e::{Part, TestStack, eventually};
use weir_testkit::compare::Report;
use weir_testkit::get;
use weir_testkit::witness::{Tally, Witness, read_log};

const RATE: f64 = 600.0;

fn log(stack: &TestStack, name: &str) -> PathBuf {
    stack.site.path(&format!("{name}.ndjson"))
}

async fn traffic(stack: &TestStack, name: &str, requests: u64) -> Tally {
    let mut plan = stack.traffic(requests, RATE);
    // Whatever fails here fails because of the disk.
    plan.mix.retain(|(path, _)| path != "/broken");
    plan.log = log(stack, name);
    Witness::start(plan).unwrap().wait().await.unwrap()
}

/// Both halves of the traffic against what is stored.
async fn verdict(stack: &TestStack) -> (Report, Vec<String>) {
    let logs = ["with", "without"].map(|name| read_log(&log(stack, name)).unwrap());
    stack.verdict_of(&logs.concat()).await.unwrap()
}

/// How many events the gateway's ledger says were shed.
async fn shed(stack: &TestStack) -> u64 {
    let (_, body) = get(&format!("http://{}/ledger", stack.admin().unwrap())).await.unwrap();
    let ledger: serde_json::Value = serde_json::from_str(&body).unwrap();
    let count = |ranges: &serde_json::Value| -> u64 {
        let ranges = ranges.as_array().unwrap().iter();
        ranges.map(|range| range[1].as_u64().unwrap() - range[0].as_u64().unwrap() + 1).sum()
    };
    let streams = ledger["streams"].as_array().unwrap().iter();
    streams.flat_map(|stream| stream["shed"].as_object().unwrap().values()).map(count).sum()
}

async fn says(stack: &TestStack, part: Part, words: &[&str]) {
    eventually("what is in the way is said", async || {
        let log = stack.site.log(part.name());
        log.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(())
    })
    .await;
}

/// The gateway's own disk: no request fails, the rings hold what they can, the rest is shed and reported.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_without_room_sheds_by_the_book() {
    let mut stack = TestStack::on_small_disk(Part::Gateway, "2m").await.unwrap();
    let filler = stack.fill_disk(Part::Gateway).unwrap();
    let before = traffic(&stack, "without", 1500).await;
    assert_eq!(before.failed, 0, "a full disk costs no request: {before:?}");
    says(&stack, Part::Gateway, &["edge/spool", "No space left", "free space"]).await;
    std::fs::remove_file(filler).unwrap();
    says(&stack, Part::Gateway, &["the spool can write again"]).await;
    let after = traffic(&stack, "with", 300).await;
    assert_eq!(after.failed, 0, "{after:?}");
    stack.settle().await;

    let shed = shed(&stack).await;
    let (report, disagreement) = verdict(&stack).await;
    assert!(shed > 0, "the ring is too small for what came");
    assert_eq!(report.lost.len() as u64, shed, "what is not stored is what was shed: {report}");
    let wrong = report.invented.len() + report.twice.len() + report.different.len();
    assert_eq!(wrong, 0, "{report}");
    assert!(disagreement.is_empty(), "{disagreement:#?}");
}

/// The ingestor's and the engine's: the gateway keeps what is not acknowledged.
async fn nothing_is_lost(part: Part, size: &'static str, words: &[&str]) {
    let mut stack = TestStack::on_small_disk(part, size).await.unwrap();
    assert_eq!(traffic(&stack, "with", 300).await.failed, 0);
    // What is under way must not leave room behind it.
    stack.settle().await;
    let filler = stack.fill_disk(part).unwrap();
    assert_eq!(traffic(&stack, "without", 900).await.failed, 0);
    says(&stack, Part::Analytics, words).await;
    std::fs::remove_file(filler).unwrap();
    stack.settle().await;
    let (report, disagreement) = verdict(&stack).await;
    assert!(report.holds(), "{report}");
    assert!(disagreement.is_empty(), "{disagreement:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingestor_without_room_for_its_intents_loses_nothing() {
    nothing_is_lost(Part::Analytics, "256k", &["state folder cannot be written; make room", "No space left"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_without_room_loses_nothing() {
    nothing_is_lost(Part::Engine, "256m", &["space"]).await;
}
