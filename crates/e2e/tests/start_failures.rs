//! A program that cannot start says why in the form that its operator asked for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::process::Command;
use weir_testkit::process::program;

/// Runs a program that cannot start; its exit code and its standard error.
fn ended(name: &str, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(program(name).unwrap()).args(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn start_failures_are_json_where_json_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (conf, state) = (file("conf.d"), file("state"));
    std::fs::create_dir(&conf).unwrap();
    std::fs::write(dir.path().join("conf.d/wrong.yaml"), "apiVersion: gateway.weir.dev/v1\nkind: Nothing\n").unwrap();
    let cases: [(&str, Vec<&str>, i32, &str); 7] = [
        ("weir", vec!["run", "--config", &conf], 1, "wrong.yaml"),
        ("weir", vec!["run", "--config", "/nowhere"], 1, "/nowhere"),
        ("weir", vec!["run", "--wrong"], 2, "--wrong"),
        ("weir-analytics", vec!["--tokens", "/nowhere/tokens", "--state", &state], 1, "--tokens"),
        ("weir-analytics", vec!["--retention-raw", "soon"], 2, "give a time like"),
        ("weir-chdb", vec!["--path", "/proc/nowhere", "--listen", "127.0.0.1:0"], 1, "/proc/nowhere"),
        ("weir-chdb", vec!["--path", &state, "--max-queries", "0"], 2, "--max-queries"),
    ];
    for (name, args, code, what) in cases {
        let (found, said) = ended(name, &[&args[..], &["--log-format", "json"]].concat());
        assert_eq!(found, Some(code), "{name} {args:?}: {said}");
        let lines: Vec<serde_json::Value> = said
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{name} {args:?}: {line}")))
            .collect();
        let last = lines.last().unwrap();
        assert_eq!(last["level"], "ERROR", "{name} {args:?}: {last}");
        assert!(last["fields"]["message"].as_str().unwrap().contains(what), "{name} {args:?}: {last}");
        let (found, said) = ended(name, &args);
        assert!(found == Some(code) && said.contains(what) && !said.contains("\"level\""), "{name} {args:?}: {said}");
    }
}
