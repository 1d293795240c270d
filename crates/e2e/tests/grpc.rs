//! gRPC's own library on both sides of a gateway: every kind of call, and what is known of each afterwards.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use clickhouse::Row;
use serde::Deserialize;
use std::net::SocketAddr;
use std::process::Command;
use weir_e2e::{Gateway, GatewaySpec, Part, Site, TestStack, eventually, python, reserve};
use weir_testkit::process::Process;

fn service(port: SocketAddr, address: &str) -> String {
    format!(
        "---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {{name: echo}}
spec:
  address: http://{port}
  services: {{main: {{address: \"{address}\"}}}}
"
    )
}

fn call_everything(gateway: SocketAddr) {
    let output = python::script("grpc", "client.py", &[&gateway.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[derive(Debug, PartialEq, Eq, Row, Deserialize)]
struct Call {
    path: String,
    status: u16,
    reason: String,
    side: String,
    grpc: String,
    count: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_call_passes_and_is_known() {
    let mut stack = TestStack::start(None).await.unwrap();
    let (_server, address) = python::server(&stack.site, "grpc", &[]).await;
    let port = reserve().unwrap();
    stack.stop(Part::Gateway).unwrap();
    stack.spec.more_yaml = service(port, &format!("h2://{address}"));
    stack.start_part(Part::Gateway, None).unwrap();
    tokio::task::spawn_blocking(move || call_everything(port)).await.unwrap();
    let log = || stack.site.log("server");
    eventually("calls end at the server", async || log().contains("ended gone").then_some(())).await;
    assert!(log().contains("ended late with a deadline") && log().contains("ended gone without a deadline"));
    stack.settle().await;

    let statement = "SELECT path, status, reason, side, attrs['rpc.grpc.status_code'] AS grpc, count() AS count
        FROM access_events WHERE api = 'echo' AND attrs['upstream.protocol'] = '2' GROUP BY ALL
        ORDER BY path, toUInt8OrZero(grpc), reason";
    let calls: Vec<Call> = stack.client().query(statement).fetch_all().await.unwrap();
    let call = |name: &str, reason: &str, side: &str, grpc: &str, count| Call {
        path: format!("/test.Echo/{name}"),
        status: 200,
        reason: reason.to_owned(),
        side: side.to_owned(),
        grpc: grpc.to_owned(),
        count,
    };
    let mut wanted = vec![
        call("Both", "", "", "0", 1),
        call("Down", "", "", "0", 1),
        call("Nothing", "grpc_error", "upstream", "12", 1),
        call("Slow", "client_closed", "downstream", "", 1),
        call("Slow", "deadline_exceeded", "upstream", "4", 1),
        call("Unary", "", "", "0", 2),
    ];
    for status in 1..=16 {
        let is_error = [2, 4, 12, 13, 14, 15].contains(&status);
        let (reason, side) = if is_error { ("grpc_error", "upstream") } else { ("", "") };
        wanted.push(call("Unary", reason, side, &status.to_string(), 1));
    }
    wanted.push(call("Up", "", "", "0", 1));
    assert_eq!(calls, wanted);
    // What has failed has done so in the roll-ups, too: seven statuses, and the deadline.
    let failed = "SELECT sum(n) FROM requests_1m WHERE api = 'echo' AND side = 'upstream'";
    let failed: u64 = stack.client().query(failed).fetch_one().await.unwrap();
    assert_eq!(failed, 8);
}

/// Where both speak TLS, ALPN decides for HTTP/2; nothing else is configured than who vouches for the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_passes_over_tls() {
    let site = Site::new().unwrap();
    let pair = Certificate::new(&site);
    let (_server, address) = python::server(&site, "grpc", &[&pair.key, &pair.chain]).await;
    let port = reserve().unwrap();
    let mut spec = GatewaySpec::new("here", "edge", address);
    spec.more_yaml = service(port, &format!("https://localhost:{}", address.port()));
    let _gateway = Gateway::start_with(&site, &spec, &[("SSL_CERT_FILE", &pair.chain)]).unwrap();
    tokio::task::spawn_blocking(move || call_everything(port)).await.unwrap();
}

/// nginx as an upstream that speaks both, and curl as a client of either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_is_spoken_to_in_http2_and_a_tunnel_in_http1() {
    let site = Site::new().unwrap();
    let pair = Certificate::new(&site);
    let folder = site.path("nginx.d");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("large"), vec![b'x'; 3_000_000]).unwrap();
    let (at, old, folder) = (reserve().unwrap(), reserve().unwrap(), folder.display());
    let config = format!(
        "daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}
         http {{ log_format spoken '$request_method $uri $server_protocol $http_upgrade'; access_log {folder}/spoken.log spoken;
           client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
           uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
           server {{ listen {old} ssl; ssl_certificate {0}; ssl_certificate_key {1}; root {folder}; }}
           server {{ listen {at} ssl http2; ssl_certificate {0}; ssl_certificate_key {1}; root {folder};
             location /echo {{ return 200 \"$http_x_ask $request_method\"; }} }} }}",
        pair.chain, pair.key
    );
    std::fs::write(site.path("nginx.conf"), config).unwrap();
    let mut nginx = Command::new("nginx");
    nginx.arg("-c").arg(site.path("nginx.conf")).args(["-e", &format!("{folder}/error.log")]);
    let _nginx = Process::start("nginx", nginx, &site.path("nginx.log")).unwrap();
    eventually("nginx listens", async || std::net::TcpStream::connect(at).ok().map(drop)).await;

    let (port, old_port) = (reserve().unwrap(), reserve().unwrap());
    let mut spec = GatewaySpec::new("here", "edge", at);
    spec.more_yaml = service(port, &format!("https://localhost:{}", at.port()))
        + &service(old_port, &format!("https://localhost:{}", old.port())).replace("echo", "old");
    let _gateway = Gateway::start_with(&site, &spec, &[("SSL_CERT_FILE", &pair.chain)]).unwrap();
    let curl_at = |port: SocketAddr, args: &[&str], path: &str| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error"]).args(args).arg(format!("http://{port}{path}"));
        let output = curl.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let curl = |args: &[&str], path: &str| curl_at(port, args, path);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        assert_eq!(curl(&[version, "-H", "x-ask: a"], "/echo"), b"a GET");
        assert_eq!(curl(&[version, "-d", "content"], "/echo"), b" POST");
        assert_eq!(curl(&[version], "/large").len(), 3_000_000);
        assert!(curl(&[version, "--head"], "/large").starts_with(b"HTTP/"));
    }
    let ask = ["-H", "connection: upgrade", "-H", "upgrade: websocket", "-H", "sec-websocket-version: 13"];
    curl(&[&["--http1.1", "-H", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="], &ask[..]].concat(), "/echo");
    // Who is offered both and chooses HTTP/1.1 is served in that, but for gRPC.
    assert_eq!(curl_at(old_port, &["--http1.1"], "/large").len(), 3_000_000);
    let grpc = ["--http2-prior-knowledge", "--dump-header", "-", "-d", "x", "-H", "content-type: application/grpc"];
    let refused = String::from_utf8(curl_at(old_port, &grpc, "/a.B/C")).unwrap();
    assert!(refused.starts_with("HTTP/2 200") && refused.contains("\ngrpc-status: 14\r\n"), "{refused}");
    let spoken = || std::fs::read_to_string(format!("{folder}/spoken.log")).unwrap();
    let lines =
        eventually("nginx writes its log", async || Some(spoken()).filter(|log| log.lines().count() == 10)).await;
    let (over_http1, over_http2): (Vec<_>, Vec<_>) = lines.lines().partition(|line| line.contains(" HTTP/1.1 "));
    assert!(over_http2.len() == 8 && over_http2.iter().all(|line| line.ends_with(" HTTP/2.0 -")), "{lines}");
    assert_eq!(over_http1, ["GET /echo HTTP/1.1 websocket", "GET /large HTTP/1.1 -"]);
}

/// A certificate for `localhost` that is its own authority.
struct Certificate {
    key: String,
    chain: String,
}

impl Certificate {
    fn new(site: &Site) -> Self {
        let path = |name: &str| site.path(name).display().to_string();
        let pair = Self { key: path("own.key"), chain: path("own.pem") };
        let mut make = Command::new("openssl");
        make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
        make.args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]);
        let output = make.args(["-keyout", &pair.key, "-out", &pair.chain]).output().expect("openssl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        pair
    }
}
