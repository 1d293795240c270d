//! The account under what lies between a gateway and weir-analytics: foreign answers, a proxy's limit, lost and changed
//! bytes, descriptors that run out. What clients were answered is counted by the witness, not by Weir.

use std::time::{Duration, Instant};
use weir_e2e::{Part, Setup, TestStack, eventually};
use weir_testkit::fault_proxy::Mode;
use weir_testkit::get;
use weir_testkit::witness::{Witness, read_log};

/// Requests to the gateway; every answer of the upstream is whole.
async fn traffic(stack: &TestStack, name: &str, requests: u64) {
    let mut plan = stack.traffic(requests, 800.0);
    plan.mix.retain(|(path, _)| path != "/broken");
    plan.log = stack.site.path(&format!("{name}.ndjson"));
    let tally = Witness::start(plan).unwrap().wait().await.unwrap();
    assert_eq!(tally.completed, requests, "{tally:?}");
}

async fn status(stack: &TestStack) -> serde_json::Value {
    let (_, body) = get(&format!("http://{}/status", stack.admin().unwrap())).await.unwrap();
    serde_json::from_str(&body).unwrap()
}

async fn holds(stack: &TestStack, names: &[&str]) {
    stack.settle().await;
    let logs: Vec<_> =
        names.iter().map(|name| read_log(&stack.site.path(&format!("{name}.ndjson"))).unwrap()).collect();
    let (report, disagreement) = stack.verdict_of(&logs.concat()).await.unwrap();
    assert!(report.holds(), "{report}");
    assert!(disagreement.is_empty(), "{disagreement:#?}");
}

/// P1: a portal, an SPA or a wrong port answers for weir-analytics. a23da7b unlinked 500 of 1,500 events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_somebody_else_loses_nothing() {
    let stack = TestStack::on_bad_network().await.unwrap();
    traffic(&stack, "before", 500).await;
    for (name, mode) in [("html", Mode::Answer(200, "<html>Sign in</html>")), ("empty", Mode::Answer(204, ""))] {
        let before = status(&stack).await["spool"]["answers_not_understood"].as_u64().unwrap();
        stack.set_network(mode);
        traffic(&stack, name, 500).await;
        eventually("it is not understood", async || {
            (status(&stack).await["spool"]["answers_not_understood"].as_u64()? > before).then_some(())
        })
        .await;
        assert_eq!(status(&stack).await["spool"]["blocked"], "not_understood");
        stack.set_network(Mode::Pass);
    }
    stack.site.logged("edge", "the answer is not weir-analytics'").await;
    holds(&stack, &["before", "html", "empty"]).await;
    eventually("all is well again", async || status(&stack).await["spool"]["blocked"].is_null().then_some(())).await;
}

/// Answers that are lost, and bodies that are changed on their way, lose, double and set aside nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_and_changed_bodies_are_no_verdict() {
    let stack = TestStack::on_bad_network().await.unwrap();
    for (name, mode) in [("lost", Mode::LoseAnswers), ("changed", Mode::ChangeBodies), ("refused", Mode::Refuse)] {
        stack.set_network(mode);
        traffic(&stack, name, 800).await;
        let spool = status(&stack).await["spool"].clone();
        assert_eq!(spool["chunks"]["set_aside"], 0, "{mode:?}: {spool}");
        stack.set_network(Mode::Pass);
    }
    holds(&stack, &["lost", "changed", "refused"]).await;
}

/// P2: descriptors run out while chunks wait. a23da7b set eight chunks aside for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn descriptors_that_run_out_are_a_passing_fault() {
    let mut stack = TestStack::on_bad_network().await.unwrap();
    stack.set_network(Mode::Refuse);
    traffic(&stack, "first", 800).await;
    eventually("chunks wait", async || {
        (status(&stack).await["spool"]["chunks"]["on_disk"].as_u64()? > 0).then_some(())
    })
    .await;
    // As many as are open now: connections of the witness are gone, chunk files cannot be opened.
    stack.limit_files(Part::Gateway, 3).unwrap();
    stack.set_network(Mode::Pass);
    eventually("files that cannot be opened", async || {
        stack.site.log("edge").contains("a chunk file cannot be read").then_some(())
    })
    .await;
    stack.limit_files(Part::Gateway, 1024).unwrap();
    traffic(&stack, "second", 200).await;
    let spool = status(&stack).await["spool"].clone();
    assert_eq!(spool["chunks"]["set_aside"], 0, "{spool}");
    holds(&stack, &["first", "second"]).await;
}

/// P3: a real nginx with its default limit of 1 MiB in front of weir-analytics, and long paths. a23da7b set aside
/// 5,910 of 6,200 events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_limits_bodies_loses_nothing() {
    let stack = TestStack::behind_nginx().await.unwrap();
    let mut plan = stack.traffic(6000, 3000.0);
    // As hard to compress as paths get.
    let path = |_| (format!("/fast/{}", (0..1900).map(|_| fastrand::alphanumeric()).collect::<String>()), 1);
    plan.mix = (0..400).map(path).collect();
    plan.log = stack.site.path("long.ndjson");
    let tally = Witness::start(plan).unwrap().wait().await.unwrap();
    assert_eq!(tally.completed, 6000, "{tally:?}");
    let spool = status(&stack).await["spool"].clone();
    assert_eq!(spool["chunks"]["set_aside"], 0, "{spool}");
    holds(&stack, &["long"]).await;
}

/// P40: a firewall forgets the connections that the gateway keeps. a23da7b needed 250 s to ship again: each of its 16
/// connections had a time-out of its own.
pub async fn forgotten_connections_hold_up_delivery_for_one_time_out() {
    let setup =
        Setup { workers: Some(4), spool: Some("maxBytes: 64MiB, maxAge: 1h, syncInterval: 50ms"), ..Setup::default() };
    let mut account = crate::spool::cut_off(setup).await;
    // Many chunks wait, so that many connections are opened.
    account.traffic(1600).await;
    account.set_network(Mode::Pass);
    account.settle().await;
    let begun = Instant::now();
    account.set_network(Mode::HalfOpen);
    account.traffic(200).await;
    eventually("delivery goes on", async || account.report().await.lost.is_empty().then_some(())).await;
    // One time-out of 30 s, and a load that is not of this test.
    assert!(begun.elapsed() < Duration::from_secs(45), "{:?}", begun.elapsed());
    // A report may be under way on a forgotten connection still.
    account.set_network(Mode::Pass);
    account.ends_balanced().await;
}
