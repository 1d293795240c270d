//! Services with several addresses: which one gets a request, what becomes of those that fail, and what is reported of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::{Client, DEADLINE, Gateway, Upstream, delay, header, read_request};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;
use weir_event::Instant;
use weir_event::{Exchange, Outcome, Reason};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy";

/// One API that sends everything to a service at these addresses, with more of the service in `extra`.
fn service(addresses: &[SocketAddr], extra: &str) -> String {
    let addresses: Vec<_> = addresses.iter().map(|address| format!("\"http://{address}\"")).collect();
    with_addresses(&addresses.join(", "), extra)
}

fn with_addresses(addresses: &str, extra: &str) -> String {
    format!(
        "
apiVersion: gateway.weir.dev/v1
kind: ApiInstance
metadata: {{name: orders}}
spec:
  address: http://127.0.0.1:0
  services:
    main:
      addresses: [{addresses}]
{extra}"
    )
}

/// An address that refuses connections.
fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Reads a request and closes.
fn closing() -> Upstream {
    Upstream::after_one(|_| {})
}

/// Requests over one connection, so that one worker serves all; each as it is answered.
fn ask(client: &mut Client, requests: usize, head: &str) -> Vec<String> {
    let ask = |_| {
        client.send(format!("{head}host: a\r\n\r\n").as_bytes());
        let head = client.read_until("\r\n\r\n");
        let length: usize = header(&head, "content-length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        std::io::Read::read_exact(&mut client.stream, &mut body).unwrap();
        head
    };
    (0..requests).map(ask).collect()
}

fn requests(upstream: &Upstream) -> usize {
    std::iter::from_fn(|| upstream.try_request()).count()
}

fn attr(event: &Exchange, name: &str) -> Option<String> {
    let found = event.attrs.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap())
}

fn outcomes(event: &Exchange) -> Vec<(Option<SocketAddr>, Reason)> {
    event.attempts.iter().map(|attempt| (attempt.address, attempt.outcome)).collect()
}

#[test]
fn each_has_its_turn_by_its_weight() {
    let [a, b, c] = [(); 3].map(|()| Upstream::answering(OK));
    let gateway = Gateway::start(&with_addresses(
        &format!(
            "\"http://{}\", {{address: \"http://{}\", weight: 3}}, \"http://{}\"",
            a.address, b.address, c.address
        ),
        "      balancing: {algorithm: roundRobin}\n",
    ));
    ask(&mut gateway.connect(), 50, "GET / HTTP/1.1\r\n");
    assert_eq!([&a, &b, &c].map(requests), [10, 30, 10]);
    assert!(gateway.event().upstream.is_some_and(|at| [a.address, b.address, c.address].contains(&at)));
}

#[test]
fn who_has_open_requests_gets_fewer() {
    let held = Upstream::after_one(|stream| drop(read_request(stream)));
    let free = Upstream::answering(OK);
    let gateway = Gateway::start(&service(&[held.address, free.address], ""));
    let (mut waiting, mut answered) = (Vec::new(), 0);
    // Of two addresses both are drawn each time, so that one open request decides. Each worker counts its own.
    for _ in 0..40 {
        let mut client = gateway.connect();
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        client.stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let end = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < end, "it goes somewhere");
            if held.try_request().is_some() {
                waiting.push(client);
                break;
            }
            if matches!(client.stream.peek(&mut [0]), Ok(1)) {
                answered += 1;
                break;
            }
        }
    }
    assert!((1..=4).contains(&waiting.len()), "{} wait, {answered} were answered", waiting.len());
}

#[test]
fn a_key_keeps_its_address_in_every_worker() {
    let upstreams = [(); 3].map(|()| Upstream::answering(OK));
    let addresses = upstreams.each_ref().map(|upstream| upstream.address);
    for (balancing, key) in [
        ("{algorithm: hash, hashOn: header, hashKey: x-tenant}", "x-tenant: "),
        ("{algorithm: hash, hashOn: cookie, hashKey: tenant}", "cookie: a=b; tenant="),
    ] {
        let gateway = Gateway::start(&service(&addresses, &format!("      balancing: {balancing}\n")));
        let mut used = std::collections::BTreeSet::new();
        for tenant in 0..20 {
            let mut own = std::collections::BTreeSet::new();
            for _ in 0..4 {
                let head = format!("GET / HTTP/1.1\r\nhost: a\r\n{key}t{tenant}\r\nconnection: close\r\n\r\n");
                assert!(gateway.exchange(&head).starts_with("HTTP/1.1 200 "));
                own.insert(gateway.event().upstream.unwrap());
            }
            assert_eq!(own.len(), 1, "{key}{tenant}");
            used.extend(own);
        }
        assert_eq!(used.len(), 3);
    }
    let gateway = Gateway::start(&service(&addresses, "      balancing: {algorithm: hash, hashOn: path}\n"));
    ask(&mut gateway.connect(), 10, "GET /one HTTP/1.1\r\n");
    let used: std::collections::BTreeSet<_> = (0..10).map(|_| gateway.event().upstream).collect();
    assert_eq!(used.len(), 1);
}

/// Nothing of the request was sent, so that any may be tried elsewhere. That is the default with several addresses.
#[test]
fn an_address_that_refuses_is_passed_over() {
    let dead = refusing();
    let good = Upstream::answering(OK);
    let gateway = Gateway::start(&service(&[dead, good.address], "      balancing: {algorithm: roundRobin}\n"));
    let upload = "POST /p HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    let mut seen = 0;
    for _ in 0..4 {
        assert!(gateway.exchange(upload).starts_with("HTTP/1.1 200 "));
        let event = gateway.event();
        assert_eq!((event.status, event.reason, event.outcome), (200, Reason::None, Outcome::Completed));
        assert_eq!((event.upstream, event.bytes_to_upstream), (Some(good.address), 5));
        let request = good.request();
        assert!(request.ends_with("\r\n\r\nhello"), "{request}");
        assert_eq!(header(&request, "host"), Some(&*good.address.to_string()), "that of its own address");
        if event.attempts.len() == 2 {
            assert_eq!(outcomes(&event), [(Some(dead), Reason::ConnectionRefused), (Some(good.address), Reason::None)]);
            assert_eq!(event.total(), event.meter.total());
            seen += 1;
        }
    }
    assert!(seen > 0);
    drop(gateway);
    let gateway = Gateway::start(&service(&[dead, refusing()], ""));
    assert!(gateway.get("/").starts_with("HTTP/1.1 502 "));
    let event = gateway.event();
    assert_eq!((event.reason, event.attempts.len()), (Reason::ConnectionRefused, 2));
    let gateway = Gateway::start(&service(&[dead], ""));
    assert!(gateway.get("/").starts_with("HTTP/1.1 502 "));
    assert_eq!(gateway.event().attempts.len(), 1, "there is no other");
}

/// What was sent may have been done: only what may be done twice is sent again (RFC 9110 9.2.2).
#[test]
fn a_request_that_was_sent_is_repeated_only_where_that_is_safe() {
    let (bad, good) = (closing(), Upstream::answering(OK));
    let addresses = [bad.address, good.address];
    let gateway = Gateway::start(&service(&addresses, "      balancing: {algorithm: roundRobin}\n"));
    for (request, is_repeated) in [
        ("GET / HTTP/1.1\r\n", true),
        ("DELETE /1 HTTP/1.1\r\n", true),
        ("POST / HTTP/1.1\r\ncontent-length: 0\r\n", false),
        ("PUT / HTTP/1.1\r\ncontent-length: 2\r\n", false),
    ] {
        let body = if request.starts_with("PUT") { "hi" } else { "" };
        let mut met = false;
        while !met {
            let answer = gateway.exchange(&format!("{request}host: a\r\nconnection: close\r\n\r\n{body}"));
            let event = gateway.event();
            met = event.attempts[0].address == Some(bad.address);
            let passed = answer.starts_with("HTTP/1.1 200 ");
            assert_eq!(passed, !met || is_repeated, "{request}: {answer}");
            assert_eq!(event.attempts.len(), if met && is_repeated { 2 } else { 1 }, "{request}");
            let reason = if passed { Reason::None } else { Reason::ConnectionTerminated };
            assert_eq!(event.reason, reason, "{request}");
        }
    }
}

#[test]
fn a_status_is_thrown_away_where_it_is_said() {
    let (bad, good) = (Upstream::answering(BUSY), Upstream::answering(OK));
    let addresses = [bad.address, good.address];
    let retries = "      balancing: {algorithm: roundRobin}\n      retries: {statuses: [503], attempts: 2}\n";
    let gateway = Gateway::start(&service(&addresses, retries));
    let answers = ask(&mut gateway.connect(), 8, "GET / HTTP/1.1\r\n");
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 200 ")), "{answers:?}");
    let events: Vec<_> = (0..8).map(|_| gateway.event()).collect();
    let repeated: Vec<_> = events.iter().filter(|event| event.attempts.len() == 2).collect();
    assert!(!repeated.is_empty());
    for event in repeated {
        assert_eq!(attr(event, "retry.statuses").as_deref(), Some("503"));
        assert_eq!((event.status, event.upstream_status, event.reason), (200, 200, Reason::None));
        assert_eq!(event.attempts[0].status, 503);
        assert_eq!(event.bytes_from_upstream, 2, "what was thrown away is not passed on");
    }
    let answers = ask(&mut gateway.connect(), 4, "POST / HTTP/1.1\r\ncontent-length: 0\r\n");
    assert_eq!(answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 503 ")).count(), 2, "not repeated");
    // Where all are busy the last answer is passed on.
    let others = [(); 2].map(|()| Upstream::answering(BUSY));
    let busy = [bad.address, others[0].address, others[1].address];
    let gateway = Gateway::start(&service(&busy, "      retries: {statuses: [503], attempts: 2}\n"));
    assert!(gateway.get("/").ends_with("busy"));
    let event = gateway.event();
    assert_eq!((event.status, event.attempts.len()), (503, 3));
    assert_eq!(attr(&event, "retry.statuses").as_deref(), Some("503,503"));
    let tried: std::collections::BTreeSet<_> = event.attempts.iter().map(|attempt| attempt.address).collect();
    assert_eq!(tried.len(), 3, "each at another address");
}

#[test]
fn an_attempt_that_takes_too_long_is_made_elsewhere() {
    let silent = Upstream::after_one(|stream| drop(read_request(stream)));
    let good = Upstream::answering(OK);
    let retries = "      balancing: {algorithm: roundRobin}\n      retries: {on: [timeout], attemptTimeout: 50ms}\n";
    let gateway = Gateway::start(&service(&[silent.address, good.address], retries));
    let answers = ask(&mut gateway.connect(), 2, "GET / HTTP/1.1\r\n");
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 200 ")), "{answers:?}");
    let events = [gateway.event(), gateway.event()];
    let late = events.iter().find(|event| event.attempts.len() == 2).unwrap();
    let expected = [(Some(silent.address), Reason::UpstreamTimeout), (Some(good.address), Reason::None)];
    assert_eq!(outcomes(late), expected);
}

#[test]
fn retries_have_a_budget() {
    let bad = closing();
    let gateway =
        Gateway::start(&service(&[bad.address], "      retries: {attempts: 1, on: [reset], budgetPercent: 10}\n"));
    let mut client = gateway.connect();
    let (begun, count) = (Instant::now(), 300);
    // Each waits a little before the same address is asked once more, as long as there are retries left.
    let answers = ask(&mut client, count, "GET / HTTP/1.1\r\n");
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 502 ")));
    let attempts: usize = (0..count).map(|_| gateway.event().attempts.len()).sum();
    let allowed = 30 + count / 10 + 3 * (begun.elapsed().as_secs() as usize + 1);
    assert!((count + 30..=count + allowed).contains(&attempts), "{attempts} of {allowed}");
    let cluster = &gateway.registry.clusters.all()[0];
    let (made, refused) = cluster.retried();
    assert_eq!((made as usize, refused as usize), (attempts - count, 2 * count - attempts));
}

#[test]
fn an_address_whose_requests_fail_is_left_out_for_a_while() {
    let works = Arc::new(AtomicBool::new(false));
    let good = Upstream::answering(OK);
    let state = Arc::clone(&works);
    let moody = Upstream::new(vec![Box::new(move |stream, heads| {
        while let Some(head) = read_request(stream) {
            drop(heads.send(head));
            let answer = if state.load(Ordering::Relaxed) { OK } else { BUSY };
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })]);
    let settings = "      balancing: {algorithm: roundRobin}\n      \
        outlierEjection: {consecutiveFailures: 3, ejectionTime: 500ms}\n";
    let gateway = Gateway::start(&service(&[moody.address, good.address], settings));
    let mut client = gateway.connect();
    let answers = ask(&mut client, 40, "GET / HTTP/1.1\r\n");
    let failed = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 503 ")).count();
    // A slow machine may be here past its time, and then it has failed again.
    assert!((3..20).contains(&failed), "{failed}");
    works.store(true, Ordering::Relaxed);
    requests(&moody);
    let end = Instant::now() + DEADLINE;
    while moody.try_request().is_none() {
        assert!(Instant::now() < end, "it gets requests again");
        assert!(ask(&mut client, 1, "GET / HTTP/1.1\r\n")[0].starts_with("HTTP/1.1 200 "));
    }
    let ejections = |address| {
        let cluster = gateway.registry.clusters.all().remove(0);
        let member = cluster.members().iter().find(|member| member.origin.address.port == address);
        member.unwrap().standing.ejections()
    };
    assert!(ejections(moody.address.port()) >= 1);
    assert_eq!(ejections(good.address.port()), 0);
}

/// Looks after the clusters of a gateway, as the program does.
struct Upkeep {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Upkeep {
    fn of(gateway: &Gateway) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (clusters, descriptors) =
            (Arc::clone(&gateway.registry.clusters), Arc::clone(&gateway.registry.descriptors));
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = weir_proxy::upkeep(clusters, descriptors) => {}
                }
            });
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[test]
fn an_address_whose_checks_fail_gets_no_requests_until_they_pass() {
    let health = Arc::new(AtomicUsize::new(500));
    let state = Arc::clone(&health);
    let checked = Upstream::new(vec![Box::new(move |stream, heads| {
        while let Some(head) = read_request(stream) {
            let status = if head.starts_with("GET /health ") {
                assert_eq!(header(&head, "user-agent"), Some("weir-health-check"));
                state.load(Ordering::Relaxed)
            } else {
                drop(heads.send(head));
                200
            };
            drop(stream.write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok").as_bytes()));
        }
    })]);
    let good = Upstream::answering(OK);
    let settings = "      balancing: {algorithm: roundRobin}\n      healthChecks: {path: /health, interval: 100ms, \
        timeout: 5s, unhealthyThreshold: 2, healthyThreshold: 2}\n";
    let gateway = Gateway::start(&service(&[checked.address, good.address], settings));
    let _upkeep = Upkeep::of(&gateway);
    let cluster = gateway.registry.clusters.all().remove(0);
    let until = |is: bool| {
        let end = Instant::now() + DEADLINE;
        while cluster.is_available(0, Instant::now()) != is {
            assert!(Instant::now() < end, "available: {is}");
            delay(Duration::from_millis(10));
        }
    };
    until(false);
    let mut client = gateway.connect();
    requests(&checked);
    ask(&mut client, 10, "GET / HTTP/1.1\r\n");
    assert_eq!(requests(&checked), 0);
    // Another that fails its checks as well: all are asked, for want of a better one.
    health.store(204, Ordering::Relaxed);
    until(true);
    ask(&mut client, 10, "GET / HTTP/1.1\r\n");
    assert_eq!(requests(&checked), 5);
    let (passed, failed) = cluster.members()[0].standing.checks();
    assert!(passed >= 2 && failed >= 2, "{passed} {failed}");
}

#[test]
fn where_none_is_available_all_are_asked() {
    let upstreams = [(); 2].map(|()| Upstream::answering(BUSY));
    let settings = "      outlierEjection: {consecutiveFailures: 1, ejectionTime: 1h, maxEjectedPercent: 100}\n";
    let gateway = Gateway::start(&service(&upstreams.each_ref().map(|upstream| upstream.address), settings));
    let answers = ask(&mut gateway.connect(), 20, "GET / HTTP/1.1\r\n");
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 503 ")), "that of a service, not of the gateway");
    assert!((0..20).all(|_| gateway.event().upstream_status == 503));
    assert_eq!(upstreams.iter().map(requests).sum::<usize>(), 20);
}

#[test]
fn a_connection_is_used_for_so_long_at_most() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let upstream = Upstream::new(vec![Box::new(move |stream, _| {
        count.fetch_add(1, Ordering::Relaxed);
        while read_request(stream).is_some() {
            drop(stream.write_all(OK.as_bytes()));
        }
    })]);
    let gateway = Gateway::start(&service(&[upstream.address], "      maxConnectionAge: 1s\n"));
    let mut client = gateway.connect();
    let begun = Instant::now();
    ask(&mut client, 20, "GET / HTTP/1.1\r\n");
    // Up to a tenth less by lot.
    let young = begun.elapsed() < Duration::from_millis(900);
    assert!(!young || connections.load(Ordering::Relaxed) == 1);
    delay(Duration::from_millis(1_000));
    ask(&mut client, 2, "GET / HTTP/1.1\r\n");
    assert!(connections.load(Ordering::Relaxed) >= 2);
    assert!((0..22).all(|_| gateway.event().status == 200));
}

/// Addresses come and go under traffic, and no request is lost by that.
#[test]
fn a_reload_changes_the_addresses_under_traffic() {
    let upstreams = [(); 3].map(|()| Upstream::answering(OK));
    let [a, b, c] = upstreams.each_ref().map(|upstream| upstream.address);
    let mut gateway = Gateway::start(&service(&[a, b], ""));
    let mut client = gateway.connect();
    for addresses in [vec![b, c], vec![c], vec![a, b, c], vec![a]] {
        ask(&mut client, 20, "GET / HTTP/1.1\r\n");
        gateway.reload(&service(&addresses, ""));
        // The worker takes it up with its next request.
        ask(&mut client, 20, "GET / HTTP/1.1\r\n");
        for (number, event) in (0..40).map(|_| gateway.event()).enumerate() {
            assert_eq!((event.status, event.attempts.len()), (200, 1));
            assert!(number < 20 || addresses.contains(&event.upstream.unwrap()), "{number}: {:?}", event.upstream);
        }
    }
}
