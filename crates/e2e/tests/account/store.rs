//! The account under what happens to the store: a power failure of ClickHouse's machine, repairs, an insert that a proxy
//! delivers late, a stream that outlives the retention.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use weir_e2e::{Account, Part, Setup, TestStack, eventually};
use weir_testkit::fault_proxy::Mode;
use weir_testkit::witness::Witness;

async fn sql(account: &Account, text: &str) {
    account.client().query(text).execute().await.unwrap();
}

async fn number(account: &Account, text: &str) -> u64 {
    account.client().query(text).fetch_one::<u64>().await.unwrap()
}

/// P6: the power of ClickHouse's machine fails: files that nobody has synced are empty. a23da7b synced none before it
/// acknowledged: 300 of 500 rows, "balanced". What is synced is noted by strace(1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_outlives_a_power_failure_of_the_store() {
    let mut account = Account::of(TestStack::start(None).await.unwrap());
    account.stop(Part::Gateway).unwrap();
    account.stop(Part::Engine).unwrap();
    let trace = account.site.trace("engine");
    account.start_part(Part::Engine, None).unwrap();
    account.start_part(Part::Gateway, None).unwrap();
    let begun = SystemTime::now();
    account.traffic(500).await;
    account.settle().await;
    account.kill(Part::Engine).unwrap();
    let synced = synced(&trace);
    let (mut parts, mut emptied) = (0, Vec::new());
    part_files(&account.site.path("engine.d"), begun, &mut |file| {
        parts += 1;
        // A file whose folder is not synced is not found again.
        if !synced.contains(&file) || !synced.contains(file.parent().unwrap()) {
            fs::write(&file, "").unwrap();
            emptied.push(file);
        }
    });
    assert!(parts > 20, "{parts} files of parts were written");
    account.start_part(Part::Engine, None).unwrap();
    eventually("ClickHouse answers again", async || {
        account.weirctl(&["ledger", "--verify"]).ok().filter(|(code, _)| *code != 3)
    })
    .await;
    account.traffic(100).await;
    account.ends_balanced().await;
    assert_eq!(emptied, Vec::<PathBuf>::new(), "acknowledged before it was synced");
}

/// The paths that are synced, by the names that they have at the end.
fn synced(trace: &Path) -> BTreeSet<PathBuf> {
    let mut synced: BTreeSet<PathBuf> = BTreeSet::new();
    for line in fs::read_to_string(trace).unwrap().lines() {
        let Some((_, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if call.starts_with("fsync(") || call.starts_with("fdatasync(") {
            let path = call.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path);
            synced.extend(path.map(PathBuf::from));
        } else if call.starts_with("rename") {
            let paths: Vec<_> = call.split('"').skip(1).step_by(2).map(PathBuf::from).collect();
            let [from, to] = &paths[..] else { continue };
            let moved: Vec<_> = synced.iter().filter_map(|path| Some(to.join(path.strip_prefix(from).ok()?))).collect();
            // Joining nothing leaves a slash at the end, which paths do not count.
            synced.extend(moved);
        }
    }
    synced
}

/// The files of every part that was written since `begun`. One that still has the name of an insert or merge under way was
/// acknowledged to nobody: a renewal of the lease, or a report, when the engine was killed.
fn part_files(folder: &Path, begun: SystemTime, found: &mut impl FnMut(PathBuf)) {
    let entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let is_part = folder.join("checksums.txt").exists();
    for path in entries {
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tmp_")) {
                continue;
            }
            part_files(&path, begun, found);
        } else if is_part && metadata.modified().unwrap() >= begun {
            found(path.canonicalize().unwrap());
        }
    }
}

/// Hours, minutes and numbers as they are counted now.
async fn rolled(account: &Account) -> [u64; 3] {
    let sum = async |table: &str| number(account, &format!("SELECT toUInt64(sum(n)) FROM {table}")).await;
    [sum("requests_1h").await, sum("requests_1m").await, sum("stored_seqs").await]
}

/// P10: `repair` of a day of which raw has lost rows, or which has expired; and a start with an intent of that day. The
/// repair of a23da7b made nothing of 400 and 3,000 counted requests, with exit code 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_removes_nothing_that_it_cannot_make_again() {
    let setup =
        Setup { failpoint: Some((Part::Analytics, "ingest.after_insert:1")), clocks: Some("-3d"), ..Setup::default() };
    let mut account = Account::of(TestStack::with(&setup).await.unwrap());
    account.traffic(400).await;
    eventually("it dies with an open intent", async || account.has_ended(Part::Analytics).then_some(())).await;
    let intents = account.site.path("analytics.d/intents");
    let kept: Vec<_> = fs::read_dir(&intents).unwrap().map(|file| file.unwrap().path()).collect();
    let kept: Vec<_> = kept.into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    assert!(!kept.is_empty());
    account.start_part(Part::Analytics, None).unwrap();
    account.ends_balanced().await;
    let day = account.client().query("SELECT toString(any(toDate(ts))) FROM access_events").fetch_one::<String>();
    let day = day.await.unwrap();
    let before = rolled(&account).await;
    assert_eq!(before, [400; 3]);

    sql(&account, "ALTER TABLE access_events DELETE WHERE seq < 100 SETTINGS mutations_sync = 2").await;
    assert_eq!(refused(&account, &day, "100 events of").await, before);
    let report = account.stack.verdict_of(&account.log().unwrap()).await.unwrap().0;
    let claim = weir_e2e::Claim::of(&account).await.unwrap();
    assert_eq!((claim.named("gone", "stored before, gone now"), report.lost.len()), (100, 100), "{}", claim.0);

    sql(&account, "TRUNCATE TABLE access_events").await;
    account.analytics_args = ["--retention-raw", "2d"].map(str::to_owned).to_vec();
    assert_eq!(refused(&account, &day, "have begun to expire").await, before);
    // As a start finds it that was killed then.
    account.kill(Part::Analytics).unwrap();
    kept.iter().for_each(|(bytes, path)| fs::write(path, bytes).unwrap());
    account.analytics_args = ["--retention-raw", "26h"].map(str::to_owned).to_vec();
    account.site.set_clock("analytics", "+0").unwrap();
    account.start_part(Part::Analytics, None).unwrap();
    eventually("the intent is settled", async || fs::read_dir(&intents).unwrap().next().is_none().then_some(())).await;
    assert_eq!(rolled(&account).await, before);
}

/// A repair that must be refused, and what is counted after it.
async fn refused(account: &Account, day: &str, why: &str) -> [u64; 3] {
    let output = account.repair(day).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains(why), "{:?} {said}", output.status);
    rolled(account).await
}

/// P11: `repair` of today while events come in, with a doubled row so that raw itself is rebuilt. a23da7b lost 1,761
/// acknowledged rows, with exit code 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_of_today_loses_nothing_that_comes_in() {
    let setup = Setup { analytics: &["--lease", "2s"], ..Setup::default() };
    let mut account = Account::of(TestStack::with(&setup).await.unwrap());
    account.traffic(200).await;
    account.settle().await;
    let witness = Witness::start(account.plan(3000, 500.0)).unwrap();
    let day = account.client().query("SELECT toString(today())").fetch_one::<String>().await.unwrap();
    let rows = "SELECT count() FROM access_events";
    for _ in 0..3 {
        let double = "INSERT INTO access_events SELECT * REPLACE (generateUUIDv4() AS lease) FROM access_events \
                      WHERE seq = 7 LIMIT 1";
        sql(&account, double).await;
        let so_far = number(&account, rows).await;
        eventually("more events", async || (number(&account, rows).await > so_far + 100).then_some(())).await;
        let output = account.repair(&day).unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let tally = witness.wait().await.unwrap();
    assert_eq!(tally.failed, 0);
    account.is_answered();
    account.ends_balanced().await;
}

/// P20: two weir-analytics on one ClickHouse; the first stores, its answers are lost, and the other is offered the same.
/// a23da7b had 800 rows of 600 answered requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_first_ingestor_stored_is_not_stored_by_the_second() {
    let setup = Setup { bad_network: true, analytics: &["--lease", "2s"], ..Setup::default() };
    let mut account = Account::of(TestStack::with(&setup).await.unwrap());
    let mut second = account.second_analytics().unwrap();
    let second_at = second.wait_until_listening(weir_e2e::DEADLINE).unwrap();
    account.traffic(400).await;
    account.settle().await;
    account.set_network(Mode::LoseAnswers);
    account.traffic(200).await;
    eventually("the first stores some of it", async || (account.report().await.stored > 400).then_some(())).await;
    // As a balancer does that takes the first out; it lives on, and is not asked any more.
    account.spec.analytics = Some((second_at, "token-edge".to_owned()));
    account.stop(Part::Gateway).unwrap();
    account.start_part(Part::Gateway, None).unwrap();
    let (status, _) = weir_testkit::get(&format!("http://{second_at}/healthz")).await.unwrap();
    assert_eq!(status, 200, "it stands by");
    assert!(account.report().await.stored < 700, "and has stored nothing");
    account.kill(Part::Analytics).unwrap();
    account.analytics_at = second_at;
    account.traffic(100).await;
    account.ends_balanced().await;
    second.stop(weir_e2e::DEADLINE).unwrap();
}

/// P21: a proxy keeps an insert back; its sender is killed, settles, and has the events again; then the proxy delivers. The
/// rows of a23da7b were there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_insert_that_arrives_late_stores_nothing() {
    let setup = Setup { holding_proxy: true, ..Setup::default() };
    let mut account = Account::of(TestStack::with(&setup).await.unwrap());
    account.traffic(100).await;
    account.settle().await;
    account.holding.as_ref().unwrap().hold("access_events");
    account.traffic(200).await;
    let late = account.holding.as_mut().unwrap().held().await.unwrap();
    account.kill(Part::Analytics).unwrap();
    account.start_part(Part::Analytics, None).unwrap();
    account.settle().await;
    assert_eq!(account.report().await.stored, 300);
    let answer = account.holding.as_ref().unwrap().deliver(&late).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("the lease of this insert has ended"), "{answer}");
    account.ends_balanced().await;
}

/// P36: a stream lives for longer than its rows and their numbers are kept. a23da7b had 700 events `open` for ever. The
/// clocks of gateway and ingestor are 25 days behind for the first half of the stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_outlives_the_retention_is_still_accounted_for() {
    let setup = Setup { clocks: Some("-25d"), ..Setup::default() };
    let mut account = Account::of(TestStack::with(&setup).await.unwrap());
    account.traffic(400).await;
    account.holds().await;
    // The same life goes on, 25 days later.
    account.set_clock(Part::Gateway, "+0").await.unwrap();
    account.set_clock(Part::Analytics, "+0").await.unwrap();
    account.traffic(200).await;
    account.holds().await;
    let (code, out) = account.weirctl(&["ledger", "--verify"]).unwrap();
    assert!(matches!(code, 0 | 4), "{out}");
    account.stop(Part::Analytics).unwrap();
    account.analytics_args = ["--retention-raw", "3d", "--spool-max-age", "2d"].map(str::to_owned).to_vec();
    account.start_part(Part::Analytics, None).unwrap();
    for (table, rows) in [("access_events", "count()"), ("stored_seqs", "toUInt64(sum(n))")] {
        eventually("the old ones have expired", async || {
            sql(&account, &format!("OPTIMIZE TABLE {table} FINAL")).await;
            (number(&account, &format!("SELECT {rows} FROM {table}")).await == 200).then_some(())
        })
        .await;
    }
    // What was audited is kept for 37 days from then on: later it goes, too.
    sql(&account, "ALTER TABLE audits DELETE WHERE day < today() - 20 SETTINGS mutations_sync = 2").await;
    let expired: Vec<_> = account.report().await.lost;
    assert_eq!(expired.len(), 400, "they were all stored, and were kept for as long as they should");
    account.excuse(expired);
    let at = account.answered_ms;
    let (claim, _) = account.claimed("a report", |claim| claim.is_balanced_at(at)).await;
    assert_eq!((claim.count("stored"), claim.count("waiting")), (600, 0), "{}", claim.0);
    assert_eq!(claim.0["streams"].as_array().unwrap().len(), 1, "one stream: {}", claim.0);
    account.stop(Part::Gateway).unwrap();
    account.claimed("balanced to its end", |claim| claim.is_balanced_at(at)).await;
    assert_eq!(rolled(&account).await[..2], [600, 600], "what was counted is kept");
}
