//! Uploads over HTTP/2 that do not go as they should: broken off, answered early, not taken by their upstream.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use bytes::Bytes;
use common::http2::{ask, body, connect, get, run};
use common::{DEADLINE, Gateway, Handler, Upstream, api, delay, timeouts};
use h2::client::SendRequest;
use h2::{Reason as Code, SendStream};
use http::{Request, StatusCode};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::Duration;
use weir_event::{Outcome, Reason, Side};

/// Sends `len` bytes as the windows allow; answers how many went out before the stream ended.
async fn send(stream: &mut SendStream<Bytes>, len: usize, end: bool) -> usize {
    let mut left = len;
    while left > 0 {
        stream.reserve_capacity(left.min(16384));
        match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(Ok(room)) => {
                let piece = room.min(left);
                left -= piece;
                if stream.send_data(Bytes::from(vec![b'x'; piece]), end && left == 0).is_err() {
                    break;
                }
            }
            _ => break,
        }
    }
    len - left
}

/// One of unknown length.
async fn upload(client: &SendRequest<Bytes>) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    let request = Request::post("http://a/").body(()).unwrap();
    client.clone().ready().await.unwrap().send_request(request, false).unwrap()
}

/// One that is taken.
async fn good_upload(client: &SendRequest<Bytes>, len: usize) {
    let request = Request::post("http://a/").header("content-length", len).body(()).unwrap();
    let (response, mut sending) = client.clone().ready().await.unwrap().send_request(request, false).unwrap();
    send(&mut sending, len, true).await;
    assert_eq!(response.await.unwrap().status(), StatusCode::OK);
}

/// RFC 9113 8.1: whatever the code of the reset, what came is not the whole request.
#[test]
fn an_upload_that_is_reset_is_broken_for_the_upstream() {
    for code in [Code::NO_ERROR, Code::CANCEL, Code::INTERNAL_ERROR] {
        let (seen, all) = channel();
        let upstream = Upstream::after_one_head(move |stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegun\r\n").unwrap();
            let mut rest = Vec::new();
            // A reset is an end as well.
            drop(stream.read_to_end(&mut rest));
            seen.send(rest).unwrap();
        });
        let gateway = Gateway::before(upstream.address);
        run(async {
            let (client, _) = connect(gateway.address).await;
            let (response, mut sending) = upload(&client).await;
            send(&mut sending, 1000, false).await;
            let mut response = response.await.unwrap();
            assert_eq!(response.body_mut().data().await.unwrap().unwrap(), "begun");
            sending.send_reset(code);
            tokio::task::yield_now().await;
            let rest = tokio::task::spawn_blocking(move || all.recv_timeout(DEADLINE).unwrap()).await.unwrap();
            assert!(!rest.ends_with(b"0\r\n\r\n"), "{code}: it looks whole");
        });
        let event = gateway.event();
        assert_eq!((event.reason, event.outcome), (Reason::ClientClosed, Outcome::Cancelled), "{code}");
        assert_eq!(event.bytes_in, 1000, "{code}");
    }
}

/// At each phase, over both protocols: the client's doing in the event and in the attempt.
#[test]
fn an_upload_that_breaks_off_is_not_the_upstreams_fault() {
    let silent: fn(&mut TcpStream) = |stream| drop(stream.read_to_end(&mut Vec::new()));
    for (version, sent) in [(1, 0), (1, 1000), (2, 0), (2, 1000)] {
        let upstream = Upstream::after_one_head(silent);
        let gateway = Gateway::before(upstream.address);
        if version == 1 {
            let mut client = gateway.connect();
            client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n");
            client.send(&vec![b'x'; sent]);
            upstream.request();
        } else {
            run(async {
                let (client, _) = connect(gateway.address).await;
                let (_response, mut sending) = upload(&client).await;
                send(&mut sending, sent, false).await;
                common::http2::held_request(&upstream).await;
                sending.send_reset(Code::CANCEL);
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            });
        }
        let event = gateway.event();
        let attempts: Vec<Reason> = event.attempts.iter().map(|attempt| attempt.outcome).collect();
        assert_eq!(attempts, [Reason::ClientClosed], "HTTP/{version} after {sent}");
        let reported = (event.reason, event.outcome, event.status);
        assert_eq!(reported, (Reason::ClientClosed, Outcome::Cancelled, 499), "HTTP/{version} after {sent}");
    }
}

/// Answers an upload of unknown length early, and then neither reads nor closes; all others as they should be.
fn answering_early(answer: &'static str) -> Upstream {
    let handler: Handler = Box::new(move |stream, heads| {
        let mut byte = [0];
        while stream.peek(&mut byte).is_ok_and(|read| read > 0) {
            let head = common::read_until(stream, "\r\n\r\n");
            if common::header(&head, "transfer-encoding").is_some() {
                drop(heads.send(String::new()));
                drop(stream.write_all(answer.as_bytes()));
                // Until the gateway closes: what it still sends stays in the socket.
                while stream.peek(&mut byte).is_ok_and(|read| read > 0) {
                    delay(Duration::from_millis(20));
                }
                return;
            }
            let len = common::header(&head, "content-length").map_or(0, |len| len.parse().unwrap());
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            if stream.read_exact(&mut vec![0; len]).is_err() || stream.write_all(answer).is_err() {
                return;
            }
        }
    });
    Upstream::new(vec![handler])
}

/// Five uploads of which an upstream answers each early and reads nothing: they are ended, and the next passes.
#[test]
fn the_rest_of_an_answered_upload_is_not_waited_for() {
    let refusal = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n";
    let upstream = answering_early(refusal);
    let gateway = Gateway::before(upstream.address);
    run(async {
        let (client, _) = connect(gateway.address).await;
        for _ in 0..5 {
            let (response, mut sending) = upload(&client).await;
            let sent = tokio::spawn(async move { (send(&mut sending, 12 << 20, true).await, sending) });
            assert_eq!(response.await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
            let (sent, mut sending) = sent.await.unwrap();
            assert!(sent < 12 << 20, "it was asked to stop");
            let code = poll_fn(|cx| sending.poll_reset(cx)).await.unwrap();
            assert_eq!(code, Code::NO_ERROR, "RFC 9113 8.1");
        }
        good_upload(&client, 2 << 20).await;
    });
    for number in 0..6 {
        let event = gateway.event();
        let (status, partial) = if number < 5 { (413, true) } else { (200, false) };
        assert_eq!((event.status, event.outcome), (status, Outcome::Completed));
        let marked = event.attrs.iter().any(|(name, value)| name == "request.partial" && value == "true");
        assert_eq!(marked, partial, "whether its request was whole");
    }
}

/// The same at once, with requests beside them; then so many on one connection that a window which does not come back
/// would be used up.
#[test]
fn answered_uploads_give_the_window_back() {
    const MANY: usize = 150;
    let upstream = answering_early("HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n");
    let gateway = Gateway::before(upstream.address);
    run(async {
        let (client, _) = connect(gateway.address).await;
        let refused = |client: SendRequest<Bytes>| async move {
            let (response, mut sending) = upload(&client).await;
            let sent = tokio::spawn(async move { send(&mut sending, 12 << 20, true).await });
            assert_eq!(response.await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
            sent.await.unwrap()
        };
        let five: Vec<_> = (0..5).map(|_| tokio::spawn(refused(client.clone()))).collect();
        for _ in 0..5 {
            common::http2::held_request(&upstream).await;
        }
        for _ in 0..5 {
            let mut small = ask(&mut client.clone(), get(gateway.address, "/")).await;
            assert_eq!(body(small.body_mut()).await.unwrap(), b"ok");
        }
        for sent in five {
            assert!(sent.await.unwrap() < 12 << 20, "it was asked to stop");
        }
        for _ in 0..MANY {
            refused(client.clone()).await;
        }
        good_upload(&client, 2 << 20).await;
    });
}

/// Six uploads that their upstream does not take, and one beside them to where it is taken (RFC 9113 5.2.2).
#[test]
fn uploads_that_stand_still_keep_no_other_from_being_sent() {
    let upstream = answering_early("");
    let gateway = Gateway::start(&(api(upstream.address, "") + &timeouts(1, 60)));
    run(async {
        let (mut client, _) = connect(gateway.address).await;
        let mut held = Vec::new();
        for _ in 0..6 {
            let (response, mut sending) = upload(&client).await;
            common::http2::held_request(&upstream).await;
            // More than the sockets and the stream's window take.
            held.push(response);
            tokio::spawn(async move { send(&mut sending, 12 << 20, true).await });
        }
        good_upload(&client, 1 << 20).await;
        let mut small = ask(&mut client, get(gateway.address, "/")).await;
        assert_eq!(body(small.body_mut()).await.unwrap(), b"ok");
        // Who had no window is not blamed.
        for response in held {
            assert_eq!(response.await.unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
        }
    });
    let (passed, mut held) = (Vec::from_iter([gateway.event(), gateway.event()]), Vec::new());
    assert!(passed.iter().all(|event| (event.status, event.reason) == (200, Reason::None)), "{passed:?}");
    held.extend(std::iter::repeat_with(|| gateway.event()).take(6));
    for event in held {
        let attempts: Vec<Reason> = event.attempts.iter().map(|attempt| attempt.outcome).collect();
        assert_eq!(attempts, [Reason::UpstreamIdleTimeout]);
        let reported = (event.status, event.reason, event.side());
        assert_eq!(reported, (504, Reason::UpstreamIdleTimeout, Side::Upstream));
    }
}

/// RFC 9110 10.1.1: a client that waits for 100 is asked to go on when the body is asked for, or has its answer.
#[test]
fn who_expects_a_100_gets_it_or_an_answer() {
    let upstream = answering_early("");
    let gateway = Gateway::before(upstream.address);
    let expecting =
        |uri: &str| Request::post(uri).header("expect", "100-continue").header("content-length", 10).body(()).unwrap();
    run(async {
        let (client, _) = connect(gateway.address).await;
        let mut ready = client.ready().await.unwrap();
        let (mut response, mut sending) = ready.send_request(expecting("http://a/"), false).unwrap();
        let interim = poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!(interim.status(), StatusCode::CONTINUE);
        send(&mut sending, 10, true).await;
        assert_eq!(response.await.unwrap().status(), StatusCode::OK);
        let (mut response, _unsent) = ready.send_request(expecting("http://a:x/"), false).unwrap();
        assert!(poll_fn(|cx| response.poll_informational(cx)).await.is_none(), "nobody asks for its body");
        assert_eq!(response.await.unwrap().status(), StatusCode::BAD_REQUEST);
    });
    assert_eq!(gateway.event().bytes_in, 10);
}

/// Who is refused while it still sends a little is not reset: there are clients that take that for a failure, and do not
/// show the answer.
#[test]
fn the_end_of_a_small_upload_that_was_answered_early_is_taken() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let gateway = Gateway::start(&api(upstream.address, "").replace("http://127.0.0.1:0", "http://127.0.0.1:0/api"));
    run(async {
        let (client, _connection) = connect(gateway.address).await;
        let (response, mut sending) = upload(&client).await;
        assert_eq!(response.await.unwrap().status(), StatusCode::NOT_FOUND);
        assert_eq!(send(&mut sending, 1000, false).await, 1000);
        // Whatever was reset would be by the time that another request is answered.
        let mut other = client.clone();
        assert_eq!(ask(&mut other, get(gateway.address, "/")).await.status(), StatusCode::NOT_FOUND);
        let is_reset = poll_fn(|cx| std::task::Poll::Ready(sending.poll_reset(cx).is_ready())).await;
        assert!(!is_reset, "it is still sending");
        assert_eq!(send(&mut sending, 1000, true).await, 1000);
        // Much is not taken: the window of the connection comes back, and the stream ends.
        let (response, mut sending) = upload(&client).await;
        assert_eq!(response.await.unwrap().status(), StatusCode::NOT_FOUND);
        let sent = send(&mut sending, 10_000_000, true).await;
        assert!(sent < 1_000_000, "{sent}");
        let code = poll_fn(|cx| sending.poll_reset(cx)).await.unwrap();
        assert_eq!(code, Code::NO_ERROR);
    });
}

/// RFC 9112 9.5: what came before a write broke is read. The upstream has not read all, so that its end is a reset.
#[test]
fn an_answer_in_front_of_a_reset_arrives() {
    const SIZE: usize = 20 << 20;
    for version in [1, 2] {
        let upstream = Upstream::after_one_head(|stream| {
            stream.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 4\r\n\r\nmuch").unwrap();
        });
        let gateway = Gateway::before(upstream.address);
        for round in 0..20 {
            let case = format!("HTTP/{version}, round {round}");
            if version == 1 {
                let mut client = gateway.connect();
                client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {SIZE}\r\n\r\n").as_bytes());
                let mut reader = client.stream.try_clone().unwrap();
                let answer = std::thread::spawn(move || common::read_until(&mut reader, "much"));
                // The gateway takes no more than it needs.
                drop(client.stream.write_all(&vec![b'x'; SIZE]));
                assert!(answer.join().unwrap().starts_with("HTTP/1.1 413 "), "{case}");
            } else {
                run(async {
                    let (client, _) = connect(gateway.address).await;
                    let (response, mut sending) = upload(&client).await;
                    let sent = tokio::spawn(async move { send(&mut sending, SIZE, true).await });
                    let mut response = response.await.unwrap();
                    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE, "{case}");
                    assert_eq!(body(response.body_mut()).await.unwrap(), b"much", "{case}");
                    sent.await.unwrap();
                });
            }
            let event = gateway.event();
            let reported = (event.status, event.reason, event.outcome);
            assert_eq!(reported, (413, Reason::None, Outcome::Completed), "{case}");
            // C2: what had come, and a mark that it was not all.
            assert!((event.bytes_in as usize) < SIZE, "{case}");
            assert!(event.attrs.iter().any(|(name, value)| name == "request.partial" && value == "true"), "{case}");
        }
    }
}

/// What had passed of an upload that is answered early, and a mark that it was not all.
#[test]
fn an_upload_that_is_answered_early_counts_what_was_taken() {
    const SIZE: usize = 20 << 20;
    for version in [1, 2] {
        let (tell, told) = channel();
        let upstream = Upstream::after_one_head(move |stream| {
            let mut taken = vec![0; 2 << 20];
            stream.read_exact(&mut taken).unwrap();
            stream.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n").unwrap();
            let mut rest = Vec::new();
            drop(stream.read_to_end(&mut rest));
            tell.send(taken.len() + rest.len()).unwrap();
        });
        let gateway = Gateway::before(upstream.address);
        if version == 1 {
            let mut client = gateway.connect();
            client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {SIZE}\r\n\r\n").as_bytes());
            let mut reader = client.stream.try_clone().unwrap();
            let answer = std::thread::spawn(move || common::read_until(&mut reader, "\r\n\r\n"));
            drop(client.stream.write_all(&vec![b'x'; SIZE]));
            assert!(answer.join().unwrap().starts_with("HTTP/1.1 413 "));
        } else {
            run(async {
                let (client, _) = connect(gateway.address).await;
                let request = Request::post("http://a/").header("content-length", SIZE).body(()).unwrap();
                let (response, mut sending) = client.ready().await.unwrap().send_request(request, false).unwrap();
                let sent = tokio::spawn(async move { send(&mut sending, SIZE, true).await });
                assert_eq!(response.await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
                sent.await.unwrap();
            });
        }
        let event = gateway.event();
        let (counted, taken) = (usize::try_from(event.bytes_in).unwrap(), told.recv_timeout(DEADLINE).unwrap());
        // What is in hand when the answer comes is counted and may not be written.
        let in_hand = counted.checked_sub(taken).expect("no more than was counted");
        assert!(in_hand <= 128 * 1024 && counted < SIZE, "HTTP/{version}: {counted} of {taken}");
        assert_eq!((event.status, event.reason, event.outcome), (413, Reason::None, Outcome::Completed));
        assert!(event.attrs.iter().any(|(name, value)| name == "request.partial" && value == "true"));
    }
}
