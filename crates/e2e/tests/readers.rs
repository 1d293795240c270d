//! Whoever only reads weir-analytics never keeps a gateway from it: neither by many connections, nor by answers that are
//! not read, nor by queries.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use weir_e2e::{DEADLINE, Part, Setup, TestStack, eventually};
use weir_testkit::witness::Witness;

/// More than the weir-analytics of these tests takes.
const CONNECTIONS: usize = 1030;
const BOUND: [&str; 2] = ["--connections", "1024"];
/// Clients that ask in a loop.
const CLIENTS: usize = 100;

/// As many open files as this user may have: the test holds every connection.
fn more_open_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    assert!(files > CONNECTIONS as u64 + 100, "raise the hard limit of open files (ulimit -Hn) to 2048: it is {files}");
}

/// Connections on which `requests` were sent, and whose answers nobody reads.
fn unread(address: SocketAddr, requests: &str) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        // It may be closed by now for the next one.
        let _closed = stream.write_all(requests.as_bytes());
        stream
    };
    (0..CONNECTIONS).map(open).collect()
}

/// One request, its answer's head, and how long it took.
fn ask(address: SocketAddr, head: &str) -> (String, Duration) {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(format!("{head}\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    let _cut_off = stream.read_to_string(&mut answer);
    (answer, began.elapsed())
}

/// Asks until a whole answer comes that begins with `status`: where all connections are taken, any that is no gateway's may
/// be closed. Answers how long it took at last.
fn answered(address: SocketAddr, head: &str, status: &str) -> Duration {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (answer, took) = ask(address, head);
        if answer.starts_with(status) {
            return took;
        }
        assert!(answer.is_empty() && Instant::now() < deadline, "{head}: {answer}");
    }
}

const CHUNK_WITHOUT_TOKEN: &str = "POST /v1/chunks HTTP/1.1\r\ncontent-length: 0";
const HEALTH: &str = "GET /healthz HTTP/1.1";

/// A stack whose weir-analytics takes fewer connections than a test holds.
async fn bounded() -> TestStack {
    TestStack::with(&Setup { analytics: &BOUND, ..Setup::default() }).await.unwrap()
}

/// How long a few requests to the gateway take until their events are acknowledged.
async fn shipped(stack: &TestStack) -> Duration {
    Witness::start(stack.traffic(40, 400.0)).unwrap().wait().await.unwrap();
    let began = Instant::now();
    stack.settle().await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_keep_no_gateway_from_it() {
    more_open_files();
    let stack = bounded().await;
    let page = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", stack.analytics_at).repeat(300);
    let held = unread(stack.analytics_at, &page);
    let waited = shipped(&stack).await;
    assert!(waited < Duration::from_secs(20), "acknowledged after {waited:?}");
    for (head, status) in
        [(HEALTH, "HTTP/1.1 200"), (CHUNK_WITHOUT_TOKEN, "HTTP/1.1 401"), ("GET / HTTP/1.1", "HTTP/1.1 200")]
    {
        let took = answered(stack.analytics_at, head, status);
        assert!(took < Duration::from_secs(5), "{head}: {took:?}");
    }
    eventually("the log tells", async || {
        stack.site.log("analytics").contains("its client did not read the answers").then_some(())
    })
    .await;
    let (health, _) = ask(stack.analytics_at, HEALTH);
    assert!(health.contains("with answers unread") && !health.contains(" 0 with answers unread"), "{health}");
    drop(held);
    let (report, differs) = stack.verdict().await.unwrap();
    assert!(report.holds() && differs.is_empty(), "{report} {differs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_of_an_engine_that_hangs_keep_nobody_from_it() {
    more_open_files();
    let stack = bounded().await;
    stack.signal(Part::Engine, Signal::STOP);
    // The last answer of before is fresh for a moment.
    let hangs = async || ask(stack.analytics_at, HEALTH).0.starts_with("HTTP/1.1 503").then_some(());
    eventually("weir-analytics has noticed that the engine hangs", hangs).await;
    let health = format!("{HEALTH}\r\nhost: {}\r\n\r\n", stack.analytics_at);
    let held = unread(stack.analytics_at, &health);
    for (head, status) in
        [(HEALTH, "HTTP/1.1 503"), (CHUNK_WITHOUT_TOKEN, "HTTP/1.1 401"), ("GET / HTTP/1.1", "HTTP/1.1 200")]
    {
        let took = answered(stack.analytics_at, head, status);
        assert!(took < Duration::from_secs(5), "{head}: {took:?}");
    }
    stack.signal(Part::Engine, Signal::CONT);
    let waited = shipped(&stack).await;
    assert!(waited < Duration::from_secs(20), "acknowledged after {waited:?}");
    answered(stack.analytics_at, HEALTH, "HTTP/1.1 200");
    drop(held);
}

/// Rows enough to make the widest query cost something: those that are there, many times over.
async fn many_rows(stack: &TestStack) {
    let client = stack.client();
    for _ in 0..9 {
        let double = "INSERT INTO access_events SELECT * REPLACE (seq + 1000000000 AS seq) FROM access_events";
        client.query(double).execute().await.unwrap();
    }
}

/// Asks, and leaves without waiting for the answer.
fn leave(address: SocketAddr, head: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("{head}\r\nhost: {address}\r\n\r\n").as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let _left = stream.read(&mut [0; 16]);
}

/// The most queries of readers that ClickHouse works on at the same time, until it is over.
async fn most_at_once(client: clickhouse::Client, over: Arc<AtomicBool>, most: Arc<AtomicU64>) {
    let sql = "SELECT count() FROM system.processes WHERE Settings['max_result_rows'] = '1000000'";
    while !over.load(Ordering::Relaxed) {
        most.fetch_max(client.query(sql).fetch_one().await.unwrap(), Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn queries_in_a_loop_delay_no_gateway() {
    let stack = bounded().await;
    Witness::start(stack.traffic(1000, 1000.0)).unwrap().wait().await.unwrap();
    stack.settle().await;
    many_rows(&stack).await;
    let (over, answers, refusals) =
        (Arc::new(AtomicBool::new(false)), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let queries = ["ledger?minutes=all", "slow?minutes=44640&limit=1000", "errors?minutes=44640&limit=1000"];
    let working = Arc::new(AtomicU64::new(0));
    let watching = tokio::spawn(most_at_once(stack.client(), Arc::clone(&over), Arc::clone(&working)));
    let impatient: Vec<_> = (0..6)
        .map(|_| {
            let (address, head) = (stack.analytics_at, format!("GET /api/v1/{} HTTP/1.1", queries[1]));
            std::thread::spawn(move || (0..50).for_each(|_| leave(address, &head)))
        })
        .collect();
    impatient.into_iter().for_each(|client| client.join().unwrap());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (address, over) = (stack.analytics_at, Arc::clone(&over));
            let (answers, refusals) = (Arc::clone(&answers), Arc::clone(&refusals));
            let head = format!("GET /api/v1/{} HTTP/1.1", queries[number % queries.len()]);
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let (answer, took) = ask(address, &head);
                    let refused = answer.starts_with("HTTP/1.1 503");
                    if refused {
                        assert!(answer.contains("retry-after: "), "{answer}");
                        assert!(took < Duration::from_secs(15), "a refusal after {took:?}");
                        // Much sooner than it is asked to, but not all that the test's own machine can do.
                        std::thread::park_timeout(Duration::from_millis(50));
                    }
                    if refused { &refusals } else { &answers }.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    eventually("the clients are at it", async || (refusals.load(Ordering::Relaxed) > 100).then_some(())).await;
    let mut longest = Duration::ZERO;
    for _ in 0..5 {
        longest = longest.max(shipped(&stack).await);
    }
    let health = answered(stack.analytics_at, HEALTH, "HTTP/1.1 200");
    over.store(true, Ordering::Relaxed);
    watching.await.unwrap();
    let working = working.load(Ordering::Relaxed);
    // ClickHouse shows one for a moment after its answer; the look of `/healthz` counts as well.
    assert!((1..=10).contains(&working), "ClickHouse works on {working} queries at once for one client");
    clients.into_iter().for_each(|client| client.join().unwrap());
    let (answers, refusals) = (answers.load(Ordering::Relaxed), refusals.load(Ordering::Relaxed));
    println!("acknowledged within {longest:?}, health {health:?}, {answers} answers, {refusals} refusals");
    assert!(longest < Duration::from_secs(20), "acknowledged after {longest:?}");
    assert!(health < Duration::from_secs(5) && answers > 0, "{health:?}, {answers} answers");
    stack.site.logged("analytics", "a query was refused").await;
}
