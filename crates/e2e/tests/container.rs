//! What a container does to a program: it is process number 1, and may start so many threads and no more.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use weir_e2e::{DEADLINE, GatewaySpec, Site, eventually};
use weir_testkit::process::{Process, program};
use weir_testkit::upstream;

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
}

/// A command as a user who has no other process, where it is root's to be another: root's limit of threads does not count.
fn as_user(number: u32, words: &[&str]) -> Command {
    if !geteuid().is_root() {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        return command;
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={number}"), &format!("--regid={number}"), "--clear-groups", "--"]).args(words);
    command
}

fn weir() -> String {
    program("weir").unwrap().to_string_lossy().into_owned()
}

/// The folder of a gateway whose upstream, and weir-analytics if there is one, have a name.
fn configure(site: &Site, upstream: SocketAddr, analytics: Option<SocketAddr>) -> String {
    let mut spec = GatewaySpec::new("here", "edge", upstream);
    spec.analytics = analytics.map(|analytics| (analytics, "token-edge".to_owned()));
    let folder = site.path("edge");
    let conf = folder.join("conf.d");
    fs::create_dir_all(&conf).unwrap();
    let yaml = spec
        .yaml(&folder)
        .replace("http://127.0.0.1:", "http://localhost:")
        .replace("address: http://localhost:0", "address: http://127.0.0.1:0");
    fs::write(conf.join("gateway.yaml"), yaml).unwrap();
    open_to_all(&site.path(""));
    open_to_all(&folder);
    conf.to_string_lossy().into_owned()
}

fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    stream
}

fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// O18: no thread more than there is. Names are still looked up, and the drain is in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_gets_no_more_threads_serves_and_drains() {
    let site = Site::new().unwrap();
    let conf = configure(&site, upstream::spawn("127.0.0.1:0").await.unwrap(), None);
    let command = as_user(54321, &[&weir(), "run", "--workers", "2", "--config", &conf]);
    let mut gateway = Process::start("edge", command, &site.path("edge.log")).unwrap();
    let address = gateway.wait_until_listening(DEADLINE).unwrap();
    gateway.wait_for(DEADLINE, |line| line.contains("admin on").then_some(())).unwrap();
    let pid = gateway.id().to_string();
    assert!(as_user(54321, &["prlimit", "--pid", &pid, "--nproc=1:1"]).status().unwrap().success());
    for _ in 0..20 {
        let answer = answer(ask(address, "/"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}\n{}", site.log("edge"));
    }
    let slow = ask(address, "/slow?ms=1000");
    gateway.signal(Signal::TERM);
    let answer = answer(slow);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let ended = gateway.wait(DEADLINE).unwrap();
    assert!(ended.success() && !site.log("edge").contains("panicked"), "{ended}\n{}", site.log("edge"));
}

/// Whether a process has a thread that a runtime started for work that blocks.
fn has_spare_thread(pid: &str) -> bool {
    let names = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    names.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok()).any(|name| name.starts_with("tokio-rt"))
}

/// O18: nor does its shipper need one more to find weir-analytics by its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_gets_no_more_threads_ships() {
    let site = Site::new().unwrap();
    let analytics = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let conf = configure(&site, upstream, Some(analytics.local_addr().unwrap()));
    let command = as_user(54323, &[&weir(), "run", "--workers", "2", "--config", &conf]);
    let mut gateway = Process::start("edge", command, &site.path("edge.log")).unwrap();
    let address = gateway.wait_until_listening(DEADLINE).unwrap();
    gateway.wait_for(DEADLINE, |line| line.contains("admin on").then_some(())).unwrap();
    assert!(answer(ask(address, "/")).starts_with("HTTP/1.1 200"), "{}", site.log("edge"));
    // It hears nothing until the threads have gone that a runtime starts for a name and keeps for ten seconds.
    let unanswered = analytics.accept().unwrap();
    let pid = gateway.id().to_string();
    eventually("no thread is there for names", async || (!has_spare_thread(&pid)).then_some(())).await;
    assert!(as_user(54323, &["prlimit", "--pid", &pid, "--nproc=1:1"]).status().unwrap().success());
    drop(unanswered);
    let offered = std::thread::spawn(move || {
        analytics.incoming().map_while(Result::ok).any(|mut client| {
            let mut head = [0; 4096];
            let count = client.read(&mut head).unwrap_or_default();
            head[..count].starts_with(b"POST /v1/")
        })
    });
    eventually("it comes again", async || offered.is_finished().then_some(())).await;
    assert!(offered.join().unwrap());
    gateway.signal(Signal::TERM);
    let ended = gateway.wait(DEADLINE).unwrap();
    assert!(ended.success() && !site.log("edge").contains("panicked"), "{ended}\n{}", site.log("edge"));
}

/// O18: one that cannot start for that reason says so, wherever in its start that is.
#[test]
fn a_start_without_threads_says_why() {
    let site = Site::new().unwrap();
    let conf = configure(&site, "127.0.0.1:1".parse().unwrap(), None);
    // For a user who has other processes any of these is too few for the first thread already.
    for threads in 1..=8 {
        let limit = format!("--nproc={threads}");
        let mut command = as_user(54322, &["prlimit", &limit, &weir(), "run", "--workers", "8", "--config", &conf]);
        let Output { status, stderr, .. } = command.output().unwrap();
        let said = String::from_utf8_lossy(&stderr);
        assert!(status.code() == Some(1) && !said.contains("panicked"), "{threads}: {status} {said}");
        assert!(said.contains("thread") && said.contains("raise the limit"), "{threads}: {said}");
    }
}

/// Of a process: its parent, and its state.
fn parent_and_state(pid: &str) -> Option<(u32, char)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    let state = words.next()?.chars().next()?;
    Some((words.next()?.parse().ok()?, state))
}

fn children(of: u32) -> Vec<(u32, char)> {
    let names = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let numbers = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let child = |pid: String| {
        parent_and_state(&pid).filter(|(parent, _)| *parent == of).map(|(_, s)| (pid.parse().unwrap(), s))
    };
    numbers.filter_map(child).collect()
}

/// O19: as process number 1 it lets go of processes whose parents have ended; and it ends when it is asked to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_process_of_a_container_leaves_no_zombies() {
    let site = Site::new().unwrap();
    let conf = configure(&site, upstream::spawn("127.0.0.1:0").await.unwrap(), None);
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--pid", "--fork", "--kill-child", "--"]).arg(program("weir").unwrap());
    command.args(["run", "--workers", "1", "--config", &conf]);
    let mut container = Process::start("edge", command, &site.path("edge.log")).unwrap();
    container.wait_for(DEADLINE, |line| line.contains("admin on").then_some(())).unwrap();
    let [(weir, _)] = children(container.id())[..] else { panic!("one child") };
    for _ in 0..3 {
        let mut orphan = Command::new("nsenter");
        if !geteuid().is_root() {
            orphan.args(["--user", "--preserve-credentials"]);
        }
        // The shell ends at once, and its child a moment later, as a child of process number 1.
        orphan.args(["--pid", "--target", &weir.to_string(), "--", "sh", "-c", "sleep 0.2 & exit 0"]);
        assert!(orphan.status().unwrap().success());
    }
    eventually("orphans are there", async || (children(weir).len() == 3).then_some(())).await;
    eventually("no orphan is left", async || children(weir).is_empty().then_some(())).await;
    kill_process(Pid::from_raw(i32::try_from(weir).unwrap()).unwrap(), Signal::TERM).unwrap();
    assert!(container.wait(DEADLINE).unwrap().success());
}
