//! What a gateway's machine lacks is the gateway's fault, by a reason of its own; and some of it is kept back for whoever
//! must be answered.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;
use weir_e2e::{DEADLINE, Gateway, GatewaySpec, Site, eventually, name_server};
use weir_testkit::{get, upstream};

fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// One request on a connection that stays open, and its answer.
fn ask_and_keep(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(b"GET /fast HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let length = head.to_lowercase().split_once("content-length: ").unwrap().1.split("\r\n").next().unwrap().parse();
    let mut body = vec![0; length.unwrap()];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

async fn sample(gateway: &Gateway, series: &str) -> Option<f64> {
    let (_, text) = get(&format!("http://{}/metrics", gateway.admin)).await.ok()?;
    let line = text.lines().find(|line| line.starts_with(&format!("{series} ")))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// The reason of the one request that had one, in the metrics; the event's and the metric's are the same word.
async fn attempts(gateway: &Gateway, reason: &str) -> bool {
    let (_, text) = get(&format!("http://{}/metrics", gateway.admin)).await.unwrap();
    text.contains(&format!("http_client_request_duration_seconds_count{{api=\"api-0\",error_type=\"{reason}\""))
}

/// Clients take half of what there is, so that those that were let in have a way to their upstream, and probes, scrapes
/// and the spool have theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_clients_do_not_use_up_the_descriptors() {
    let mut site = Site::new().unwrap();
    site.within("edge", &["prlimit", "--nofile=128:128", "--"]);
    let mut spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    spec.more_yaml = "---
apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {name: limits}
spec:
  limits: {connections: 1000}
"
    .to_owned();
    let gateway = Gateway::start(&site, &spec).unwrap();
    site.logged("edge", "`limits.connections` is 1000").await;
    let mut first: Vec<_> = (0..4).map(|_| TcpStream::connect(gateway.address).unwrap()).collect();
    assert!(first.iter_mut().all(|stream| ask_and_keep(stream).starts_with("HTTP/1.1 200 ")));
    let idle: Vec<_> = (0..300).map(|_| TcpStream::connect(gateway.address).unwrap()).collect();
    let refused = "weir_connections_refused_total{limit=\"descriptors\",worker=\"0\"}";
    eventually("most are refused", async || sample(&gateway, refused).await.filter(|count| *count > 200.0)).await;
    for probe in ["liveness", "readiness"] {
        assert_eq!(get(&format!("http://{}/probes/{probe}", gateway.admin)).await.unwrap().0, 200);
    }
    assert!(first.iter_mut().all(|stream| ask_and_keep(stream).starts_with("HTTP/1.1 200 ")));
    assert_eq!(sample(&gateway, "weir_accept_failures_total{port=\"clients\"}").await, Some(0.0));
    drop(idle);
    eventually("there is room again", async || {
        gateway.ask("/fast").ok().map(answer).filter(|text| text.starts_with("HTTP/1.1 200 "))
    })
    .await;
}

/// Where the system says no, because the limit is lower than the gateway was given at its start, it is the gateway that lacks
/// something, and not the upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_the_system_refuses_is_the_gateways_fault() {
    let site = Site::new().unwrap();
    let spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    let gateway = Gateway::start(&site, &spec).unwrap();
    let mut client = TcpStream::connect(gateway.address).unwrap();
    eventually("it is connected", async || {
        sample(&gateway, "weir_connections{worker=\"0\"}").await.filter(|n| *n == 1.0)
    })
    .await;
    let pid = gateway.process.id().to_string();
    let limit = |most: &str| {
        assert!(Command::new("prlimit").args(["--pid", &pid, most]).status().unwrap().success());
    };
    // What is open stays so.
    limit("--nofile=3:");
    let text = ask_and_keep(&mut client);
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("\"reason\":\"file_descriptors_exhausted\""), "{text}");
    let waiting = gateway.ask("/fast").unwrap();
    site.logged("edge", "cannot accept a connection").await;
    limit("--nofile=4096:");
    assert!(answer(waiting).starts_with("HTTP/1.1 200 "));
    assert!(sample(&gateway, "weir_accept_failures_total{port=\"clients\"}").await.unwrap() > 0.0);
    assert!(attempts(&gateway, "file_descriptors_exhausted").await);
}

/// Whatever the limit of open files is: a gateway says that it cannot start, or it serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_says_that_it_listens_answers() {
    let mut site = Site::new().unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    spec.workers = 3;
    let mut served = 0;
    for files in (16..80).step_by(2) {
        site.within("edge", &["prlimit", &format!("--nofile={files}:{files}"), "--"]);
        match Gateway::start(&site, &spec) {
            Ok(gateway) => {
                // Over every worker's socket, though the kernel chooses.
                for _ in 0..8 {
                    // The place of the one before may not be free yet: then it is closed at once, and not left waiting.
                    eventually("an answer", async || {
                        let (mut stream, mut text) = (gateway.ask("/fast").unwrap(), String::new());
                        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                        match stream.read_to_string(&mut text) {
                            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                                panic!("{files} files: no answer\n{}", site.log("edge"))
                            }
                            _ => (text.starts_with("HTTP/1.1 200 ") || text.contains("file_descriptors_exhausted"))
                                .then_some(()),
                        }
                    })
                    .await;
                }
                served += 1;
            }
            Err(error) => assert!(error.to_string().contains("(os error 24)"), "{files} files: {error}"),
        }
    }
    assert!(served > 5, "{served}");
}

/// Runs the test of this name in a network of its own, whose ports for outgoing connections are few.
fn in_a_network_of_its_own(test: &str, ports: &str) -> bool {
    if std::env::var_os("WEIR_TEST_NETWORK").is_some() {
        return true;
    }
    let script = format!("ip link set lo up && echo '{ports}' > /proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"");
    let user: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["--map-root-user"] };
    let status = Command::new("unshare")
        .args(user)
        .args(["--net", "--", "sh", "-c", &script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("WEIR_TEST_NETWORK", "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} in a network of its own");
    false
}

/// A connection from a port that outgoing connections are not given.
fn from_port(port: u16, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

#[test]
fn local_ports_that_are_used_up_are_the_gateways_fault() {
    const PORTS: u16 = 30;
    let range = format!("40000 {}", 40000 + PORTS - 1);
    if !in_a_network_of_its_own("local_ports_that_are_used_up_are_the_gateways_fault", &range) {
        return;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let site = Site::new().unwrap();
        let spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:7001").await.unwrap());
        let spec = GatewaySpec { listen: Some("127.0.0.1:7002".parse().unwrap()), ..spec };
        let gateway = Gateway::start(&site, &spec).unwrap();
        let ask = |number: u16, path: &str| {
            let mut stream = from_port(20_000 + number, gateway.address);
            stream
                .write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes())
                .unwrap();
            stream
        };
        // Some of the ports are those of listeners.
        let slow: Vec<_> = (0..PORTS).map(|number| ask(number, "/slow?ms=10000")).collect();
        let mut number = PORTS;
        let text = eventually("a request without a port", async || {
            number += 1;
            Some(answer(ask(number, "/fast"))).filter(|text| text.starts_with("HTTP/1.1 503 "))
        })
        .await;
        assert!(text.contains("\"reason\":\"local_port_exhausted\""), "{text}");
        assert!(text.to_lowercase().contains("proxy-status: ") && text.contains("proxy_internal_error"), "{text}");
        drop(slow);
        eventually("it is in the metrics", async || attempts(&gateway, "local_port_exhausted").await.then_some(()))
            .await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_name_server_is_distinguished_from_a_silent_upstream() {
    let mut site = Site::new().unwrap();
    let (server, address) = name_server::bind().expect("as root, or with net.ipv4.ip_unprivileged_port_start=0");
    site.name_server("edge", address).unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    spec.more_yaml = "---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: named}
spec:
  address: http://127.0.0.1:0/named
  services: {up: {address: \"http://silent.example:80\", routes: [{rules: [{path: /.*}]}]}}
"
    .to_owned();
    let gateway = Gateway::start(&site, &spec).unwrap();
    let text = answer(gateway.ask("/named/x").unwrap());
    assert!(text.starts_with("HTTP/1.1 504 ") && text.contains("\"reason\":\"dns_timeout\""), "{text}");
    // It was asked.
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut query = [0; 512];
    let (length, _) = server.recv_from(&mut query).unwrap();
    assert!(query[..length].windows(6).any(|part| part == b"silent"));
    // Others are served meanwhile.
    assert!(answer(gateway.ask("/fast").unwrap()).starts_with("HTTP/1.1 200 "));
}
