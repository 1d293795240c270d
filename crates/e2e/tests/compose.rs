//! `docker-compose.yml` is valid, publishes nothing but loopback, has no secret of its own; and every configuration that it
//! mounts works in the real program, with addresses of this machine in place of the containers' names. No container runs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use weir_e2e::collector::otelcol;
use weir_e2e::{DEADLINE, eventually, reserve};
use weir_testkit::process::{Process, program};
use weir_testkit::{get, get_with, post};

/// Those whose health is not asked for by the file: the gateways' is the image's; the others have no program to ask with, or
/// serve nothing.
const NOT_ASKED: [&str; 4] = ["edge", "core", "collector", "traffic"];

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A folder as a user has it: the file, what it mounts, and what `prepare` makes.
struct Folder(tempfile::TempDir);

impl Folder {
    fn bare() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::copy(root().join("docker-compose.yml"), folder.path("docker-compose.yml")).unwrap();
        for name in ["examples", "otel-collector", "dashboards"] {
            std::os::unix::fs::symlink(root().join(name), folder.path(name)).unwrap();
        }
        folder
    }

    fn prepared() -> Self {
        let folder = Self::bare();
        let made = folder.prepare();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        folder
    }

    fn prepare(&self) -> Output {
        Command::new(root().join("examples/compose/prepare")).arg(self.0.path()).output().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The variables of `.env`.
    fn secrets(&self) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(self.path(".env")).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn config(&self) -> Output {
        let mut command = Command::new("docker-compose");
        command.args(["--profile", "redis", "config"]).current_dir(self.0.path()).env_clear();
        command.env("PATH", std::env::var("PATH").unwrap());
        command.output().expect("docker-compose is installed: make tools")
    }

    /// What docker-compose makes of the file.
    fn document(&self) -> Value {
        let made = self.config();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        yaml(&made.stdout)
    }

    /// A mounted file with other words in the places of some, as a file of its own.
    fn with(&self, source: &str, name: &str, words: &[(&str, &str)]) -> PathBuf {
        let text = std::fs::read_to_string(root().join(source)).unwrap();
        let text = words.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{source} has no `{from}`");
            text.replace(from, to)
        });
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn start(&self, name: &str, mut command: Command) -> Process {
        command.current_dir(self.0.path());
        Process::start(name, command, &self.path(&format!("{name}.log"))).unwrap()
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }
}

/// By the library that Debian's docker-compose reads it with.
fn yaml(text: &[u8]) -> Value {
    let script = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), text).unwrap();
    serde_json::from_slice(&python.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn without_its_secrets_it_says_how_to_make_them() {
    let folder = Folder::bare();
    let refused = folder.config();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("run examples/compose/prepare"), "{said}");
    assert!(folder.prepare().status.success() && folder.config().status.success());
    let first = folder.secrets();
    let secrets: std::collections::BTreeSet<_> = first.values().collect();
    assert!(first.len() == 7 && secrets.len() == 7 && secrets.iter().all(|secret| secret.len() == 48), "{first:?}");
    assert!(!folder.prepare().status.success(), "what is there stays");
    assert_eq!(folder.secrets(), first);
    // Each is needed, and an empty one is none.
    let whole = std::fs::read_to_string(folder.path(".env")).unwrap();
    for (name, secret) in &first {
        std::fs::write(folder.path(".env"), whole.replace(&format!("{name}={secret}"), &format!("{name}="))).unwrap();
        let refused = folder.config();
        assert!(!refused.status.success(), "{name} may be empty");
    }
    let private = |name: &str| {
        std::os::unix::fs::PermissionsExt::mode(&folder.path(name).metadata().unwrap().permissions()) & 0o77
    };
    assert_eq!((private(".env"), private(".compose")), (0, 0), "nobody else reads them");
}

#[test]
fn it_is_valid_and_publishes_nothing_but_loopback() {
    let folder = Folder::prepared();
    let document = folder.document();
    let services = document["services"].as_object().unwrap();
    assert_eq!(services.len(), 11, "{:?}", services.keys());
    let secrets = folder.secrets();
    for (name, service) in services {
        assert!(service["image"].as_str().unwrap().split_once(':').is_some_and(|(_, tag)| tag != "latest"), "{name}");
        assert!(service["healthcheck"].is_object() != NOT_ASKED.contains(&name.as_str()), "{name}");
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.to_string().contains("127.0.0.1:"), "{name} publishes {port}");
        }
        for mount in service["volumes"].as_array().into_iter().flatten() {
            let (source, _) = mount.as_str().unwrap().split_once(':').unwrap();
            let there = Path::new(source).exists() || document["volumes"].get(source).is_some();
            assert!(there, "{name}: there is no {source}");
        }
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let is_secret = ["PASSWORD", "TOKEN", "SECRET"].iter().any(|word| variable.contains(word));
            let is_made = value.as_str().is_some_and(|value| secrets.values().any(|secret| secret == value));
            assert!(!is_secret || is_made, "{name}: {variable} has a value of its own");
        }
    }
    let used: String = services.values().map(Value::to_string).collect();
    for volume in document["volumes"].as_object().unwrap().keys() {
        assert!(used.contains(&format!("\"{volume}:")), "nobody uses the volume {volume}");
    }
}

/// The data sources are those that the dashboards name.
#[test]
fn grafana_is_provisioned_with_what_the_dashboards_name() {
    let read = |name: &str| yaml(&std::fs::read(root().join("examples/compose/grafana").join(name)).unwrap());
    let sources = read("datasources/weir.yaml");
    let sources: BTreeMap<_, _> = sources["datasources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| (source["uid"].as_str().unwrap(), source["type"].as_str().unwrap()))
        .collect();
    let mut seen = 0;
    for file in std::fs::read_dir(root().join("dashboards")).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        seen += 1;
        let dashboard: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        // A variable of data sources takes the first one of its type.
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let of_type = variables.iter().find(|variable| variable["type"] == "datasource");
        for panel in dashboard["panels"].as_array().unwrap() {
            let (uid, kind) = (&panel["datasource"]["uid"], panel["datasource"]["type"].as_str().unwrap());
            let found = match uid.as_str().unwrap() {
                "${datasource}" => {
                    of_type.is_some_and(|variable| variable["query"] == kind)
                        && sources.values().any(|other| *other == kind)
                }
                uid => sources.get(uid) == Some(&kind),
            };
            assert!(found || panel["type"] == "text", "{}: {uid}", file.display());
        }
    }
    assert_eq!(seen, 9);
    let path = read("dashboards/weir.yaml")["providers"][0]["options"]["path"].as_str().unwrap().to_owned();
    let document = Folder::prepared().document();
    let grafana = &document["services"]["grafana"];
    assert!(grafana["volumes"].to_string().contains(&format!("/dashboards:{path}:ro")), "{grafana}");
    let home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().unwrap();
    assert!(root().join("dashboards").join(home.strip_prefix(&format!("{path}/")).unwrap()).exists(), "{home}");
}

/// Everything that the file starts and the registries have, each with its mounted configuration.
struct Running {
    folder: Folder,
    secrets: BTreeMap<String, String>,
    clickhouse: SocketAddr,
    analytics: SocketAddr,
    edge: SocketAddr,
    upstream: SocketAddr,
    metrics: [SocketAddr; 2],
    /// Where gateways send spans, if a Collector runs.
    spans: Option<SocketAddr>,
    _processes: Vec<Process>,
}

impl Running {
    async fn start(spans: Option<SocketAddr>) -> Self {
        let folder = Folder::prepared();
        let secrets = folder.secrets();
        let mut running = Self {
            secrets,
            clickhouse: reserve().unwrap(),
            analytics: reserve().unwrap(),
            edge: reserve().unwrap(),
            upstream: reserve().unwrap(),
            metrics: [reserve().unwrap(), reserve().unwrap()],
            folder,
            spans,
            _processes: Vec::new(),
        };
        let clickhouse = running.clickhouse().await;
        let (upstream, analytics) = (running.nginx().await, running.analytics().await);
        let core = reserve().unwrap();
        let both = [
            running
                .gateway(
                    "core",
                    "WEIR_CORE_TOKEN",
                    core,
                    running.metrics[1],
                    &[("http://upstream:8080", running.upstream)],
                )
                .await,
            running
                .gateway(
                    "edge",
                    "WEIR_EDGE_TOKEN",
                    running.edge,
                    running.metrics[0],
                    &[("http://core.link:8080", core)],
                )
                .await,
        ];
        running._processes = [clickhouse, upstream, analytics].into_iter().chain(both).collect();
        running
    }

    async fn clickhouse(&self) -> Process {
        let mut process = self.folder.start("clickhouse", self.clickhouse_command(&[]));
        let ping = format!("http://{}/ping", self.clickhouse);
        self.answers("clickhouse", &mut process, &ping).await;
        process
    }

    fn clickhouse_command(&self, more: &[&str]) -> Command {
        let mut command = Command::new("python3");
        command.arg(root().join("crates/e2e/tests/compose/clickhouse.py"));
        command.arg(root().join("crates/chdb/engine/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so"));
        command.arg(self.folder.path("engine")).arg(self.clickhouse.port().to_string());
        for file in ["users.xml", "server.xml"] {
            command.arg(root().join("examples/compose/clickhouse").join(file));
        }
        command.args(more).envs(&self.secrets);
        command
    }

    async fn nginx(&self) -> Process {
        let at = self.upstream.to_string();
        let (tmp, log) = (self.folder.path("nginx"), self.folder.path("alerts.log"));
        std::fs::create_dir_all(&tmp).unwrap();
        let (pid, temporary) = (format!("pid {}/nginx.pid", tmp.display()), format!("_path {}/", tmp.display()));
        let slow = format!("root {}", root().join("examples/compose").display());
        let words = [
            ("listen 8080", &*format!("listen {at}")),
            ("127.0.0.1:8080", &at),
            ("pid /tmp/nginx.pid", &pid),
            ("_path /tmp/", &temporary),
            ("/dev/stdout", log.to_str().unwrap()),
            ("/dev/stderr", "stderr"),
            ("root /usr/share/weir", &slow),
        ];
        let words: Vec<_> =
            words.iter().map(|(from, to)| (*from, if *from == "/dev/stderr" { "/dev/null" } else { *to })).collect();
        let file = self.folder.with("examples/compose/nginx.conf", "nginx.conf", &words);
        let mut command = Command::new("nginx");
        command.args(["-g", "daemon off; user root;", "-c"]).arg(file);
        let mut process = self.folder.start("nginx", command);
        self.answers("nginx", &mut process, &format!("http://{at}/health")).await;
        process
    }

    /// With the arguments of the file.
    async fn analytics(&self) -> Process {
        let document = self.folder.document();
        let service = &document["services"]["analytics"];
        let mut command = Command::new(program("weir-analytics").unwrap());
        for word in service["command"].as_array().unwrap().iter().filter_map(Value::as_str) {
            command.arg(match word {
                "0.0.0.0:8686" => self.analytics.to_string(),
                "http://clickhouse:8123" => format!("http://{}", self.clickhouse),
                "/var/lib/weir/analytics" => self.folder.path("state").display().to_string(),
                word => word.replace("/etc/weir/analytics", &self.folder.path(".compose/analytics").to_string_lossy()),
            });
        }
        command.env("WEIR_ANALYTICS_PASSWORD", service["environment"]["WEIR_ANALYTICS_PASSWORD"].as_str().unwrap());
        let mut process = self.folder.start("analytics", command);
        let said = process.wait_for(DEADLINE, |line| line.starts_with("listening on https://").then_some(()));
        said.unwrap_or_else(|error| panic!("{error}: {}", self.folder.log("analytics")));
        process
    }

    /// One gateway on its mounted folder; `ways` are names of containers and where they are.
    async fn gateway(
        &self,
        name: &str,
        token: &str,
        listen: SocketAddr,
        metrics: SocketAddr,
        ways: &[(&str, SocketAddr)],
    ) -> Process {
        let trusted = self.folder.path(".compose/trusted");
        let (listen, metrics) = (format!("http://{listen}"), metrics.to_string());
        let analytics = format!("https://localhost:{}", self.analytics.port());
        let spool = self.folder.path(&format!("{name}.spool"));
        let mut words = vec![
            ("http://0.0.0.0:8080", listen),
            ("127.0.0.1:9901", "127.0.0.1:0".to_owned()),
            ("0.0.0.0:9902", metrics),
            ("https://analytics:8686", analytics),
            ("/etc/weir/tls", trusted.display().to_string()),
            ("/var/lib/weir/spool", spool.display().to_string()),
        ];
        words.extend(ways.iter().map(|(from, to)| (*from, format!("http://{to}"))));
        if name == "core" {
            words.push(("172.31.83.0/24", "127.0.0.0/8".to_owned()));
        }
        let words: Vec<_> = words.iter().map(|(from, to)| (*from, to.as_str())).collect();
        self.folder.with(&format!("examples/compose/{name}/gateway.yaml"), &format!("{name}.d/gateway.yaml"), &words);
        let mut command = Command::new(program("weir").unwrap());
        command.arg("run").arg("--config").arg(self.folder.path(&format!("{name}.d")));
        command.arg("--admin-socket").arg(self.folder.path(&format!("{name}.sock"))).args(["--workers", "1"]);
        command
            .env("WEIR_ANALYTICS_TOKEN", &self.secrets[token])
            .env("ORDERS_PASSWORD", &self.secrets["ORDERS_PASSWORD"]);
        let document = self.folder.document();
        let environment = document["services"][name]["environment"].as_object().unwrap();
        for (variable, value) in environment.iter().filter(|(variable, _)| variable.starts_with("OTEL_")) {
            if let Some(spans) = self.spans {
                command.env(variable, value.as_str().unwrap().replace("collector:4317", &spans.to_string()));
            }
        }
        let mut process = self.folder.start(name, command);
        let ready = process.wait_for(DEADLINE, |line| line.contains("admin on http://").then_some(()));
        ready.unwrap_or_else(|error| panic!("{error}: {}", self.folder.log(name)));
        process
    }

    async fn answers(&self, name: &str, process: &mut Process, url: &str) {
        eventually(&format!("{name} answers"), async || {
            assert!(process.ended().is_none(), "{name} has ended: {}", self.folder.log(name));
            get(url).await.ok().filter(|(status, _)| *status == 200)
        })
        .await;
    }

    /// What ClickHouse answers to a user of the file: status and text.
    async fn ask(&self, user: &str, password: &str, sql: &str) -> (u16, String) {
        let url = format!("http://{}/?user={user}&password={password}&max_execution_time=20", self.clickhouse);
        post(&url, "text/plain", sql.to_owned()).await.unwrap()
    }

    async fn as_grafana(&self, sql: &str) -> (u16, String) {
        self.ask("grafana", &self.secrets["GRAFANA_CLICKHOUSE_PASSWORD"], sql).await
    }

    /// One round of the traffic, by its script.
    fn traffic(&self) {
        let mut script = Command::new("sh");
        script.arg(root().join("examples/compose/traffic.sh")).env("ROUNDS", "1");
        script.env("TARGET", format!("http://{}", self.edge)).env("ORDERS_PASSWORD", &self.secrets["ORDERS_PASSWORD"]);
        assert!(script.status().unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_gateways_analytics_and_clickhouse_work_together() {
    let running = Running::start(None).await;
    running.traffic();
    // A round: ten times two, and three; what edge forwarded came to core as well.
    let count = "SELECT countIf(gateway = 'edge'), countIf(gateway = 'core' AND entry = 0), countIf(gateway = 'core' AND entry = 1), \
                 countIf(gateway = 'edge' AND link_us > 0) > 0, countIf(status = 500) > 0, countIf(status = 401), countIf(total_us > 300000) > 0 \
                 FROM weir.access_events";
    eventually("the events are stored, as Grafana's user sees them", async || {
        let (status, text) = running.as_grafana(count).await;
        (status == 200 && text.trim() == "23\t22\t0\t1\t1\t1\t1").then_some(())
    })
    .await;
    let gauges = "SELECT count(DISTINCT gateway) FROM weir.gateway_gauges";
    eventually("samples of both", async || (running.as_grafana(gauges).await.1.trim() == "2").then_some(())).await;
    for (sql, status) in [
        ("SELECT count() > 0 FROM system.parts", 200),
        ("INSERT INTO weir.barrier VALUES (1)", 500),
        ("SELECT * FROM system.users", 500),
        ("DROP TABLE weir.access_events", 500),
    ] {
        let (found, text) = running.as_grafana(sql).await;
        assert_eq!(found, status, "{sql}: {text}");
    }
    for (user, password) in [("weir", "wrong"), ("weir", ""), ("grafana", ""), ("nobody", "")] {
        assert_eq!(running.ask(user, password, "SELECT 1").await.0, 403, "{user}");
    }
    let agent = [("user-agent", "a scraper")];
    let (status, _, metrics) = get_with(&format!("http://{}/metrics", running.clickhouse), &agent).await.unwrap();
    assert!(status == 200 && metrics.contains("ClickHouse"), "{metrics}");
    // As docs/compose.md says it, with the port and the folder of this test.
    eventually("the ledger is balanced", async || {
        let mut ledger = Command::new(program("weirctl").unwrap());
        ledger.args(["--analytics", &format!("https://localhost:{}", running.analytics.port()), "--tls-ca"]);
        ledger.arg(running.folder.path(".compose/trusted/authority.pem")).arg("ledger");
        let token = std::fs::read_to_string(running.folder.path(".compose/reader-token")).unwrap();
        ledger.env("WEIR_READER_TOKEN", token.trim());
        ledger.output().unwrap().status.success().then_some(())
    })
    .await;
    // Without what the test puts back, there is no user `default`.
    let mut again = running.clickhouse_command(&["--as-it-is"]);
    std::fs::rename(running.folder.path("engine"), running.folder.path("engine.before")).unwrap();
    let ended = again.current_dir(running.folder.path("")).output();
    let said = ended.map(|ended| [ended.stdout, ended.stderr].concat()).unwrap();
    assert!(String::from_utf8_lossy(&said).contains("AUTHENTICATION_FAILED"), "{}", String::from_utf8_lossy(&said));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_prometheus_sees_all_and_its_alertmanager_tells() {
    let running = Running::start(None).await;
    let (alertmanager, prometheus) = (reserve().unwrap(), reserve().unwrap());
    let upstream = format!("http://{}/alerts", running.upstream);
    let words = [("http://upstream:8080/alerts", upstream.as_str()), ("group_wait: 10s", "group_wait: 1s")];
    let file = running.folder.with("examples/compose/alertmanager.yml", "alertmanager.yml", &words);
    let mut command = Command::new("prometheus-alertmanager");
    command.arg(format!("--config.file={}", file.display())).arg("--cluster.listen-address=");
    command.arg(format!("--storage.path={}", running.folder.path("alerts").display()));
    command.arg(format!("--web.listen-address={alertmanager}"));
    let mut alerting = running.folder.start("alertmanager", command);
    running.answers("alertmanager", &mut alerting, &format!("http://{alertmanager}/-/ready")).await;

    let [edge, core] = running.metrics.map(|address| address.to_string());
    let (analytics, clickhouse) = (format!("localhost:{}", running.analytics.port()), running.clickhouse.to_string());
    let (trusted, rules) = (running.folder.path(".compose/trusted"), root().join("dashboards/prometheus/rules"));
    let alerts_to = alertmanager.to_string();
    let words = [
        ("edge:9902", edge.as_str()),
        ("core:9902", &core),
        ("analytics:8686", &analytics),
        ("clickhouse:8123", &clickhouse),
        ("alertmanager:9093", &alerts_to),
        ("/etc/prometheus/trusted", trusted.to_str().unwrap()),
        ("/etc/prometheus/rules", rules.to_str().unwrap()),
        ("scrape_interval: 15s", "scrape_interval: 1s"),
    ];
    let file = running.folder.with("examples/compose/prometheus.yml", "prometheus.yml", &words);
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", file.display())).arg("--enable-feature=exemplar-storage");
    command.arg(format!("--storage.tsdb.path={}", running.folder.path("tsdb").display()));
    command.arg(format!("--web.listen-address={prometheus}"));
    let mut scraping = running.folder.start("prometheus", command);
    running.answers("prometheus", &mut scraping, &format!("http://{prometheus}/-/ready")).await;
    eventually("four targets are up", async || {
        let (_, text) = get(&format!("http://{prometheus}/api/v1/query?query=sum(up)")).await.ok()?;
        let answer: Value = serde_json::from_str(&text).ok()?;
        (answer["data"]["result"][0]["value"][1] == "4").then_some(())
    })
    .await;
    let (_, rules) = get(&format!("http://{prometheus}/api/v1/rules?type=alert")).await.unwrap();
    assert!(rules.contains("WeirGatewayDown"), "{rules}");

    let alert = r#"[{"labels": {"alertname": "WeirTest", "instance": "edge"}}]"#;
    let (status, _) = post(&format!("http://{alertmanager}/api/v2/alerts"), "application/json", alert).await.unwrap();
    assert_eq!(status, 200);
    eventually("the alert is in the upstream's log", async || {
        let log = std::fs::read_to_string(running.folder.path("alerts.log")).ok()?;
        log.contains("WeirTest").then_some(())
    })
    .await;
}

/// The command of the file, by Redis itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_redis_wants_the_password() {
    let folder = Folder::prepared();
    let (secrets, at) = (folder.secrets(), reserve().unwrap());
    let document = folder.document();
    let words = document["services"]["redis"]["command"].as_array().unwrap();
    let line = words[2].as_str().unwrap().replace("$$", "$").replace("/data", folder.0.path().to_str().unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{line} --port {} --bind 127.0.0.1", at.port())]).envs(&secrets);
    let _redis = folder.start("redis", command);
    let ping = |password: Option<&str>| {
        let mut client = Command::new("redis-cli");
        client.args(["-p", &at.port().to_string(), "ping"]).env_remove("REDISCLI_AUTH");
        client.envs(password.map(|password| ("REDISCLI_AUTH", password)));
        String::from_utf8(client.output().expect("redis-tools is installed: make tools").stdout).unwrap()
    };
    eventually("redis answers", async || ping(Some(&secrets["REDIS_PASSWORD"])).contains("PONG").then_some(())).await;
    assert!(ping(None).contains("NOAUTH") && !ping(Some("wrong")).contains("PONG\n\n"), "{}", ping(None));
}

/// The Collector with the file's variables, by `make test-collector`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Collector: make test-collector"]
async fn collector_stores_the_spans_of_both_gateways() {
    let grpc = reserve().unwrap();
    let running = Running::start(Some(grpc)).await;
    let document = running.folder.document();
    let service = &document["services"]["collector"];
    let (http, health, metrics) = (reserve().unwrap(), reserve().unwrap(), reserve().unwrap());
    let mut command = otelcol().unwrap();
    command.arg("--config").arg(root().join("otel-collector/config.yaml"));
    for (name, value) in service["environment"].as_object().unwrap() {
        let value = value.as_str().unwrap();
        let value = match name.as_str() {
            "OTELCOL_GRPC_ENDPOINT" => grpc.to_string(),
            "OTELCOL_HTTP_ENDPOINT" => http.to_string(),
            "OTELCOL_HEALTH_ENDPOINT" => health.to_string(),
            "OTELCOL_METRICS_HOST" => "127.0.0.1".to_owned(),
            "CLICKHOUSE_ENDPOINT" => value.replace("clickhouse:8123", &running.clickhouse.to_string()),
            _ => value.to_owned(),
        };
        command.env(name, value);
    }
    command.env("OTELCOL_METRICS_PORT", metrics.port().to_string());
    let mut collector = running.folder.start("collector", command);
    running.answers("collector", &mut collector, &format!("http://{health}/")).await;
    // Requests that fail have spans, whatever the share that is sampled.
    let services = "SELECT count(DISTINCT ServiceName) FROM weir.otel_traces WHERE StatusCode = 'Error'";
    eventually("Grafana's user reads the spans of both", async || {
        running.traffic();
        let (status, text) = running.as_grafana(services).await;
        (status == 200 && text.trim() == "2").then_some(())
    })
    .await;
}
