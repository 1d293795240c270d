//! gRPC through the gateway: statuses, deadlines, and the gateway's own answers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod common;

use bytes::Bytes;
use common::http2::{body, connect, run};
use common::http2_upstream::{Http2Upstream, all_of, answer_grpc, fields};
use common::{Gateway, Upstream, api, pki, timeouts};
use h2::RecvStream;
use h2::server::Builder;
use http::{HeaderMap, Request, Response};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use weir_event::{Exchange, Outcome, Reason};

/// What a client of gRPC has of a response.
struct Answer {
    head: HeaderMap,
    status: u16,
    content: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// The head had nothing behind it.
    is_alone: bool,
}

impl Answer {
    fn grpc_status(&self) -> &str {
        let of = self.trailers.as_ref().unwrap_or(&self.head);
        of.get("grpc-status").map_or("", |status| status.to_str().unwrap())
    }

    fn message(&self) -> &str {
        let of = self.trailers.as_ref().unwrap_or(&self.head);
        of.get("grpc-message").map_or("", |status| status.to_str().unwrap())
    }
}

fn request(address: SocketAddr, path: &str, more: &[(&'static str, &'static str)]) -> Request<()> {
    let mut request = Request::post(format!("http://{address}{path}")).body(()).unwrap();
    request.headers_mut().extend(fields(&[("content-type", "application/grpc"), ("te", "trailers")]));
    request.headers_mut().extend(fields(more));
    request
}

async fn call(gateway: SocketAddr, request: Request<()>, message: &'static str) -> Answer {
    let (client, _connection) = connect(gateway).await;
    let (response, mut send) = client.ready().await.unwrap().send_request(request, false).unwrap();
    send.send_data(Bytes::from_static(message.as_bytes()), true).unwrap();
    let mut response = response.await.unwrap();
    let is_alone = response.body().is_end_stream();
    let content = body(response.body_mut()).await.unwrap();
    let trailers = response.body_mut().trailers().await.unwrap();
    Answer { head: response.headers().clone(), status: response.status().as_u16(), content, trailers, is_alone }
}

fn attribute(event: &Exchange, name: &str) -> Option<String> {
    let found = event.attrs.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
}

fn status(event: &Exchange) -> Option<String> {
    attribute(event, "rpc.grpc.status_code")
}

/// Answers `/<status>` with that behind a message, `/alone/<status>` with a head alone, and `/none` without a status.
fn service() -> Http2Upstream {
    Http2Upstream::answering(Builder::new(), |mut request: Request<RecvStream>, mut respond, tell| async move {
        all_of(request.body_mut()).await.unwrap();
        let timeout = request.headers().get("grpc-timeout").map(|timeout| timeout.to_str().unwrap().to_owned());
        drop(tell.send(format!("{:?} {:?}", request.headers().get("te").unwrap(), timeout)));
        let path = request.uri().path().to_owned();
        match path.strip_prefix("/alone/") {
            Some(status) => answer_grpc(&mut respond, None, status.to_owned().leak()),
            None if path == "/none" => {
                let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
                respond.send_response(head, false).unwrap().send_data("m".into(), true).unwrap();
            }
            None => answer_grpc(&mut respond, Some("message"), path[1..].to_owned().leak()),
        }
    })
}

#[test]
fn a_status_is_noted_and_an_error_of_a_server_blamed() {
    let upstream = service();
    let gateway = Gateway::start(&upstream.api(""));
    let errors = [2, 4, 12, 13, 14, 15];
    for code in 0..=16 {
        for path in [format!("/{code}"), format!("/alone/{code}")] {
            let answer = run(call(gateway.address, request(gateway.address, &path, &[]), "ask"));
            assert_eq!(
                (answer.status, answer.grpc_status(), answer.message()),
                (200, code.to_string().as_str(), "said%20so")
            );
            assert_eq!(answer.is_alone, path.starts_with("/alone"));
            assert_eq!(answer.content, if answer.is_alone { &b""[..] } else { b"message" });
            let event = gateway.event();
            assert_eq!((status(&event), event.status), (Some(code.to_string()), 200), "{path}");
            let reason = if errors.contains(&code) { Reason::GrpcError } else { Reason::None };
            assert_eq!((event.reason, event.outcome), (reason, Outcome::Completed), "{path}");
            assert!(attribute(&event, "grpc-message").is_none());
            assert!(upstream.told().starts_with("\"trailers\""));
        }
    }
    let answer = run(call(gateway.address, request(gateway.address, "/none", &[]), "ask"));
    assert_eq!((answer.trailers.is_none(), answer.grpc_status()), (true, ""));
    let event = gateway.event();
    assert_eq!(
        (event.reason, status(&event)),
        (Reason::GrpcError, None),
        "without a status it is UNKNOWN to its client"
    );
}

/// What is no gRPC has none of this, though its fields look like it.
#[test]
fn other_content_is_left_alone() {
    let upstream = service();
    let gateway = Gateway::start(&upstream.api(""));
    let mut asked = request(gateway.address, "/14", &[("grpc-timeout", "1n")]);
    asked.headers_mut().insert("content-type", "application/grpc-web".parse().unwrap());
    let answer = run(call(gateway.address, asked, "ask"));
    assert_eq!(answer.grpc_status(), "14");
    let event = gateway.event();
    assert_eq!((event.reason, status(&event)), (Reason::None, None));
    assert!(upstream.told().ends_with("Some(\"1n\")"), "passed on as it is");
}

#[test]
fn the_gateways_own_answers_are_of_grpc() {
    let upstream = service();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = api(gone, "").replace("\"http://", "\"h2://");
    let limited = upstream.api(
        "
  policies:
    - policyRef: {name: rate-limiting-flex}
      config: {rateLimits: [{maximumRequests: 1, timePeriodInMilliseconds: 100000}]}
",
    );
    let routed = upstream.api("").replace("main: {", "main: {routes: [{rules: [{path: /only}]}], ");
    let cases = [
        (refused, 1, "14", Reason::ConnectionRefused, "the upstream refused the connection"),
        (limited, 2, "8", Reason::RateLimited, ""),
        (routed, 1, "12", Reason::NoRoute, ""),
    ];
    for (config, calls, expected, reason, message) in cases {
        let gateway = Gateway::start(&config);
        for _ in 1..calls {
            run(call(gateway.address, request(gateway.address, "/0", &[]), "ask"));
            gateway.event();
        }
        let answer = run(call(gateway.address, request(gateway.address, "/0", &[]), "ask"));
        assert_eq!((answer.status, answer.grpc_status(), answer.is_alone), (200, expected, true), "{reason}");
        assert_eq!(answer.head.get("content-type").unwrap(), "application/grpc");
        assert!(answer.head.contains_key("proxy-status") && answer.message().contains(message), "{:?}", answer.head);
        let event = gateway.event();
        assert_eq!((event.status, event.reason, status(&event).as_deref()), (200, reason, Some(expected)));
    }
}

/// A service that speaks TLS, and behind it HTTP/1.1: by ALPN, or for want of it.
fn over_tls(alpn: &[&[u8]]) -> SocketAddr {
    let dir = tempfile::tempdir().unwrap();
    pki::authority(dir.path(), "known");
    pki::leaf(dir.path(), "leaf", "localhost", "known");
    let certificate = CertificateDer::from_pem_file(dir.path().join("leaf.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.path().join("leaf.key")).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            drop(StreamOwned::new(session, stream.unwrap()).read(&mut [0; 1024]));
        }
    });
    address
}

/// An API whose service at `address` is spoken to over TLS, and offered both protocols.
fn offering_both(address: SocketAddr) -> String {
    format!(
        "
apiVersion: gateway.mulesoft.com/v1alpha1
kind: Service
metadata: {{name: backend}}
spec: {{address: \"https://{address}\"}}
---
apiVersion: gateway.weir.dev/v1
kind: PolicyBinding
metadata: {{name: backend-tls}}
spec:
  targetRef: {{kind: Service, name: backend}}
  policyRef: {{name: tls-outbound}}
  config: {{skipValidation: true, alpn: [h2, http/1.1]}}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {{name: secure}}
spec:
  address: http://127.0.0.1:0
  policies: [{{policyRef: {{name: route}}, config: {{destinationRef: {{name: backend}}}}}}]
"
    )
}

/// However it turns out that a service does not speak HTTP/2 - by its configuration, by what its TLS chooses, by what it
/// answers to HTTP/2's preface - a client of gRPC has one status, and whoever reads the event one reason.
#[test]
fn a_service_of_http1_is_unavailable_to_grpc() {
    let configured = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let answers = Upstream::new(vec![Box::new(|stream, _| {
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"));
        // All of it: bytes that nobody reads would make a reset of the end, which may overtake the answer.
        drop(stream.read_to_end(&mut Vec::new()));
    })]);
    for (way, yaml, attempts) in [
        ("configured", api(configured.address, ""), &[][..]),
        ("no ALPN", offering_both(over_tls(&[])), &[Reason::UpstreamProtocolError]),
        ("ALPN", offering_both(over_tls(&[b"http/1.1"])), &[Reason::UpstreamProtocolError]),
        ("the preface", api(answers.address, "").replace("\"http://", "\"h2://"), &[Reason::UpstreamProtocolError]),
    ] {
        let gateway = Gateway::start(&yaml);
        let answer = run(call(gateway.address, request(gateway.address, "/0", &[]), "ask"));
        assert_eq!((answer.status, answer.grpc_status(), answer.is_alone), (200, "14", true), "{way}");
        let event = gateway.event();
        let seen: Vec<Reason> = event.attempts.iter().map(|attempt| attempt.outcome).collect();
        assert_eq!((event.reason, &seen[..]), (Reason::UpstreamProtocolError, attempts), "{way}");
    }
    assert!(configured.try_request().is_none());
}

#[test]
fn a_deadline_goes_on_reduced() {
    let upstream = service();
    let gateway = Gateway::start(&upstream.api(""));
    let answer = run(call(gateway.address, request(gateway.address, "/0", &[("grpc-timeout", "50S")]), "ask"));
    assert_eq!(answer.grpc_status(), "0");
    let told = upstream.told();
    let left: u64 = told.rsplit_once("Some(\"").unwrap().1.trim_end_matches("u\")").parse().unwrap();
    assert!((30_000_000..50_000_000).contains(&left), "{told}");
}

/// An upstream that takes its time: before its head (`/silent`), or behind it.
fn slow() -> Http2Upstream {
    Http2Upstream::answering(Builder::new(), |request, mut respond, tell| async move {
        let code = if request.uri().path() == "/silent" {
            poll_fn(|cx| respond.poll_reset(cx)).await
        } else {
            let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut send = respond.send_response(head, false).unwrap();
            send.send_data("first".into(), false).unwrap();
            poll_fn(|cx| send.poll_reset(cx)).await
        };
        tell.send(format!("{:?}", code.unwrap())).unwrap();
    })
}

#[test]
fn a_deadline_ends_the_wait_and_the_stream() {
    let upstream = slow();
    let gateway = Gateway::start(&upstream.api(""));
    for (path, content, outcome) in
        [("/silent", &b""[..], Outcome::Completed), ("/stream", b"first", Outcome::Truncated)]
    {
        let asked = request(gateway.address, path, &[("grpc-timeout", "300m")]);
        let answer = run(call(gateway.address, asked, "ask"));
        assert_eq!((answer.status, answer.grpc_status(), answer.content.as_slice()), (200, "4", content), "{path}");
        assert_eq!(upstream.told(), "CANCEL");
        let event = gateway.event();
        assert_eq!((event.reason, event.outcome), (Reason::DeadlineExceeded, outcome), "{path}");
        assert_eq!((status(&event).as_deref(), event.status), (Some("4"), 200));
        assert!(event.meter.total() >= Duration::from_millis(300));
        let attempt = if path == "/silent" { Reason::DeadlineExceeded } else { Reason::None };
        assert_eq!(event.attempts[0].outcome, attempt);
    }
}

/// Without a deadline the gateway's own times hold.
#[test]
fn a_response_that_does_not_come_is_a_status_too() {
    let upstream = slow();
    let gateway = Gateway::start(&(upstream.api("") + &timeouts(5, 1)));
    let answer = run(call(gateway.address, request(gateway.address, "/silent", &[]), "ask"));
    assert_eq!(answer.grpc_status(), "4");
    assert_eq!(gateway.event().reason, Reason::UpstreamTimeout);
}
