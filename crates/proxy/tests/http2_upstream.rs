//! An upstream of HTTP/2 behind the gateway: many requests on few connections, each with its own event.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use bytes::Bytes;
use common::http2::{SETTINGS, ask, body, connect, frame, get, head, run};
use common::http2_upstream::{Http2Upstream, all_of, fields};
use common::{DEADLINE, Gateway, Upstream, api, header, timeouts};
use h2::client::SendRequest;
use h2::server::Builder;
use h2::{Reason as Code, RecvStream};
use http::{HeaderMap, Request, Response};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use weir_event::{Outcome, Reason};

fn ok() -> Response<()> {
    Response::builder().header("x-from", "h2").body(()).unwrap()
}

/// Says what it was asked, and answers with what was sent.
fn echo() -> Http2Upstream {
    Http2Upstream::answering(Builder::new(), |mut request: Request<RecvStream>, mut respond, tell| async move {
        tell.send(format!("{} {} {:?}", request.method(), request.uri(), request.headers())).unwrap();
        let data = all_of(request.body_mut()).await.unwrap();
        let trailers = request.body_mut().trailers().await.unwrap();
        let mut send = respond.send_response(ok(), false).unwrap();
        send.send_data(data.into(), trailers.is_none()).unwrap();
        trailers.into_iter().for_each(|trailers| send.send_trailers(trailers).unwrap());
    })
}

#[test]
fn a_request_of_http1_goes_out_as_http2() {
    let upstream = echo();
    let gateway = Gateway::start(&upstream.api(""));
    let answer = gateway.exchange(
        "POST /a?b=c HTTP/1.1\r\nhost: shop.example\r\nconnection: close, x-own\r\nx-own: 1\r\nkeep-alive: 5\r\n\
         transfer-encoding: chunked\r\nte: trailers\r\nx-b: 2\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(header(&answer, "x-from"), Some("h2"));
    assert!(answer.contains("3\r\nabc\r\n") && answer.contains("x-sum: 6"), "{answer}");
    let seen = upstream.told();
    assert!(seen.starts_with(&format!("POST http://{}/a?b=c ", upstream.address)), "{seen}");
    assert!(seen.contains("\"x-b\"") && seen.contains("\"te\": \"trailers\""), "{seen}");
    for name in ["connection", "keep-alive", "transfer-encoding", "x-own", "host\""] {
        assert!(!seen.contains(&format!("\"{name}")), "{name}: {seen}");
    }
    let event = gateway.event();
    assert_eq!((event.status, event.upstream_status, event.outcome), (200, 200, Outcome::Completed));
    assert_eq!((event.bytes_in, event.bytes_to_upstream, event.bytes_from_upstream, event.bytes_out), (3, 3, 3, 3));
    assert_eq!((event.upstream, event.attempts.len()), (Some(upstream.address), 1));
    assert!(event.attempts[0].connect_us > 0 && event.attempts[0].tls_us == 0);
    assert!(event.attrs.iter().any(|(name, value)| name == "upstream.protocol" && value == "2"), "{:?}", event.attrs);
}

#[test]
fn a_field_of_http1_cannot_smuggle_another() {
    let upstream = echo();
    let gateway = Gateway::start(&upstream.api(""));
    for value in ["a\rb: c", "a\0b", "a\nb: c"] {
        let answer =
            gateway.exchange(&format!("GET / HTTP/1.1\r\nhost: a\r\nx-a: {value}\r\nconnection: close\r\n\r\n"));
        let seen = if answer.starts_with("HTTP/1.1 400") { String::new() } else { upstream.told() };
        assert!(!seen.contains("\"b\""), "{seen}");
    }
}

/// The requests of one worker share a connection; the gateway has two.
#[test]
fn requests_at_once_share_a_connection() {
    let (open, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&connections);
    let upstream = Http2Upstream::serving(Builder::new(), move |mut server, tell| {
        counted.fetch_add(1, Ordering::Relaxed);
        let open = Arc::clone(&open);
        async move {
            let mut waiting = Vec::new();
            while let Some(Ok((_, respond))) = server.accept().await {
                waiting.push(respond);
                // Answered only when all are there, on however many connections.
                if open.fetch_add(1, Ordering::Relaxed) + 1 == 40 {
                    drop(tell.send("all".to_owned()));
                }
                for mut respond in waiting.drain(..) {
                    let open = Arc::clone(&open);
                    tokio::task::spawn_local(async move {
                        while open.load(Ordering::Relaxed) < 40 {
                            tokio::task::yield_now().await;
                        }
                        respond.send_response(ok(), true).unwrap();
                    });
                }
            }
        }
    });
    let gateway = Gateway::start(&upstream.api(""));
    run(async {
        let (client, _) = connect(gateway.address).await;
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let (mut client, address) = (client.clone(), gateway.address);
            asked.spawn(async move { ask(&mut client, get(address, "/")).await.status() });
        }
        while let Some(status) = asked.join_next().await {
            assert_eq!(status.unwrap(), 200);
        }
    });
    assert_eq!(upstream.told(), "all");
    assert_eq!(connections.load(Ordering::Relaxed), 1, "one client is on one worker");
    (0..40).for_each(|_| assert_eq!(gateway.event().outcome, Outcome::Completed));
}

/// Posts `content`, which must come back.
async fn post(client: SendRequest<Bytes>, address: SocketAddr, content: String) {
    let mut client = client.ready().await.unwrap();
    let (response, mut send) =
        client.send_request(Request::post(format!("http://{address}/")).body(()).unwrap(), false).unwrap();
    send.send_data(content.clone().into(), true).unwrap();
    let mut response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(body(response.body_mut()).await.unwrap(), content.as_bytes());
}

/// GOAWAY behind every tenth request of a connection: each that it leaves out is sent again, and none is lost or sent twice.
#[test]
fn goaway_loses_no_request() {
    let served = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&served);
    let upstream = Http2Upstream::serving(Builder::new(), move |mut server, _| {
        let counted = Arc::clone(&counted);
        async move {
            let mut seen = 0;
            while let Some(Ok((mut request, mut respond))) = server.accept().await {
                seen += 1;
                if seen == 10 {
                    server.graceful_shutdown();
                }
                let counted = Arc::clone(&counted);
                tokio::task::spawn_local(async move {
                    let data = all_of(request.body_mut()).await.unwrap();
                    counted.fetch_add(1, Ordering::Relaxed);
                    respond.send_response(ok(), false).unwrap().send_data(data.into(), true).unwrap();
                });
            }
        }
    });
    let gateway = Gateway::start(&upstream.api(""));
    run(async {
        let (client, _) = connect(gateway.address).await;
        // The gateway takes 128 at once.
        for round in 0..3 {
            let mut asked = tokio::task::JoinSet::new();
            for number in 0..100 {
                asked.spawn(post(client.clone(), gateway.address, format!("{round} {number}")));
            }
            while let Some(done) = asked.join_next().await {
                done.unwrap();
            }
        }
    });
    assert_eq!(served.load(Ordering::Relaxed), 300);
    for _ in 0..300 {
        let event = gateway.event();
        assert_eq!((event.status, event.outcome, event.reason), (200, Outcome::Completed, Reason::None));
    }
}

#[test]
fn what_is_refused_for_good_is_an_error_after_a_few_attempts() {
    let upstream = Http2Upstream::answering(Builder::new(), |_, mut respond, _| async move {
        respond.send_reset(Code::REFUSED_STREAM);
    });
    let gateway = Gateway::start(&upstream.api(""));
    assert!(gateway.get("/").starts_with("HTTP/1.1 502"));
    let event = gateway.event();
    assert_eq!((event.reason, event.attempts.len()), (Reason::ConnectionTerminated, 6));
}

#[test]
fn a_stream_that_is_reset_is_the_upstreams_failure() {
    let barrier = Arc::new(Barrier::new(2));
    let reached = Arc::clone(&barrier);
    let upstream = Http2Upstream::answering(Builder::new(), move |request, mut respond, _| {
        let barrier = Arc::clone(&reached);
        async move {
            if request.uri().path() == "/early" {
                return respond.send_reset(Code::INTERNAL_ERROR);
            }
            let mut send = respond.send_response(ok(), false).unwrap();
            send.send_data("part".into(), false).unwrap();
            tokio::task::spawn_blocking(move || barrier.wait()).await.unwrap();
            send.send_reset(Code::INTERNAL_ERROR);
        }
    });
    let gateway = Gateway::start(&upstream.api(""));
    assert!(gateway.get("/early").starts_with("HTTP/1.1 502"));
    assert_eq!(gateway.event().reason, Reason::ConnectionTerminated);
    let mut client = gateway.connect();
    client.send(b"GET /late HTTP/1.1\r\nhost: a\r\n\r\n");
    client.read_until("part\r\n");
    barrier.wait();
    assert_eq!(client.read_to_end(), "", "without the end of its last chunk");
    let event = gateway.event();
    assert_eq!((event.reason, event.outcome), (Reason::ResponseIncomplete, Outcome::Truncated));
}

#[test]
fn heads_of_1xx_pass() {
    let upstream = Http2Upstream::answering(Builder::new(), |_, mut respond, _| async move {
        for status in [103, 100] {
            let early = Response::builder().status(status).header("link", "</a>").body(()).unwrap();
            respond.send_informational(early).unwrap();
        }
        respond.send_response(ok(), true).unwrap();
    });
    let gateway = Gateway::start(&upstream.api(""));
    let answer = gateway.get("/");
    assert!(answer.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(header(&answer, "content-length"), Some("0"));
}

/// A client that takes nothing of 64 MiB: the upstream sends what fits into windows and sockets, and no more.
#[test]
fn a_client_that_takes_nothing_holds_its_upstream_back() {
    let passed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&passed);
    const WHOLE: usize = 64 << 20;
    let upstream = Http2Upstream::answering(Builder::new(), move |request, mut respond, tell| {
        let counted = Arc::clone(&counted);
        async move {
            if request.uri().path() == "/small" {
                respond.send_response(ok(), true).unwrap();
                return;
            }
            let mut send = respond.send_response(ok(), false).unwrap();
            let mut left = WHOLE;
            while left > 0 {
                send.reserve_capacity(left.min(16 * 1024));
                let room = poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap();
                send.send_data(vec![b'x'; room].into(), left == room).unwrap();
                left -= room;
                counted.fetch_add(room, Ordering::Relaxed);
            }
            tell.send("sent".to_owned()).unwrap();
        }
    });
    let gateway = Gateway::start(&upstream.api(""));
    let mut slow = gateway.connect();
    slow.send(b"GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let mut first = [0];
    slow.stream.read_exact(&mut first).unwrap();
    // Others are served meanwhile, on either worker.
    let mut before = 0;
    while before == 0 || before != passed.load(Ordering::Relaxed) {
        before = passed.load(Ordering::Relaxed);
        for _ in 0..50 {
            assert!(gateway.get("/small").starts_with("HTTP/1.1 200"));
        }
    }
    assert!(before < WHOLE / 2, "{before} bytes have passed a client that reads none");
    let rest = slow.read_to_end();
    assert!(rest.len() > WHOLE);
    assert_eq!(upstream.told(), "sent");
}

#[test]
fn a_client_that_leaves_cancels_its_stream() {
    let upstream = Http2Upstream::answering(Builder::new(), |request, mut respond, tell| async move {
        let mut send = respond.send_response(ok(), false).unwrap();
        send.send_data("x".into(), false).unwrap();
        tell.send("begun".to_owned()).unwrap();
        let code = poll_fn(|cx| send.poll_reset(cx)).await.unwrap();
        drop(request);
        tell.send(format!("{code:?}")).unwrap();
    });
    let gateway = Gateway::start(&upstream.api(""));
    let mut client = gateway.connect();
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    client.read_until("x\r\n");
    assert_eq!(upstream.told(), "begun");
    drop(client);
    assert_eq!(upstream.told(), "CANCEL");
    let event = gateway.event();
    assert_eq!((event.reason, event.outcome, event.status), (Reason::ClientClosed, Outcome::Cancelled, 200));
}

/// Messages that go to and fro, none of which either side sends before the other's.
#[test]
fn both_directions_stream_at_once() {
    let upstream = Http2Upstream::answering(Builder::new(), |mut request, mut respond, _| async move {
        let mut send = respond.send_response(ok(), false).unwrap();
        while let Some(data) = request.body_mut().data().await {
            let data = data.unwrap();
            request.body_mut().flow_control().release_capacity(data.len()).unwrap();
            send.send_data(data, false).unwrap();
        }
        send.send_trailers(fields(&[("x-end", "1")])).unwrap();
    });
    let mut gateway = Gateway::start(&upstream.api(""));
    run(async {
        let (client, _) = connect(gateway.address).await;
        let mut client = client.ready().await.unwrap();
        let request = Request::post(format!("http://{}/", gateway.address)).body(()).unwrap();
        let (response, mut send) = client.send_request(request, false).unwrap();
        // Its head comes though the request has not sent a byte.
        let mut response = response.await.unwrap();
        for number in 0..20 {
            if number == 10 {
                // A reload leaves it alone.
                gateway.reload(&upstream.api("").replace("orders", "orders2"));
            }
            let sent = Bytes::from(format!("message {number}"));
            send.send_data(sent.clone(), false).unwrap();
            let got = response.body_mut().data().await.unwrap().unwrap();
            response.body_mut().flow_control().release_capacity(got.len()).unwrap();
            assert_eq!(got, sent);
        }
        send.send_data(Bytes::new(), true).unwrap();
        assert!(response.body_mut().data().await.is_none());
        let trailers: HeaderMap = response.body_mut().trailers().await.unwrap().unwrap();
        assert_eq!(trailers.get("x-end").unwrap(), "1");
    });
    let event = gateway.event();
    assert_eq!((event.outcome, event.reason, event.status), (Outcome::Completed, Reason::None, 200));
    assert!(event.bytes_in == event.bytes_out && event.bytes_in > 180);
}

/// A drain lets a stream go on until it ends.
#[test]
fn a_drain_waits_for_a_stream() {
    let barrier = Arc::new(Barrier::new(2));
    let reached = Arc::clone(&barrier);
    let upstream = Http2Upstream::answering(Builder::new(), move |_, mut respond, tell| {
        let barrier = Arc::clone(&reached);
        async move {
            let mut send = respond.send_response(ok(), false).unwrap();
            send.send_data("first ".into(), false).unwrap();
            tokio::task::spawn_blocking(move || barrier.wait()).await.unwrap();
            send.send_data("last".into(), true).unwrap();
            tell.send("done".to_owned()).unwrap();
        }
    });
    let mut gateway = Gateway::start(&upstream.api(""));
    let mut client = gateway.connect();
    client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    client.read_until("first ");
    let proxy = gateway.proxy.take().unwrap();
    let draining = std::thread::spawn(move || proxy.drain(DEADLINE));
    barrier.wait();
    assert!(client.read_to_end().contains("last"));
    draining.join().unwrap();
    assert_eq!(upstream.told(), "done");
    assert_eq!(gateway.event().outcome, Outcome::Completed);
}

#[test]
fn an_upstream_that_says_nothing_is_out_of_time() {
    let upstream = Http2Upstream::answering(Builder::new(), |_, respond, tell| async move {
        let mut respond = respond;
        let code = poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
        tell.send(format!("{code:?}")).unwrap();
    });
    let gateway = Gateway::start(&(upstream.api("") + &timeouts(5, 1)));
    assert!(gateway.get("/").starts_with("HTTP/1.1 504"));
    assert_eq!(gateway.event().reason, Reason::UpstreamTimeout);
    assert_eq!(upstream.told(), "CANCEL");
}

/// Neither a 204 nor a 1xx has content, whatever it says (RFC 9110 8.6).
#[test]
fn a_head_without_content_has_no_length() {
    let upstream = Http2Upstream::answering(Builder::new(), |_, mut respond, _| async move {
        let head = |status| Response::builder().status(status).header("content-length", 5).body(()).unwrap();
        respond.send_informational(head(103)).unwrap();
        respond.send_response(head(204), true).unwrap();
    });
    let gateway = Gateway::start(&upstream.api(""));
    let answer = gateway.get("/");
    assert!(answer.starts_with("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n"), "{answer}");
    assert_eq!(header(&answer, "content-length"), None, "{answer}");
    run(async {
        let (mut client, _connection) = connect(gateway.address).await;
        let response = ask(&mut client, get(gateway.address, "/")).await;
        assert_eq!((response.status().as_u16(), response.headers().get("content-length")), (204, None));
    });
}

/// What speaks HTTP/1.1 at an address of `h2` is no upstream.
#[test]
fn an_upstream_of_http1_is_told_apart() {
    let upstream = Upstream::new(vec![Box::new(|stream, _| {
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"));
        drop(stream.read(&mut [0; 1024]));
    })]);
    let gateway = Gateway::start(&api(upstream.address, "").replace("\"http://", "\"h2://"));
    assert!(gateway.get("/").starts_with("HTTP/1.1 502"));
    let event = gateway.event();
    assert_eq!(event.reason, Reason::UpstreamProtocolError, "{:?}", event.attempts);
}

/// What HTTP/1.1 would read as another line never comes out of a field of HTTP/2 (RFC 9113 8.2.1, 10.3).
#[test]
fn a_field_that_is_more_than_one_line_is_not_passed_on() {
    for (name, value) in [
        ("x", "a\r\nset-cookie: b"),
        ("x", "a\rb"),
        ("x", "a\nb"),
        ("x", "a\0b"),
        ("x\r\nset-cookie", "b"),
        ("x:y", "b"),
        ("X", "b"),
        ("transfer-encoding", "chunked"),
    ] {
        let upstream = Upstream::new(vec![Box::new(move |stream, _| {
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).unwrap();
            stream.write_all(&SETTINGS).unwrap();
            let mut header = [0; 9];
            // The request's head, which is the only frame of its kind.
            while header[3] != 1 {
                stream.read_exact(&mut header).unwrap();
                let len = u32::from_be_bytes([0, header[0], header[1], header[2]]);
                stream.read_exact(&mut vec![0; len as usize]).unwrap();
            }
            let fields = head(&[(":status", "200"), ("content-length", "0"), (name, value)]);
            stream.write_all(&frame(1, 5, 1, &fields)).unwrap();
            drop(stream.read_to_end(&mut Vec::new()));
        })]);
        let gateway = Gateway::start(&api(upstream.address, "").replace("address: \"http://", "address: \"h2://"));
        let answer = gateway.get("/");
        assert!(answer.starts_with("HTTP/1.1 502 ") && !answer.contains("set-cookie"), "{name:?} {value:?}: {answer}");
        let event = gateway.event();
        let reported = (event.status, event.reason, event.attempts[0].outcome);
        let wanted = (502, Reason::UpstreamProtocolError, Reason::UpstreamProtocolError);
        assert_eq!(reported, wanted, "{name:?} {value:?}");
    }
}
