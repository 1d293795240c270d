//! ClickHouse's own clients, really run: clickhouse-connect (Python), and clickhouse-go over HTTP, which is what
//! Grafana's ClickHouse data source asks with. `clients/install` puts them into `.tools/`, at locked versions.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::Engine;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn install(which: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/install");
    let status = Command::new(&script).arg(which).status().expect("the script runs");
    assert!(status.success(), "{} {which}: {status}", script.display());
}

fn well(command: &mut Command) {
    let output = command.output().expect("the client runs");
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
}

fn golden() -> PathBuf {
    root().join("crates/analytics/golden/single.sql")
}

#[test]
fn clickhouse_connect_has_all_it_needs() {
    install("python");
    let engine = Engine::start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/connect.py");
    let python = root().join(".tools/clickhouse-connect/bin/python");
    well(Command::new(python).arg(script).arg(&engine.address).arg(golden()));
}

#[test]
fn grafana_s_driver_has_all_it_needs() {
    install("go");
    let engine = Engine::start();
    well(Command::new(root().join(".tools/bin/chdb-go-client")).arg(&engine.address).arg(golden()));
}
