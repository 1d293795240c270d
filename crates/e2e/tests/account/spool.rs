//! The account under what happens to a spool: shared, renamed, copied, refused, removed, full, not writable, of many lives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use weir_e2e::{Account, Gateway, GatewaySpec, Part, Setup, TestStack, eventually};
use weir_testkit::fault_proxy::Mode;
use weir_testkit::get;
use weir_testkit::witness::{Plan, Witness};

/// A stack with a network between gateway and weir-analytics, and with `setup`.
pub async fn cut_off(setup: Setup) -> Account {
    let account = Account::of(TestStack::with(&Setup { bad_network: true, ..setup }).await.unwrap());
    account.set_network(Mode::Refuse);
    account
}

/// The chunk files of all lives.
pub fn chunks(stack: &TestStack) -> Vec<PathBuf> {
    let lives = stack.lives().unwrap();
    let files = lives.iter().flat_map(|life| fs::read_dir(life.join("chunks")).into_iter().flatten().flatten());
    files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "chunk")).collect()
}

/// Waits until so many events are in chunk files.
pub async fn all_sealed(stack: &TestStack, events: u64) {
    let count = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut range = name.split('-').skip(1).map(|part| part.parse::<u64>().unwrap());
        let (first, last) = (range.next().unwrap(), range.next().unwrap());
        last - first + 1
    };
    eventually("everything is in chunk files", async || {
        (chunks(stack).into_iter().map(count).sum::<u64>() == events).then_some(())
    })
    .await;
}

async fn shed(stack: &TestStack, reason: &str) -> u64 {
    stack.status().await.unwrap()["spool"]["shed"][reason].as_u64().unwrap_or_default()
}

/// Whether the chunks of a life of `edge` are refused for their identity, and the others are not.
fn is_held(status: &serde_json::Value) -> Option<()> {
    let (spool, held) = (&status["spool"], &status["spool"]["held"][0]);
    (spool["blocked"].is_null() && held["reason"] == "identity" && held["gateway"] == "edge").then_some(())
}

/// P4: two gateways of one host share a spool, each with its own token. a23da7b shipped 100 of 500 events of the one that
/// took over the other's folder, and said "nothing missing".
pub async fn a_shared_spool_holds_up_nobody() {
    let mut account = cut_off(Setup::default()).await;
    account.traffic(100).await;
    account.stop(Part::Gateway).unwrap();
    account.set_network(Mode::Pass);
    // The other one takes over the life of the first, and is refused for it.
    let (endpoint, _) = account.spec.analytics.clone().unwrap();
    let mut spec = GatewaySpec::new("on-prem", "front", account.spec.apis[0].1);
    spec.spool_at = Some(account.spec.spool_path(&account.site));
    spec.analytics = Some((endpoint, "token-front".to_owned()));
    let front = Gateway::start(&account.site, &spec).unwrap();
    account.and_gateway("front");
    account.traffic_to(front.address, 500).await;
    eventually("its own events are stored", async || (account.report().await.lost.len() == 100).then_some(())).await;
    eventually("the other's are held", async || is_held(&front.status().await.ok()?)).await;
    // The first lives again and gets its own life back.
    account.start_part(Part::Gateway, None).unwrap();
    account.traffic(100).await;
    eventually("everything is stored", async || account.report().await.lost.is_empty().then_some(())).await;
    eventually("nothing is held", async || {
        front.status().await.ok()?["spool"]["held"].as_array()?.is_empty().then_some(())
    })
    .await;
    front.process.stop(weir_e2e::DEADLINE).unwrap();
    account.ends_balanced().await;
}

/// Refuses events whose path begins with `/fast/refused`, as ClickHouse would refuse bad data.
async fn refuse(stack: &TestStack) {
    let constraint = "ALTER TABLE access_events ADD CONSTRAINT refused CHECK NOT startsWith(path, '/fast/refused')";
    stack.client().query(constraint).execute().await.unwrap();
}

async fn refused_traffic(account: &mut Account, requests: u64, length: usize) {
    let path = |_| (format!("/fast/refused/{}", (0..length).map(|_| fastrand::alphanumeric()).collect::<String>()), 1);
    let plan = account.plan(requests, 600.0);
    account.send(Plan { mix: (0..200).map(path).collect(), ..plan }).await;
}

async fn set_aside(stack: &TestStack) -> u64 {
    stack.status().await.unwrap()["spool"]["set_aside"]["chunks"].as_u64().unwrap()
}

/// P13: refused chunks are more than an eighth of `maxBytes`. a23da7b deleted 17,000 of 20,000 events, and counted none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_aside_and_given_up_is_named() {
    let setup = Setup { spool: Some("maxBytes: 1MiB, maxAge: 1h"), ..Setup::default() };
    let mut account = Account::of(TestStack::with(&setup).await.unwrap());
    refuse(&account).await;
    // Events that compress to about one and a half kilobytes each, in several chunks.
    for _ in 0..3 {
        refused_traffic(&mut account, 100, 1900).await;
        account.settle().await;
    }
    account.traffic(100).await;
    eventually("what is set aside is within its bound", async || {
        let bytes = account.status().await.ok()?["spool"]["set_aside"]["bytes"].as_u64()?;
        (bytes <= 128 * 1024 && shed(&account, "set_aside_full").await > 0).then_some(())
    })
    .await;
    account.settle().await;
    account.stop(Part::Gateway).unwrap();
    let classes = [("lost", "set_aside_full"), ("set_aside", "rejected")];
    assert_eq!(account.names(&classes).await, 300);
    let (claim, _) = account.claim().await;
    // What of it is still set aside depends on how many events came into one chunk.
    assert!(claim.named("lost", "set_aside_full") > 0, "{}", claim.0);
    account.site.logged("edge", "a chunk that was set aside is given up").await;
}

/// P33: what is set aside is known after a restart, and is retried or dropped on request. a23da7b knew nothing of it after
/// one restart, and the ledger had it `open` for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_aside_is_an_operators() {
    let mut account = Account::of(TestStack::start(None).await.unwrap());
    refuse(&account).await;
    for chunks in 1..3 {
        refused_traffic(&mut account, 50, 10).await;
        eventually("it is set aside", async || (set_aside(&account).await >= chunks).then_some(())).await;
        account.settle().await;
    }
    account.stop(Part::Gateway).unwrap();
    account.start_part(Part::Gateway, None).unwrap();
    account.traffic(100).await;
    account.settle().await;
    assert_eq!(account.names(&[("set_aside", "rejected")]).await, 100);
    let (code, out) = account.weirctl(&["ledger"]).unwrap();
    assert!(code == 1 && out.contains("weirctl spool retry"), "{out}");
    let spool = account.spool().to_string_lossy().into_owned();
    let weirctl = |args: &[&str]| account.weirctl(&[&["spool", "--path", &spool], args].concat()).unwrap().1;
    let listed: serde_json::Value = serde_json::from_str(&weirctl(&["list", "--json"])).unwrap();
    let asides = listed["set_aside"].as_array().unwrap();
    assert!(asides.len() >= 2 && asides.iter().all(|aside| aside["reason"] == "rejected"), "{listed}");
    assert_eq!(weirctl(&["export", "all"]).lines().count(), 100);
    // The data is right after all: one is offered again. The other is given up.
    account.client().query("ALTER TABLE access_events DROP CONSTRAINT refused").execute().await.unwrap();
    weirctl(&["retry", asides[0]["file"].as_str().unwrap()]);
    eventually("it is stored", async || (set_aside(&account).await as usize == asides.len() - 1).then_some(())).await;
    weirctl(&["drop", "all", "--yes"]);
    eventually("nothing is set aside", async || (set_aside(&account).await == 0).then_some(())).await;
    account.settle().await;
    account.stop(Part::Gateway).unwrap();
    let dropped = account.names(&[("lost", "dropped")]).await;
    let of = |name: &str| asides[0][name].as_u64().unwrap();
    assert_eq!(dropped, 100 - (of("last") - of("first") + 1));
}

/// P14: kill -9 again and again while the ingestor is away, and few descriptors. a23da7b kept one for each life, and
/// answered 1 of 40 clients. 25 lives stand for its 140.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_lives_take_no_descriptors_from_clients() {
    const LIVES: usize = 25;
    let mut account = cut_off(Setup::default()).await;
    for _ in 0..LIVES {
        let plan = account.plan(2, 1000.0);
        account.send(plan).await;
        account.kill(Part::Gateway).unwrap();
        account.start_part(Part::Gateway, None).unwrap();
    }
    eventually("all lives are taken over", async || {
        let (_, ledger) = get(&format!("http://{}/ledger", account.admin()?)).await.ok()?;
        let ledger: serde_json::Value = serde_json::from_str(&ledger).ok()?;
        (ledger["streams"].as_array()?.len() == LIVES + 1).then_some(())
    })
    .await;
    // A client takes two: its connection and one to the upstream.
    const CLIENTS: usize = 20;
    account.limit_files(Part::Gateway, 40 + 2 * CLIENTS as u64).unwrap();
    let plan = account.plan(400, 4000.0);
    account.send(Plan { connections: CLIENTS, ..plan }).await;
    account.set_network(Mode::Pass);
    account.ends_balanced().await;
}

/// P35: many streams of many lives. a23da7b reported them in one request, which was more than the ingestor takes, and was
/// refused with 413 for ever. 192 streams with a very long name stand for its 5,120: 1.2 MB of reports.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ends_of_many_streams_are_reported() {
    const LIVES: u64 = 3;
    let mut account = cut_off(Setup { workers: Some(64), ring: Some("128KiB"), ..Setup::default() }).await;
    account.spec.replica = "replica-".repeat(750);
    for life in 0..LIVES {
        account.traffic(64).await;
        account.kill(Part::Gateway).unwrap();
        account.spec.workers = if life + 1 < LIVES { 64 } else { 1 };
        account.start_part(Part::Gateway, None).unwrap();
    }
    account.set_network(Mode::Pass);
    account.ends_balanced().await;
    let (claim, _) = account.claim().await;
    let streams = claim.0["streams"].as_array().unwrap();
    assert_eq!(streams.len() as u64, 64 * LIVES + 1);
    assert!(streams.iter().all(|stream| stream["closed"] == true), "{}", claim.0);
}

/// P37: the spool of a running gateway is copied to another machine and started there. a23da7b showed the living gateway
/// as stopped, with "more events than the gateway accepted".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_spool_ends_nobodys_stream() {
    let mut account = cut_off(Setup::default()).await;
    account.traffic(200).await;
    let boot = account.status().await.unwrap()["boot"].as_str().unwrap().to_owned();
    let copy = account.site.path("copy");
    let copied = Command::new("cp").arg("-a").arg(account.spool()).arg(&copy).status().unwrap();
    assert!(copied.success());
    of_another_machine(&copy.join(&boot));
    account.set_network(Mode::Pass);
    let spec = GatewaySpec {
        spool_at: Some(copy.clone()),
        replica: "r2".to_owned(),
        called: Some("clone"),
        listen: None,
        ..account.spec.clone()
    };
    let clone = Gateway::start(&account.site, &spec).unwrap();
    account.traffic_to(clone.address, 100).await;
    eventually("the copy is shipped and gone", async || (!copy.join(&boot).exists()).then_some(())).await;
    account.traffic(300).await;
    account.holds().await;
    let (claim, _) = account.claim().await;
    let living = claim.0["streams"].as_array().unwrap().iter().find(|stream| stream["boot"] == *boot).unwrap().clone();
    assert_eq!((&living["closed"], &living["stored"]), (&false.into(), &500.into()), "{}", claim.0);
    clone.process.stop(weir_e2e::DEADLINE).unwrap();
    account.ends_balanced().await;
}

/// The note of a life says that it ran on another machine than this one.
fn of_another_machine(life: &Path) {
    let path = life.join("identity.json");
    let mut identity: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    identity["place"]["machine"] = "another".into();
    fs::write(path, identity.to_string()).unwrap();
}

/// P38: the disk is full. a23da7b counted nothing until it was well again, and then 6,256 events as `ring_full`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_disk_costs_is_counted_while_it_is_full() {
    let setup = Setup { disks: vec![(Part::Gateway, "2m")], ring: Some("128KiB"), ..Setup::default() };
    let mut account = Account::of(TestStack::with(&setup).await.unwrap());
    let filler = account.fill_disk(Part::Gateway).unwrap();
    account.traffic(2000).await;
    eventually("it is counted", async || (shed(&account, "disk_full").await > 0).then_some(())).await;
    let metrics = get(&format!("http://{}/metrics", account.admin().unwrap())).await.unwrap().1;
    assert!(metrics.contains("weir_events_shed_total{reason=\"disk_full\"}"), "{metrics}");
    fs::remove_file(filler).unwrap();
    account.traffic(300).await;
    account.settle().await;
    let counted = shed(&account, "disk_full").await;
    assert_eq!(account.names(&[("lost", "disk_full")]).await, counted);
    account.stop(Part::Gateway).unwrap();
    assert_eq!(account.names(&[("lost", "disk_full")]).await, counted);
}

/// P38: the spool is removed under a running gateway. a23da7b lost 1,100 events, `open` without a reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_is_removed_is_made_again() {
    let mut account = cut_off(Setup::default()).await;
    account.traffic(300).await;
    all_sealed(&account, 300).await;
    fs::remove_dir_all(account.spool()).unwrap();
    account.set_network(Mode::Pass);
    account.traffic(200).await;
    account.settle().await;
    assert_eq!(account.names(&[("lost", "removed")]).await, 300);
    account.stop(Part::Gateway).unwrap();
    assert_eq!(account.names(&[("lost", "removed")]).await, 300);
}

/// P41: the folder of the chunks may not be written to. a23da7b offered what was stored again and again, 287 times in 20 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_may_not_be_written_waits_and_says_so_once() {
    let mut account = cut_off(Setup { unprivileged: true, ..Setup::default() }).await;
    account.traffic(200).await;
    all_sealed(&account, 200).await;
    let folder = account.lives().unwrap()[0].join("chunks");
    permit(&folder, 0o500);
    account.set_network(Mode::Pass);
    let failures = async |at_least: u64| {
        eventually("tries to unlink", async || {
            (account.status().await.ok()?["spool"]["failures"]["other"].as_u64()? >= at_least).then_some(())
        })
        .await;
    };
    failures(1).await;
    eventually("all are stored", async || account.report().await.lost.is_empty().then_some(())).await;
    let (sent, begun) = (sent(&account).await, Instant::now());
    failures(3).await;
    assert_eq!(self::sent(&account).await, sent, "offered again within {:?}", begun.elapsed());
    assert!(begun.elapsed() > Duration::from_secs(1), "with a wait between two tries");
    let log = account.site.logged("edge", "remove a chunk file that is stored").await;
    let says = |line: &&str| line.contains("Permission denied") && line.contains("remove a chunk file that is stored");
    assert_eq!(log.lines().filter(says).count(), 1, "{log}");
    permit(&folder, 0o700);
    account.traffic(100).await;
    account.ends_balanced().await;
}

fn permit(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Requests that carried a chunk, by the gateway's own count.
async fn sent(stack: &TestStack) -> u64 {
    let metrics = get(&format!("http://{}/metrics", stack.admin().unwrap())).await.unwrap().1;
    let line = metrics.lines().find(|line| line.starts_with("weir_spool_chunks_sent_total")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// P5: the gateway is renamed while events of its old name wait. a23da7b stored none of 1,500 events, and shed 1,000; when
/// the old ones were past their age, their tombstone blocked for ever.
pub async fn a_new_name_is_not_held_up_by_the_old_one() {
    let mut account = cut_off(Setup { spool: Some("maxBytes: 64MiB, maxAge: 1m"), ..Setup::default() }).await;
    account.traffic(100).await;
    account.stop(Part::Gateway).unwrap();
    account.set_network(Mode::Pass);
    let only_new = "token-renamed acme test here renamed\n";
    fs::write(account.site.path("tokens"), only_new).unwrap();
    account.spec.spool_at = Some(account.spec.spool_path(&account.site));
    account.spec.name = "renamed".to_owned();
    account.spec.analytics.as_mut().unwrap().1 = "token-renamed".to_owned();
    account.start_part(Part::Gateway, None).unwrap();
    account.and_gateway("renamed");
    account.traffic(500).await;
    eventually("the new ones are stored", async || (account.report().await.lost.len() == 100).then_some(())).await;
    eventually("the old ones are held", async || is_held(&account.status().await.ok()?)).await;
    eventually("the old ones are past their age", async || (shed(&account, "too_old").await == 100).then_some(()))
        .await;
    account.traffic(300).await;
    eventually("and block nothing", async || (account.report().await.lost.len() == 100).then_some(())).await;
    fs::write(account.site.path("tokens"), format!("{only_new}token-renamed acme test here *\n")).unwrap();
    account.stop(Part::Gateway).unwrap();
    account.start_part(Part::Gateway, None).unwrap();
    account.settle().await;
    assert_eq!(account.names(&[("lost", "too_old")]).await, 100);
}

/// P34: chunks are stored, their answers are lost, and then they are given up for their age. a23da7b had 500 stored events
/// as shed: not balanced for ever.
pub async fn what_is_stored_is_not_lost_by_being_given_up() {
    // All in one chunk: as long as answers are lost, the oldest is offered again and again.
    let spool = "maxBytes: 64MiB, maxAge: 1m, syncInterval: 5s";
    let mut account = cut_off(Setup { spool: Some(spool), ..Setup::default() }).await;
    account.set_network(Mode::LoseAnswers);
    account.traffic(500).await;
    eventually("all are stored", async || account.report().await.lost.is_empty().then_some(())).await;
    eventually("they are given up", async || (shed(&account, "too_old").await == 500).then_some(())).await;
    account.set_network(Mode::Pass);
    // What ends offers everything once more, without waiting.
    account.stop(Part::Gateway).unwrap();
    let (claim, _) = account.claim().await;
    assert!(claim.is_balanced_at(account.answered_ms), "{}", claim.0);
    let gaps = account.client().query("SELECT toUInt64(sum(last - first + 1)) FROM gaps").fetch_one::<u64>();
    assert_eq!(gaps.await.unwrap(), 500, "the tombstones came");
}

/// P8: a start over very many chunks that are past their age, with small rings. a23da7b lost 8,523 new events while it gave
/// up 20,000 old ones, and counted none of them. 6,000 files of one event stand for its 20,000.
pub async fn giving_up_old_chunks_costs_no_new_event() {
    const OLD: u64 = 6000;
    let mut account = cut_off(Setup { spool: Some("maxBytes: 64MiB, maxAge: 1m"), ..Setup::default() }).await;
    let plan = account.plan(OLD, 3000.0);
    account.send(plan).await;
    account.stop(Part::Gateway).unwrap();
    chunks(&account).iter().for_each(|path| scatter(path));
    assert_eq!(chunks(&account).len() as u64, OLD);
    // Of another start of the kernel, long ago: nothing but the wall clock says how old they are.
    for life in account.lives().unwrap() {
        weir_e2e::restart_kernel(&life).unwrap();
        let touched = Command::new("find").arg(&life).args(["-exec", "touch", "-d", "2001-01-01", "{}", "+"]).status();
        assert!(touched.unwrap().success());
    }
    // It holds the events of some two seconds.
    account.spec.ring = "256KiB";
    account.start_part(Part::Gateway, None).unwrap();
    let begun = Instant::now();
    // While the spool starts; these are past the shortest age, too, when the old ones are given up.
    let early = 1500;
    let plan = account.plan(early, 500.0);
    account.send(plan).await;
    tokio::time::sleep(Duration::from_secs(54).saturating_sub(begun.elapsed())).await;
    let witness = Witness::start(account.plan(40_000, 500.0)).unwrap();
    eventually("all old ones are given up", async || (shed(&account, "too_old").await >= OLD).then_some(())).await;
    let tally = witness.stop().await.unwrap();
    account.is_answered();
    assert_eq!((shed(&account, "ring_full").await, shed(&account, "spool_full").await), (0, 0));
    assert!(tally.failed == 0 && tally.completed > 500, "{tally:?}");
    account.set_network(Mode::Pass);
    // What ends offers everything once more, without waiting.
    account.stop(Part::Gateway).unwrap();
    let lost = account.names(&[("lost", "too_old")]).await;
    assert!((OLD..=OLD + early).contains(&lost), "{lost} lost");
}

/// A chunk file becomes one for each of its events, as the gateway itself halves chunks.
fn scatter(path: &Path) {
    let mut whole = vec![fs::read(path).unwrap()];
    fs::remove_file(path).unwrap();
    let worker = path.file_name().unwrap().to_str().unwrap().split('-').next().unwrap();
    while let Some(bytes) = whole.pop() {
        let chunk = weir_event::chunk::Chunk::decode(&bytes).unwrap();
        match chunk.split().unwrap() {
            Some(halves) => whole.extend(halves),
            None => {
                let (first, last) = (chunk.header.first, chunk.header.last);
                fs::write(path.with_file_name(format!("{worker}-{first:020}-{last:020}.chunk")), bytes).unwrap();
            }
        }
    }
}
