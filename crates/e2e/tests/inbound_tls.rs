//! TLS and HTTP/2 as an operator runs them: certificates in files that are replaced under a running gateway, figures to
//! alert on, and load by h2load with nothing lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::path::Path;
use std::process::{Command, Stdio};
use weir_e2e::{DEADLINE, GatewaySpec, Site, certificate, certificate_of, eventually};
use weir_testkit::process::{Process, program};
use weir_testkit::{get, upstream};

struct Secure {
    process: Process,
    port: u16,
    admin: String,
}

async fn start(site: &Site, dir: &Path) -> Secure {
    let backend = upstream::spawn("127.0.0.1:0").await.unwrap();
    let mut spec = GatewaySpec::new("here", "edge", backend);
    spec.apis.clear();
    spec.more_yaml = format!(
        "---
apiVersion: gateway.weir.dev/v1
kind: ApiInstance
metadata: {{name: secure}}
spec:
  address: https://127.0.0.1:0
  services: {{main: {{address: \"http://{backend}\"}}}}
  policies:
    - policyRef: {{name: tls}}
      config: {{certificate: {{crtFile: {0}/served.pem, keyFile: {0}/served.key}}}}
",
        dir.display()
    );
    let folder = site.path("edge");
    let conf = folder.join("conf.d");
    std::fs::create_dir_all(&conf).unwrap();
    std::fs::write(conf.join("gateway.yaml"), spec.yaml(&folder)).unwrap();
    let args = ["run", "--workers", "2", "--config", &conf.to_string_lossy()];
    let mut process = site.start("edge", "weir", &args, &[]).unwrap();
    let said = |line: &str, mark: &str| line.split_once(mark).map(|(_, rest)| rest.trim().to_owned());
    let address = process.wait_for(DEADLINE, |line| said(line, "listening on https://")).unwrap();
    let admin = process.wait_for(DEADLINE, |line| said(line, "admin on http://")).unwrap();
    let port = address.rsplit(':').next().unwrap().parse().unwrap();
    Secure { process, port, admin }
}

async fn metric(gateway: &Secure, name: &str) -> Vec<f64> {
    let (_, text) = get(&format!("http://{}/metrics", gateway.admin)).await.unwrap();
    let samples = text.lines().filter(|line| line.starts_with(name));
    samples.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

/// When the certificate that a client is shown expires, in OpenSSL's words.
fn shown(gateway: &Secure) -> Option<String> {
    let mut shake = Command::new("openssl");
    shake.args(["s_client", "-connect", &format!("127.0.0.1:{}", gateway.port), "-servername", "localhost"]);
    let pem = shake.stdin(Stdio::null()).output().unwrap().stdout;
    let begin = pem.windows(11).position(|window| window == b"-----BEGIN ")?;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &pem[begin..]).unwrap();
    let read = Command::new("openssl").args(["x509", "-noout", "-enddate", "-in"]).arg(file.path()).output().unwrap();
    Some(String::from_utf8_lossy(&read.stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_replaced_on_disk_is_served_without_a_word() {
    let site = Site::new().unwrap();
    let dir = site.path("tls");
    std::fs::create_dir_all(&dir).unwrap();
    certificate(&dir, "2").unwrap();
    let gateway = start(&site, &dir).await;
    let expiry = "weir_tls_certificate_expiry_timestamp_seconds";
    let (first, soon) = (shown(&gateway).unwrap(), metric(&gateway, expiry).await[0]);
    certificate(&dir, "30").unwrap();
    eventually("the new certificate is shown", async || (shown(&gateway)? != first).then_some(())).await;
    let later = metric(&gateway, expiry).await[0];
    assert!((later - soon - 28.0 * 86_400.0).abs() < 600.0, "{soon} {later}");

    // One that cannot be served changes nothing, and says so.
    let good = shown(&gateway).unwrap();
    std::fs::write(dir.join("served.pem"), "no certificate\n").unwrap();
    eventually("a bad certificate is reported", async || {
        (metric(&gateway, "weir_config_last_reload_failed").await == [1.0]).then_some(())
    })
    .await;
    site.logged("edge", "crtFile").await;
    assert_eq!(shown(&gateway).unwrap(), good);
}

/// A certificate that every client refuses does not take the place of one that is good; where there is no better one, it is
/// served, with a warning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_out_of_its_time_replaces_no_good_one() {
    let site = Site::new().unwrap();
    let dir = site.path("tls");
    std::fs::create_dir_all(&dir).unwrap();
    certificate(&dir, "20").unwrap();
    let gateway = start(&site, &dir).await;
    for (time, why) in [("-10d", "has expired at "), ("+10d", "is not valid before ")] {
        let good = shown(&gateway).unwrap();
        certificate_of(time, &dir, "2").unwrap();
        // Refused, and tried again: it may become valid.
        eventually("it is refused", async || (metric(&gateway, "weir_config_retrying").await == [1.0]).then_some(()))
            .await;
        assert_eq!(metric(&gateway, "weir_config_last_reload_failed").await, [1.0]);
        assert_eq!(shown(&gateway).unwrap(), good, "{time}");
        let conf = site.path("edge/conf.d");
        let validate =
            Command::new(program("weir").unwrap()).args(["validate", "--config"]).arg(conf).output().unwrap();
        let said = String::from_utf8_lossy(&validate.stderr);
        assert!(validate.status.success() && said.contains(why), "{said}");
        certificate(&dir, "20").unwrap();
        eventually("a good one is taken", async || (shown(&gateway)? != good).then_some(())).await;
        assert_eq!(metric(&gateway, "weir_config_last_reload_failed").await, [0.0]);
    }
    site.logged("edge", "every certificate for 127.0.0.1:0 has expired or is not valid yet").await;
    let from = metric(&gateway, "weir_tls_certificate_not_before_timestamp_seconds").await[0];
    let to = metric(&gateway, "weir_tls_certificate_expiry_timestamp_seconds").await[0];
    assert!((to - from - 20.0 * 86_400.0).abs() < 600.0, "{from} {to}");

    // There is nothing better at a start.
    gateway.process.stop(DEADLINE).unwrap();
    certificate_of("-10d", &dir, "2").unwrap();
    let expired = start(&site, &dir).await;
    assert!(shown(&expired).is_some());
    site.logged("edge", "has expired at ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2load_and_the_ledger_count_the_same() {
    let site = Site::new().unwrap();
    let dir = site.path("tls");
    std::fs::create_dir_all(&dir).unwrap();
    certificate(&dir, "2").unwrap();
    let gateway = start(&site, &dir).await;
    let url = format!("https://127.0.0.1:{}/fast", gateway.port);
    let output = Command::new("h2load").args(["-n", "4000", "-c", "8", "-m", "10", &url]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("4000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("Application protocol: h2"), "{said}");
    let accepted: f64 = metric(&gateway, "weir_events_accepted_total").await.iter().sum();
    assert!((accepted - 4000.0).abs() < 0.5, "{accepted}");
    let handshakes: f64 = metric(&gateway, "weir_tls_handshakes_total").await.iter().sum();
    assert!(handshakes >= 8.0, "{handshakes}");
    gateway.process.stop(DEADLINE).unwrap();
}
