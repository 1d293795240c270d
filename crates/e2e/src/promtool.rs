//! Prometheus' own judge of an exposition.

use std::io::Write;
use std::process::{Command, Stdio};

/// Fails with what `promtool check metrics` has to say, if it has anything to say.
pub fn check_metrics(metrics: &str) {
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed: make tools");
    let mut input = check.stdin.take().expect("its input was asked for");
    input.write_all(metrics.as_bytes()).expect("promtool reads all of it");
    drop(input);
    let output = check.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
