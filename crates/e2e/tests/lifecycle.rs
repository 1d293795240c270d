//! How a gateway ends: what can still be asked while it does, and that it does, whatever hangs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::time::{Duration, Instant};
use weir_e2e::{DEADLINE, Gateway, GatewaySpec, Held, Part, Site, TestStack, eventually, thread};
use weir_testkit::{get, upstream};

fn terminate(gateway: &Gateway) {
    let pid = Pid::from_raw(i32::try_from(gateway.process.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
}

async fn metric(gateway: &Gateway, name: &str) -> Option<f64> {
    let (_, text) = get(&format!("http://{}/metrics", gateway.admin)).await.ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

async fn start(site: &Site, drain: &str) -> Gateway {
    let spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    Gateway::start_with(site, &spec, &[("FLEX_SERVICE_ENVOY_DRAIN_TIME", drain)]).unwrap()
}

/// While requests finish everything can be asked, and the state says what goes on; asked once more, it ends at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_can_be_watched_and_cut_short() {
    let site = Site::new().unwrap();
    let mut gateway = start(&site, "60").await;
    assert_eq!(metric(&gateway, "weir_draining").await, Some(0.0));
    let open = gateway.ask("/slow?ms=10000").unwrap();
    eventually("the request is open", async || {
        (metric(&gateway, "weir_connections{").await == Some(1.0)).then_some(())
    })
    .await;
    terminate(&gateway);
    eventually("it drains", async || (metric(&gateway, "weir_draining").await == Some(1.0)).then_some(())).await;
    for name in ["weir_config_generation", "weir_connections{", "weir_events_accepted_total"] {
        assert!(metric(&gateway, name).await.is_some(), "{name}");
    }
    let (_, status) = get(&format!("http://{}/status", gateway.admin)).await.unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert!(status["draining"] == true && status["serving"]["generation"].is_u64(), "{status}");
    let (ready, _) = get(&format!("http://{}/probes/readiness", gateway.admin)).await.unwrap();
    assert_eq!(ready, 503);

    let reported = Instant::now();
    terminate(&gateway);
    assert!(gateway.process.wait(DEADLINE).unwrap().success());
    assert!(
        reported.elapsed() < Duration::from_secs(8),
        "{:?}: the request had 10 s, the drain 60",
        reported.elapsed()
    );
    let mut rest = String::new();
    drop({ open }.read_to_string(&mut rest));
    assert_eq!(rest, "", "it was cut");
}

/// Makes a worker stand still.
async fn hold(gateway: &Gateway, worker: u16) -> Held {
    Held::worker(gateway.process.id(), worker).await.unwrap()
}

async fn probe(gateway: &Gateway, name: &str) -> (u16, String) {
    get(&format!("http://{}/probes/{name}", gateway.admin)).await.unwrap()
}

/// Asks for `path` on a connection of its own, and reads the answer to its end.
fn answered(gateway: &Gateway, path: &str) -> std::io::Result<String> {
    let mut answer = String::new();
    gateway.ask(path)?.read_to_string(&mut answer)?;
    Ok(answer)
}

const SETTINGS: &str = "---
apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {name: lifecycle}
spec:
";

/// Liveness names it, the metrics and the log say so, and whoever connects is served by the others, also who was waiting
/// at it; when it runs again it takes connections again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_worker_that_stands_still_goes_to_the_others() {
    let site = Site::new().unwrap();
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let more_yaml = format!("{SETTINGS}  lifecycle: {{workerTimeout: 3s}}\n");
    let spec = GatewaySpec { workers: 2, more_yaml, ..GatewaySpec::new("here", "edge", upstream) };
    let gateway = Gateway::start(&site, &spec).unwrap();
    assert_eq!(probe(&gateway, "liveness").await.0, 200);
    let held = hold(&gateway, 1).await;
    // Half of them wait at the worker that stands still.
    let waiting: Vec<_> = (0..40).map(|_| gateway.ask("/").unwrap()).collect();
    let why = eventually("liveness fails", async || {
        Some(probe(&gateway, "liveness").await).filter(|(status, _)| *status == 503).map(|(_, why)| why)
    })
    .await;
    assert!(why.starts_with("not alive: worker 1 has stood still for "), "{why}");
    let (ready, why) = probe(&gateway, "readiness").await;
    assert!(ready == 503 && why.contains("worker 1 has stood still"), "{ready} {why}");
    assert_eq!(metric(&gateway, "weir_worker_stalls_total{worker=\"1\"}").await, Some(1.0));
    assert!(metric(&gateway, "weir_worker_last_turn_seconds{worker=\"1\"}").await.unwrap() >= 3.0);
    // Both count once a second, so that a look may come just before the turn.
    assert!(metric(&gateway, "weir_worker_last_turn_seconds{worker=\"0\"}").await.unwrap() < 3.0);
    for mut waiting in waiting {
        let mut answer = String::new();
        waiting.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    for _ in 0..40 {
        assert!(answered(&gateway, "/").unwrap().starts_with("HTTP/1.1 200"));
    }
    let accepted = "weir_events_accepted_total{worker=\"1\"}";
    assert_eq!(metric(&gateway, accepted).await, Some(0.0));

    drop(held);
    eventually("it runs again", async || (probe(&gateway, "liveness").await.0 == 200).then_some(())).await;
    eventually("it takes connections again", async || {
        assert!(answered(&gateway, "/").unwrap().starts_with("HTTP/1.1 200"));
        (metric(&gateway, accepted).await != Some(0.0)).then_some(())
    })
    .await;
    let log = site.logged("edge", "the worker runs again").await;
    assert_eq!(log.matches("a worker stands still: liveness fails").count(), 1, "{log}");
    assert_eq!(log.matches("the worker runs again").count(), 1, "{log}");
}

/// A worker that stands still does not keep the process: it ends a little after its time, and names it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stands_still_keeps_nobody_from_ending() {
    let site = Site::new().unwrap();
    let mut gateway = start(&site, "1").await;
    let held = hold(&gateway, 0).await;
    terminate(&gateway);
    let log = ended(&site).await;
    assert!(log.contains("a worker stands still"), "{log}");
    drop(held);
    assert!(gateway.process.wait(DEADLINE).unwrap().success());
}

/// Until the last line of its log says that it ends by force, as what it is doing. Then whoever holds one of its threads
/// lets go, or the system would not tell of its end.
async fn forced(site: &Site, gateway: &mut Gateway, held: Held, stage: &str) {
    let log = eventually("it ends by force", async || {
        Some(site.log("edge")).filter(|log| log.lines().any(|line| line.contains("the process ends by force")))
    })
    .await;
    assert!(log.lines().last().unwrap().contains(&format!("stage=\"{stage}\"")), "{log}");
    drop(held);
    assert_eq!(gateway.process.wait(DEADLINE).unwrap().code(), Some(4));
}

/// A spool whose disk does not answer: the process is gone 5 s after its requests had their time, and what it had not
/// written is found by the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_keeps_nobody_from_ending() {
    let site = Site::new().unwrap();
    let mut gateway = start(&site, "1").await;
    let held = Held::at(&thread(gateway.process.id(), "weir-spool").unwrap(), "fdatasync").unwrap();
    assert!(answered(&gateway, "/").unwrap().starts_with("HTTP/1.1 200"));
    let reported = Instant::now();
    terminate(&gateway);
    forced(&site, &mut gateway, held, "shipping what is left in the spool").await;
    assert!(reported.elapsed() > Duration::from_secs(5), "{:?}: it had its time", reported.elapsed());
    drop(gateway);
    let gateway = start(&site, "1").await;
    eventually("the event is taken over", async || {
        (metric(&gateway, "weir_spool_chunks ").await >= Some(1.0)).then_some(())
    })
    .await;
}

/// Asked twice, it waits for no worker that stands still, and puts in order what the others have done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reported_twice_it_waits_for_nobody() {
    let site = Site::new().unwrap();
    let mut gateway = start(&site, "600").await;
    let held = hold(&gateway, 0).await;
    terminate(&gateway);
    eventually("it drains", async || (metric(&gateway, "weir_draining").await == Some(1.0)).then_some(())).await;
    terminate(&gateway);
    let log = ended(&site).await;
    assert!(log.contains("a worker stands still: it is left behind"), "{log}");
    drop(held);
    assert!(gateway.process.wait(DEADLINE).unwrap().success());
}

/// Its log, once it says that it has ended: the system tells of that when whoever traces its threads lets them go.
async fn ended(site: &Site) -> String {
    eventually("it has come to its end", async || {
        Some(site.log("edge")).filter(|log| log.lines().any(|line| line.ends_with("ended")))
    })
    .await
}

/// Asked again while it ships for the last time, it leaves the rest to the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_shipping_can_be_cut_short() {
    let site = Site::new().unwrap();
    // Takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let analytics = Some((silent.local_addr().unwrap(), "a-token-of-some-length".to_owned()));
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let spec = GatewaySpec { analytics, ..GatewaySpec::new("here", "edge", upstream) };
    let mut gateway = Gateway::start(&site, &spec).unwrap();
    assert!(answered(&gateway, "/").unwrap().starts_with("HTTP/1.1 200"));
    terminate(&gateway);
    eventually("all but the spool has ended", async || {
        std::net::TcpStream::connect(gateway.admin).is_err().then_some(())
    })
    .await;
    assert!(gateway.process.ended().is_none());
    let reported = Instant::now();
    terminate(&gateway);
    assert!(gateway.process.wait(DEADLINE).unwrap().success());
    assert!(reported.elapsed() < Duration::from_secs(2), "{:?}: it had 4 s more", reported.elapsed());
}

/// The programs behind a gateway end at the first signal where nothing is open, and at the second whatever is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_behind_a_gateway_ends_when_it_is_reported_twice() {
    let mut stack = TestStack::start(None).await.unwrap();
    let mut upload = std::net::TcpStream::connect(stack.analytics_at).unwrap();
    let head = "POST /v1/chunks HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer token-edge\r\n\
        content-type: application/vnd.weir.chunk\r\ncontent-length: 1000\r\n\r\n";
    upload.write_all(head.as_bytes()).unwrap();
    let mut query = std::net::TcpStream::connect(stack.engine_at).unwrap();
    let sql = "SELECT sleepEachRow(1) FROM numbers(600) SETTINGS function_sleep_max_microseconds_per_block = 0";
    let post = format!("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{sql}", sql.len());
    query.write_all(post.as_bytes()).unwrap();
    let client = stack.client();
    let count = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleepEachRow%'";
    eventually("the query runs", async || (client.query(count).fetch_one::<u64>().await.unwrap() == 1).then_some(()))
        .await;
    for (part, address) in [(Part::Analytics, stack.analytics_at), (Part::Engine, stack.engine_at)] {
        stack.signal(part, Signal::TERM);
        eventually("it takes no more connections", async || {
            std::net::TcpStream::connect(address).is_err().then_some(())
        })
        .await;
        assert!(!stack.has_ended(part), "{part:?}");
        let reported = Instant::now();
        stack.signal(part, Signal::TERM);
        if part == Part::Engine {
            // It closes its tables now, for some seconds; unless it is asked a third time.
            let log = async || stack.site.log("engine").contains("a second signal to end").then_some(());
            eventually("it has heard that", log).await;
            stack.signal(part, Signal::TERM);
        }
        let code = stack.wait(part).unwrap().code();
        assert!(code == Some(0) || (part == Part::Engine && code == Some(4)), "{part:?} {code:?}");
        assert!(reported.elapsed() < Duration::from_secs(5), "{part:?} {:?}", reported.elapsed());
    }
}

/// Waiting for a ClickHouse that does not answer is no reason to stay.
#[test]
fn who_waits_for_clickhouse_ends_when_reported() {
    let site = Site::new().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (engine, state) = (format!("http://{}", silent.local_addr().unwrap()), site.path("state"));
    let state = state.to_string_lossy();
    let args = ["--listen", "127.0.0.1:0", "--clickhouse", &engine, "--state", &state];
    let mut analytics = site.start("analytics", "weir-analytics", &args, &[]).unwrap();
    // It has asked, and waits.
    let _asked = silent.accept().unwrap();
    let reported = Instant::now();
    analytics.signal(Signal::TERM);
    assert!(analytics.wait(DEADLINE).unwrap().success());
    assert!(reported.elapsed() < Duration::from_secs(8), "{:?}", reported.elapsed());
}

/// Whether a process hears SIGTERM itself.
fn hears_sigterm(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
    u64::from_str_radix(caught, 16).unwrap() & (1 << (Signal::TERM.as_raw() - 1)) != 0
}

/// O13: thousands of APIs take their time; asked to end meanwhile, it does not serve first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asked_to_end_while_it_reads_its_configuration_it_ends() {
    let site = Site::new().unwrap();
    let upstream = "127.0.0.1:1".parse().unwrap();
    let apis = (0..5000).map(|number| (format!("/{number}"), upstream, String::new())).collect();
    let spec = GatewaySpec { apis, ..GatewaySpec::new("here", "edge", upstream) };
    let folder = site.path("edge");
    std::fs::create_dir_all(folder.join("conf.d")).unwrap();
    std::fs::write(folder.join("conf.d/gateway.yaml"), spec.yaml(&folder)).unwrap();
    let conf = folder.join("conf.d").to_string_lossy().into_owned();
    let mut gateway = site.start("edge", "weir", &["run", "--config", &conf], &[]).unwrap();
    eventually("it hears signals", async || hears_sigterm(gateway.id()).then_some(())).await;
    gateway.signal(Signal::TERM);
    assert!(gateway.wait(DEADLINE).unwrap().success());
    let said = gateway.wait_for(DEADLINE, |line| line.contains("listening on").then_some(()));
    assert!(said.is_err() && !folder.join("spool").exists(), "it has served first");
}
