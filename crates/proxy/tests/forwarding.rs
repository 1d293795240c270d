//! What passes: heads, bodies and trailers both ways, and what an intermediary adds and takes away.

mod common;

use common::{Gateway, Handler, Upstream, api, header, read_request};
use std::io::Write;
use weir_event::{Outcome, Reason};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_request_passes_and_is_reported_whole() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    let answer = gateway.exchange(
        "GET /orders/7?page=2 HTTP/1.1\r\nHost: api.example\r\nUser-Agent: test/1\r\nConnection: close, x-drop\r\nX-Drop: 1\r\nX-Keep: 1\r\nX-Forwarded-For: 6.6.6.6\r\nX-Request-ID: theirs\r\nUpgrade: h2c\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
    let sent = upstream.request();
    assert!(sent.starts_with("GET /orders/7?page=2 HTTP/1.1\r\n"), "{sent}");
    assert_eq!(header(&sent, "host"), Some(upstream.address.to_string().as_str()));
    assert!(header(&sent, "via").unwrap().starts_with("1.1 "));
    assert_eq!(header(&sent, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(header(&sent, "x-forwarded-host"), Some("api.example"));
    assert_eq!(header(&sent, "x-forwarded-proto"), Some("http"));
    assert_eq!(header(&sent, "x-keep"), Some("1"));
    for gone in ["x-drop", "upgrade", "connection"] {
        assert_eq!(header(&sent, gone), None, "{gone} in {sent}");
    }
    let event = gateway.event();
    let id = format!("{}-{}", event.trace.trace, event.trace.span);
    assert_eq!(header(&sent, "x-request-id"), Some(id.as_str()));
    assert_eq!(header(&answer, "x-request-id"), Some(id.as_str()));
    assert_eq!((event.status, event.upstream_status, event.reason), (200, 200, Reason::None));
    assert_eq!((event.bytes_in, event.bytes_out, event.outcome), (0, 2, Outcome::Completed));
    assert_eq!(event.upstream, Some(upstream.address));
    assert_eq!(gateway.registry.names.name(event.api).as_deref(), Some("orders"));
    assert_eq!(event.attempts.len(), 1);
    assert_eq!(gateway.events().len(), 0);
}

/// What `Host` says is a setting: the service's authority, its name alone, or what the client sent.
#[test]
fn the_host_that_an_upstream_is_asked_by_is_a_setting() {
    let upstream = Upstream::answering(OK);
    let authority = upstream.address.to_string();
    for (setting, host) in [("authority", authority.as_str()), ("name", "127.0.0.1"), ("original", "api.example:81")] {
        let settings = format!(
            "apiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: c}}\nspec: {{upstreamHost: {setting}}}\n---\n"
        );
        let gateway = Gateway::start(&(settings + &api(upstream.address, "")));
        gateway.exchange("GET / HTTP/1.1\r\nHost: api.example:81\r\nConnection: close\r\n\r\n");
        let sent = upstream.request();
        assert_eq!(header(&sent, "host"), Some(host), "{setting}");
        assert_eq!(header(&sent, "x-forwarded-host"), Some("api.example:81"), "{setting}");
    }
}

#[test]
fn the_trace_goes_on_with_the_attempt_as_parent() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    gateway.exchange(&format!(
        "GET / HTTP/1.1\r\nhost: a\r\ntraceparent: 00-{trace}-00f067aa0ba902b7-01\r\ntracestate: x=1\r\nconnection: close\r\n\r\n"
    ));
    let sent = upstream.request();
    let event = gateway.event();
    let parent = event.trace.span.of_attempt(1);
    assert_eq!(header(&sent, "traceparent"), Some(format!("00-{trace}-{parent}-01").as_str()));
    assert_eq!(header(&sent, "tracestate"), Some("x=1"));
    assert_eq!(event.trace.parent.to_string(), "00f067aa0ba902b7");
}

#[test]
fn bodies_stream_by_length_and_by_chunks() {
    let upstream = Upstream::answering(
        "HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    let gateway = Gateway::before(upstream.address);
    let answer = gateway.exchange("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
    assert!(answer.contains("transfer-encoding: chunked") && answer.contains("abc") && answer.ends_with("0\r\n\r\n"));
    assert!(upstream.request().ends_with("\r\n\r\nhello"));
    let event = gateway.event();
    assert_eq!((event.bytes_in, event.bytes_to_upstream, event.bytes_from_upstream, event.bytes_out), (5, 5, 5, 5));

    gateway.exchange(
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n4\r\nwiki\r\n5\r\npedia\r\n0\r\n\r\n",
    );
    let sent = upstream.request();
    assert!(sent.contains("transfer-encoding: chunked") && sent.contains("wiki") && sent.contains("pedia"), "{sent}");
    assert_eq!(gateway.event().bytes_in, 9);
}

#[test]
fn trailers_pass_both_ways() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 42\r\n\r\n",
    );
    let gateway = Gateway::before(upstream.address);
    let answer = gateway.exchange(
        "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntrailer: x-mark\r\ntransfer-encoding: chunked\r\nconnection: close, te\r\n\r\n2\r\nhi\r\n0\r\nx-mark: 7\r\n\r\n",
    );
    assert!(answer.contains("x-sum: 42"), "{answer}");
    assert!(upstream.request().contains("x-mark: 7"));
    let event = gateway.event();
    assert_eq!(
        (event.outcome, event.reason, event.bytes_in, event.bytes_out),
        (Outcome::Completed, Reason::None, 2, 2)
    );
}

/// Nobody is obliged to say beforehand that trailers come (RFC 9110 6.6.2).
#[test]
fn a_requests_trailers_need_not_be_announced() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let gateway = Gateway::before(upstream.address);
    gateway.exchange(
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\nhi\r\n0\r\nx-mark: 7\r\nx-forwarded-for: 1.2.3.4\r\n\r\n",
    );
    let request = upstream.request();
    assert!(request.ends_with("0\r\nx-mark: 7\r\n\r\n"), "{request}");
}

const INFORMED: &str = "HTTP/1.1 100 Continue\r\n\r\n\
    HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\n\
    HTTP/1.1 103 Early Hints\r\nlink: </b>\r\n\r\n\
    HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn heads_of_1xx_pass_in_their_order() {
    let upstream = Upstream::answering(INFORMED);
    let gateway = Gateway::before(upstream.address);
    let answer = gateway.get("/");
    let statuses: Vec<_> = answer.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")).collect();
    assert_eq!(statuses, ["103 Early Hints", "103 Early Hints", "200 OK"], "{answer}");
    assert!(answer.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\nHTTP/1.1 103"), "{answer}");
    let event = gateway.event();
    assert_eq!((event.status, event.upstream_status, event.attempts.len()), (200, 200, 1));
    let old = gateway.exchange("GET / HTTP/1.0\r\nhost: a\r\n\r\n");
    assert!(old.starts_with("HTTP/1.1 200 OK\r\n"), "HTTP/1.0 has no 1xx: {old}");
    gateway.event();
}

#[test]
fn endless_heads_of_1xx_are_no_response() {
    let endless = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100);
    let upstream = Upstream::answering(format!("{endless}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").leak());
    let gateway = Gateway::before(upstream.address);
    assert!(gateway.get("/").contains("HTTP/1.1 502 "));
    assert_eq!(gateway.event().reason, Reason::UpstreamHeadersTooLarge);
}

#[test]
fn a_length_beside_chunks_is_refused() {
    for length in [2, 50] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: {length}\r\n\r\n5\r\nwhole\r\n0\r\n\r\n"
        );
        let upstream = Upstream::answering(answer.leak());
        let gateway = Gateway::before(upstream.address);
        let answer = gateway.get("/");
        assert!(answer.starts_with("HTTP/1.1 502 ") && !answer.contains("whole"), "{answer}");
        assert_eq!((gateway.event().reason, gateway.events().len()), (Reason::UpstreamProtocolError, 0));
    }
}

#[test]
fn a_get_may_have_a_body() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    gateway.exchange(
        "GET /_search HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\nquery\r\n0\r\n\r\n",
    );
    assert!(upstream.request().contains("query"));
    assert_eq!(gateway.event().bytes_to_upstream, 5);
}

#[test]
fn the_version_is_each_hops_own() {
    let upstream = Upstream::after_one(|stream| drop(stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nold")));
    let gateway = Gateway::before(upstream.address);
    let answer = gateway.get("/");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("chunked"), "{answer}");
    assert_eq!(gateway.event().bytes_out, 3);
}

#[test]
fn bodiless_answers_stay_bodiless() {
    for (method, answer, wanted) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", "content-length: 99"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", "204 No Content"),
        ("GET", "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n", "etag: \"x\""),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "content-length: 0"),
    ] {
        let upstream = Upstream::answering(answer);
        let gateway = Gateway::before(upstream.address);
        let got = gateway.exchange(&format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"));
        assert!(got.contains(wanted) && got.ends_with("\r\n\r\n"), "{got}");
        let event = gateway.event();
        assert_eq!((event.outcome, event.bytes_out, event.reason), (Outcome::Completed, 0, Reason::None), "{answer}");
    }
}

#[test]
fn connections_are_kept_both_ways() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    let mut client = gateway.connect();
    for _ in 0..5 {
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        client.read_until("\r\n\r\nok");
    }
    let events: Vec<_> = (0..5).map(|_| gateway.event()).collect();
    assert!(events[0].attempts[0].connect_us > 0);
    assert!(events[1..].iter().all(|event| event.attempts[0].connect_us == 0), "one connection to the upstream");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    let answer =
        gateway.exchange("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2);
    assert_eq!(gateway.event().target.path(), "/1");
    assert_eq!(gateway.event().target.path(), "/2");
}

#[test]
fn a_kept_connection_that_the_upstream_closed_costs_no_request() {
    let close_after_one: Handler = Box::new(|stream, heads| {
        if let Some(head) = read_request(stream) {
            drop(heads.send(head));
            drop(stream.write_all(OK.as_bytes()));
        }
    });
    let upstream = Upstream::new(vec![close_after_one]);
    let gateway = Gateway::before(upstream.address);
    let mut client = gateway.connect();
    for _ in 0..20 {
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        client.read_until("\r\n\r\nok");
        let event = gateway.event();
        assert_eq!((event.status, event.attempts.last().map(|last| last.outcome)), (200, Some(Reason::None)));
    }
}

#[test]
fn a_reload_drops_no_request_and_no_connection() {
    let first = Upstream::answering(OK);
    let second = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nnew");
    let mut gateway = Gateway::before(first.address);
    let mut client = gateway.connect();
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    client.read_until("\r\n\r\nok");
    gateway.reload(&api(second.address, ""));
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    client.read_until("\r\n\r\nnew");
    assert_eq!((gateway.event().generation, gateway.event().generation), (1, 2));
    drop(client);
    let deadline = std::time::Instant::now() + common::DEADLINE;
    // The second worker may not have served since: a new request on each makes both let go of the old snapshot.
    while gateway.proxy.as_mut().unwrap().reap() > 0 {
        assert!(std::time::Instant::now() < deadline, "an old snapshot is never let go");
        gateway.get("/");
    }
}

#[test]
fn draining_finishes_what_is_open_and_closes_the_rest() {
    let upstream = Upstream::new(vec![Box::new(|stream, heads| {
        while let Some(head) = read_request(stream) {
            drop(heads.send(head));
            common::delay(std::time::Duration::from_millis(300));
            drop(stream.write_all(OK.as_bytes()));
        }
    })]);
    let mut gateway = Gateway::before(upstream.address);
    let mut idle = gateway.connect();
    idle.send(b"GET /first HTTP/1.1\r\nhost: a\r\n\r\n");
    idle.read_until("\r\n\r\nok");
    upstream.request();
    gateway.event();
    let mut busy = gateway.connect();
    busy.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    upstream.request();
    // Sent, and perhaps not accepted yet when the drain begins.
    let mut late: Vec<_> = (0..20).map(|_| gateway.connect()).collect();
    late.iter_mut().for_each(|client| client.send(b"GET /late HTTP/1.1\r\nhost: a\r\n\r\n"));
    gateway.proxy.take().unwrap().drain(common::DEADLINE);
    for client in &mut late {
        assert!(client.read_to_end().ends_with("ok"));
    }
    let answer = busy.read_to_end();
    assert!(answer.contains("connection: close") && answer.ends_with("ok"), "{answer}");
    assert_eq!(idle.read_to_end(), "");
    assert!(gateway.events().iter().all(|event| event.status == 200));
}

/// Half a head is a request that was begun: it is let go after a moment, and reported.
#[test]
fn half_a_head_does_not_hold_up_a_drain() {
    let upstream = Upstream::answering(OK);
    let mut gateway = Gateway::before(upstream.address);
    let mut halves: Vec<_> = (0..4).map(|_| gateway.connect()).collect();
    let silent: Vec<_> = (0..4).map(|_| gateway.connect()).collect();
    halves.iter_mut().for_each(|client| client.send(b"GET / HTTP/1.1\r\nhost: "));
    gateway.get("/");
    gateway.event();
    gateway.proxy.take().unwrap().drain(common::DEADLINE);
    drop(silent);
    let reasons: Vec<_> = gateway.events().iter().map(|event| event.reason).collect();
    assert_eq!(reasons, [weir_event::Reason::GatewayDraining; 4]);
}

#[test]
fn a_hundred_reloads_under_load_fail_no_request() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    let upstreams = [Upstream::answering(OK), Upstream::answering(OK)];
    let mut gateway = Gateway::before(upstreams[0].address);
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (mut client, stop, served) = (gateway.connect(), Arc::clone(&stop), Arc::clone(&served));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
                    assert!(client.read_until("\r\n\r\nok").starts_with("HTTP/1.1 200 OK"));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for number in 1..=100 {
        gateway.reload(&api(upstreams[number % 2].address, ""));
        // Each configuration serves something before the next one comes.
        let seen = served.load(Ordering::Relaxed);
        while served.load(Ordering::Relaxed) < seen + 8 {
            assert!(!clients.iter().any(std::thread::JoinHandle::is_finished), "a client failed");
            std::thread::yield_now();
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no request failed");
    }
    let events = gateway.events();
    assert!(events.iter().all(|event| event.status == 200));
    assert_eq!(events.iter().map(|event| event.generation).max(), Some(101));
    assert_eq!(events.len() as u64, served.load(Ordering::Relaxed));
}
