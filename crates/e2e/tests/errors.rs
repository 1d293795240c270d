//! What an operator reads when something is in the way: one sentence that says what, where and how to fix it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use weir_testkit::process::program;

/// Runs `weir` to its end: its exit code and what it said on standard error.
fn weir(args: &[&str]) -> (i32, String) {
    let output = Command::new(program("weir").unwrap()).args(args).output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn config(dir: &Path, admin: &str, listen: &str, spool: &str) -> String {
    let text = format!(
        "apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {{name: gateway}}
spec:
  admin: {{address: \"{admin}\"}}
  spool: {{path: \"{spool}\", ringBytes: 128KiB}}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {{name: orders}}
spec:
  address: http://{listen}
  services:
    main: {{address: \"http://127.0.0.1:9\"}}
"
    );
    let conf = dir.join("conf.d");
    std::fs::create_dir_all(&conf).unwrap();
    std::fs::write(conf.join("orders.yaml"), text).unwrap();
    conf.to_string_lossy().into_owned()
}

/// Exits 1 and says one sentence that has all of `parts`.
fn says(args: &[&str], parts: &[&str]) {
    let (code, said) = weir(args);
    assert_eq!(code, 1, "{said}");
    let sentence: Vec<_> = said.lines().filter(|line| !line.contains(" INFO ") && !line.contains(" WARN ")).collect();
    assert_eq!(sentence.len(), 1, "{said}");
    for part in parts {
        assert!(sentence[0].contains(part), "no `{part}` in: {said}");
    }
}

#[test]
fn a_port_that_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let spool = dir.path().join("spool");
    let conf = config(dir.path(), "127.0.0.1:0", &address, &spool.to_string_lossy());
    says(&["run", "--config", &conf], &[&address.replace("127.0.0.1:", "port "), "taken", "spec.address"]);
    let conf = config(dir.path(), &address, "127.0.0.1:0", &spool.to_string_lossy());
    says(&["run", "--config", &conf], &[&address, "spec.admin.address"]);
}

#[test]
fn a_spool_that_is_no_folder() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let conf = config(dir.path(), "127.0.0.1:0", "127.0.0.1:0", &file.join("spool").to_string_lossy());
    says(&["run", "--config", &conf], &["spool", "file", "spool.path"]);
}

#[test]
fn an_address_that_this_machine_does_not_have() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    let conf = config(dir.path(), "127.0.0.1:0", "192.0.2.1:8080", &spool.to_string_lossy());
    says(&["run", "--config", &conf], &["192.0.2.1:8080", "no such address"]);
}

#[test]
fn every_mistake_of_a_configuration_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("orders.yaml"),
        "apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: orders}
spec:
  adress: http://0.0.0.0:8080
  services:
    main:
      address: ftp://127.0.0.1
      routes:
        - rules: [{path: '/api(/.*', methods: 7}]
  policies:
    - policyRef: {name: http-basic-auth-flex}
      config: {username: chris}
---
apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {name: gateway}
spec:
  spool: {maxBytes: much}
  analytics: {endpoint: 'http://example.com', token: $WEIR_TEST_UNSET}
",
    )
    .unwrap();
    let (code, said) = weir(&["validate", "--config", &dir.path().to_string_lossy()]);
    assert_eq!(code, 1);
    let wanted = [
        ":5:",
        "adress",
        ":8:",
        "ftp",
        ":10:",
        "unclosed group",
        ":12:",
        "http-basic-auth-flex",
        ":19:",
        "maxBytes",
        ":20:",
        "WEIR_TEST_UNSET",
    ];
    for part in wanted {
        assert!(said.contains(part), "no `{part}` in:\n{said}");
    }
}
