//! How a gateway ends: what can still be asked while it does, and that it does, whatever hangs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use weir_e2e::{DEADLINE, Gateway, GatewaySpec, Site, eventually};
use weir_testkit::{get, upstream};

fn terminate(gateway: &Gateway) {
    let pid = Pid::from_raw(i32::try_from(gateway.process.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
}

async fn metric(gateway: &Gateway, name: &str) -> Option<f64> {
    let (_, text) = get(&format!("http://{}/metrics", gateway.admin)).await.ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

async fn start(site: &Site, drain: &str) -> Gateway {
    let spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    Gateway::start_with(site, &spec, &[("FLEX_SERVICE_ENVOY_DRAIN_TIME", drain)]).unwrap()
}

/// While requests finish everything can be asked, and the state says what goes on; told once more, it ends at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_can_be_watched_and_cut_short() {
    let site = Site::new().unwrap();
    let mut gateway = start(&site, "60").await;
    assert_eq!(metric(&gateway, "weir_draining").await, Some(0.0));
    let open = gateway.ask("/slow?ms=10000").unwrap();
    eventually("the request is open", async || {
        (metric(&gateway, "weir_connections{").await == Some(1.0)).then_some(())
    })
    .await;
    terminate(&gateway);
    eventually("it drains", async || (metric(&gateway, "weir_draining").await == Some(1.0)).then_some(())).await;
    for name in ["weir_config_generation", "weir_connections{", "weir_events_accepted_total"] {
        assert!(metric(&gateway, name).await.is_some(), "{name}");
    }
    let (_, status) = get(&format!("http://{}/status", gateway.admin)).await.unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert!(status["draining"] == true && status["serving"]["generation"].is_u64(), "{status}");
    let (ready, _) = get(&format!("http://{}/probes/readiness", gateway.admin)).await.unwrap();
    assert_eq!(ready, 503);

    let told = Instant::now();
    terminate(&gateway);
    assert!(gateway.process.wait(DEADLINE).unwrap().success());
    assert!(told.elapsed() < Duration::from_secs(8), "{:?}: the request had 10 s, the drain 60", told.elapsed());
    let mut rest = String::new();
    drop({ open }.read_to_string(&mut rest));
    assert_eq!(rest, "", "it was cut");
}

/// Holds one thread where it waits next, as a page that cannot be read would. Let go with the test.
struct Held(Child);

impl Held {
    fn start(thread: &str) -> Self {
        let child = Command::new("strace")
            .args(["-p", thread, "-e", "trace=epoll_wait", "-e", "inject=epoll_wait:delay_enter=600s"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
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

/// A worker that stands still does not keep the process: it ends a little after its time, and names it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stands_still_keeps_nobody_from_ending() {
    let site = Site::new().unwrap();
    let mut gateway = start(&site, "1").await;
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.process.id())).unwrap();
    let threads: Vec<_> = tasks.map(|task| task.unwrap().path()).collect();
    let is_worker = |path: &&std::path::PathBuf| std::fs::read_to_string(path.join("comm")).unwrap() == "worker-0\n";
    let worker = threads.iter().find(is_worker).unwrap().file_name().unwrap().to_string_lossy().into_owned();
    let held = Held::start(&worker);
    eventually("the worker stands still", async || {
        // Each look of the worker, once a second, is a wait anew.
        let state = std::fs::read_to_string(format!("/proc/{}/task/{worker}/status", gateway.process.id())).unwrap();
        state.contains("tracing stop").then_some(())
    })
    .await;
    terminate(&gateway);
    let log = eventually("it has come to its end", async || {
        Some(site.log("edge")).filter(|log| log.lines().any(|line| line.ends_with("ended")))
    })
    .await;
    assert!(log.contains("a worker stands still"), "{log}");
    // The system tells of a process's end when whoever traces its threads lets them go.
    drop(held);
    assert!(gateway.process.wait(DEADLINE).unwrap().success());
}
