//! What an operator reads when a program may not do what it was asked to: one sentence with the place and the fix.
//!
//! Tests that run as root run the programs without root's way around permissions (CAP_DAC_OVERRIDE and its like).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use weir_testkit::process::program;

/// A program, run to its end as a user without privileges: it must exit 1 and say one sentence with all of `parts`.
fn says(name: &str, args: &[&str], parts: &[&str]) {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-dac_override,-dac_read_search,-net_bind_service", "--"]);
        command.arg(program(name).unwrap());
        command
    } else {
        Command::new(program(name).unwrap())
    };
    let output = command.args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{name} {args:?}: {said}");
    let sentences: Vec<_> = said.lines().filter(|line| !line.contains(" INFO ")).collect();
    assert_eq!(sentences.len(), 1, "{said}");
    for part in parts {
        assert!(sentences[0].to_lowercase().contains(part), "{name}: no `{part}` in: {said}");
    }
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    /// A folder that nobody may look into.
    fn locked(&self) -> String {
        let path = self.dir.path().join("locked");
        std::fs::create_dir_all(&path).unwrap();
        lock(&path);
        path.to_string_lossy().into_owned()
    }

    fn config(&self, listen: &str, spool: &str) -> (PathBuf, String) {
        let conf = self.dir.path().join("conf.d");
        std::fs::create_dir_all(&conf).unwrap();
        let file = conf.join("gateway.yaml");
        let text = format!(
            "apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {{name: gateway}}
spec:
  admin: {{address: \"127.0.0.1:0\"}}
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
        std::fs::write(&file, text).unwrap();
        (file, conf.to_string_lossy().into_owned())
    }
}

fn lock(path: &Path) {
    std::fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
}

#[test]
fn a_spool_folder_that_may_not_be_written() {
    let place = Place::new();
    let (_, conf) = place.config("127.0.0.1:0", &format!("{}/spool", place.locked()));
    says("weir", &["run", "--config", &conf], &["permission denied", "locked/spool", "spool.path"]);
}

/// Some containers open all ports to everybody; then there is no such thing as a port without permission.
fn is_open_to_everybody(port: u16) -> bool {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    first.trim().parse::<u16>().is_ok_and(|first| first <= port)
}

#[test]
fn a_port_that_only_root_may_open() {
    if is_open_to_everybody(80) {
        return;
    }
    let place = Place::new();
    let (_, conf) = place.config("127.0.0.1:80", &place.path("spool"));
    says("weir", &["run", "--config", &conf], &["no permission", "127.0.0.1:80", "1024", "cap_net_bind_service"]);
}

#[test]
fn a_configuration_that_may_not_be_read() {
    let place = Place::new();
    let locked = place.locked();
    says("weir", &["run", "--config", &locked], &["locked: ", "permission denied", "let the gateway's user read it"]);
    let (file, conf) = place.config("127.0.0.1:0", &place.path("spool"));
    lock(&file);
    says("weir", &["validate", "--config", &conf], &["gateway.yaml: ", "permission denied", "user read it"]);
}

#[test]
fn what_the_ingestor_needs() {
    let place = Place::new();
    let (tokens, locked) = (place.path("tokens"), place.locked());
    std::fs::write(&tokens, "token-edge acme test here edge\n").unwrap();
    let state = format!("{locked}/state");
    let run = |tokens: &str, state: &str, parts: &[&str]| {
        let engine = "http://127.0.0.1:9";
        let args = ["--listen", "127.0.0.1:0", "--clickhouse", engine, "--tokens", tokens, "--state", state];
        says("weir-analytics", &args, parts);
    };
    run(&tokens, &state, &["permission denied", "locked/state", "--state"]);
    lock(Path::new(&tokens));
    run(&tokens, &place.path("state"), &["permission denied", "tokens", "--tokens"]);
}

#[test]
fn where_the_engine_keeps_its_tables() {
    let place = Place::new();
    let path = format!("{}/data", place.locked());
    let args = ["--listen", "127.0.0.1:0", "--path", &path];
    says("weir-chdb", &args, &["permission denied", "locked/data", "--path"]);
    if is_open_to_everybody(80) {
        return;
    }
    let args = ["--listen", "127.0.0.1:80", "--path", &place.path("data")];
    says("weir-chdb", &args, &["permission denied", "127.0.0.1:80", "1024", "cap_net_bind_service", "--listen"]);
}
