//! Every configuration in the README and in `examples/` is one that a gateway would take.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use weir_api::operations::{ADMIN, ANALYTICS, Method};
use weir_e2e::{Claim, Part, TestStack, eventually};
use weir_program::help::commands;
use weir_testkit::otlp::Receiver;
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

/// A whole stack under traffic whose gateway exports spans, and a shell in front of it.
struct Shell {
    stack: TestStack,
    traffic: Witness,
    _receiver: Receiver,
    here: TempDir,
}

impl Shell {
    async fn start() -> Self {
        let mut stack = TestStack::start(None).await.unwrap();
        let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
        stack.stop(Part::Gateway).unwrap();
        stack.spec.more_yaml = format!(
            "---\napiVersion: gateway.weir.dev/v1\nkind: Configuration\nmetadata: {{name: tracing}}\nspec: {{tracing: {{provider: \
             {{type: opentelemetry, properties: {{address: \"http://{}\"}}}}}}}}\n",
            receiver.address
        );
        stack.start_part(Part::Gateway, None).unwrap();
        let traffic = Witness::start(stack.traffic(100_000, 50.0)).unwrap();
        // The first reports of a gateway: until then the ledger's answer is that it does not know.
        eventually("the ledger balances", async || (Claim::of(&stack).await.ok()?.state() == "balanced").then_some(()))
            .await;
        let here = tempfile::tempdir().unwrap();
        for folder in ["examples", "dashboards"] {
            std::os::unix::fs::symlink(root().join(folder), here.path().join(folder)).unwrap();
        }
        Self { stack, traffic, _receiver: receiver, here }
    }

    /// Runs a command as a page has it: the exit code, and what it said.
    fn run(&self, line: &str) -> (Option<i32>, String) {
        let (admin, analytics) = (self.stack.admin().unwrap().to_string(), self.stack.analytics_at.to_string());
        let line = ["127.0.0.1:9901", "HOST:9901"].iter().fold(line.to_owned(), |line, it| line.replace(it, &admin));
        let line = ["127.0.0.1:8686", "HOST:8686"].iter().fold(line, |line, it| line.replace(it, &analytics));
        // The gateway's user is this one.
        let line = line.replace("sudo -u weir ", "");
        let path = format!("{}:{}", programs().unwrap().display(), std::env::var("PATH").unwrap());
        let socket = format!("unix:{}", self.stack.socket().unwrap().display());
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &line])
            .current_dir(self.here.path())
            .envs([("PATH", path.as_str()), ("ORDERS_PASSWORD", "x"), ("WEIR_ANALYTICS_TOKEN", "x")])
            .envs([("WEIR_ADMIN", socket), ("WEIR_ANALYTICS", format!("http://{analytics}"))])
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }
}

/// Those of a block `sh run` are run, in front of a whole stack under traffic; of the others, what calls a program of
/// Weir's is held against its arguments. What a runbook asks for is run as well: while nothing is wrong it may find nothing,
/// and is not refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_do_what_the_pages_say() {
    let shell = Shell::start().await;
    let page = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let lines = shell_lines(&page("README.md"));
    assert!(lines.iter().filter(|(runs, _)| *runs).count() > 8 && lines.iter().any(|(runs, _)| !runs));
    let others = ["docs/operations.md", "docs/tracing.md"].map(|name| shell_lines(&page(name))).concat();
    assert!(others.iter().filter(|(runs, _)| *runs).count() > 12);
    for (runs, line) in lines.into_iter().chain(others) {
        if runs {
            let (code, said) = shell.run(&line);
            // A linter with nothing to say is silent.
            let is_silent = line.contains(" > ") || line.contains("promtool check metrics");
            assert!(code == Some(0) && (!said.is_empty() || is_silent), "{line}: {said}");
        } else {
            commands(&line).filter(|words| words.first().is_some_and(|word| word.starts_with("weir"))).for_each(taken);
        }
    }
    assert!(std::fs::metadata(shell.here.path().join("weir.schema.json")).unwrap().len() > 1000);
    assert!(shell.here.path().join("weir-dump/configuration.json").exists());

    let sql = "SELECT lower(hex(trace_id)) FROM access_events WHERE sample_interval > 0 LIMIT 1";
    let trace: String = shell.stack.client().query(sql).fetch_one().await.unwrap();
    let (runbooks, mut ran) = (page("docs/runbooks.md"), 0);
    let programs = ["weirctl ", "weir ", "promtool ", "curl http"];
    for code in inline_code(&runbooks).into_iter().filter(|code| programs.iter().any(|it| code.starts_with(it))) {
        let line = code
            .replace(" ID", &format!(" {trace}"))
            .replace("--config DIR", "--config examples/conf.d")
            .replace("=60", "=1");
        ran += 1;
        if line.starts_with("weirctl tail") {
            // Until somebody presses Ctrl-C.
            commands(&line).for_each(taken);
            continue;
        }
        let (code, said) = shell.run(&line);
        let is_for_administrators = said.contains("needs the administrator's token");
        assert!(matches!(code, Some(0 | 1)) || is_for_administrators, "{line}: {code:?} {said}");
    }
    assert!(ran > 15, "{ran}");
    shell.traffic.stop().await.unwrap();
}

/// The program takes these arguments: with a wrong one after them it complains of that one.
fn taken(words: Vec<String>) {
    let output = Command::new(program(&words[0]).unwrap()).args(&words[1..]).arg("--no-such-option").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("'--no-such-option'"), "{words:?}: {said}");
}

/// The README is of a length that is read, every page of `docs/` is in it, and every file that it or a page names is there.
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
            let folders = ["docs/", "examples/", "crates/", "dashboards/", "loadtests/", "otel-collector/"];
            let is_path = folders.iter().any(|folder| word.starts_with(folder)) && !word.contains([' ', '<', '*', '{']);
            let path = word.split(':').next().unwrap_or(word);
            assert!(!is_path || root().join(path).exists(), "{}: there is no `{word}`", page.display());
        }
    }
}

/// Every page for users, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages: Vec<_> = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name)).into();
    for folder in ["docs", "docs/decisions"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    pages.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// What stands between single backticks, blocks left out.
fn inline_code(markdown: &str) -> Vec<&str> {
    let prose = markdown.split("```").step_by(2).flat_map(str::lines);
    prose.flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The heading of each section as GitHub makes a fragment of it.
fn fragments(markdown: &str) -> Vec<String> {
    let headings = markdown.lines().filter(|line| line.starts_with('#'));
    let kept = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase().chars().filter(|c| kept(*c)).collect::<String>())
        .map(|heading| heading.replace(' ', "-"))
        .collect()
}

/// A metric that a page names is one of a catalogue.
#[test]
fn every_metric_of_a_page_is_in_a_catalogue() {
    let catalogues = ["dashboards/metrics.md", "dashboards/metrics-analytics.md", "crates/chdb/METRICS.md"];
    let known = catalogues.map(|name| std::fs::read_to_string(root().join(name)).unwrap()).concat();
    let mut seen = 0;
    for (page, text) in pages() {
        for name in inline_code(&text).into_iter().map(|code| code.split(['{', ' ', '=']).next().unwrap_or_default()) {
            let is_metric =
                ["weir_", "http_server_", "http_client_", "process_"].iter().any(|start| name.starts_with(start));
            let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if is_metric && is_name && !name.ends_with('_') && name != "weir_spool" {
                seen += 1;
                assert!(known.contains(&format!("`{name}`")), "{}: `{name}` is no metric", page.display());
            }
        }
    }
    assert!(seen > 30, "{seen}");
}

/// A link within the project leads to a file, and to a section that it has.
#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut seen = 0;
    for (page, text) in pages() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            seen += 1;
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let there = std::fs::read(&target).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            assert!(there.is_ok(), "{}: there is no {link}", page.display());
            let has = fragment.is_empty() || fragments(&there.unwrap()).iter().any(|heading| heading == fragment);
            assert!(has, "{}: {link} has no such section", page.display());
        }
    }
    assert!(seen > 20, "{seen}");
    assert_eq!(fragments("# A: `b` and c\n"), ["a-b-and-c"]);
}

/// A command that a page names is one that its program takes, and a configuration is one that a gateway takes.
#[test]
fn every_command_and_configuration_of_a_page_is_taken() {
    let is_command = |words: &Vec<String>| words.len() > 1 && words[0].starts_with("weir");
    let (mut tried, mut loaded) = (0, 0);
    for (page, text) in pages() {
        let lines = shell_lines(&text).into_iter().map(|(_, line)| line);
        // Not one that is cut short or says what may be left out, nor a message.
        let is_whole = |code: &&str| !code.contains(['[', '…', '<', '{']) && !code.contains(": ");
        let inline = inline_code(&text).into_iter().filter(is_whole);
        for words in lines.chain(inline.map(str::to_owned)).flat_map(|line| commands(&line).collect::<Vec<_>>()) {
            let is_program = ["weir", "weirctl", "weir-analytics", "weir-chdb"]
                .contains(&words.first().map_or("", |word| word.as_str()));
            if is_command(&words) && is_program && !words.contains(&"--help".to_owned()) {
                tried += 1;
                taken(words);
            }
        }
        // Others are parts of a resource.
        for block in yaml_blocks(&text).into_iter().filter(|block| block.contains("apiVersion:")) {
            loaded += 1;
            weir_config::load_text(&page, &block, &env).unwrap_or_else(|errors| panic!("{errors}"));
        }
    }
    assert!(tried > 40 && loaded > 3, "{tried} commands, {loaded} configurations");
}

/// The page about loading has the defaults, and names every metric of loading.
#[test]
fn the_page_about_loading_is_right() {
    let path = root().join("docs/configuration-loading.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let blocks = yaml_blocks(&page);
    assert_eq!(blocks.len(), 1);
    let config = weir_config::load_text(&path, &blocks[0], &env).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.reload, weir_config::Reload::default());
    let catalogue = std::fs::read_to_string(root().join("dashboards/metrics.md")).unwrap();
    let known: Vec<_> = catalogue.split('`').filter(|word| word.starts_with("weir_config_")).collect();
    let named: Vec<_> = page
        .split(|c: char| !c.is_ascii_lowercase() && c != '_')
        .filter(|word| word.starts_with("weir_config_"))
        .collect();
    let reported = |name: &&&str| !named.contains(*name) && **name != "weir_config_reloads_total";
    assert_eq!(known.iter().find(reported), None, "a metric that the page does not tell");
}

/// The page about start and end has the defaults.
#[test]
fn the_page_about_the_lifecycle_is_right() {
    let path = root().join("docs/lifecycle.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let blocks = yaml_blocks(&page);
    let config = weir_config::load_text(&path, &blocks[0], &env).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.lifecycle, weir_config::Lifecycle::default());
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

/// Every operation of a server is on the page of HTTP APIs, and no other path is.
#[test]
fn the_page_of_http_apis_has_every_path() {
    let page = std::fs::read_to_string(root().join("docs/http-apis.md")).unwrap();
    let admin = ADMIN.iter().map(|operation| (operation.method, operation.path));
    let analytics = ANALYTICS.iter().map(|operation| (operation.method, operation.path));
    let mut known: Vec<_> = admin
        .chain(analytics)
        .map(|(method, path)| match method {
            Method::Get => path.to_owned(),
            Method::Post => format!("POST {path}"),
        })
        .collect();
    known.sort();
    known.dedup();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let first_cells = rows.map(|row| row.split('|').nth(1).unwrap_or_default());
    let mut written: Vec<_> = first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    written.sort_unstable();
    written.dedup();
    assert_eq!(written, known);
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
}

/// The tests that tables of the documentation name in their last column are there: functions, and files of tests.
#[test]
fn the_tests_that_tables_name_are_there() {
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
    for (page, least) in [("docs/limits.md", 30), ("docs/account-files.md", 20), ("docs/other-gateways.md", 30)] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        let is_head = |line: &str| line.ends_with(" test |") || line.starts_with("| what |");
        let rows = text.lines().filter(|line| line.starts_with("| ") && line.ends_with('|') && !is_head(line));
        let last = rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
        let names: Vec<_> = last.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        assert!(names.len() >= least, "{page}: {names:?}");
        for name in names {
            assert!(known.contains(&format!("fn {name}(")), "`{name}` is named in {page}, and is nowhere");
        }
    }
}
