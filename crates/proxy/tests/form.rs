//! What a gateway owes the form of a message (RFC 9110, RFC 9112), where the other side did not care for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use common::http2::{body, connect, get, run};
use common::{Gateway, Upstream, api, header};
use std::future::poll_fn;
use weir_event::Reason;

/// What a client gets of an upstream that answers `answer`.
fn answer_of(answer: &'static str) -> (String, Reason) {
    let upstream = Upstream::after_one(move |stream| drop(std::io::Write::write_all(stream, answer.as_bytes())));
    let gateway = Gateway::before(upstream.address);
    let got = gateway.get("/");
    (got, gateway.event().reason)
}

fn head_of(answer: &str) -> &str {
    answer.split("\r\n\r\n").next().unwrap()
}

#[test]
fn an_answer_without_content_has_no_length() {
    let (answer, _) = answer_of("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert_eq!(header(&answer, "content-length"), None, "{answer}");
}

#[test]
fn lengths_that_are_the_same_become_one() {
    for lengths in ["content-length: 2, 2", "content-length: 2\r\ncontent-length: 2", "content-length: 2 ,2"] {
        let answer: &'static str = format!("HTTP/1.1 200 OK\r\n{lengths}\r\nconnection: close\r\n\r\nok").leak();
        let (answer, _) = answer_of(answer);
        let lines = head_of(&answer).lines().filter(|line| line.starts_with("content-length")).collect::<Vec<_>>();
        assert_eq!(lines, ["content-length: 2"], "{lengths}");
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    }
}

/// What was coded, and is not labelled so, nobody can read.
#[test]
fn a_transfer_coding_that_is_not_chunked_alone_is_502() {
    for coding in ["gzip, chunked", "gzip", "chunked, chunked", "chunked\r\ntransfer-encoding: gzip"] {
        let head =
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {coding}\r\nconnection: close\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        let (answer, reason) = answer_of(head.leak());
        assert!(answer.starts_with("HTTP/1.1 502"), "{coding}: {answer}");
        assert_eq!(reason, Reason::UpstreamProtocolError, "{coding}");
    }
    let (answer, reason) =
        answer_of("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\nconnection: close\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200") && reason == Reason::None, "{answer}");
}

#[test]
fn a_426_says_what_to_upgrade_to() {
    let (answer, _) = answer_of(
        "HTTP/1.1 426 Upgrade Required\r\nupgrade: TLS/1.3, HTTP/1.1\r\nconnection: upgrade\r\ncontent-length: 0\r\n\r\n",
    );
    assert_eq!(header(&answer, "upgrade"), Some("TLS/1.3, HTTP/1.1"), "{answer}");
    assert!(header(&answer, "connection").unwrap().starts_with("upgrade"), "{answer}");
    let (answer, _) = answer_of("HTTP/1.1 200 OK\r\nupgrade: h2c\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(header(&answer, "upgrade"), None, "of another status it is each hop's own: {answer}");
}

#[test]
fn a_request_that_may_have_content_and_has_none_says_so() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let gateway = Gateway::before(upstream.address);
    for (method, length) in [("POST", Some("0")), ("PUT", Some("0")), ("PATCH", Some("0")), ("DELETE", None)] {
        gateway.exchange(&format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"));
        assert_eq!(header(&upstream.request(), "content-length"), length, "{method}");
    }
}

#[test]
fn options_are_forwarded_with_one_forward_less() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let gateway = Gateway::before(upstream.address);
    let options =
        |line: &str| gateway.exchange(&format!("OPTIONS /a HTTP/1.1\r\nhost: a\r\n{line}connection: close\r\n\r\n"));
    let answer = options("max-forwards: 0\r\n");
    assert!(answer.starts_with("HTTP/1.1 200") && header(&answer, "allow").is_some(), "{answer}");
    for (line, forwarded) in
        [("max-forwards: 5\r\n", Some("4")), ("max-forwards: 99999999999\r\n", Some("4294967294")), ("", None)]
    {
        options(line);
        assert_eq!(header(&upstream.request(), "max-forwards"), forwarded, "{line}");
    }
    assert!(upstream.try_request().is_none(), "the first was answered here");
}

#[test]
fn a_trace_is_not_forwarded() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let gateway = Gateway::before(upstream.address);
    let answer = gateway.exchange("TRACE / HTTP/1.1\r\nhost: a\r\nauthorization: secret\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405") && header(&answer, "allow").is_some(), "{answer}");
    assert!(!answer.contains("secret"), "{answer}");
    assert_eq!(gateway.event().reason, Reason::MethodNotAllowed);
    assert!(upstream.try_request().is_none());
}

/// Of a trusted peer and of a stranger: what the upstream is informed about the chain.
#[test]
fn the_chain_is_one_list_in_one_line() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    for (trusted, chain, prefix) in [(true, "1.1.1.1, 2.2.2.2, 127.0.0.1", Some("/a")), (false, "127.0.0.1", None)] {
        let peers = if trusted { "127.0.0.0/8" } else { "10.0.0.0/8" };
        let yaml = api(upstream.address, "")
            + &format!(
                "\n---\napiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: c}}\nspec: {{trustedPeers: [{peers}]}}\n"
            );
        let gateway = Gateway::start(&yaml);
        gateway.exchange(
            "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\nx-forwarded-prefix: /a\r\n\
             x_forwarded_for: 6.6.6.6\r\nconnection: close\r\n\r\n",
        );
        let request = upstream.request();
        let lines = request.lines().filter(|line| line.starts_with("x-forwarded-for")).collect::<Vec<_>>();
        assert_eq!(lines, [format!("x-forwarded-for: {chain}")], "{request}");
        assert_eq!(header(&request, "x-forwarded-prefix"), prefix, "{request}");
        assert_eq!(header(&request, "x_forwarded_for"), None, "{request}");
    }
}

/// What a client could read as another line, or as another response.
#[test]
fn a_response_that_could_be_read_as_two_is_502() {
    for line in
        ["x: a\rset-cookie: b", "x: a\r\r\nset-cookie: b", "x: a\nset-cookie: b", "x: a\0b", "x\ry: a", "x: a\r\n b"]
    {
        let answer = format!("HTTP/1.1 200 OK\r\n{line}\r\ncontent-length: 0\r\n\r\n");
        let (answer, reason) = answer_of(answer.leak());
        assert!(answer.starts_with("HTTP/1.1 502 ") && !answer.contains("set-cookie"), "{line:?}: {answer}");
        assert_eq!(reason, Reason::UpstreamProtocolError, "{line:?}");
    }
    let (answer, reason) = answer_of("HTTP/1.1 200 O\rset-cookie: b\r\ncontent-length: 0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 502 ") && reason == Reason::UpstreamProtocolError, "{answer}");
}

/// HTTP/1.0 knows no chunks: what has no length ends with the connection, and says so.
#[test]
fn a_client_of_http10_is_told_whether_its_connection_is_kept() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let gateway = Gateway::before(upstream.address);
    let ask = "GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n";
    let answer = gateway.exchange(ask);
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    assert_eq!(header(&answer, "connection"), Some("close"), "{answer}");
    assert_eq!((header(&answer, "transfer-encoding"), header(&answer, "content-length")), (None, None), "{answer}");
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let gateway = Gateway::before(upstream.address);
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.send(ask.as_bytes());
        let answer = client.read_until("\r\n\r\nok");
        assert_eq!(header(&answer, "connection"), Some("keep-alive"), "{answer}");
    }
    assert_eq!([gateway.event().status, gateway.event().status], [200, 200]);
}

/// A head of 1xx has no content (RFC 9110 8.6).
#[test]
fn an_interim_head_has_no_length() {
    let upstream = Upstream::answering(
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\ncontent-length: 5\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let gateway = Gateway::before(upstream.address);
    let answer = gateway.get("/");
    assert!(answer.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
    run(async {
        let (client, _connection) = connect(gateway.address).await;
        let mut client = client.ready().await.unwrap();
        let (mut response, _) = client.send_request(get(gateway.address, "/"), true).unwrap();
        let interim = poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!((interim.status().as_u16(), interim.headers().len()), (103, 1), "{interim:?}");
        let mut response = response.await.unwrap();
        assert_eq!(response.headers()["content-length"], "2");
        assert_eq!(body(response.body_mut()).await.unwrap(), b"ok");
    });
}
