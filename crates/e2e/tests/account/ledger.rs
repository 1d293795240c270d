//! The ledger claims what it can keep: balanced up to a time, and only where the witness agrees; unknown where a gateway
//! is silent; missing where rows are gone. With real programs, `weirctl` as its reader.

use weir_e2e::{Account, Claim, Part, Setup, TestStack, eventually, now_ms};
use weir_testkit::fault_proxy::Mode;
use weir_testkit::get;
use weir_testkit::witness::Witness;

fn weirctl(stack: &TestStack, args: &[&str]) -> (i32, String) {
    stack.weirctl(args).unwrap()
}

/// Sends `requests`; gives the time after which all were answered.
async fn answered(stack: &TestStack, requests: u64) -> i64 {
    let tally = Witness::start(stack.traffic(requests, 400.0)).unwrap().wait().await.unwrap();
    assert_eq!(tally.sent, requests);
    now_ms()
}

/// Waits for a claim, which must agree with the witness whenever it is looked at.
async fn claimed(stack: &TestStack, what: &str, answered_ms: i64, mut wanted: impl FnMut(&Claim) -> bool) -> Claim {
    eventually(what, async || {
        let claim = Claim::of(stack).await.unwrap();
        let (report, _) = stack.verdict().await.unwrap();
        // A row may come between the two looks; what is claimed to be balanced may not be missing.
        assert!(report.lost.is_empty() || !claim.is_balanced_at(answered_ms), "{report}: {}", claim.0);
        assert_eq!(claim.count("missing"), 0, "{}", claim.0);
        wanted(&claim).then_some(claim)
    })
    .await
}

/// P30: a gateway that is cut off. a23da7b said "balanced: every accepted event is accounted for".
pub async fn balanced_is_claimed_up_to_a_time_and_a_gateway_that_is_cut_off_is_unknown() {
    let stack = TestStack::start(None).await.unwrap();
    let (code, out) = weirctl(&stack, &["ledger"]);
    assert!(code == 4 || code == 0, "{out}");
    let answered_ms = answered(&stack, 800).await;
    let claim = claimed(&stack, "balanced", answered_ms, |claim| claim.is_balanced_at(answered_ms)).await;
    let (report, _) = stack.verdict().await.unwrap();
    assert_eq!(claim.disagreement(&report, answered_ms), Vec::<String>::new());
    let (code, out) = weirctl(&stack, &["ledger"]);
    assert!(code == 0 && out.starts_with("balanced up to 2"), "{out}");

    // From now on nothing that it says is believed: as good as a cable that was cut.
    std::fs::write(stack.site.path("tokens"), "token-other acme test here other\n").unwrap();
    let admin = stack.admin().unwrap();
    eventually("the gateway is refused", async || {
        let _ = get(&format!("http://{}/fast", stack.gateway_at)).await;
        let (_, ledger) = get(&format!("http://{admin}/ledger")).await.ok()?;
        let ledger: serde_json::Value = serde_json::from_str(&ledger).ok()?;
        let held = |stream: &serde_json::Value| stream["spooled"].as_array().is_some_and(|parts| !parts.is_empty());
        ledger["streams"].as_array()?.iter().any(held).then_some(())
    })
    .await;
    let cut_ms = answered(&stack, 500).await;
    let silent = claimed(&stack, "unknown", cut_ms, |claim| claim.state() == "unknown").await;
    let reported = &silent.0["streams"][0]["unknown"][0];
    assert_eq!(reported["kind"], "not_heard", "{}", silent.0);
    assert!(reported["since_ms"].as_i64().unwrap() <= cut_ms && !silent.is_balanced_at(cut_ms));
    let (code, out) = weirctl(&stack, &["ledger"]);
    assert!(code == 4 && out.contains("UNKNOWN: here/edge/r1/0 not heard since 2"), "{out}");

    std::fs::write(stack.site.path("tokens"), "token-edge acme test here edge\n").unwrap();
    claimed(&stack, "balanced again", cut_ms, |claim| claim.is_balanced_at(cut_ms)).await;
}

/// P31: a day of raw is gone. a23da7b had none of 3,000 rows and said "balanced, stored 3,000".
pub async fn rows_that_are_gone_are_missing() {
    let stack = TestStack::start(None).await.unwrap();
    let answered_ms = answered(&stack, 400).await;
    claimed(&stack, "balanced", answered_ms, |claim| claim.is_balanced_at(answered_ms)).await;
    let days = "SELECT DISTINCT partition FROM system.parts WHERE table = 'access_events' AND active";
    for day in stack.client().query(days).fetch_all::<String>().await.unwrap() {
        stack.client().query(&format!("ALTER TABLE access_events DROP PARTITION '{day}'")).execute().await.unwrap();
    }
    let claim = Claim::of(&stack).await.unwrap();
    let (report, _) = stack.verdict().await.unwrap();
    assert_eq!((claim.state(), claim.count("missing")), ("missing", 400), "{}", claim.0);
    assert_eq!(claim.disagreement(&report, answered_ms), Vec::<String>::new());
    let (code, out) = weirctl(&stack, &["ledger", "--verify"]);
    assert!(code == 1 && out.starts_with("MISSING: 400 events (400 gone)"), "{out}");
    assert!(out.contains("400 stored before, gone now") && out.contains("    do: restore the day"), "{out}");

    let acknowledge = ["ledger", "--acknowledge", "all", "--reason", "dropped by hand", "--token-file"];
    let (code, out) = weirctl(&stack, &acknowledge[..5]);
    assert!(code == 2 && out.contains("--token-file"), "{out}");
    std::fs::write(stack.site.path("wrong"), "not-the-administrators-token").unwrap();
    let (code, out) = weirctl(&stack, &[&acknowledge[..], &[&*stack.site.path("wrong").to_string_lossy()]].concat());
    assert!(code == 3 && out.contains("401"), "{out}");
    let token = stack.site.path("admin-token");
    let (code, out) = weirctl(&stack, &[&acknowledge[..], &[&*token.to_string_lossy()]].concat());
    assert!(code == 0 && out.starts_with("balanced up to 2"), "{out}");
    assert!(out.contains("; 400 events missing and acknowledged"), "{out}");
    assert!(out.contains("acknowledged: here/edge/r1/0: missing 0-399"), "{out}");
    let claim = Claim::of(&stack).await.unwrap();
    assert_eq!(claim.disagreement(&report, answered_ms), Vec::<String>::new());
}

/// P12: what could not be stored as it was is listed, shown and replayed by an administrator, and by nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_an_administrators() {
    let stack = TestStack::start(None).await.unwrap();
    let token = stack.site.path("admin-token").to_string_lossy().into_owned();
    let list = ["deadletters", "list", "--token-file", &*token];
    assert_eq!(weirctl(&stack, &list), (0, "no dead letters\n".to_owned()));
    let letter = "INSERT INTO dead_letters (stream, seq, reason, ts, received, event, lease) \
                  SELECT 171, 7, 'ts_ahead', now64(6), now64(3), '{\"path\":\"/orders/7\"}', generateUUIDv4()";
    stack.client().query(letter).execute().await.unwrap();
    let (code, out) = weirctl(&stack, &list);
    let line: Vec<_> = out.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!((code, line), (0, vec!["00000000000000ab", "ts_ahead", "1", "7", "7", "no"]), "{out}");
    let (code, out) = weirctl(&stack, &["deadletters", "show", "00000000000000ab", "--token-file", &token]);
    assert!(code == 0 && out.contains("/orders/7"), "{out}");
    let wrong = stack.site.path("wrong");
    std::fs::write(&wrong, "not-the-administrators-token\n").unwrap();
    let (code, _) = weirctl(&stack, &[&list[..3], &[&*wrong.to_string_lossy()]].concat());
    assert_eq!(code, 3);
    let audit = std::fs::read_to_string(stack.site.path("analytics.d/audit.log")).unwrap();
    assert_eq!(audit.lines().count(), 3, "each call that was let through leaves a line: {audit}");
}

/// P42: a gateway whose first report has not come. a23da7b said "balanced, accepted 0" beside 2,000 stored events.
pub async fn a_gateway_of_a_moment_ago_is_not_reported_yet() {
    let stack = TestStack::with(&Setup { bad_network: true, ..Setup::default() }).await.unwrap();
    let mut account = Account::of(stack);
    let mut lives = 1;
    let claim = loop {
        // Its first report is lost; the next is due in ten seconds.
        account.stop(Part::Gateway).unwrap();
        account.set_network(Mode::Refuse);
        account.start_part(Part::Gateway, None).unwrap();
        account.traffic(400).await;
        account.set_network(Mode::Pass);
        let wanted = 400 * lives;
        lives += 1;
        let (claim, _) = account.claimed("stored", |claim| claim.count("stored") == wanted).await;
        // On a slow machine the next report may have come before all was stored.
        if !claim.is_balanced_at(account.answered_ms) || lives > 5 {
            break claim;
        }
    };
    assert_eq!((claim.state(), claim.doubts("not_reported").len()), ("unknown", 1), "{}", claim.0);
    let streams = claim.0["streams"].as_array().unwrap().iter();
    // The first life had no events; whether it was long enough there to report so is not asked.
    let closed = streams.filter(|stream| stream["closed"] == true && stream["stored"] != 0).count() as u64;
    assert_eq!(closed, lives - 2, "{}", claim.0);
    assert_eq!(claim.count("accepted"), claim.count("stored"), "{}", claim.0);
    let (code, out) = weirctl(&account, &["ledger"]);
    assert!(code == 4 && out.contains("not reported yet") || code == 0, "{out}");
    let at = account.answered_ms;
    account.claimed("its report has come", |claim| claim.is_balanced_at(at)).await;
    account.ends_balanced().await;
}

/// P39: a loss that is older than what the ledger lists. a23da7b said "balanced, 0 streams" after a day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_does_not_grow_out_of_the_ledger() {
    let setup = Setup { bad_network: true, clocks: Some("-2d"), ..Setup::default() };
    let mut account = Account::of(TestStack::with(&setup).await.unwrap());
    account.set_network(Mode::Refuse);
    account.traffic(300).await;
    crate::spool::all_sealed(&account, 300).await;
    for chunk in crate::spool::chunks(&account) {
        std::fs::remove_file(chunk).unwrap();
    }
    // Until then the shipper may still have read one, and would send it.
    eventually("the gateway sees that they are gone", async || {
        let status = account.status().await.ok()?;
        (status["spool"]["shed"]["removed"] == 300).then_some(())
    })
    .await;
    account.set_network(Mode::Pass);
    account.settle().await;
    assert_eq!(account.names(&[("lost", "removed")]).await, 300);
    account.stop(Part::Gateway).unwrap();
    // Two days later.
    account.set_clock(Part::Gateway, "+0").await.unwrap();
    account.set_clock(Part::Analytics, "+0").await.unwrap();
    account.start_part(Part::Gateway, None).unwrap();
    account.traffic(200).await;
    account.settle().await;
    let (status, body) = get(&format!("http://{}/api/v1/ledger?minutes=60", account.analytics_at)).await.unwrap();
    assert!(status == 200 && body.contains("\"missing\":300"), "{body}");
    assert_eq!(account.names(&[("lost", "removed")]).await, 300);
    let (code, out) = weirctl(&account, &["ledger", "--since", "1h"]);
    assert!(code == 1 && out.starts_with("MISSING: 300 events (300 lost)"), "{out}");
    let token = account.site.path("admin-token").to_string_lossy().into_owned();
    let all = ["ledger", "--acknowledge", "all", "--reason", "removed by hand", "--token-file", &token];
    let (_, out) = weirctl(&account, &all);
    assert!(out.contains("missing 0-299"), "{out}");
    account.stop(Part::Gateway).unwrap();
    let (claim, _) = account.claim().await;
    assert!(claim.is_balanced_at(account.answered_ms) && claim.count("acknowledged") == 300, "{}", claim.0);
}
