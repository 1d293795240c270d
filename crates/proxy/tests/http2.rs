//! HTTP/2 from the client's side: the same pipeline, the same events, and what only HTTP/2 can do to a gateway.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use bytes::Bytes;
use common::http2::{
    GET, PREFACE, SETTINGS, ask, body, connect, frame, get, head, held_request, kinds, literal, raw, run,
};
use common::{DEADLINE, Gateway, Handler, Upstream, api, delay, timeouts};
use h2::Reason as Code;
use http::{HeaderMap, Request, StatusCode};
use std::collections::HashMap;
use std::future::Future;
use std::io::{Read, Write};
use std::time::Duration;
use tokio::net::TcpStream;
use weir_event::Instant;
use weir_event::{Exchange, Outcome, Protocol, Reason};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn count(events: &[Exchange]) -> HashMap<Reason, usize> {
    events.iter().fold(HashMap::new(), |mut counts, event| {
        *counts.entry(event.reason).or_default() += 1;
        counts
    })
}

/// Waits for `wanted` events.
fn events(gateway: &Gateway, wanted: usize) -> Vec<Exchange> {
    (0..wanted).map(|_| gateway.event()).collect()
}

#[test]
fn many_streams_of_one_connection_are_as_many_requests() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    run(async {
        let (client, _) = connect(gateway.address).await;
        let asked = (0..40).map(|number| {
            let mut client = client.clone();
            async move {
                let mut response = ask(&mut client, get(gateway.address, &format!("/{number}"))).await;
                assert_eq!(response.status(), 200);
                assert!(response.headers().contains_key("x-request-id"));
                body(response.body_mut()).await.unwrap()
            }
        });
        for answer in futures_all(asked).await {
            assert_eq!(answer, b"ok");
        }
    });
    for event in events(&gateway, 40) {
        assert_eq!((event.protocol, event.status, event.outcome), (Protocol::Http2, 200, Outcome::Completed));
        assert_eq!((event.bytes_out, event.reason), (2, Reason::None));
    }
}

async fn futures_all<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|cx| {
        all.retain_mut(|future| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => {
                done.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

#[test]
fn the_upstream_is_asked_in_http11_as_it_should_be() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    run(async {
        let (mut client, _) = connect(gateway.address).await;
        let request = Request::get("http://shop.example/a?b=c")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("te", "trailers")
            .body(())
            .unwrap();
        ask(&mut client, request).await;
    });
    let seen = upstream.request().to_ascii_lowercase();
    assert!(seen.starts_with("get /a?b=c http/1.1\r\n"), "{seen}");
    assert!(seen.contains("host: shop.example\r\n") && seen.contains("cookie: a=1; b=2\r\n"), "{seen}");
    assert!(seen.contains("via: 2.0 ") && seen.contains("te: trailers\r\n"), "{seen}");
    let event = gateway.event();
    assert_eq!(event.host.as_ref().map(http::HeaderValue::as_bytes), Some(&b"shop.example"[..]));
}

#[test]
fn a_body_and_trailers_go_up_and_come_down() {
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
        3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n";
    let upstream = Upstream::answering(answer);
    let gateway = Gateway::before(upstream.address);
    let trailers = run(async {
        let (client, _) = connect(gateway.address).await;
        let request = Request::post("http://a/").header("trailer", "x-check").body(()).unwrap();
        let (response, mut sending) = client.ready().await.unwrap().send_request(request, false).unwrap();
        sending.send_data(Bytes::from_static(b"hello"), false).unwrap();
        let trailers = HeaderMap::from_iter([("x-check".parse().unwrap(), "9".parse().unwrap())]);
        sending.send_trailers(trailers).unwrap();
        let mut response = response.await.unwrap();
        assert_eq!(body(response.body_mut()).await.unwrap(), b"abc");
        response.body_mut().trailers().await.unwrap().expect("trailers")
    });
    assert_eq!(trailers["x-sum"], "6");
    let seen = upstream.request().to_ascii_lowercase();
    assert!(seen.contains("transfer-encoding: chunked") && seen.ends_with("0\r\nx-check: 9\r\n\r\n"), "{seen}");
    let event = gateway.event();
    assert_eq!((event.bytes_in, event.bytes_out, event.outcome), (5, 3, Outcome::Completed));
}

#[test]
fn heads_of_1xx_pass_in_front_of_the_response() {
    let upstream = Upstream::answering(
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let gateway = Gateway::before(upstream.address);
    run(async {
        let (client, _connection) = connect(gateway.address).await;
        let mut client = client.ready().await.unwrap();
        let (mut response, _) = client.send_request(get(gateway.address, "/"), true).unwrap();
        let interim = std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!((interim.status().as_u16(), interim.headers().len()), (103, 1));
        assert_eq!(interim.headers()["link"], "</a>");
        assert_eq!(response.await.unwrap().status(), 200);
    });
    assert_eq!(gateway.event().status, 200);
}

#[test]
fn what_the_gateway_refuses_is_a_problem_with_an_event() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    let cases: [(Request<()>, StatusCode, Reason); 3] = [
        (
            Request::get("http://a/").header("x-large", "x".repeat(61 * 1024)).body(()).unwrap(),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Reason::HeadersTooLarge,
        ),
        (
            Request::get("http://a/").header("host", "b").body(()).unwrap(),
            StatusCode::BAD_REQUEST,
            Reason::MalformedRequest,
        ),
        (Request::get("http://user:word@a/").body(()).unwrap(), StatusCode::BAD_REQUEST, Reason::MalformedRequest),
    ];
    for (request, status, reason) in cases {
        run(async {
            let (mut client, _) = connect(gateway.address).await;
            let mut response = ask(&mut client, request).await;
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            let problem = String::from_utf8(body(response.body_mut()).await.unwrap()).unwrap();
            assert!(problem.contains(reason.as_str()), "{problem}");
        });
        let event = gateway.event();
        assert_eq!((event.status, event.reason, event.protocol), (status.as_u16(), reason, Protocol::Http2));
    }
}

/// The library resets such a stream, or ends the connection, without a word to the service.
#[test]
fn what_the_library_refuses_is_an_event_all_the_same() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    let upper = head(&[GET.as_slice(), &[("X-Upper", "1")]].concat());
    let connection_specific = head(&[GET.as_slice(), &[("connection", "close")]].concat());
    let pseudo_last = head(&[&[("x-first", "1")], GET.as_slice()].concat());
    let twice = head(&[GET.as_slice(), &[(":path", "/again")]].concat());
    let without = head(&GET[..2]);
    let goaway = frame(7, 0, 0, &[0; 8]);
    for fields in [upper, connection_specific, pseudo_last, twice, without.clone(), vec![0x40, 0x00]] {
        let answer = raw(&gateway, [frame(1, 5, 1, &fields), goaway.clone()].into_iter());
        let event = gateway.event();
        assert_eq!((event.reason, event.protocol), (Reason::MalformedRequest, Protocol::Http2), "{fields:?}");
        // One without a path the library passes on, and it has an answer.
        let is_answered = kinds(&answer).contains(&1);
        let wanted = if is_answered { (400, Outcome::Completed) } else { (0, Outcome::Cancelled) };
        assert_eq!((is_answered, (event.status, event.outcome)), (fields == without, wanted), "{fields:?}");
    }
    assert!(gateway.events().is_empty(), "one each");
}

#[test]
fn floods_end_the_connection_and_are_reported() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::before(upstream.address);
    let opened = frame(1, 1, 1, &head(&GET));
    let floods: [Vec<u8>; 6] = [
        frame(6, 0, 0, &[0; 8]),
        SETTINGS.to_vec(),
        frame(2, 0, 1, &[0, 0, 0, 0, 1]),
        frame(8, 0, 0, &1_u32.to_be_bytes()),
        // An endless head: its stream is open, its END_HEADERS never comes.
        frame(9, 0, 1, &[]),
        frame(9, 0, 1, &literal("x-more", "of the same")),
    ];
    for (number, flood) in floods.into_iter().enumerate() {
        let continues = number >= 4;
        let begin = continues.then(|| opened.clone());
        raw(&gateway, begin.into_iter().chain(std::iter::repeat_n(flood.repeat(64), 2000)));
        let event = gateway.event();
        assert!([Reason::ClientFlood, Reason::MalformedRequest].contains(&event.reason), "{number}: {}", event.reason);
        assert!(continues || event.reason == Reason::ClientFlood, "{number}: {}", event.reason);
    }
    assert!(gateway.events().is_empty(), "one each");
}

/// CVE-2023-44487: requests that are taken back at once. Each is a request all the same, and the connection ends.
#[test]
fn a_rapid_reset_ends_the_connection_and_every_request_has_its_event() {
    let held = Upstream::after_one(|stream| drop(stream.read_to_end(&mut Vec::new())));
    let gateway = Gateway::before(held.address);
    let cancel = 8_u32.to_be_bytes();
    let pairs = (0..20_000).map(|number| {
        let stream = 2 * number + 1;
        [frame(1, 5, stream, &head(&GET)), frame(3, 0, stream, &cancel)].concat()
    });
    raw(&gateway, pairs);
    let first = gateway.event();
    let until = Instant::now() + Duration::from_millis(500);
    let mut all = vec![first];
    while Instant::now() < until {
        all.extend(gateway.events());
        std::thread::yield_now();
    }
    let counts = count(&all);
    assert!(all.len() < 5000, "it ended early: {counts:?}");
    assert!(counts.contains_key(&Reason::ClientFlood), "{counts:?}");
    let reported = [Reason::ClientFlood, Reason::ClientClosed, Reason::MalformedRequest];
    assert!(counts.keys().all(|reason| reported.contains(reason)), "{counts:?}");
    // And the gateway serves the next.
    assert_eq!(all.iter().filter(|event| event.status == 200).count(), 0);
}

#[test]
fn a_stream_that_is_taken_back_is_the_clients_doing() {
    let held = Upstream::after_one(|stream| drop(stream.read_to_end(&mut Vec::new())));
    let gateway = Gateway::before(held.address);
    run(async {
        let (client, _) = connect(gateway.address).await;
        let (_response, mut stream) =
            client.ready().await.unwrap().send_request(get(gateway.address, "/"), true).unwrap();
        held_request(&held).await;
        stream.send_reset(Code::CANCEL);
        // Until the reset is on its way.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    });
    let event = gateway.event();
    assert_eq!((event.reason, event.outcome), (Reason::ClientClosed, Outcome::Cancelled));
}

/// One stream is let go because its client takes nothing; the other goes on.
#[test]
fn a_stream_that_nobody_reads_is_let_go_alone() {
    let large: Handler = Box::new(|stream, _| {
        while let Some(request) = common::read_request(stream) {
            let len = if request.starts_with("GET /large") { 4 << 20 } else { 2 };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n");
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b'x'; len])).is_err() {
                return;
            }
        }
    });
    let upstream = Upstream::new(vec![large]);
    let gateway = Gateway::start(&(api(upstream.address, "") + &timeouts(1, 10)));
    run(async {
        let (mut client, _) = connect(gateway.address).await;
        let mut unread = ask(&mut client, get(gateway.address, "/large")).await;
        let error = loop {
            let mut small = ask(&mut client, get(gateway.address, "/small")).await;
            assert_eq!(body(small.body_mut()).await.unwrap(), b"xx");
            // What fits into the windows comes; then nothing is released, and the stream is reset.
            let next = tokio::time::timeout(Duration::from_millis(50), unread.body_mut().data()).await;
            if let Ok(Some(Err(error))) = next {
                break error;
            }
        };
        assert_eq!(error.reason(), Some(Code::CANCEL), "{error}");
    });
    let large = std::iter::from_fn(|| Some(gateway.event())).find(|event| event.bytes_out != 2).unwrap();
    assert_eq!((large.reason, large.outcome), (Reason::ClientIdleTimeout, Outcome::Cancelled));
}

/// A response that fits into one frame is over for the gateway before the client has room for it: it is not held for ever.
#[test]
fn a_client_without_room_holds_nothing_for_long() {
    let upstream = Upstream::answering(OK);
    let gateway = Gateway::start(&(api(upstream.address, "") + &timeouts(1, 10)));
    run(async {
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        let (client, connection) =
            h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream).await.unwrap();
        tokio::spawn(connection);
        let mut client = client;
        let mut response = ask(&mut client, get(gateway.address, "/")).await;
        assert_eq!(response.status(), 200);
        let error = response.body_mut().data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Code::CANCEL), "{error}");
    });
}

/// Whoever leaves without a word - a reset, a connection cut in a download - made the requests that it made and no others.
#[test]
fn a_client_that_breaks_off_leaves_no_event_but_its_own() {
    let endless: Handler = Box::new(|stream, _| {
        drop(common::read_request(stream));
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n"));
        let block = vec![b'x'; 1 << 20];
        while stream.write_all(&block).is_ok() {}
    });
    let upstream = Upstream::new(vec![endless]);
    let gateway = Gateway::before(upstream.address);
    for reset in [true, false] {
        let mut client = gateway.connect();
        client.send(&[PREFACE, &SETTINGS, &frame(1, 5, 1, &head(&GET))].concat());
        let mut some = [0; 30_000];
        client.stream.read_exact(&mut some).unwrap();
        if reset {
            socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(client);
        let event = gateway.event();
        assert_eq!((event.reason, event.protocol), (Reason::ClientClosed, Protocol::Http2), "reset {reset}");
    }
    // Two that never ask for anything.
    for bytes in [&PREFACE[..10], &[PREFACE, &SETTINGS].concat()] {
        gateway.connect().send(bytes);
    }
    let mut last = gateway.connect();
    last.send(b"GET /elsewhere HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n");
    last.read_to_end();
    let event = gateway.event();
    assert_eq!((event.reason, event.protocol), (Reason::MalformedRequest, Protocol::Http11));
    assert!(gateway.events().is_empty());
}

#[test]
fn a_drain_says_goaway_and_lets_open_streams_finish() {
    let slow = Upstream::after_one(|stream| {
        delay(Duration::from_millis(300));
        drop(stream.write_all(OK.as_bytes()));
    });
    let mut gateway = Gateway::before(slow.address);
    let address = gateway.address;
    let proxy = gateway.proxy.take().unwrap();
    run(async {
        let (client, ended) = connect(address).await;
        let (response, _) = client.ready().await.unwrap().send_request(get(address, "/"), true).unwrap();
        held_request(&slow).await;
        let draining = std::thread::spawn(move || proxy.drain(DEADLINE));
        let mut response = response.await.unwrap();
        assert_eq!((response.status(), body(response.body_mut()).await.unwrap()), (StatusCode::OK, b"ok".to_vec()));
        ended.await.unwrap().expect("the end is NO_ERROR");
        draining.join().unwrap();
    });
    assert_eq!(gateway.event().outcome, Outcome::Completed);
}

#[test]
fn a_quiet_connection_is_reported_goodbye() {
    let upstream = Upstream::answering(OK);
    let idle = |name: &str| (name == "FLEX_CONNECTION_IDLE_TIMEOUT_SECONDS").then(|| "1".to_owned());
    let gateway = Gateway::start_with(&api(upstream.address, ""), &idle);
    run(async {
        let (mut client, ended) = connect(gateway.address).await;
        ask(&mut client, get(gateway.address, "/")).await;
        ended.await.unwrap().expect("the end is NO_ERROR");
    });
    assert_eq!(gateway.event().status, 200);
    assert!(gateway.events().is_empty());
}

#[test]
fn an_upstream_that_does_not_answer_a_stream_is_504() {
    let upstream = Upstream::after_one(|stream| drop(common::read_request(stream)));
    let gateway = Gateway::start(&(api(upstream.address, "") + &timeouts(300, 3)));
    run(async {
        let (mut client, _) = connect(gateway.address).await;
        assert_eq!(ask(&mut client, get(gateway.address, "/")).await.status(), 504);
    });
    assert_eq!(gateway.event().reason, Reason::UpstreamTimeout);
}

/// What the upstream does not take, the client may not send: windows, and one piece in hand.
#[test]
fn an_upstream_that_reads_nothing_holds_the_client_back() {
    let deaf = Upstream::new(vec![Box::new(|stream, heads| {
        let mut byte = [0];
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
            head.push(byte[0]);
        }
        drop(heads.send(String::new()));
        delay(Duration::from_millis(500));
        drop(stream.read_to_end(&mut Vec::new()));
    })]);
    let gateway = Gateway::start(&(api(deaf.address, "") + &timeouts(5, 5)));
    let sent = run(async {
        let (client, _) = connect(gateway.address).await;
        let request = Request::post("http://a/").body(()).unwrap();
        let (_response, mut sending) = client.ready().await.unwrap().send_request(request, false).unwrap();
        let mut sent = 0;
        loop {
            sending.reserve_capacity(16384);
            let room =
                tokio::time::timeout(Duration::from_millis(400), std::future::poll_fn(|cx| sending.poll_capacity(cx)));
            match room.await {
                Ok(Some(Ok(room))) => {
                    sending.send_data(Bytes::from(vec![0; room]), false).unwrap();
                    sent += room;
                }
                _ => break sent,
            }
            assert!(sent < 64 << 20, "nobody reads, and {sent} bytes went");
        }
    });
    assert!(sent >= 256 * 1024, "{sent}");
    // Sockets' buffers on the way to the upstream, and what is between them.
    assert!(sent < 16 << 20, "{sent}");
}
