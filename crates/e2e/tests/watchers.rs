//! Whoever watches a gateway is answered, whatever else is open at the admin port: probes and scrapes come through, and
//! the data plane does not notice.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use weir_e2e::{DEADLINE, Gateway, GatewaySpec, Site, eventually, reserve};
use weir_testkit::{get, upstream};

/// A connection that has sent `text`, to a port that may close it meanwhile, and reads little.
fn sent(to: SocketAddr, text: &str) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&to.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    drop(stream.write_all(text.as_bytes()));
    stream
}

fn asked(to: SocketAddr, path: &str) -> TcpStream {
    sent(to, &format!("GET {path} HTTP/1.1\r\nhost: {to}\r\n\r\n"))
}

/// How many files and sockets the gateway has open.
fn files(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.process.id())).unwrap().count()
}

/// So many more APIs than there are, each with four routes.
fn many_apis(apis: usize, upstream: SocketAddr) -> String {
    let mut yaml = String::new();
    for api in 0..apis {
        let _ = write!(
            yaml,
            "---\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata: {{name: many-{api}}}\nspec:\n  \
             address: http://127.0.0.1:0/many-{api}\n  services:\n"
        );
        for route in 0..4 {
            let _ = writeln!(
                yaml,
                "    s{route}: {{address: \"http://{upstream}\", routes: [{{rules: [{{path: /r{route}/.*}}]}}]}}"
            );
        }
    }
    yaml
}

async fn liveness(gateway: &Gateway) {
    let (status, body) = get(&format!("http://{}/probes/liveness", gateway.admin)).await.unwrap();
    assert_eq!((status, body.as_str()), (200, "alive\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_and_scrapes_come_through_whatever_is_open() {
    let site = Site::new().unwrap();
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream);
    spec.more_yaml = many_apis(500, upstream);
    let gateway = Gateway::start(&site, &spec).unwrap();
    liveness(&gateway).await;
    let before = gateway.memory().unwrap();
    let half = (0..200).map(|_| sent(gateway.admin, "GET /probes/liveness HTT"));
    let unread = (0..40).map(|_| asked(gateway.admin, "/metrics"));
    let dumps = (0..40).map(|_| asked(gateway.admin, "/dump"));
    let tails = (0..200).map(|_| asked(gateway.admin, "/tail"));
    let ahead = "GET /probes/readiness HTTP/1.1\r\nhost: a\r\n\r\n".repeat(20_000);
    let pipelined = (0..100).map(|_| {
        let mut stream = sent(gateway.admin, "");
        stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        drop(stream.write_all(ahead.as_bytes()));
        stream
    });
    let held: Vec<_> = half.chain(unread).chain(dumps).chain(tails).chain(pipelined).collect();
    for _ in 0..20 {
        liveness(&gateway).await;
        let (status, metrics) = eventually("a scrape", async || {
            get(&format!("http://{}/metrics", gateway.admin)).await.ok().filter(|(status, _)| *status == 200)
        })
        .await;
        assert!(status == 200 && metrics.contains("weir_requests_total{"), "{metrics}");
    }
    // The socket has places of its own.
    let mut user = UnixStream::connect(&gateway.socket).unwrap();
    user.set_read_timeout(Some(DEADLINE)).unwrap();
    user.write_all(b"POST /reload HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    user.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let mut answer = String::new();
    gateway.ask("/").unwrap().read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let files = files(&gateway);
    assert!(files < 130, "{files} open files");
    let more = gateway.memory().unwrap().saturating_sub(before);
    assert!(more < 64, "{more} MiB for {} clients that read nothing", held.len());
}

/// The answer does not wait for the body, however long it says it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_at_the_admin_port_is_not_read() {
    let site = Site::new().unwrap();
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::start(&site, &GatewaySpec::new("here", "edge", upstream)).unwrap();
    for (call, status) in [("POST /reload", 403), ("GET /status", 200), ("POST /nothing", 404)] {
        let head = format!("{call} HTTP/1.1\r\nhost: {}\r\ncontent-length: 1000000000\r\n\r\nthe begin", gateway.admin);
        let mut answer = String::new();
        let _reset = sent(gateway.admin, &head).read_to_string(&mut answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{call}: {answer}");
    }
    liveness(&gateway).await;
}

/// A client that reads nothing has its answer for a bounded time, and then no connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_is_let_go() {
    let site = Site::new().unwrap();
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream);
    spec.more_yaml = many_apis(2000, upstream);
    let gateway = Gateway::start(&site, &spec).unwrap();
    let connections = || gateway.connections_at(gateway.admin).unwrap();
    eventually("what the start asked is over", async || (connections() == 0).then_some(())).await;
    let _held = (asked(gateway.admin, "/dump"), sent(gateway.admin, "GET / HT"));
    eventually("they are connected", async || (connections() == 2).then_some(())).await;
    eventually("they are let go", async || (connections() == 0).then_some(())).await;
    liveness(&gateway).await;
}

/// Counters come with the configuration, histograms with the first request; and reloads leave no memory behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_routes_cost_a_scrape_and_a_reload_little() {
    const APIS: usize = 1000;
    let site = Site::new().unwrap();
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream);
    spec.more_yaml = many_apis(APIS, upstream);
    let gateway = Gateway::start(&site, &spec).unwrap();
    let scrape = async || get(&format!("http://{}/metrics", gateway.admin)).await.unwrap().1;
    let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    let idle = scrape().await;
    assert!(samples(&idle) < 2 * (4 * APIS + 1) + 200, "{} samples", samples(&idle));
    // One held open is no reason to wait.
    let held = asked(gateway.admin, "/metrics");
    liveness(&gateway).await;
    drop(held);
    let serving = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("weir_config_serving_generation ")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u32>().unwrap()
    };
    let mut first = 0;
    for generation in 2..=11 {
        let yaml = spec.yaml(&site.path("edge")).replace("/many-7\n", &format!("/many-7-{generation}\n"));
        std::fs::write(gateway.conf.join("gateway.yaml"), yaml).unwrap();
        gateway.process.signal(rustix::process::Signal::HUP);
        eventually("it is loaded", async || (serving(&scrape().await) == generation).then_some(())).await;
        if generation == 2 {
            first = gateway.memory().unwrap();
        }
    }
    // Memory that is not used any more goes back within ten seconds or so.
    eventually("memory is as after the first reload", async || {
        (gateway.memory().unwrap() * 10 <= first * 13).then_some(())
    })
    .await;
}

/// The probe port answers by either family of addresses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_answered_over_ipv4_and_ipv6() {
    let site = Site::new().unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    let port = reserve().unwrap().port();
    spec.more_yaml = format!(
        "---\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: Configuration\nmetadata: {{name: probe}}\n\
         spec: {{probe: {{enabled: true, port: {port}}}}}\n"
    );
    let _gateway = Gateway::start(&site, &spec).unwrap();
    for host in ["127.0.0.1", "[::1]"] {
        let (status, body) = get(&format!("http://{host}:{port}/probes/readiness")).await.unwrap();
        assert_eq!((status, body.as_str()), (200, "ready\n"), "{host}");
    }
}
