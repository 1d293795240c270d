//! A request that passes two chained gateways is one trace: `weirctl tail` shows it at both, parent and child.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde_json::Value;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use weir_e2e::{DEADLINE, Gateway, GatewaySpec, Site, eventually};
use weir_testkit::process::program;
use weir_testkit::{get, upstream};

/// Runs weirctl to its end and answers what it printed.
fn weirctl(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(program("weirctl").unwrap()).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn tail(admins: &[SocketAddr], count: usize) -> Child {
    let mut command = Command::new(program("weirctl").unwrap());
    for admin in admins {
        command.args(["--admin", &format!("http://{admin}")]);
    }
    command.args(["tail", "--json", "--count", &count.to_string()]).stdout(Stdio::piped()).spawn().unwrap()
}

#[tokio::test]
async fn tail_shows_one_trace_through_two_gateways() {
    let site = Site::new().unwrap();
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let cloud = Gateway::start(&site, &GatewaySpec::new("cloud", "core", upstream)).unwrap();
    let on_prem = Gateway::start(&site, &GatewaySpec::new("on-prem", "edge", cloud.address)).unwrap();

    let mut listening = tail(&[on_prem.admin, cloud.admin], 40);
    // What passes before the tail is there is not shown: ask until it has seen enough.
    let url = format!("http://{}/fast", on_prem.address);
    eventually("the tail shows forty events", async || {
        assert_eq!(get(&url).await.unwrap().0, 200);
        listening.try_wait().unwrap().map(drop)
    })
    .await;
    let output = String::from_utf8(listening.wait_with_output().unwrap().stdout).unwrap();
    let events: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 40);
    let at = |site: &str| events.iter().filter(move |event| event["site"] == site).cloned().collect::<Vec<_>>();
    let mut pairs = 0;
    for edge in at("on-prem") {
        assert_eq!(edge["parent_span_id"], "");
        let span = u64::from_str_radix(edge["span_id"].as_str().unwrap(), 16).unwrap();
        for core in at("cloud").iter().filter(|core| core["trace_id"] == edge["trace_id"]) {
            let parent = u64::from_str_radix(core["parent_span_id"].as_str().unwrap(), 16).unwrap();
            assert_eq!(parent, span + 1, "the first attempt of the one is the parent of the other");
            pairs += 1;
        }
    }
    assert!(pairs > 10, "{pairs} pairs in {output}");
}

#[tokio::test]
async fn probes_status_and_metrics_answer() {
    let site = Site::new().unwrap();
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::start(&site, &GatewaySpec::new("here", "edge", upstream)).unwrap();
    let admin = format!("http://{}", gateway.admin);
    for check in ["liveness", "readiness"] {
        let (code, out, _) = weirctl(&["--admin", &admin, "probe", "--check", check]);
        assert_eq!(code, 0, "{out}");
    }
    for _ in 0..7 {
        get(&format!("http://{}/fast", gateway.address)).await.unwrap();
    }
    let (_, metrics) = get(&format!("{admin}/metrics")).await.unwrap();
    let count = metrics
        .lines()
        .find(|line| line.starts_with("http_server_request_duration_seconds_count{api=\"api-0\""))
        .unwrap_or_else(|| panic!("{metrics}"));
    assert!(count.ends_with(" 7"), "{count}");
    assert!(metrics.contains("weir_events_accepted_total{worker=\"0\"} 7\n"));
    assert_eq!(gateway.status().await.unwrap()["identity"]["gateway"], "edge");

    let address = gateway.admin;
    gateway.process.stop(DEADLINE).unwrap();
    let (code, _, error) = weirctl(&["--admin", &format!("http://{address}"), "probe", "--check", "liveness"]);
    assert_eq!(code, 1);
    assert!(error.contains("cannot reach"), "{error}");
}

#[tokio::test]
async fn a_bad_edit_keeps_what_runs_and_a_good_one_is_taken() {
    let site = Site::new().unwrap();
    let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
    let spec = GatewaySpec::new("here", "edge", upstream);
    let gateway = Gateway::start(&site, &spec).unwrap();
    let file = gateway.conf.join("gateway.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("services:", "servces:")).unwrap();
    eventually("the bad edit is reported", async || {
        let status = gateway.status().await.ok()?;
        status["reloads"]["last_error"].as_str().filter(|error| error.contains("servces")).map(drop)
    })
    .await;
    assert_eq!(get(&format!("http://{}/fast", gateway.address)).await.unwrap().0, 200);
    let (code, _, error) = weirctl(&["validate", "--config", &gateway.conf.to_string_lossy()]);
    assert_eq!(code, 1);
    assert!(error.contains("gateway.yaml:") && error.contains("servces"), "{error}");

    std::fs::write(&file, format!("{good}# mended\n")).unwrap();
    eventually("the good edit is taken", async || {
        let status = gateway.status().await.ok()?;
        (status["serving"]["generation"] == 2 && status["reloads"]["last_error"].is_null()).then_some(())
    })
    .await;
}
