//! What goes wrong, and what each is reported as: status, reason, side, outcome - and an event, always.

mod common;

use common::{DEADLINE, Gateway, Upstream, api, delay, header, timeouts};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::time::Duration;
use weir_event::{Exchange, Outcome, Reason, Side, Turn};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn reported(event: &Exchange) -> (u16, Reason, Side, Outcome) {
    (event.status, event.reason, event.side(), event.outcome)
}

fn is_problem(answer: &str, status: u16, reason: Reason) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert_eq!(header(answer, "content-type"), Some("application/problem+json"), "{answer}");
    assert!(answer.contains(&format!("\"reason\":\"{reason}\"")), "{answer}");
}

#[test]
fn a_path_that_nobody_serves_is_404() {
    let upstream = Upstream::answering(OK);
    let rules = "      routes: [{rules: [{path: /api/.*}]}]";
    let gateway = Gateway::start(&api(upstream.address, "").replace(
        &format!("{{address: \"http://{}\"}}", upstream.address),
        &format!("\n      address: \"http://{}\"\n{rules}", upstream.address),
    ));
    let answer = gateway.get("/elsewhere");
    is_problem(&answer, 404, Reason::NoRoute);
    assert!(header(&answer, "proxy-status").unwrap().ends_with("error=destination_not_found"));
    assert_eq!(reported(&gateway.event()), (404, Reason::NoRoute, Side::Downstream, Outcome::Completed));
}

#[test]
fn basic_authentication_lets_in_who_knows_the_word() {
    let upstream = Upstream::answering(OK);
    let policies =
        "  policies: [{policyRef: {name: http-basic-authentication-flex}, config: {username: chris, password: admin}}]";
    let gateway = Gateway::start(&api(upstream.address, policies));
    let answer = gateway.get("/");
    is_problem(&answer, 401, Reason::AuthenticationFailed);
    assert!(
        answer.contains(r#","error":"Registered authentication is set to HTTP basic"#) && answer.ends_with("\"}"),
        "{answer}"
    );
    assert_eq!(header(&answer, "www-authenticate"), Some("Basic realm=\"mule-realm\""));
    let event = gateway.event();
    assert_eq!(gateway.registry.names.name(event.answered_by).as_deref(), Some("http-basic-authentication-flex"));
    assert_eq!((event.policies.len(), event.attempts.len()), (1, 0));

    let answer = gateway
        .exchange("GET / HTTP/1.1\r\nhost: a\r\nauthorization: Basic Y2hyaXM6YWRtaW4=\r\nconnection: close\r\n\r\n");
    assert!(answer.ends_with("ok"), "{answer}");
    assert_eq!(header(&upstream.request(), "authorization"), None);
    assert_eq!(gateway.event().consumer, "chris");
}

#[test]
fn heads_that_are_not_http_get_a_problem_and_an_event() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    for (bytes, status, method, path, host) in [
        ("\u{1}\u{2}\u{3}\r\n\r\n", 400, "_OTHER", "/", None),
        ("GET /x HTTP/9.9\r\nhost: a\r\n\r\n", 505, "GET", "/x", Some("a")),
        ("PUT /x HTTP/1.1\r\nbad header: x\r\nhost: u:p@a\r\n\r\n", 400, "PUT", "/x", None),
        ("GET http://u:p@a/ HTTP/1.1\r\nhost: a\r\nhost : a\r\n\r\n", 400, "GET", "/", None),
    ] {
        let answer = gateway.exchange(bytes);
        is_problem(&answer, status, Reason::MalformedRequest);
        let event = gateway.event();
        let ids = format!("{}-{}", event.trace.trace, event.trace.span);
        assert_eq!(header(&answer, "x-request-id"), Some(&*ids), "{answer}");
        assert!(header(&answer, "proxy-status").unwrap().ends_with("; error=http_request_error"), "{answer}");
        assert!(header(&answer, "date").is_some() && header(&answer, "connection") == Some("close"), "{answer}");
        assert_eq!(event.method.as_str(), method, "{bytes:?}");
        assert_eq!(
            reported(&event),
            (status, Reason::MalformedRequest, Side::Downstream, Outcome::Completed),
            "{bytes:?}"
        );
        // What can be read of it is in the event; a password is not.
        assert_eq!(
            (event.target.to_string(), event.host.as_ref()),
            (path.to_owned(), host.map(|host| host.parse().unwrap()).as_ref())
        );
        assert_eq!(event.client.to_string(), "127.0.0.1");
    }
    assert!(gateway.events().is_empty());
}

#[test]
fn a_request_has_exactly_one_host() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    for bytes in [
        "GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
    ] {
        is_problem(&gateway.exchange(bytes), 400, Reason::MalformedRequest);
        assert_eq!(gateway.event().reason, Reason::MalformedRequest);
    }
}

#[test]
fn a_head_of_60_kilobytes_is_431() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    let answer = gateway.exchange(&format!("GET / HTTP/1.1\r\nhost: a\r\nx-big: {}\r\n\r\n", "b".repeat(70_000)));
    is_problem(&answer, 431, Reason::HeadersTooLarge);
    assert_eq!(reported(&gateway.event()), (431, Reason::HeadersTooLarge, Side::Downstream, Outcome::Completed));
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx-big: {}\r\nconnection: close\r\n\r\n", "b".repeat(55_000));
    assert!(gateway.exchange(&large).ends_with("ok"));
}

#[test]
fn a_malformed_head_after_a_good_request_is_answered_too() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    let mut client = gateway.connect();
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    client.read_until("\r\n\r\nok");
    // Nothing comes for as long.
    client.stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    client.stream.read(&mut [0]).unwrap_err();
    client.stream.set_read_timeout(Some(DEADLINE)).unwrap();
    client.send(b"NOT HTTP AT ALL\r\n\r\n");
    is_problem(&client.read_to_end(), 400, Reason::MalformedRequest);
    let (good, malformed) = (gateway.event(), gateway.event());
    assert_eq!((good.status, malformed.status), (200, 400));
    // From its own first byte.
    assert!(malformed.total() < Duration::from_millis(250), "{:?}", malformed.total());
    assert!(malformed.started_us - good.started_us >= 500_000);
}

#[test]
fn a_body_that_looks_like_hypers_own_answer_is_left_alone() {
    let upstream = Upstream::after_one(|stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nHTTP/1.1 400 Bad Request\r\n\r\n"));
    });
    let gateway = Gateway::before(upstream.address);
    assert!(gateway.get("/").contains("HTTP/1.1 400 Bad Request"));
    assert_eq!(gateway.event().status, 200);
}

#[test]
fn an_upstream_that_refuses_is_502() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let gateway = Gateway::before(address);
    is_problem(&gateway.get("/"), 502, Reason::ConnectionRefused);
    let event = gateway.event();
    assert_eq!(reported(&event), (502, Reason::ConnectionRefused, Side::Upstream, Outcome::Completed));
    assert_eq!((event.attempts[0].outcome, event.attempts[0].address), (Reason::ConnectionRefused, Some(address)));
}

#[test]
fn an_upstream_that_hangs_up_is_502() {
    let upstream = Upstream::after_one(|stream| drop(stream.shutdown(Shutdown::Both)));
    let gateway = Gateway::before(upstream.address);
    is_problem(&gateway.get("/"), 502, Reason::ConnectionTerminated);
    assert_eq!(reported(&gateway.event()), (502, Reason::ConnectionTerminated, Side::Upstream, Outcome::Completed));
}

#[test]
fn an_upstream_that_does_not_speak_http_is_502() {
    let upstream = Upstream::after_one(|stream| drop(stream.write_all(b"220 mail.example ESMTP\r\n\r\n")));
    let gateway = Gateway::before(upstream.address);
    is_problem(&gateway.get("/"), 502, Reason::UpstreamProtocolError);
    assert_eq!(gateway.event().reason, Reason::UpstreamProtocolError);
}

#[test]
fn an_upstream_that_does_not_answer_is_504() {
    let upstream = Upstream::after_one(|stream| drop(common::read_request(stream)));
    let gateway = Gateway::start(&(api(upstream.address, "") + &timeouts(10, 1)));
    is_problem(&gateway.get("/"), 504, Reason::UpstreamTimeout);
    let event = gateway.event();
    assert_eq!(reported(&event), (504, Reason::UpstreamTimeout, Side::Upstream, Outcome::Completed));
    assert!(event.meter.spent(Turn::Upstream) >= Duration::from_secs(1));
}

/// A deadline that is far has no timer from the start; it is met all the same.
#[test]
fn an_upstream_that_does_not_answer_for_long_is_504() {
    let upstream = Upstream::after_one(|stream| drop(common::read_request(stream)));
    let gateway = Gateway::start(&(api(upstream.address, "") + &timeouts(300, 3)));
    is_problem(&gateway.get("/"), 504, Reason::UpstreamTimeout);
    let spent = gateway.event().meter.spent(Turn::Upstream);
    assert!(spent >= Duration::from_secs(3), "{spent:?}");
}

/// The response is waited for from the end of the request on, not from the last frame that was waited for before it.
#[test]
fn an_upstream_that_does_not_answer_an_upload_is_504() {
    let silent = Upstream::new(vec![Box::new(|stream, heads| {
        drop(heads.send(common::read_until(stream, "half.")));
        drop(stream.read_to_end(&mut Vec::new()));
    })]);
    let gateway = Gateway::start(&(api(silent.address, "") + &timeouts(300, 1)));
    let mut client = gateway.connect();
    client.send(b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 10\r\n\r\nhalf.");
    silent.request();
    client.send(b"half.");
    is_problem(&client.read_to_end(), 504, Reason::UpstreamTimeout);
    assert_eq!(reported(&gateway.event()), (504, Reason::UpstreamTimeout, Side::Upstream, Outcome::Completed));
}

#[test]
fn a_response_that_stops_half_way_is_truncated() {
    for tail in ["", "stall"] {
        let upstream = Upstream::after_one(move |stream| {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"));
            if tail == "stall" {
                drop(common::read_request(stream));
            }
        });
        let gateway = Gateway::start(&(api(upstream.address, "") + &timeouts(1, 1)));
        assert!(gateway.get("/").ends_with("half"));
        let event = gateway.event();
        let reason = if tail == "stall" { Reason::UpstreamIdleTimeout } else { Reason::ResponseIncomplete };
        assert_eq!(reported(&event), (200, reason, Side::Upstream, Outcome::Truncated));
        assert_eq!(event.bytes_out, 4);
    }
}

#[test]
fn a_client_that_never_reads_is_let_go() {
    let upstream = Upstream::after_one(|stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n"));
        let block = vec![b'x'; 1 << 20];
        while stream.write_all(&block).is_ok() {}
    });
    let gateway = Gateway::start(&(api(upstream.address, "") + &timeouts(1, 5)));
    let mut client = gateway.connect();
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let event = gateway.event();
    assert_eq!(reported(&event), (200, Reason::ClientIdleTimeout, Side::Downstream, Outcome::Cancelled));
    let spent = event.meter.spent(Turn::Client);
    assert!(spent >= Duration::from_secs(1) && spent * 2 > event.total(), "{spent:?} of {:?}", event.total());
}

#[test]
fn the_answer_to_an_upload_that_is_refused_arrives() {
    let upstream = Upstream::answering(OK);
    let policies =
        "  policies: [{policyRef: {name: http-basic-authentication-flex}, config: {username: a, password: b}}]";
    let gateway = Gateway::start(&api(upstream.address, policies));
    for _ in 0..20 {
        let body = "u".repeat(200_000);
        let mut client = gateway.connect();
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes());
        client.stream.shutdown(Shutdown::Write).unwrap();
        is_problem(&client.read_to_end(), 401, Reason::AuthenticationFailed);
        assert_eq!(gateway.event().status, 401);
    }
    assert!(gateway.events().is_empty());
}

/// The answer of an upload whose upstream is not there arrives as well, though most of it is never read.
#[test]
fn the_answer_to_an_upload_that_nobody_takes_arrives() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::before(nobody);
    for head in ["", "upgrade: websocket\r\n"] {
        for _ in 0..10 {
            let body = "u".repeat(200_000);
            let mut client = gateway.connect();
            let head = format!("POST / HTTP/1.1\r\nhost: a\r\n{head}content-length: {}\r\n\r\n", body.len());
            client.send(head.as_bytes());
            // The gateway may have said all that it has to say before all of this is sent.
            drop(client.stream.write_all(body.as_bytes()));
            drop(client.stream.shutdown(Shutdown::Write));
            is_problem(&client.read_to_end(), 502, Reason::ConnectionRefused);
            assert_eq!(gateway.event().reason, Reason::ConnectionRefused);
        }
    }
}

#[test]
fn what_no_gateway_should_pass_on_is_refused() {
    let upstream = Upstream::answering("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n");
    let gateway = Gateway::before(upstream.address);
    is_problem(&gateway.get("/"), 502, Reason::UpstreamProtocolError);
    assert_eq!(gateway.event().reason, Reason::UpstreamProtocolError);
    for (request, status, reason) in [
        ("CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\nconnection: close\r\n\r\n", 501, Reason::MethodNotAllowed),
        ("GET http://user:secret@a/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 400, Reason::MalformedRequest),
        ("GET / HTTP/1.1\r\nhost: user:secret@a\r\nconnection: close\r\n\r\n", 400, Reason::MalformedRequest),
        ("GET / HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n", 400, Reason::MalformedRequest),
    ] {
        is_problem(&gateway.exchange(request), status, reason);
        let event = gateway.event();
        assert_eq!((event.reason, event.host.as_ref()), (reason, event.host.as_ref().filter(|host| *host == "a:80")));
    }
}

#[test]
fn a_client_that_breaks_its_chunks_is_to_blame() {
    let upstream = Upstream::new(vec![Box::new(|stream, _| drop(common::read_request(stream)))]);
    let gateway = Gateway::before(upstream.address);
    gateway.exchange("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nbroken\r\n");
    let event = gateway.event();
    assert_eq!((event.reason, event.side()), (Reason::MalformedRequestBody, Side::Downstream));
}

/// 200 ms injected in each of the three; the other two stay under 20 ms.
#[test]
fn the_three_times_say_who_was_waited_for() {
    const INJECTED: Duration = Duration::from_millis(200);
    let slow = Upstream::after_one(|stream| {
        delay(INJECTED);
        drop(stream.write_all(OK.as_bytes()));
    });
    let quick = Upstream::answering(OK);

    only(Turn::Upstream, || {
        let gateway = Gateway::before(slow.address);
        gateway.get("/");
        gateway.event()
    });

    only(Turn::Client, || {
        let gateway = Gateway::before(quick.address);
        let mut client = gateway.connect();
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nconnection: close\r\n\r\nab");
        delay(INJECTED);
        client.send(b"cd");
        client.read_to_end();
        gateway.event()
    });

    // The gateway's own slowness is the real one: rules that are costly to match, as many as take the time here.
    let path = costly_path();
    let ask = |rules| {
        let gateway = Gateway::start(&costly_api(quick.address, rules));
        gateway.get(&path);
        let event = gateway.event();
        assert_eq!(event.status, 200);
        event
    };
    let rules = std::cell::Cell::new(1);
    while let spent = ask(rules.get()).meter.spent(Turn::Gateway)
        && spent < INJECTED
    {
        let missing = INJECTED.as_micros() / spent.as_micros().max(1) + 1;
        rules.set(rules.get() * usize::try_from(missing).unwrap().max(2));
        assert!(rules.get() < 100_000, "{spent:?}");
    }
    only(Turn::Gateway, || {
        let event = ask(rules.get());
        // The machine may have had more to do when the rules were counted.
        if event.meter.spent(Turn::Gateway) < INJECTED {
            rules.set(rules.get() * 2);
        }
        event
    });
}

/// Letters in an order that repeats nowhere, so that a matcher cannot remember where it has been.
fn costly_path() -> String {
    let mut random = fastrand::Rng::with_seed(1);
    std::iter::once('/').chain((0..8192).map(|_| if random.bool() { 'a' } else { 'b' })).collect()
}

/// An API whose route is found after `rules` rules that match nothing, each by following hundreds of ways at once.
fn costly_api(upstream: SocketAddr, rules: usize) -> String {
    let rule = "{path: \"/[ab]*a[ab]{300}c\"}, ".repeat(rules);
    api(upstream, "").replace(
        &format!("{{address: \"http://{upstream}\"}}"),
        &format!("\n      address: \"http://{upstream}\"\n      routes: [{{rules: [{rule}{{path: /.*}}]}}]"),
    )
}

/// At least once in ten times only `slow` was waited for: a machine that is busy with other things adds to all three,
/// and a time that is booked to the wrong one is so each time.
fn only(slow: Turn, ask: impl Fn() -> Exchange) {
    let mut seen = Vec::new();
    for _ in 0..10 {
        let event = ask();
        assert_eq!(event.total(), event.meter.total());
        let spent = |turn| event.meter.spent(turn);
        let others = [Turn::Gateway, Turn::Upstream, Turn::Client].into_iter().filter(|turn| *turn != slow);
        let most = others.map(spent).max().unwrap_or_default();
        if spent(slow) >= Duration::from_millis(195) && most < Duration::from_millis(20) {
            return;
        }
        seen.push((spent(slow), most));
    }
    panic!("{slow:?} and the most of the others: {seen:?}");
}

/// What comes beyond a limit is closed at once, and what leaves makes room.
#[test]
fn a_port_takes_so_many_connections_of_one_address() {
    let upstream = Upstream::answering(OK);
    let limits = "
---
apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {name: limits}
spec:
  limits: {connectionsPerAddress: 2}
";
    let gateway = Gateway::start(&(api(upstream.address, "") + limits));
    let ask = |client: &mut common::Client| {
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        client.read_until("\r\n\r\nok");
    };
    let mut inside = [gateway.connect(), gateway.connect()];
    inside.iter_mut().for_each(ask);
    assert_eq!(gateway.connect().read_to_end(), "");
    let refused = || -> Vec<u64> {
        let stats = gateway.proxy.as_ref().unwrap().stats().map(|stats| stats.refused());
        stats.fold(vec![0, 0], |sum, [(_, port), (_, address), _]| vec![sum[0] + port, sum[1] + address])
    };
    assert_eq!(refused(), [0, 1]);
    let [first, mut second] = inside;
    ask(&mut second);
    drop(first);
    let deadline = std::time::Instant::now() + DEADLINE;
    loop {
        let mut next = gateway.connect();
        // Where it was refused, writing or reading fails, as the socket pleases.
        let sent = next.stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        if sent.is_ok() && next.read_to_end().ends_with("ok") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the room of the one that left is never given back");
    }
}

fn impatient(name: &str) -> Option<String> {
    (name == "FLEX_CONNECTION_IDLE_TIMEOUT_SECONDS").then(|| "1".to_owned())
}

/// A head that comes byte by byte is given as long as an idle connection, however often a byte comes.
#[test]
fn a_head_that_trickles_in_is_let_go_and_reported() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::start_with(&api(upstream.address, ""), &impatient);
    let mut client = gateway.connect();
    let trickle = b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: ".iter().chain(std::iter::repeat(&b'x'));
    let began = std::time::Instant::now();
    for byte in trickle {
        if client.stream.write_all(&[*byte]).is_err() || began.elapsed() > DEADLINE {
            break;
        }
        delay(Duration::from_millis(20));
    }
    assert!(began.elapsed() < DEADLINE);
    assert_eq!(reported(&gateway.event()), (0, Reason::RequestHeadTimeout, Side::Downstream, Outcome::Cancelled));
}

/// A connection that says nothing is no request.
#[test]
fn a_connection_that_says_nothing_is_closed_without_an_event() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::start_with(&api(upstream.address, ""), &impatient);
    assert_eq!(gateway.connect().read_to_end(), "");
    let mut used = gateway.connect();
    used.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(used.read_to_end().ends_with("ok"));
    assert_eq!(gateway.event().status, 200);
    assert!(gateway.events().is_empty());
}

/// A limit of `limits`, under `gateway.weir.dev/v1`.
fn limits(text: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: limits}}\nspec: {{limits: {{{text}}}}}\n"
    )
}

/// A byte now and then is not for ever: over either protocol, and the client's doing.
#[test]
fn an_upload_has_a_longest_time() {
    let upstream = Upstream::after_one_head(|stream| drop(stream.read_to_end(&mut Vec::new())));
    for version in [1, 2] {
        let gateway = Gateway::start(&(api(upstream.address, "") + &limits("uploadMaxTime: 1s")));
        if version == 1 {
            let mut client = gateway.connect();
            client.send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
            let mut reader = client.stream.try_clone().unwrap();
            let answer = std::thread::spawn(move || common::read_until(&mut reader, "\r\n\r\n"));
            while !answer.is_finished() && client.stream.write_all(b"1\r\nx\r\n").is_ok() {
                delay(Duration::from_millis(50));
            }
            assert!(answer.join().unwrap().starts_with("HTTP/1.1 408 "));
        } else {
            common::http2::run(async {
                let (client, _) = common::http2::connect(gateway.address).await;
                let request = http::Request::post("http://a/").body(()).unwrap();
                let (response, mut sending) = client.ready().await.unwrap().send_request(request, false).unwrap();
                let trickle = tokio::spawn(async move {
                    while sending.send_data(bytes::Bytes::from_static(b"x"), false).is_ok() {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                });
                assert_eq!(response.await.unwrap().status(), 408);
                trickle.await.unwrap();
            });
        }
        let event = gateway.event();
        assert_eq!(
            (event.status, event.reason, event.side()),
            (408, Reason::ClientTooSlow, Side::Downstream),
            "HTTP/{version}"
        );
        assert_eq!(event.attempts[0].outcome, Reason::ClientTooSlow, "not the upstream's");
    }
}

/// The limit is the gateway's, however its connections are spread over workers.
#[test]
fn open_requests_are_counted_over_all_workers() {
    let upstream = Upstream::after_one_head(|stream| drop(stream.read_to_end(&mut Vec::new())));
    let gateway = Gateway::start(&(api(upstream.address, "") + &limits("openRequests: 6")));
    common::http2::run(async {
        let (client, _) = common::http2::connect(gateway.address).await;
        let mut open = Vec::new();
        for _ in 0..6 {
            let mut ready = client.clone().ready().await.unwrap();
            open.push(ready.send_request(common::http2::get(gateway.address, "/"), true).unwrap());
            common::http2::held_request(&upstream).await;
        }
        let shed = common::http2::ask(&mut client.clone(), common::http2::get(gateway.address, "/")).await;
        assert_eq!(shed.status(), 503);
    });
}

#[test]
fn how_many_fields_a_head_may_have_is_a_setting() {
    let many: String = (0..150).map(|number| format!("x-{number}: 1\r\n")).collect();
    let answer: &'static str = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{many}\r\nok").leak();
    let upstream = Upstream::answering(answer);
    for (text, statuses) in [("openRequests: 9", (431, 502)), ("headerFields: 200", (200, 200))] {
        let gateway = Gateway::start(&(api(upstream.address, "") + &limits(text)));
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{many}\r\n");
        assert!(gateway.exchange(&request).starts_with(&format!("HTTP/1.1 {} ", statuses.0)), "{text}");
        assert!(gateway.get("/").starts_with(&format!("HTTP/1.1 {} ", statuses.1)), "{text}");
    }
}

/// The client has more to send and does not, the upstream has begun to answer and does not go on.
#[test]
fn an_exchange_in_which_nothing_moves_is_ended_though_its_upload_is_open() {
    let upstream = Upstream::after_one_head(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").unwrap();
        drop(stream.read_to_end(&mut Vec::new()));
    });
    let gateway = Gateway::start(&(api(upstream.address, "") + &timeouts(1, 60)));
    let mut client = gateway.connect();
    client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
    assert!(client.read_to_end().ends_with("\r\n\r\nhalf"));
    let event = gateway.event();
    assert_eq!((event.reason, event.outcome), (Reason::UpstreamIdleTimeout, Outcome::Truncated));
}
