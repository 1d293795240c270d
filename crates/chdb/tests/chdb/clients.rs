//! ClickHouse's own clients, really run: clickhouse-connect (HTTP) and clickhouse-driver (native) of Python, and
//! clickhouse-go over HTTP, which is what Grafana's ClickHouse data source asks with, and over the native protocol.
//! `clients/install` puts them into `.tools/`, at locked versions. Each reads and writes every type of a column that
//! the schema has.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::engine::{Engine, root};

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

fn python(script: &str) -> Command {
    install("python");
    let mut command = Command::new(root().join(".tools/clickhouse-connect/bin/python"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script));
    command
}

/// An engine with the native protocol on a free port; another, if somebody was quicker.
fn native() -> (Engine, String) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    (Engine::with(&["--tcp-port", &port.to_string()]), format!("127.0.0.1:{port}"))
}

#[test]
fn clickhouse_connect_has_all_it_needs() {
    let engine = Engine::start();
    well(python("connect.py").arg(&engine.address).arg(golden()));
}

#[test]
fn clickhouse_driver_has_all_it_needs() {
    let (_engine, address) = native();
    well(python("driver.py").arg(&address).arg(golden()));
}

fn go() -> Command {
    install("go");
    Command::new(root().join(".tools/bin/chdb-go-client"))
}

#[test]
fn grafana_s_driver_has_all_it_needs() {
    let engine = Engine::start();
    well(go().arg("http").arg(&engine.address).arg(golden()));
}

#[test]
fn clickhouse_go_has_all_it_needs_over_the_native_protocol() {
    let (_engine, address) = native();
    well(go().arg("native").arg(&address).arg(golden()));
}
