//! The account under wrong wall clocks, of the gateway and of weir-analytics: nothing is thrown away because of one, and
//! what it makes of events can be mended.

use weir_e2e::{Account, Part, Setup, TestStack, eventually};
use weir_testkit::fault_proxy::Mode;
use weir_testkit::get;

async fn with_clocks() -> Account {
    let setup = Setup { bad_network: true, clocks: Some("+0"), ..Setup::default() };
    Account::of(TestStack::with(&setup).await.unwrap())
}

async fn blocked(account: &Account, reason: &str) {
    eventually("nothing is taken", async || (account.status().await.ok()?["spool"]["blocked"] == reason).then_some(()))
        .await;
}

/// P9: the gateway's clock goes seven hours or two days forward while chunks wait. a23da7b shed 300 of 300 at once, as
/// `spool_full` with a spool of 12 KB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_makes_no_event_old() {
    let mut account = with_clocks().await;
    for offset in ["+7h", "+2d"] {
        account.set_network(Mode::Refuse);
        account.traffic(150).await;
        crate::spool::all_sealed(&account, 150).await;
        account.set_clock(Part::Gateway, offset).await.unwrap();
        account.set_network(Mode::Pass);
        blocked(&account, "clock").await;
        let spool = account.status().await.unwrap()["spool"].clone();
        let shed: u64 = spool["shed"].as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum();
        assert_eq!(shed, 0, "{spool}");
        assert!(spool["oldest_age_seconds"].as_f64().unwrap() < 600.0, "{spool}");
        account.claimed("not balanced", |claim| !claim.is_balanced_at(account.answered_ms)).await;
        account.set_clock(Part::Gateway, "+0").await.unwrap();
        account.settle().await;
    }
    account.ends_balanced().await;
}

/// P12: the clock of weir-analytics is two days behind or forty ahead. a23da7b made dead letters of 600 of 600 events, and
/// said "balanced".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_clock_of_the_ingestor_makes_no_dead_letters() {
    let mut account = with_clocks().await;
    for offset in ["-2d", "+40d"] {
        account.set_clock(Part::Analytics, offset).await.unwrap();
        account.traffic(200).await;
        blocked(&account, "clock").await;
        let (_, health) = get(&format!("http://{}/healthz", account.analytics_at)).await.unwrap();
        assert!(health.contains("clock of acme/test/here/edge differs"), "{health}");
        let letters = account.client().query("SELECT count() FROM dead_letters").fetch_one::<u64>().await.unwrap();
        assert_eq!(letters, 0);
        account.claimed("not balanced", |claim| !claim.is_balanced_at(account.answered_ms)).await;
        account.set_clock(Part::Analytics, "+0").await.unwrap();
        account.settle().await;
    }
    account.ends_balanced().await;
}

/// P12: events that were recorded under a wrong clock are dead letters when it is right again: named, listed, and replayed
/// when their time has come. No command of a23da7b brought them back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_named_and_replayed_when_their_time_has_come() {
    let mut account = with_clocks().await;
    account.traffic(100).await;
    account.settle().await;
    account.set_clock(Part::Gateway, "+2d").await.unwrap();
    account.traffic(200).await;
    blocked(&account, "clock").await;
    account.set_clock(Part::Gateway, "+0").await.unwrap();
    account.settle().await;
    let dead = account.names(&[("dead_letter", "ts_ahead")]).await;
    assert_eq!(dead, 200);
    let token = account.site.path("admin-token").to_string_lossy().into_owned();
    let weirctl = |args: &[&str]| account.weirctl(&[args, &["--token-file", &token]].concat()).unwrap();
    let (code, out) = weirctl(&["deadletters", "list"]);
    assert!(code == 0 && out.contains("ts_ahead") && out.contains("200"), "{out}");
    let (code, out) = account.weirctl(&["ledger"]).unwrap();
    assert!(code == 1 && out.contains("200 dead letters (ts_ahead)"), "{out}");
    weirctl(&["deadletters", "replay"]);
    assert_eq!(account.names(&[("dead_letter", "ts_ahead")]).await, 200, "not yet");
    // Two days later.
    account.set_clock(Part::Gateway, "+2d").await.unwrap();
    account.set_clock(Part::Analytics, "+2d").await.unwrap();
    let (code, out) = account.weirctl(&["deadletters", "replay", "--token-file", &token]).unwrap();
    assert_eq!(code, 0, "{out}");
    account.holds().await;
}
