//! O17: standard error is a pipe that nobody reads. The gateway goes on: it serves, loads, and ends when it is asked to.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use weir_e2e::{DEADLINE, GatewaySpec, Site, eventually, reserve};
use weir_testkit::process::program;
use weir_testkit::{get, upstream};

struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn said(out: &mut BufReader<ChildStdout>, mark: &str) -> SocketAddr {
    let mut line = String::new();
    while out.read_line(&mut line).unwrap() > 0 {
        if let Some((_, address)) = line.split_once(mark) {
            return address.trim().parse().unwrap();
        }
        line.clear();
    }
    panic!("it does not say `{mark}`");
}

async fn metric(admin: SocketAddr, name: &str) -> f64 {
    let (_, text) = get(&format!("http://{admin}/metrics")).await.unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
}

/// A request that is answered, and frames of HTTP/2 of which the library says much at `trace`.
fn ask(address: SocketAddr) {
    let connect = || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    };
    let (mut stream, mut answer) = (connect(), String::new());
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut stream = connect();
    // Its preface and empty SETTINGS.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    for _ in 0..300 {
        // PING; something comes back for each.
        stream.write_all(b"\0\0\x08\x06\0\0\0\0\0weirweir").unwrap();
        assert!(stream.read(&mut [0; 512]).unwrap() > 0);
    }
}

/// A pipe that is full from the start on: not even the lines that say where it listens can be written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standard_output_that_takes_nothing_holds_up_nothing() {
    let site = Site::new().unwrap();
    let mut spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    let port = reserve().unwrap();
    spec.more_yaml = format!(
        "---\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: Configuration\nmetadata: {{name: probe}}\n\
         spec: {{probe: {{enabled: true, port: {}}}}}\n",
        port.port()
    );
    let folder = site.path("edge");
    fs::create_dir_all(folder.join("conf.d")).unwrap();
    fs::write(folder.join("conf.d/gateway.yaml"), spec.yaml(&folder)).unwrap();
    let (_unread, out) = std::io::pipe().unwrap();
    let size = fcntl_setpipe_size(&out, 4096).unwrap();
    (&out).write_all(&vec![b'-'; size]).unwrap();
    let mut command = Command::new(program("weir").unwrap());
    command.args(["run", "--workers", "1", "--config"]).arg(folder.join("conf.d"));
    command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null());
    let mut gateway = Ending(command.spawn().unwrap());
    eventually("it is ready", async || {
        (get(&format!("http://127.0.0.1:{}/probes/readiness", port.port())).await.ok()?.0 == 200).then_some(())
    })
    .await;
    kill_process(Pid::from_child(&gateway.0), Signal::TERM).unwrap();
    let status = eventually("it ends", async || gateway.0.try_wait().unwrap()).await;
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_holds_up_nothing() {
    let site = Site::new().unwrap();
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let spec = GatewaySpec::new("here", "edge", upstream);
    let folder = site.path("edge");
    let file = folder.join("conf.d/gateway.yaml");
    fs::create_dir_all(folder.join("conf.d")).unwrap();
    fs::write(&file, spec.yaml(&folder)).unwrap();
    let mut command = Command::new(program("weir").unwrap());
    command.args(["run", "--workers", "1", "--log", "trace", "--config"]).arg(folder.join("conf.d"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut gateway = Ending(command.spawn().unwrap());
    let unread: ChildStderr = gateway.0.stderr.take().unwrap();
    fcntl_setpipe_size(&unread, 4096).unwrap();
    let mut out = BufReader::new(gateway.0.stdout.take().unwrap());
    let address = said(&mut out, "listening on http://");
    let admin = said(&mut out, "admin on http://");

    let dropped = "weir_log_lines_dropped_total ";
    eventually("there is no room for more lines", async || {
        ask(address);
        (metric(admin, dropped).await > 0.0).then_some(())
    })
    .await;
    fs::write(&file, spec.yaml(&folder).replace("quietPeriod: 100ms", "quietPeriod: 50ms")).unwrap();
    eventually("it loads", async || (metric(admin, "weir_config_generation ").await == 2.0).then_some(())).await;
    ask(address);

    // Lines flow again.
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(unread).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                // From here on nobody reads, and the pipe stays open.
                std::thread::park();
            }
        }
    });
    let reported = "lines of this log were dropped: nobody read standard error";
    while !lines.recv_timeout(DEADLINE).unwrap().contains(reported) {}
    drop(lines);
    eventually("there is no room for more lines", async || {
        let before = metric(admin, dropped).await;
        ask(address);
        (metric(admin, dropped).await > before).then_some(())
    })
    .await;
    let ending = Instant::now();
    kill_process(Pid::from_child(&gateway.0), Signal::TERM).unwrap();
    while gateway.0.try_wait().unwrap().is_none() {
        assert!(ending.elapsed() < DEADLINE, "it does not end");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    assert!(gateway.0.wait().unwrap().success());
}
