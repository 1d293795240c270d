//! Two gateways and one port: never by accident, and without a lost request where it is meant.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use weir_e2e::{DEADLINE, Gateway, GatewaySpec, Site, eventually, reserve};
use weir_testkit::process::{Process, program};
use weir_testkit::{get, upstream};

/// A configuration with fixed ports in the folder of a gateway.
fn configure(site: &Site, name: &'static str, listen: SocketAddr, admin: SocketAddr, more: &str) -> GatewaySpec {
    let called = Some(name);
    let more_yaml = more.to_owned();
    let upstream = "127.0.0.1:1".parse().unwrap();
    let spec = GatewaySpec { called, listen: Some(listen), more_yaml, ..GatewaySpec::new("here", "edge", upstream) };
    write(site, &spec, admin);
    spec
}

fn write(site: &Site, spec: &GatewaySpec, admin: SocketAddr) {
    let folder = site.path(spec.called());
    std::fs::create_dir_all(folder.join("conf.d")).unwrap();
    let yaml =
        spec.yaml(&folder).replace("admin: {address: \"127.0.0.1:0\"}", &format!("admin: {{address: \"{admin}\"}}"));
    std::fs::write(folder.join("conf.d/gateway.yaml"), yaml).unwrap();
}

fn start(site: &Site, folder: &str, log: &str, more: &[&str]) -> Process {
    let conf = site.path(folder).join("conf.d").to_string_lossy().into_owned();
    let args = ["run", "--workers", "2", "--config", &conf];
    site.start(log, "weir", &[&args, more].concat(), &[]).unwrap()
}

/// How many of two that were started at the same moment run; the other must have ended with an error that names the port.
fn winners(site: &Site, mut both: [Process; 2], logs: [&str; 2], port: SocketAddr) -> usize {
    let runs =
        |process: &mut Process| process.wait_for(DEADLINE, |line| line.contains("admin on").then_some(())).is_ok();
    let mut count = 0;
    for (process, log) in both.iter_mut().zip(logs) {
        if runs(process) {
            count += 1;
        } else {
            assert_eq!(process.wait(DEADLINE).unwrap().code(), Some(1));
            assert!(site.log(log).contains(&port.port().to_string()), "{}", site.log(log));
        }
    }
    count
}

/// O7: the data plane's port, and the admin port.
#[test]
fn of_two_that_start_at_the_same_moment_one_is_refused() {
    let site = Site::new().unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    for round in 0..20 {
        let port = reserve().unwrap();
        let (listen, admin) = if round % 4 == 0 { (any, port) } else { (port, any) };
        configure(&site, "one", listen, admin, "");
        configure(&site, "two", listen, admin, "");
        let both = ["one", "two"].map(|name| start(&site, name, name, &[]));
        assert_eq!(winners(&site, both, ["one", "two"], port), 1, "round {round}");
    }
}

/// O16: whoever connects is served, by the one or the other, and the admin port moves when the old one is asked to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_takes_over_loses_no_request() {
    let site = Site::new().unwrap();
    let (listen, admin) = (reserve().unwrap(), reserve().unwrap());
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let spec = GatewaySpec { listen: Some(listen), ..GatewaySpec::new("here", "edge", upstream) };
    write(&site, &spec, admin);
    let mut old = start(&site, "edge", "old", &[]);
    old.wait_for(DEADLINE, |line| line.contains("admin on").then_some(())).unwrap();
    let boot = async || {
        let (_, status) = get(&format!("http://{admin}/status")).await.ok()?;
        serde_json::from_str::<serde_json::Value>(&status).ok()?["boot"].as_str().map(str::to_owned)
    };
    let first = boot().await.unwrap();
    // The socket of its user leads to the same process as the admin port.
    let at_socket = || {
        let output = Command::new(program("weirctl").unwrap())
            .args(["dump", "--admin"])
            .arg(format!("unix:{}", site.path("edge/spool.state/admin.sock").display()))
            .output()
            .unwrap();
        let dump: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        dump["boot"].as_str().map(str::to_owned)
    };
    assert_eq!(at_socket().as_ref(), Some(&first));

    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..2).map(|_| std::thread::spawn(load(listen, Arc::clone(&stop)))).collect();
    // A request that is open until this test sends the rest of its body.
    let mut open = TcpStream::connect(listen).unwrap();
    open.set_read_timeout(Some(DEADLINE)).unwrap();
    open.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\na").unwrap();
    let mut new = start(&site, "edge", "new", &["--take-over"]);
    new.wait_for(DEADLINE, |line| line.contains("listening on").then_some(())).unwrap();
    assert_eq!(boot().await.as_ref(), Some(&first), "the old one answers until it is asked to end");
    assert_eq!(at_socket().as_ref(), Some(&first));
    old.signal(Signal::TERM);
    new.wait_for(DEADLINE, |line| line.contains("admin on").then_some(())).unwrap();
    assert!(old.ended().is_none(), "it hands the port over before its last request is done");
    let second = eventually("the new one answers", boot).await;
    assert_ne!(second, first);
    assert_eq!(at_socket(), Some(second));
    open.write_all(b"b").unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(old.wait(DEADLINE).unwrap().success());
    stop.store(true, Ordering::Relaxed);
    let (mut served, mut failed) = (0, Vec::new());
    for client in clients {
        let (count, errors) = client.join().unwrap();
        served += count;
        failed.extend(errors);
    }
    println!("{served} served");
    assert!(failed.is_empty(), "{} of {served}: {failed:?}", failed.len());
    assert!(new.ended().is_none());
}

/// Without `--take-over` it is refused, and says how it is done.
#[test]
fn nobody_takes_over_by_accident() {
    let site = Site::new().unwrap();
    let (listen, any) = (reserve().unwrap(), "127.0.0.1:0".parse().unwrap());
    configure(&site, "edge", listen, any, "");
    let mut first = start(&site, "edge", "first", &[]);
    first.wait_for(DEADLINE, |line| line.contains("admin on").then_some(())).unwrap();
    let mut second = start(&site, "edge", "second", &[]);
    assert_eq!(second.wait(DEADLINE).unwrap().code(), Some(1));
    let said = site.log("second");
    assert!(said.contains("is taken by another process") && said.contains("--take-over"), "{said}");
    // It has left nothing in the spool that both would use.
    assert_eq!(std::fs::read_dir(site.path("edge/spool")).unwrap().filter(is_life).count(), 1);
}

fn is_life(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    entry.as_ref().unwrap().path().join("identity.json").exists()
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes())?;
    Ok(stream)
}

/// Requests on connections of their own, one after the other: how many were answered, and what became of the others.
fn load(address: SocketAddr, stop: Arc<AtomicBool>) -> impl FnOnce() -> (u64, Vec<String>) {
    move || {
        let (mut served, mut failed) = (0, Vec::new());
        while !stop.load(Ordering::Relaxed) {
            let mut answer = String::new();
            match ask(address, "/").and_then(|mut stream| stream.read_to_string(&mut answer)) {
                Ok(_) if answer.starts_with("HTTP/1.1 200") => served += 1,
                Ok(_) => failed.push(answer),
                Err(error) => failed.push(error.to_string()),
            }
        }
        (served, failed)
    }
}

fn lifecycle(settings: &str) -> String {
    format!(
        "---\napiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: lifecycle}}\nspec:\n  \
         lifecycle: {{{settings}}}\n"
    )
}

/// O16: readiness fails first; the port serves on for the delay, and closes then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_fails_before_the_port_closes() {
    let site = Site::new().unwrap();
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let more_yaml = lifecycle("drainDelay: 2s");
    let spec = GatewaySpec { more_yaml, ..GatewaySpec::new("here", "edge", upstream) };
    let mut gateway = Gateway::start(&site, &spec).unwrap();
    let reported = Instant::now();
    gateway.process.signal(Signal::TERM);
    eventually("readiness fails", async || {
        let (status, _) = get(&format!("http://{}/probes/readiness", gateway.admin)).await.unwrap();
        (status == 503).then_some(())
    })
    .await;
    let mut served = 0;
    while let Ok(mut stream) = ask(gateway.address, "/") {
        let mut answer = String::new();
        if stream.read_to_string(&mut answer).is_err() {
            break;
        }
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        served += 1;
    }
    assert!(served > 0, "it served on");
    assert!(reported.elapsed() >= Duration::from_secs(2), "{:?}", reported.elapsed());
    assert!(gateway.process.wait(DEADLINE).unwrap().success());
}

/// In the delay it is still sent signals: to load its configuration, and to end at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_delay_can_be_cut_short() {
    let site = Site::new().unwrap();
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let more_yaml = lifecycle("drainDelay: 10m");
    let spec = GatewaySpec { more_yaml, ..GatewaySpec::new("here", "edge", upstream) };
    let mut gateway = Gateway::start(&site, &spec).unwrap();
    gateway.process.signal(Signal::TERM);
    eventually("it waits", async || site.log("edge").contains("the ports stay open").then_some(())).await;
    gateway.process.signal(Signal::HUP);
    eventually("it loads", async || site.log("edge").contains("SIGHUP: the folders are loaded now").then_some(()))
        .await;
    gateway.process.signal(Signal::TERM);
    assert!(gateway.process.wait(DEADLINE).unwrap().success());
}
