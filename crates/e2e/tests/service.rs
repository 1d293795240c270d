//! What is reported to systemd by a gateway of `Type=notify`: ready, loading, alive for as long as its workers run, ending.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use rustix::process::Signal;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use weir_e2e::{DEADLINE, Gateway, GatewaySpec, Site, eventually};
use weir_testkit::{get, upstream};

/// The next message but those of the watchdog.
fn next(socket: &UnixDatagram) -> String {
    loop {
        let message = any(socket).expect("a message in time");
        if message != "WATCHDOG=1" {
            return message;
        }
    }
}

fn any(socket: &UnixDatagram) -> Option<String> {
    let mut message = [0; 4096];
    let length = socket.recv(&mut message).ok()?;
    Some(String::from_utf8(message[..length].to_vec()).unwrap().trim_end().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd_is_reported_what_a_gateway_does() {
    let site = Site::new().unwrap();
    let path = site.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let spec = GatewaySpec::new("here", "edge", upstream);
    let path = path.to_string_lossy();
    let mut gateway =
        Gateway::start_with(&site, &spec, &[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "30000000")]).unwrap();
    assert_eq!(next(&socket), "READY=1");
    assert_eq!(any(&socket).unwrap(), "WATCHDOG=1");
    gateway.process.signal(Signal::HUP);
    let loading = next(&socket);
    let since = loading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{loading}"));
    assert!(since.parse::<u64>().unwrap() > 0);
    assert_eq!(next(&socket), "READY=1");
    gateway.process.signal(Signal::TERM);
    assert_eq!(next(&socket), "STOPPING=1");
    assert!(gateway.process.wait(DEADLINE).unwrap().success());
}

/// Holds every thread of this name where it waits next.
struct Held(Child);

impl Held {
    fn start(pid: u32, name: &str) -> Self {
        let mut tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
        let is_it = |path: &std::path::PathBuf| std::fs::read_to_string(path.join("comm")).unwrap().trim_end() == name;
        let thread = tasks.find(is_it).unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let child = Command::new("strace")
            .args(["-p", &thread, "-e", "trace=epoll_wait", "-e", "inject=epoll_wait:delay_enter=600s"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// With a worker that stands still nothing says that it is alive, so that systemd starts it anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_a_worker_that_stands_still_is_not_said_to_be_alive() {
    let site = Site::new().unwrap();
    let path = site.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let more_yaml = "---\napiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {name: life}\nspec: {lifecycle: {workerTimeout: 2s}}\n".to_owned();
    let spec =
        GatewaySpec { more_yaml, ..GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap()) };
    let path = path.to_string_lossy();
    let gateway =
        Gateway::start_with(&site, &spec, &[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "30000000")]).unwrap();
    let _held = Held::start(gateway.process.id(), "worker-0");
    eventually("liveness fails", async || {
        (get(&format!("http://{}/probes/liveness", gateway.admin)).await.unwrap().0 == 503).then_some(())
    })
    .await;
    socket.set_nonblocking(true).unwrap();
    while any(&socket).is_some() {}
    // It would have been reported each second.
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(2500))).unwrap();
    let since = Instant::now();
    assert_eq!(any(&socket), None, "after {:?}", since.elapsed());
}
