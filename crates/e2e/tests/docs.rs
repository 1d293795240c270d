//! Every configuration in the README and in `examples/` is one that a gateway would take.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::path::{Path, PathBuf};
use std::process::Command;
use weir_e2e::{Claim, Plant, eventually};
use weir_program::help::commands;
use weir_testkit::process::{program, programs};
use weir_testkit::witness::Witness;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Whatever the documents ask of the environment.
fn env(name: &str) -> Option<String> {
    let known = ["ORDERS_PASSWORD", "WEIR_ANALYTICS_TOKEN", "MOBILE_CLIENT_SECRET", "STOCK_PASSWORD"];
    known.contains(&name).then(|| "secret".to_owned())
}

/// The blocks of a Markdown file that are fenced as YAML.
fn yaml_blocks(markdown: &str) -> Vec<String> {
    let blocks = markdown.split("```yaml\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// The commands of a Markdown file's shell blocks, and whether they are said to run as they stand.
fn shell_lines(markdown: &str) -> Vec<(bool, String)> {
    let blocks = markdown.split("```sh").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(|block| {
        let runs = block.starts_with(" run\n");
        block.lines().skip(1).filter(|line| !line.is_empty()).map(move |line| (runs, line.to_owned()))
    });
    lines.collect()
}

/// Those of a block `sh run` are run, in front of a whole plant under traffic; of the others, what calls a program of
/// Weir's is held against its arguments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readmes_commands_do_what_they_say() {
    let plant = Plant::start(None).await.unwrap();
    let traffic = Witness::start(plant.traffic(100_000, 50.0)).unwrap();
    // The first reports of a gateway: until then the ledger's answer is that it does not know.
    eventually("the ledger balances", async || (Claim::of(&plant).await.ok()?.state() == "balanced").then_some(()))
        .await;
    let here = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("examples"), here.path().join("examples")).unwrap();
    let (admin, analytics) = (plant.admin().unwrap().to_string(), plant.analytics_at.to_string());
    let path = format!("{}:{}", programs().unwrap().display(), std::env::var("PATH").unwrap());
    let lines = shell_lines(&std::fs::read_to_string(root().join("README.md")).unwrap());
    assert!(lines.iter().filter(|(runs, _)| *runs).count() > 8 && lines.iter().any(|(runs, _)| !runs));
    for (runs, line) in lines {
        if runs {
            let line = line.replace("127.0.0.1:9901", &admin).replace("127.0.0.1:8686", &analytics);
            let output = Command::new("bash")
                .args(["-euc", &line])
                .current_dir(here.path())
                .envs([("PATH", path.as_str()), ("ORDERS_PASSWORD", "x"), ("WEIR_ANALYTICS_TOKEN", "x")])
                .envs([("WEIR_ADMIN", format!("http://{admin}")), ("WEIR_ANALYTICS", format!("http://{analytics}"))])
                .output()
                .unwrap();
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(output.status.success() && (!said.is_empty() || line.contains(" > ")), "{line}: {said}");
        } else {
            commands(&line).filter(|words| words.first().is_some_and(|word| word.starts_with("weir"))).for_each(taken);
        }
    }
    assert!(std::fs::metadata(here.path().join("weir.schema.json")).unwrap().len() > 1000);
    assert!(here.path().join("weir-dump/configuration.json").exists());
    traffic.stop().await.unwrap();
}

/// The program takes these arguments: with a wrong one after them it complains of that one.
fn taken(words: Vec<String>) {
    let output = Command::new(program(&words[0]).unwrap()).args(&words[1..]).arg("--no-such-option").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("'--no-such-option'"), "{words:?}: {said}");
}

/// The README is of a length that is read, every page of `docs/` is in it, every file that it or a page names is there, and
/// the commands of the page about installing are taken.
#[test]
fn the_pages_are_where_the_readme_says() {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let readme = read(&root().join("README.md"));
    assert!(readme.lines().count() <= 250 && readme.lines().all(|line| line.chars().count() <= 100));
    let mut pages = vec![root().join("README.md"), root().join("CONTRIBUTING.md"), root().join("SECURITY.md")];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let name = format!("docs/{}", path.file_name().unwrap().to_string_lossy());
            assert!(readme.contains(&format!("`{name}`")), "the README does not name {name}");
            pages.push(path);
        }
    }
    for page in pages {
        for word in read(&page).split('`').skip(1).step_by(2) {
            let folders = ["docs/", "examples/", "crates/", "dashboards/", "loadtests/"];
            let is_path = folders.iter().any(|folder| word.starts_with(folder)) && !word.contains([' ', '<', '*', '{']);
            let path = word.split(':').next().unwrap_or(word);
            assert!(!is_path || root().join(path).exists(), "{}: there is no `{word}`", page.display());
        }
    }
    for (_, line) in shell_lines(&read(&root().join("docs/installing.md"))) {
        commands(&line).filter(|words| words.first().is_some_and(|word| word.starts_with("weir"))).for_each(taken);
    }
}

/// A metric that the README names is one of the catalogue.
#[test]
fn the_readmes_metrics_are_in_the_catalogue() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let catalogue = std::fs::read_to_string(root().join("dashboards/metrics.md")).unwrap();
    let is_of_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let named: Vec<_> = readme.split(|c| !is_of_name(c)).filter(|word| word.starts_with("weir_")).collect();
    // `WEIR_LOG=info,weir_spool=debug`: a part of the program.
    let metrics: Vec<_> = named.into_iter().filter(|word| *word != "weir_spool").collect();
    assert!(metrics.len() >= 5);
    for metric in metrics {
        assert!(catalogue.contains(&format!("| `{metric}` |")), "`{metric}` is not a metric");
    }
}

/// Of the page about loading: its configurations load, with the defaults that it tells, its commands are taken, its
/// metrics are in the catalogue, and it names every setting that only a start reads.
#[test]
fn the_page_about_loading_is_right() {
    let path = root().join("docs/configuration-loading.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let blocks = yaml_blocks(&page);
    assert_eq!(blocks.len(), 1);
    let config = weir_config::load_text(&path, &blocks[0], &env).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.reload, weir_config::Reload::default());
    let lines = shell_lines(&page);
    assert!(lines.len() >= 3);
    for (_, line) in lines {
        commands(&line).filter(|words| words.first().is_some_and(|word| word.starts_with("weir"))).for_each(taken);
    }
    let catalogue = std::fs::read_to_string(root().join("dashboards/metrics.md")).unwrap();
    let known: Vec<_> = catalogue.split('`').filter(|word| word.starts_with("weir_config_")).collect();
    let named: Vec<_> = page
        .split(|c: char| !c.is_ascii_lowercase() && c != '_')
        .filter(|word| word.starts_with("weir_config_"))
        .collect();
    assert!(named.iter().all(|name| known.contains(name)), "{named:?}");
    let told = |name: &&&str| !named.contains(*name) && **name != "weir_config_reloads_total";
    assert_eq!(known.iter().find(told), None, "a metric that the page does not tell");
    assert!(std::fs::read_to_string(root().join("README.md")).unwrap().contains("docs/configuration-loading.md"));
}

/// Of the page about start and end: its configuration loads, with the defaults that it tells, its commands are taken, and its
/// metrics are in the catalogue.
#[test]
fn the_page_about_the_lifecycle_is_right() {
    let path = root().join("docs/lifecycle.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let blocks = yaml_blocks(&page);
    let config = weir_config::load_text(&path, &blocks[0], &env).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.lifecycle, weir_config::Lifecycle::default());
    for (_, line) in shell_lines(&page) {
        commands(&line).filter(|words| words.first().is_some_and(|word| word.starts_with("weir"))).for_each(taken);
    }
    let catalogue = std::fs::read_to_string(root().join("dashboards/metrics.md")).unwrap();
    let is_metric = |word: &&str| word.starts_with("weir_");
    let named: Vec<_> = page.split('`').filter(is_metric).collect();
    assert!(named.len() >= 3);
    assert_eq!(named.iter().find(|name| !catalogue.contains(&format!("`{name}`"))), None);
    assert!(std::fs::read_to_string(root().join("README.md")).unwrap().contains("docs/lifecycle.md"));
}

/// Every policy has its part of the page with every key that it takes, and the page knows no other; its example loads.
#[test]
fn the_page_about_policies_is_right() {
    let path = root().join("docs/policies.md");
    let page = std::fs::read_to_string(&path).unwrap();
    for block in yaml_blocks(&page) {
        weir_config::load_text(&path, &block, &env).unwrap_or_else(|errors| panic!("{errors}"));
    }
    let schema = weir_config::json_schema();
    let parts: Vec<_> = page.split("\n## ").skip(1).collect();
    for policy in weir_config::policy::names() {
        let head = format!("`{policy}`");
        let part = parts.iter().find(|part| part.lines().next().is_some_and(|line| line.contains(&head)));
        let part = part.unwrap_or_else(|| panic!("{policy} has no part of the page"));
        if policy.starts_with("tls") {
            continue;
        }
        let keys: Vec<_> =
            schema["$defs"][format!("policy:{policy}")]["properties"].as_object().unwrap().keys().collect();
        assert!(!keys.is_empty());
        let lacks: Vec<_> = keys.iter().filter(|key| !part.contains(&format!("`{key}`"))).collect();
        assert!(lacks.is_empty(), "{policy}: {lacks:?} are not on the page");
        let rows = part.lines().filter(|line| line.starts_with("| `"));
        for key in rows.flat_map(|row| row.split('|').nth(1).unwrap_or_default().split(", ").collect::<Vec<_>>()) {
            let key = key.trim().trim_matches('`').to_owned();
            assert!(keys.contains(&&key), "{policy} has no key `{key}`");
        }
    }
}

#[test]
fn the_readmes_configurations_load() {
    let readme = root().join("README.md");
    let blocks = yaml_blocks(&std::fs::read_to_string(&readme).unwrap());
    assert!(!blocks.is_empty());
    for block in blocks {
        weir_config::load_text(&readme, &block, &env).unwrap_or_else(|errors| panic!("{errors}"));
    }
}

#[test]
fn the_examples_load() {
    let config = weir_config::load(&[root().join("examples/conf.d")], &env).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.apis.len(), 1);
    assert_eq!(config.apis[0].routes.len(), 2);
}

/// As a gateway would run them, with certificates in the place of those that the examples name.
#[test]
fn the_examples_of_each_place_run() {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x"])
        .args(["-keyout", "x.key", "-out", "x.crt"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(made.status.success());
    for name in ["orders.crt", "orders.key", "client.crt", "client.key", "payments-ca.crt"] {
        let made = Path::new("x").with_extension(Path::new(name).extension().unwrap());
        std::fs::copy(dir.path().join(made), dir.path().join(name)).unwrap();
    }
    for (place, apis) in [("ingress", 1), ("egress", 1), ("sidecar", 1)] {
        let conf = dir.path().join(place);
        std::fs::create_dir(&conf).unwrap();
        for file in std::fs::read_dir(root().join("examples").join(place)).unwrap().map(Result::unwrap) {
            let text = std::fs::read_to_string(file.path()).unwrap();
            let text = text.replace("/etc/weir/tls", &dir.path().to_string_lossy());
            std::fs::write(conf.join(file.file_name()), text).unwrap();
        }
        let mut weir = Command::new(program("weir").unwrap());
        weir.args(["validate", "--json", "--config"]).arg(&conf);
        weir.envs(["WEIR_ANALYTICS_TOKEN", "MOBILE_CLIENT_SECRET", "STOCK_PASSWORD"].map(|name| (name, "secret")));
        let said: serde_json::Value = serde_json::from_slice(&weir.output().unwrap().stdout).unwrap();
        assert_eq!((&said["valid"], &said["apis"]), (&true.into(), &apis.into()), "{place}: {said:#}");
    }
}

#[test]
fn a_block_with_a_mistake_is_found() {
    let blocks = yaml_blocks("text\n```yaml\nkind: Nothing\n```\nmore\n");
    assert_eq!(blocks, ["kind: Nothing\n"]);
    assert!(weir_config::load_text(Path::new("x"), &blocks[0], &env).is_err());
}

/// What operators read of losses is what the programs say.
#[test]
fn every_reason_of_a_loss_is_in_the_protocols_page() {
    let page = std::fs::read_to_string(root().join("docs/ingest-protocol.md")).unwrap();
    for reason in weir_event::chunk::GapReason::ALL {
        assert!(page.contains(&format!("`{}`", reason.as_str())), "{}", reason.as_str());
    }
    assert!(!page.contains("`lost_in_the_post`"), "the page can say no");
}

/// The fences that open a block in the comments of a source file, with what they say.
fn fences(source: &str) -> Vec<&str> {
    let comments = source.lines().map(str::trim_start).filter_map(|line| {
        let comment = line.strip_prefix("//!").or_else(|| line.strip_prefix("///"))?;
        comment.trim_start().strip_prefix("```")
    });
    comments.step_by(2).collect()
}

/// rustdoc is no step of `make test`: it takes its time and finds nothing, as long as no comment has an example to run.
#[test]
fn no_comment_has_an_example_that_nobody_runs() {
    let mut folders = vec![root().join("crates"), root().join("loadtests/src")];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                read += 1;
                let source = std::fs::read_to_string(&path).unwrap();
                let other: Vec<_> = fences(&source).into_iter().filter(|fence| *fence != "text").collect();
                assert!(other.is_empty(), "{}: make it a test, or fence it as text", path.display());
            }
        }
    }
    assert!(read > 200, "{read} files");
    assert_eq!(fences("/// ```\n/// assert!(true);\n/// ```\n//! ```text\n//! ```\n"), ["", "text"]);
}

/// The page about limits names options that there are, and tests that there are.
#[test]
fn the_page_about_limits_is_right() {
    let page = std::fs::read_to_string(root().join("docs/limits.md")).unwrap();
    let (_, rest) = page.split_once("## weir-analytics\n").unwrap();
    let (section, _) = rest.split_once("\n## ").unwrap();
    let help = Command::new(program("weir-analytics").unwrap()).arg("--help").output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let quoted = || section.split('`').skip(1).step_by(2);
    let options: Vec<_> = quoted().filter(|word| word.starts_with("--")).collect();
    assert!(options.len() >= 6 && options.iter().all(|option| help.contains(&format!("{option} <"))), "{options:?}");
    let mut sources = String::new();
    for folder in ["crates/analytics/src/server", "crates/analytics/tests", "crates/e2e/tests"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            sources += &std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        }
    }
    let tests: Vec<_> = quoted().filter(|word| word.matches('_').count() >= 4 && !word.starts_with("max_")).collect();
    assert!(tests.len() >= 12);
    for test in tests {
        assert!(sources.contains(&format!("fn {test}()")), "there is no test `{test}`");
    }
}

/// The tests that `docs/limits.md` names are there: functions, and files of tests.
#[test]
fn the_tests_that_the_table_of_bounds_names_are_there() {
    let mut known = String::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() && !entry.ends_with("node_modules") {
                folders.push(entry);
            } else if entry.extension().is_some_and(|ending| ending == "rs") {
                known += &format!("fn {}(\n", entry.file_name().unwrap().to_str().unwrap());
                known += &std::fs::read_to_string(entry).unwrap();
            }
        }
    }
    let text = std::fs::read_to_string(root().join("docs/limits.md")).unwrap();
    let rows =
        text.lines().filter(|line| line.starts_with("| ") && line.ends_with('|') && !line.starts_with("| what |"));
    let last = rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
    let names: Vec<_> = last.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        assert!(known.contains(&format!("fn {name}(")), "`{name}` is named in docs/limits.md, and is nowhere");
    }
}
