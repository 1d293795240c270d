//! What Weir is delivered in: the image and the systemd units say what the programs are and do.
//!
//! No container engine and no systemd is needed: the files are read as those would read them, and held against the
//! repository and the programs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use weir_testkit::process::program;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The tests of `make test` are all but those of `make test-kits`, and each of those is there.
#[test]
fn no_test_is_left_out_of_both_runs() {
    let text = fs::read_to_string(root().join(".config/nextest.toml")).unwrap();
    let filter = |after: &str, begin: &str| {
        let (_, rest) = text.split_once(after).unwrap().1.split_once(begin).unwrap();
        rest.split_once("\n)\"\"\"").unwrap().0.to_owned()
    };
    let long = filter("[profile.long]", "default-filter = \"\"\"(\n");
    assert_eq!(filter("[profile.default]", "default-filter = \"\"\"not (\n"), long);
    let sources = sources(&root().join("crates"));
    for one in long.split(" | ").map(|one| one.trim().trim_start_matches("| ")) {
        let (kind, name) = one.trim_end_matches(')').split_once('(').unwrap();
        let is_there = match kind {
            "binary" => sources.keys().any(|path| path.ends_with(format!("tests/{name}.rs"))),
            _ => sources.values().any(|text| text.contains(&format!("fn {name}"))),
        };
        assert!(is_there, "`{one}` is no test");
    }
}

/// The sources of tests.
fn sources(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() && !entry.ends_with("node_modules") {
            all.extend(sources(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs")
            && entry.components().any(|part| part.as_os_str() == "tests")
        {
            let text = fs::read_to_string(&entry).unwrap();
            all.insert(entry, text);
        }
    }
    all
}

const PROGRAMS: [&str; 4] = ["weir", "weir-analytics", "weir-chdb", "weirctl"];

/// The instructions of a Dockerfile: continued lines joined, comments left out.
fn instructions(text: &str) -> Vec<(String, String)> {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let split = |line: &str| {
        let (verb, rest) = line.trim().split_once(' ')?;
        Some((verb.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" ")))
    };
    joined.lines().filter_map(split).collect()
}

/// The base of a stage: `${NAME}` is what `ARG NAME=` before the first stage says.
fn base<'a>(of: &'a str, arguments: &'a BTreeMap<String, String>) -> &'a str {
    let name = of.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    name.and_then(|name| arguments.get(name)).map_or(of, String::as_str)
}

/// What is wrong with the image, as far as it can be reported without making it.
fn wrong(text: &str, there: impl Fn(&str) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut stages = BTreeSet::new();
    let mut arguments = BTreeMap::new();
    let mut user = String::new();
    let known = [
        "ARG",
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "ENV",
        "VOLUME",
        "USER",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    ];
    for (verb, rest) in instructions(text) {
        let words: Vec<_> = rest.split(' ').collect();
        match verb.as_str() {
            "ARG" => match rest.split_once('=') {
                Some((name, value)) => _ = arguments.insert(name.to_owned(), value.to_owned()),
                None => wrong.push(format!("`{rest}` has no default")),
            },
            "FROM" => {
                let base = base(words[0], &arguments);
                let pinned = base.split_once(':').is_some_and(|(_, tag)| tag != "latest");
                if !pinned && !stages.contains(base) {
                    wrong.push(format!("`{base}` is neither pinned by a tag nor a stage"));
                }
                match words.get(1..) {
                    Some(["AS", name]) => _ = stages.insert((*name).to_owned()),
                    _ => wrong.push(format!("`FROM {rest}` has no name")),
                }
            }
            "COPY" => match words[0].strip_prefix("--from=") {
                Some(stage) if stages.contains(stage) => {}
                Some(stage) => wrong.push(format!("there is no stage `{stage}`")),
                None => {
                    let sources = &words[..words.len() - 1];
                    wrong.extend(
                        sources.iter().filter(|path| !there(path)).map(|path| format!("`{path}` is not there")),
                    );
                }
            },
            "USER" => user = rest,
            // In the form of a list there is no shell, which the image need not have.
            "ENTRYPOINT" | "CMD" if serde_json::from_str::<Vec<String>>(&rest).is_err() => {
                wrong.push(format!("`{verb} {rest}` is no list"));
            }
            verb if !known.contains(&verb) => wrong.push(format!("`{verb}` is no instruction")),
            _ => {}
        }
    }
    if user != "65534:65534" {
        wrong.push(format!("it runs as `{user}`"));
    }
    wrong
}

/// Whether `.dockerignore` lets a path in: the last rule that matches decides.
fn let_in(ignore: &str, path: &str) -> bool {
    let rules = ignore.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    rules.fold(true, |is_in, rule| {
        let (excepted, rule) = rule.strip_prefix('!').map_or((false, rule), |rule| (true, rule));
        let name = rule.trim_start_matches("**/");
        let deep = rule != name && path.split('/').any(|part| part == name);
        let hit = rule == "*" || path == rule || path.starts_with(&format!("{rule}/")) || deep;
        if hit { excepted } else { is_in }
    })
}

#[test]
fn the_image_is_made_of_what_is_there_and_has_no_rights() {
    let text = fs::read_to_string(root().join("Dockerfile")).unwrap();
    let ignore = fs::read_to_string(root().join(".dockerignore")).unwrap();
    let there = |path: &str| root().join(path).exists() && let_in(&ignore, path);
    assert_eq!(wrong(&text, there), Vec::<String>::new());
    let copied =
        instructions(&text).into_iter().find(|(verb, rest)| verb == "RUN" && rest.contains("cp target/release"));
    let (_, copied) = copied.expect("the programs are put into the image");
    PROGRAMS.iter().for_each(|name| assert!(copied.contains(&format!("target/release/{name} ")), "{name}: {copied}"));
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let toolchain = manifest.split("rust-version = \"").nth(1).unwrap().split('"').next().unwrap();
    assert!(
        text.contains(&format!("ARG RUST=rust:{toolchain}-")) && text.contains("FROM ${RUST} AS build"),
        "the image is built by another compiler than {toolchain}"
    );
}

#[test]
fn a_wrong_image_is_reported() {
    let text = "FROM debian:12-slim AS a\nCOPY gone /x\nCOPY --from=b /x /x\nFROM debian\nFETCH x\nCMD weir\nUSER 0\n\
        ARG E\nARG F=f\nFROM ${F} AS f\nFROM ${G} AS g\n";
    let reported = wrong(text, |path| path != "gone").join("\n");
    for words in [
        "`gone` is not",
        "no stage `b`",
        "`debian` is neither",
        "no name",
        "`FETCH`",
        "no list",
        "as `0`",
        "`E` has no",
        "`f` is neither",
        "`${G}` is neither",
    ] {
        assert!(reported.contains(words), "{words}: {reported}");
    }
    assert!(let_in("*\n!crates\n**/target\n", "crates/a") && !let_in("*\n!crates\n", "LICENSE"));
    assert!(!let_in("*\n!crates\n**/target\n", "crates/a/target/x"));
}

/// What the image runs is a command that the program takes.
#[test]
fn the_image_runs_commands_that_there_are() {
    let text = fs::read_to_string(root().join("Dockerfile")).unwrap();
    let instructions = instructions(&text);
    let list = |verb: &str| {
        let (_, rest) = instructions.iter().find(|(known, _)| known == verb).unwrap();
        serde_json::from_str::<Vec<String>>(&rest[rest.find('[').unwrap()..]).unwrap()
    };
    let probe = list("HEALTHCHECK");
    assert_eq!(probe[0], "/usr/bin/weirctl");
    let mut weirctl = Command::new(program("weirctl").unwrap());
    // Nobody is there: a probe's answer is no, and not that it was asked in a wrong way.
    let output = weirctl.args(&probe[1..]).args(["--admin", "http://127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(list("ENTRYPOINT"), ["/usr/bin/weir"]);
    let (_, run) = instructions.iter().rfind(|(verb, _)| verb == "CMD").unwrap();
    let run: Vec<String> = serde_json::from_str(run).unwrap();
    assert_taken("weir", &run.iter().map(String::as_str).collect::<Vec<_>>());
}

/// The program takes these arguments: with a wrong one after them it complains of that one.
fn assert_taken(name: &str, args: &[&str]) {
    let output = Command::new(program(name).unwrap()).args(args).arg("--no-such-option").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("'--no-such-option'"), "{name} {args:?}: {said}");
}

/// The value of a key of a unit.
fn value<'a>(unit: &'a str, key: &str) -> Option<&'a str> {
    unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

fn units() -> Vec<(String, String)> {
    let read = |name: &&str| {
        (name.to_string(), fs::read_to_string(root().join(format!("examples/systemd/{name}.service"))).unwrap())
    };
    PROGRAMS[..3].iter().map(read).collect()
}

#[test]
fn the_units_start_the_programs_as_they_are_and_leave_them_time_to_end() {
    for (name, unit) in units() {
        let words: Vec<_> = value(&unit, "ExecStart").unwrap().split(' ').collect();
        assert_eq!(words[0], format!("/usr/bin/{name}"));
        assert_taken(&name, &words[1..]);
        for (key, expected) in [
            ("Type", if name == "weir" { "notify" } else { "exec" }),
            ("User", "weir"),
            ("Restart", "on-failure"),
            ("KillSignal", "SIGTERM"),
            ("ProtectSystem", "strict"),
            ("NoNewPrivileges", "yes"),
        ] {
            assert_eq!(value(&unit, key), Some(expected), "{name}: {key}");
        }
        assert!(value(&unit, "LimitNOFILE").unwrap().parse::<u64>().unwrap() >= 65_536, "{name}");
        assert!(value(&unit, "StateDirectory").unwrap().split(' ').any(|folder| folder == "weir"), "{name}");
    }
    let gateway = &units()[0].1;
    assert_eq!(value(gateway, "AmbientCapabilities"), Some("CAP_NET_BIND_SERVICE"));
    let stop: u64 = value(gateway, "TimeoutStopSec").unwrap().parse().unwrap();
    // What open requests get, and what is left for the last events.
    assert!(stop > weir_config::GatewayConfig::default().drain.as_secs() + 5);
}

/// What a unit may say, by section: what systemd.unit(5), systemd.service(5) and systemd.exec(5) call what is used here.
const KEYS: [(&str, &[&str]); 3] = [
    ("Unit", &["Description", "After", "Wants", "StartLimitIntervalSec", "StartLimitBurst"]),
    (
        "Service",
        &[
            "Type",
            "WatchdogSec",
            "ExecReload",
            "ExecStart",
            "EnvironmentFile",
            "User",
            "Group",
            "StateDirectory",
            "StateDirectoryMode",
            "Restart",
            "RestartSec",
            "RestartPreventExitStatus",
            "KillSignal",
            "TimeoutStopSec",
            "LimitNOFILE",
            "AmbientCapabilities",
            "CapabilityBoundingSet",
            "NoNewPrivileges",
            "ProtectSystem",
            "ProtectHome",
            "ProtectClock",
            "ProtectControlGroups",
            "ProtectHostname",
            "ProtectKernelLogs",
            "ProtectKernelModules",
            "ProtectKernelTunables",
            "ProtectProc",
            "PrivateDevices",
            "PrivateTmp",
            "LockPersonality",
            "MemoryDenyWriteExecute",
            "RemoveIPC",
            "RestrictAddressFamilies",
            "RestrictNamespaces",
            "RestrictRealtime",
            "RestrictSUIDSGID",
            "SystemCallArchitectures",
            "SystemCallFilter",
            "SystemCallErrorNumber",
            "UMask",
        ],
    ),
    ("Install", &["WantedBy"]),
];

/// The lines of a unit that systemd would pass over with a warning: it starts what is left of a misspelt protection.
fn passed_over(unit: &str) -> Vec<&str> {
    let mut section = None;
    let mut wrong = Vec::new();
    for line in unit.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = KEYS.iter().find(|(known, _)| *known == name);
            wrong.extend(section.is_none().then_some(line));
        } else if !section.is_some_and(|(_, keys)| line.split_once('=').is_some_and(|(key, _)| keys.contains(&key))) {
            wrong.push(line);
        }
    }
    wrong
}

#[test]
fn systemd_would_pass_over_no_line() {
    for (name, unit) in units() {
        assert_eq!(passed_over(&unit), Vec::<&str>::new(), "{name}");
        assert!(unit.contains("\n[Install]\n"), "{name}");
    }
    let wrong = "[Service]\nProtectSytem=strict\nUser\n[Instal]\nWantedBy=x\n";
    assert_eq!(passed_over(wrong), ["ProtectSytem=strict", "User", "[Instal]", "WantedBy=x"]);
}
