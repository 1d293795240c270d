//! What an operator works with: help that teaches, completions, answers as JSON, and a dump that holds everything but
//! secrets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;
use weir_e2e::{Gateway, GatewaySpec, Site, TestStack, eventually};
use weir_program::help;
use weir_program::log::repeats::PERIOD;
use weir_testkit::process::{Process, program};
use weir_testkit::{get, upstream};

const PROGRAMS: [&str; 5] = ["weir", "weir-analytics", "weir-chdb", "weirctl", "weir-testkit"];

fn run(name: &str, args: &[&str]) -> Output {
    Command::new(program(name).unwrap()).args(args).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Exit code and document of a command that is to print one.
fn json(name: &str, args: &[&str]) -> (Option<i32>, Value) {
    let output = run(name, args);
    let text = out(&output);
    let document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name} {args:?}: {error}: {text}"));
    (output.status.code(), document)
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The names under `Commands:` of a help.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| line.starts_with("  "));
    let names = lines.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_help_says_what_for_and_shows_how() {
    let mut seen = 0;
    for name in PROGRAMS {
        let help = out(&run(name, &["--help"]));
        let subcommands = commands(&help);
        assert!(!subcommands.is_empty(), "{name}: {help}");
        let mut asked = vec![(name.to_owned(), help)];
        asked.extend(subcommands.iter().map(|sub| {
            let output = run(name, &[sub, "--help"]);
            assert_eq!(output.status.code(), Some(0), "{name} {sub}");
            (format!("{name} {sub}"), out(&output))
        }));
        for (place, help) in asked {
            let examples = help::examples(&help);
            assert!(examples.iter().any(|line| line.contains(name)), "{place} shows no example of itself:\n{help}");
            examples.iter().flat_map(|line| help::commands(line)).for_each(|words| taken(&words));
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

/// What a program of Weir's takes: with a wrong argument after them it complains of that one.
fn taken(words: &[String]) {
    let Some(name) = words.first().filter(|name| PROGRAMS.contains(&name.as_str())) else { return };
    let output = Command::new(program(name).unwrap()).args(&words[1..]).arg("--no-such-option").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("'--no-such-option'"), "{words:?}: {said}");
}

/// What the configuration reads of the environment is in the gateway's help.
#[test]
fn every_variable_of_flex_that_is_read_is_in_the_help() {
    let help = out(&run("weir", &["run", "--help"]));
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/src");
    let mut names = BTreeSet::new();
    for file in std::fs::read_dir(sources).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap_or_default();
        let quoted = text.split('"').filter(|part| part.starts_with("FLEX_"));
        names.extend(
            quoted.filter(|name| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')).map(str::to_owned),
        );
    }
    assert!(names.len() >= 7, "{names:?}");
    names.iter().for_each(|name| assert!(help.contains(name.as_str()), "{name} is not in:\n{help}"));
}

/// What a real bash offers after `words`.
fn completed(name: &str, words: &[&str]) -> Vec<String> {
    let script = r#"
        eval "$("$1" completions bash)"
        COMP_WORDS=("${@:2}"); COMP_CWORD=$(($# - 2))
        function=$(complete -p "$2" | sed 's/.*-F \([^ ]*\).*/\1/')
        "$function" "$2" "${@: -1}" "${@: -2:1}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, "bash"]).arg(program(name).unwrap()).arg(name).args(words);
    let output = bash.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out(&output).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_what_the_programs_take() {
    assert_eq!(completed("weir", &["val"]), ["validate"]);
    assert_eq!(completed("weirctl", &["le"]), ["ledger"]);
    assert_eq!(completed("weirctl", &["probe", "--check", "l"]), ["liveness"]);
    assert_eq!(completed("weir-analytics", &["mig"]), ["migrate"]);
    assert_eq!(completed("weir-chdb", &["--lis"]), ["--listen"]);
    for (name, shell) in [("weir", "zsh"), ("weirctl", "fish"), ("weir-chdb", "zsh"), ("weir-analytics", "fish")] {
        let output = run(name, &["completions", shell]);
        assert!(output.status.success() && out(&output).contains(name), "{name} {shell}");
    }
}

#[test]
fn both_validates_tell_the_same_document() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_string_lossy();
    let args = ["validate", "--json", "--config", &folder];
    let api = "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata: {name: a}\nspec:\n  \
               address: http://127.0.0.1:0\n  services: {s: {address: 'http://127.0.0.1:9'}}\n";
    std::fs::write(dir.path().join("a.yaml"), api).unwrap();
    let right = serde_json::json!({"valid": true, "apis": 1, "routes": 1, "errors": [], "warnings": []});
    assert_eq!(json("weir", &args), (Some(0), right.clone()));
    assert_eq!(json("weirctl", &args), (Some(0), right));
    std::fs::write(dir.path().join("a.yaml"), api.replace("  address", "  adress")).unwrap();
    let (code, wrong) = json("weir", &args);
    assert_eq!((code, &json("weirctl", &args).1), (Some(1), &wrong));
    assert_eq!(keys(&wrong), ["apis", "errors", "routes", "valid", "warnings"].into());
    let is_misspelt = |error: &&Value| error["message"].as_str().unwrap().contains("did you mean `address`?");
    let misspelt = wrong["errors"].as_array().unwrap().iter().find(is_misspelt).unwrap();
    assert_eq!(keys(misspelt), ["column", "file", "line", "message", "path", "resource"].into());
    assert_eq!((&misspelt["line"], &misspelt["resource"]), (&Value::from(5), &Value::from("ApiInstance \"a\"")));
    assert!(misspelt["file"].as_str().unwrap().ends_with("/a.yaml"), "{misspelt}");
}

#[test]
fn what_cannot_be_reached_is_reported_as_json_too() {
    let nowhere = ["--admin", "http://127.0.0.1:1", "--analytics", "http://127.0.0.1:1"];
    for command in [&["dump"][..], &["tail", "--json"], &["ledger", "--json"], &["trace", "--json", &"a".repeat(32)]] {
        let (code, document) = json("weirctl", &[command, &nowhere].concat());
        assert_eq!((code, &document["error"]["kind"]), (Some(3), &Value::from("unreachable")), "{command:?}");
        assert!(document["error"]["message"].as_str().unwrap().contains("http://127.0.0.1:1"), "{document}");
    }
    let (code, document) = json("weirctl", &["trace", "--json", "xyz"]);
    assert_eq!((code, &document["error"]["kind"]), (Some(1), &Value::from("trace_id")));
    let (code, document) = json("weirctl", &[&["probe", "--check", "liveness", "--json"][..], &nowhere].concat());
    assert_eq!((code, &document["ok"]), (Some(1), &Value::Bool(false)), "{document}");
    assert_eq!(keys(&document), ["check", "message", "ok"].into());
    assert_eq!(json("weirctl", &["schema", "--json"]).0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_reported_as_json() {
    let stack = TestStack::start(None).await.unwrap();
    let (admin, analytics) = (format!("http://{}", stack.admin().unwrap()), format!("http://{}", stack.analytics_at));
    let ask = |command: &[&str]| json("weirctl", &[command, &["--admin", &admin, "--analytics", &analytics]].concat());
    let (code, probe) = ask(&["probe", "--check", "readiness", "--json"]);
    assert_eq!((code, probe), (Some(0), serde_json::json!({"check": "readiness", "ok": true, "message": "ready"})));

    let mut tail = Command::new(program("weirctl").unwrap());
    tail.args(["tail", "--json", "--count", "2", "--admin", &admin]);
    let mut tail = Process::start("tail", tail, &stack.site.path("tail.log")).unwrap();
    let event: Value = loop {
        get(&format!("http://{}/fast", stack.gateway_at)).await.unwrap();
        if let Ok(line) = tail.wait_for(std::time::Duration::from_millis(100), |line| Some(line.to_owned())) {
            break serde_json::from_str(&line).unwrap();
        }
    };
    assert_eq!((&event["status"], &event["path"]), (&Value::from(200), &Value::from("/fast")), "{event}");

    let id = event["trace_id"].as_str().unwrap().to_owned();
    let trace = eventually("the trace is stored", async || {
        let (code, trace) = ask(&["trace", "--json", &id]);
        (code == Some(0)).then_some(trace)
    })
    .await;
    assert_eq!(trace["events"][0]["span_id"], event["span_id"], "{trace}");
    let ledger = eventually("the ledger balances", async || {
        let (code, ledger) = ask(&["ledger", "--json"]);
        (code == Some(0)).then_some(ledger)
    })
    .await;
    assert!(ledger["streams"].is_array() && ledger["state"] == "balanced", "{ledger}");
    assert!(ledger["sentence"].as_str().unwrap().starts_with("balanced up to "), "{ledger}");
}

/// Every secret that a configuration can hold, each with words of its own.
const SECRETS: [&str; 4] = ["token-hushhush", "password-hushhush", "contract-hushhush", "header-hushhush"];

fn secretive(site: &Site, upstream: SocketAddr) -> GatewaySpec {
    let mut spec = GatewaySpec::new("here", "edge", upstream);
    spec.analytics = Some(("127.0.0.1:9".parse().unwrap(), SECRETS[0].to_owned()));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=localhost"])
        .args(["-keyout", "key.pem", "-out", "crt.pem"])
        .current_dir(site.path(""))
        .output()
        .unwrap();
    assert!(made.status.success());
    let file = |name: &str| site.path(name).display().to_string();
    spec.more_yaml = format!(
        "---
apiVersion: gateway.weir.dev/v1
kind: ApiInstance
metadata: {{name: secure}}
spec:
  address: https://127.0.0.2:0/secure
  services: {{main: {{address: \"http://{upstream}\"}}}}
  policies:
    - policyRef: {{name: tls}}
      config: {{certificate: {{crtFile: {}, keyFile: {}}}}}
    - policyRef: {{name: http-basic-authentication-flex}}
      config: {{username: chris, password: {}}}
      rules: [{{headers: {{x-pass: {}}}}}]
---
apiVersion: gateway.weir.dev/v1
kind: Contract
metadata: {{name: mobile}}
spec: {{apiId: secure, client: {{id: mobile-app, secret: {}}}}}
",
        file("crt.pem"),
        file("key.pem"),
        SECRETS[1],
        SECRETS[3],
        SECRETS[2],
    );
    spec
}

fn assert_keeps_secrets(dump: &str, key: &Path) {
    for secret in SECRETS {
        assert!(!dump.contains(secret), "{secret} is in the dump:\n{dump}");
    }
    for line in std::fs::read_to_string(key).unwrap().lines().filter(|line| line.len() > 20) {
        assert!(!dump.contains(line), "the key is in the dump");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_holds_everything_but_secrets() {
    let site = Site::new().unwrap();
    let spec = secretive(&site, upstream::spawn("127.0.0.1:0").await.unwrap());
    let gateway = Gateway::start_with(&site, &spec, &[("WEIR_LOG_FORMAT", "json")]).unwrap();
    let admin = format!("http://{}", gateway.admin);
    assert!(get(&format!("http://{}/fast", gateway.address)).await.is_ok());
    let folder = site.path("edge");
    let bad = spec.yaml(&folder).replace("address: https://127.0.0.2:0/secure", "adress: password-hushhush");
    std::fs::write(gateway.conf.join("gateway.yaml"), bad).unwrap();
    let dump = eventually("the bad edit and the analytics that is away are reported", async || {
        let (code, dump) = json("weirctl", &["dump", "--admin", &admin]);
        assert_eq!(code, Some(0));
        let reported = dump["reloads"]["last_error"].is_string() && dump["spool"]["last_error"].is_string();
        (reported && dump["log"].as_array().unwrap().len() > 1).then_some(dump)
    })
    .await;
    assert_keeps_secrets(&dump.to_string(), &site.path("key.pem"));

    let expected =
        ["boot", "configuration", "draining", "identity", "ledger", "listeners", "log", "process", "reloads"];
    let expected: BTreeSet<_> =
        expected.into_iter().chain(["serving", "spool", "started", "taken", "version", "warnings"]).collect();
    assert_eq!(keys(&dump), expected);
    let config = &dump["configuration"];
    let secure = config["apis"].as_array().unwrap().iter().find(|api| api["name"] == "secure").unwrap();
    assert_eq!(config["analytics"]["token"], "(redacted)");
    assert_eq!(secure["contracts"][0], serde_json::json!({"client_id": "mobile-app", "secret": "(redacted)"}));
    assert_eq!(secure["policies"][0]["config"], serde_json::json!({"username": "chris", "password": "(redacted)"}));
    assert_eq!(secure["listen"], "https://127.0.0.2:0/secure", "what runs, not the bad edit");
    let tls = dump["listeners"].as_array().unwrap().iter().find(|listener| listener["scheme"] == "https").unwrap();
    // Of nine days, the first has just begun, or is about to.
    assert!(matches!(tls["certificates"][0]["days_left"].as_i64(), Some(8 | 9)), "{tls}");
    assert_eq!(dump["process"]["pid"], gateway.process.id());
    assert!(dump["process"]["open_files"]["open"].as_u64().unwrap() > 5, "{}", dump["process"]);
    assert!(dump["process"]["memory"]["resident_bytes"].as_u64().unwrap() > 1_000_000);
    assert_eq!(dump["ledger"]["streams"][0]["accepted"], 1);
    let log = dump["log"].as_array().unwrap();
    assert!(log.iter().any(|said| said["message"].as_str().unwrap().contains("what ran before goes on")), "{log:#?}");

    let parts: PathBuf = site.path("parts");
    let output = run("weirctl", &["dump", "--admin", &admin, "--output", &parts.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(0));
    let names: BTreeSet<_> = std::fs::read_dir(&parts).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.len() == expected.len() && names.contains("configuration.json".as_ref() as &std::ffi::OsStr));
    for line in site.log("edge").lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event["level"].is_string() && event["timestamp"].is_string(), "{line}");
    }
}

#[test]
fn a_level_that_there_is_not_is_a_usage_error() {
    let config = tempfile::tempdir().unwrap();
    let folder = config.path().to_string_lossy();
    let output = run("weir", &["run", "--config", &folder, "--log", "debgu"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`debgu` is no level"));
    let output = Command::new(program("weir-analytics").unwrap()).env("WEIR_LOG", "loud").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// `weirctl schema | head -1` is no reason to panic, nor is a full disk.
#[test]
fn a_reader_may_leave() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_string_lossy();
    let validate = ["validate", "--json", "--config", &folder];
    for (name, args) in [
        ("weir", &validate[..]),
        ("weir", &["version"]),
        ("weir", &["completions", "bash"]),
        ("weirctl", &validate),
        ("weirctl", &["schema"]),
        ("weir-analytics", &["schema"]),
        ("weir-chdb", &["completions", "zsh"]),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut left = Command::new(program(name).unwrap());
        let output = left.args(args).stdout(writer).stderr(std::process::Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{name} {args:?}");
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut full_disk = Command::new(program(name).unwrap());
        let output = full_disk.args(args).stdout(full).stderr(std::process::Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && !said.contains("panicked"), "{name} {args:?}: {said}");
    }
}

/// The same mistake saved twelve times: ten times it is reported, and how often in all when the gateway ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_over_and_over_is_counted() {
    let site = Site::new().unwrap();
    let spec = GatewaySpec::new("here", "edge", upstream::spawn("127.0.0.1:0").await.unwrap());
    let gateway = Gateway::start(&site, &spec).unwrap();
    let began = Instant::now();
    for edit in 1..=12 {
        std::fs::write(gateway.conf.join("bad.yaml"), format!("kind: Nothing\n# edit {edit}\n")).unwrap();
        eventually("the edit is refused", async || {
            (gateway.status().await.ok()?["reloads"]["failed"] == edit).then_some(())
        })
        .await;
    }
    gateway.process.stop(weir_e2e::DEADLINE).unwrap();
    let log = site.log("edge");
    let words = "WARN the changed configuration is not taken; what ran before goes on";
    let of_it: Vec<_> = log.lines().filter_map(|line| line.split_once(words).map(|(_, rest)| rest)).collect();
    let said = of_it.iter().filter(|rest| rest.is_empty()).count();
    let counts = of_it.iter().filter_map(|rest| rest.split_once("repeated ")?.1.split(' ').next());
    let counted: usize = counts.map(|count| count.parse().unwrap_or(1)).sum();
    assert_eq!(said + counted, 12, "{log}");
    // On a machine that is so slow that a period ends meanwhile, another ten may be said.
    if began.elapsed() < PERIOD {
        assert_eq!(of_it, [&[""; 10][..], &[" … repeated 2 times more"]].concat(), "{log}");
        assert!(log.lines().any(|line| line.contains("ERROR") && line.ends_with("… repeated 2 times more")), "{log}");
    }
}
