//! Configurations as Flex's documentation prints them, served by the real gateway.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::process::{Command, Output, Stdio};
use weir_e2e::{DEADLINE, GatewaySpec, Site};
use weir_testkit::process::program as program_path;
use weir_testkit::{get, upstream};

fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).stdin(Stdio::null()).output().unwrap()
}

/// Indented for a block of YAML.
fn block(pem: &str) -> String {
    pem.lines().map(|line| format!("        {line}\n")).collect()
}

/// Flex's sample binds `tls` by a selector to APIs whatever their address says: the port must not serve clear text.
#[expect(clippy::too_many_lines, reason = "one configuration after the other")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_was_asked_to_speak_tls_serves_no_clear_text() {
    let site = Site::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (key, crt) = (path("key.pem"), path("crt.pem"));
    let made = run(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            &key,
            "-out",
            &crt,
        ],
    );
    assert!(made.status.success());
    let read = |path: &str| block(&std::fs::read_to_string(path).unwrap());

    let backend = upstream::spawn("127.0.0.1:0").await.unwrap();
    let mut spec = GatewaySpec::new("here", "edge", backend);
    spec.apis.clear();
    spec.more_yaml = format!(
        "---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {{name: ingress}}
spec:
  address: http://127.0.0.1:0
  services: {{main: {{address: \"http://{backend}\"}}}}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata: {{name: ingress-tls}}
spec:
  targetRef: {{kind: Selector, selector: {{kind: ApiInstance}}}}
  policyRef: {{name: tls}}
  config:
    certificate:
      crt: |
{}
      key: |
{}",
        read(&crt),
        read(&key),
    );
    let folder = site.path("edge");
    let conf = folder.join("conf.d");
    std::fs::create_dir_all(&conf).unwrap();
    std::fs::write(conf.join("gateway.yaml"), spec.yaml(&folder)).unwrap();
    let mut process =
        site.start("edge", "weir", &["run", "--workers", "1", "--config", &conf.to_string_lossy()], &[]).unwrap();
    let said = |line: &str, mark: &str| line.split_once(mark).map(|(_, rest)| rest.trim().to_owned());
    let address = process.wait_for(DEADLINE, |line| said(line, "listening on ")).unwrap();
    let admin = process.wait_for(DEADLINE, |line| said(line, "admin on http://")).unwrap();
    let port = address.rsplit(':').next().unwrap();
    assert!(address.starts_with("https://"), "{address}");

    let ask = |scheme: &str| {
        let url = format!("{scheme}://localhost:{port}/");
        let resolve = format!("localhost:{port}:127.0.0.1");
        run(
            "curl",
            &[
                "-s",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "--noproxy",
                "*",
                "--resolve",
                &resolve,
                "--cacert",
                &crt,
                &url,
            ],
        )
    };
    let encrypted = ask("https");
    assert_eq!(String::from_utf8_lossy(&encrypted.stdout), "200");
    assert_eq!(String::from_utf8_lossy(&ask("http").stdout), "400", "asked to ask by https, and not served");
    let shaken =
        run("openssl", &["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", "localhost", "-brief"]);
    let shaken = String::from_utf8_lossy(&shaken.stderr).into_owned();
    assert!(shaken.contains("TLSv1.3"), "{shaken}");

    let (_, status) = get(&format!("http://{admin}/status")).await.unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let warnings = status["warnings"].as_array().unwrap();
    assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().contains("speaks TLS"), "{warnings:?}");
    process.stop(DEADLINE).unwrap();
    for program in ["weir", "weirctl"] {
        let valid =
            run(&program_path(program).unwrap().to_string_lossy(), &["validate", "--config", &conf.to_string_lossy()]);
        let reported = String::from_utf8_lossy(&valid.stderr).into_owned();
        assert!(
            valid.status.success() && reported.starts_with("warning: ") && reported.contains("speaks TLS"),
            "{reported}"
        );
    }
}
