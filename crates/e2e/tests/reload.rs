//! What makes a set of files complete, and what never happens while it is not: `docs/configuration-loading.md`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use weir_e2e::{Gateway, GatewaySpec, Site, TestStack, eventually, reserve};
use weir_testkit::process::program;
use weir_testkit::{get, upstream};

/// Runs weirctl to its end: its exit code, and what it printed.
/// At the gateway's socket.
fn weirctl(gateway: &Gateway, args: &[&str]) -> (i32, String, String) {
    weirctl_at(&format!("unix:{}", gateway.socket.display()), args)
}

fn weirctl_at(admin: &str, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(program("weirctl").unwrap());
    let output = command.args(["--admin", admin]).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Asks `url` over and over, beside what a test does.
struct Load {
    stop: Arc<AtomicBool>,
    open: Arc<AtomicU64>,
    locked: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Load {
    fn on(urls: Vec<String>) -> Self {
        let (stop, open, locked, failed) =
            (Arc::<AtomicBool>::default(), Arc::default(), Arc::default(), Arc::default());
        let (ending, counts) = (Arc::clone(&stop), [Arc::clone(&open), Arc::clone(&locked), Arc::clone(&failed)]);
        let task = tokio::spawn(async move {
            while !ending.load(Ordering::Relaxed) {
                for url in &urls {
                    let count: &Arc<AtomicU64> = match get(url).await {
                        Ok((200, _)) => &counts[0],
                        Ok((401, _)) => &counts[1],
                        // A path that nobody serves yet.
                        Ok((404, _)) => continue,
                        _ => &counts[2],
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Self { stop, open, locked, failed, task }
    }

    /// How many were answered with a password asked for.
    fn locked(&self) -> u64 {
        self.locked.load(Ordering::Relaxed)
    }

    /// Those that passed without a password, were asked for one, and got no answer.
    async fn end(self) -> (u64, u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (count(&self.open), count(&self.locked), count(&self.failed))
    }
}

fn api(name: &str, listen: SocketAddr, base: &str, upstream: SocketAddr) -> String {
    format!(
        "---\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata: {{name: {name}}}\n\
         spec: {{address: \"http://{listen}{base}\", services: {{s: {{address: \"http://{upstream}\"}}}}}}\n"
    )
}

fn basic(api: &str) -> String {
    format!(
        "---\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: PolicyBinding\nmetadata: {{name: lock-{api}}}\n\
         spec: {{targetRef: {{kind: ApiInstance, name: {api}}}, policyRef: {{name: http-basic-authentication-flex}}, \
         config: {{username: u, password: long-enough}}}}\n"
    )
}

/// A gateway at a port of its own, with one API `one` that asks for a password, and its folder.
struct Locked {
    site: Site,
    gateway: Gateway,
    listen: SocketAddr,
    upstream: SocketAddr,
    spec: GatewaySpec,
}

impl Locked {
    async fn start(reload: &str, more: &[&str]) -> Self {
        let site = Site::new().unwrap();
        let upstream = upstream::spawn("127.0.0.1:0").await.unwrap();
        let listen = reserve().unwrap();
        let conf = site.path("edge/conf.d");
        fs::create_dir_all(&conf).unwrap();
        fs::write(conf.join("one.yaml"), api("one", listen, "/one", upstream)).unwrap();
        fs::write(conf.join("lock.yaml"), basic("one")).unwrap();
        let mut spec = GatewaySpec::new("here", "edge", upstream);
        spec.apis.clear();
        spec.workers = 2;
        spec.reload = reload.to_owned();
        spec.more_args = more.iter().map(|arg| (*arg).to_owned()).collect();
        let gateway = Gateway::start(&site, &spec).unwrap();
        Self { site, gateway, listen, upstream, spec }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.gateway.conf.join(name)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listen)
    }

    fn kept(&self) -> PathBuf {
        self.site.path("edge/spool.state/generations")
    }

    async fn reloads(&self) -> Value {
        self.gateway.status().await.unwrap()["reloads"].take()
    }

    async fn waits_for(&self, what: &str) -> Value {
        eventually(what, async || {
            let waiting = self.reloads().await["waiting"].take();
            (waiting["waits_for"] == what).then_some(waiting)
        })
        .await
    }

    async fn generation(&self, number: u64) {
        eventually(&format!("generation {number} serves"), async || {
            (self.gateway.status().await.ok()?["serving"]["all_workers"] == number).then_some(())
        })
        .await;
    }

    async fn metric(&self, name: &str) -> f64 {
        let (_, text) = get(&format!("http://{}/metrics", self.gateway.admin)).await.unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

/// O1, by the defaults of a gateway: a binding goes and comes back 0.5 s later, and a new API lands 0.5 s before its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_api_is_open_while_files_arrive_one_by_one() {
    let edge = Locked::start("{}", &[]).await;
    let load = Load::on(vec![edge.url("/one/fast"), edge.url("/two/fast")]);
    let between = || tokio::time::sleep(Duration::from_millis(500));
    for _ in 0..3 {
        let lock = fs::read_to_string(edge.file("lock.yaml")).unwrap();
        fs::remove_file(edge.file("lock.yaml")).unwrap();
        between().await;
        fs::write(edge.file("lock.yaml"), lock).unwrap();
        between().await;
    }
    fs::write(edge.file("two.yaml"), api("two", edge.listen, "/two", edge.upstream)).unwrap();
    between().await;
    fs::write(edge.file("two-lock.yaml"), basic("two")).unwrap();
    edge.generation(2).await;
    let before = load.locked();
    eventually("the new API is asked", async || (load.locked() > before + 100).then_some(())).await;
    let (open, locked, failed) = load.end().await;
    assert!(open == 0 && failed == 0 && locked > 200, "{open} open, {locked} locked, {failed} failed");
}

/// O1, for a deployment that says when it is complete: 200 files over seconds, each API before its policy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_deployment_is_one_change_where_it_says_that_it_is_complete() {
    let edge = Locked::start("{mode: explicit, quietPeriod: 50ms}", &[]).await;
    let load = Load::on((0..100).step_by(9).map(|n| edge.url(&format!("/api-{n}/fast"))).collect());
    for n in 0..100 {
        let name = format!("api-{n}");
        let text = api(&name, edge.listen, &format!("/{name}"), edge.upstream);
        fs::write(edge.file(&format!("{name}.yaml")), text).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        fs::write(edge.file(&format!("{name}-lock.yaml")), basic(&name)).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let waiting = edge.waits_for("reload").await;
    assert!(waiting["since"].is_string());
    assert_eq!(load.locked(), 0, "nothing of it is served yet");
    let (code, out, error) = weirctl(&edge.gateway, &["reload", "--wait", "--json"]);
    let said: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code} {out} {error}"));
    assert_eq!((code, &said["generation"], &said["serving"]), (0, &2.into(), &2.into()));
    eventually("the new APIs are asked", async || (load.locked() > 100).then_some(())).await;
    let (open, _, failed) = load.end().await;
    assert_eq!((open, failed), (0, 0));
    let (code, out, _) = weirctl(&edge.gateway, &["reload", "--wait=5"]);
    assert_eq!((code, out.as_str()), (0, "generation 2 (unchanged)\n"));
    // A wrong edit: its mistakes, and exit code 1.
    fs::write(edge.file("wrong.yaml"), "kind: Nothing\n").unwrap();
    let (code, _, error) = weirctl(&edge.gateway, &["reload", "--wait"]);
    assert!(code == 1 && error.contains("wrong.yaml"), "{code}: {error}");
    // Nobody there.
    let (code, _, error) = weirctl_at(&format!("http://{}", reserve().unwrap()), &["reload"]);
    assert!(code == 3 && error.contains("is it running"), "{code}: {error}");
    let (code, _, error) = weirctl_at("unix:/nowhere/admin.sock", &["reload"]);
    assert!(code == 3 && error.contains("does the gateway run"), "{code}: {error}");
}

/// O2: an emptied file, an empty folder, a cut file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_everything_away_waits_and_closes_no_port() {
    let edge = Locked::start("{quietPeriod: 100ms, removalPeriod: 1h}", &[]).await;
    let load = Load::on(vec![edge.url("/one/fast")]);
    let texts = ["one.yaml", "lock.yaml"].map(|name| (name, fs::read_to_string(edge.file(name)).unwrap()));
    let put_back = || texts.iter().for_each(|(name, text)| fs::write(edge.file(name), text).unwrap());
    let said = async |what: &str| {
        let waiting = edge.waits_for("removal_period").await;
        assert!(waiting["removals"].to_string().contains(what), "{waiting}");
        assert!(edge.metric("weir_config_pending_since_timestamp_seconds{waits_for=\"removal_period\"}").await > 1e9);
        put_back();
        eventually("nothing waits", async || edge.reloads().await["waiting"].is_null().then_some(())).await;
    };
    // (a)
    fs::write(edge.file("lock.yaml"), "").unwrap();
    said("had resources and has none").await;
    // (b) but for the settings, without which nothing would say how long to wait at the next start
    texts.iter().for_each(|(name, _)| fs::remove_file(edge.file(name)).unwrap());
    said("every API would go: `one`").await;
    // (c)
    let both = texts.iter().map(|(_, text)| text.as_str()).collect::<String>();
    fs::remove_file(edge.file("lock.yaml")).unwrap();
    fs::write(edge.file("one.yaml"), &both).unwrap();
    let (code, _, error) = weirctl(&edge.gateway, &["reload", "--wait"]);
    assert_eq!(code, 0, "{error}");
    fs::write(edge.file("one.yaml"), &texts[0].1).unwrap();
    let waiting = edge.waits_for("removal_period").await;
    assert!(waiting["removals"].to_string().contains("is cut off"), "{waiting}");
    assert!(waiting["removals"].to_string().contains("API `one` would lose its policy"), "{waiting}");
    edge.site.logged("edge", "every API would go").await;
    edge.site.logged("edge", "is cut off").await;
    // The folder itself is away.
    let away = edge.site.path("away");
    fs::rename(&edge.gateway.conf, &away).unwrap();
    eventually("it is reported", async || {
        edge.reloads().await["last_error"].as_str().filter(|error| error.contains("create it")).map(drop)
    })
    .await;
    fs::rename(&away, &edge.gateway.conf).unwrap();
    let (open, locked, failed) = load.end().await;
    assert!(open == 0 && failed == 0 && locked > 100, "{open} open, {locked} locked, {failed} failed");
    // And whoever asks for it gets it at once.
    let (code, out, _) = weirctl(&edge.gateway, &["reload", "--wait"]);
    assert_eq!((code, out.as_str()), (0, "generation 3\n"));
    assert_eq!(get(&edge.url("/one/fast")).await.unwrap().0, 200);
}

/// O3: a port that another program holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_for_a_passing_reason_is_tried_again() {
    let edge = Locked::start("{quietPeriod: 100ms}", &[]).await;
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    fs::write(edge.file("two.yaml"), api("two", taken, "/two", edge.upstream)).unwrap();
    let retrying = async || edge.reloads().await["retrying"].as_bool().filter(|retrying| *retrying).map(drop);
    eventually("it is tried again", retrying).await;
    assert_eq!(edge.metric("weir_config_retrying").await, 1.0);
    drop(other);
    eventually("the port is served", async || {
        (get(&format!("http://{taken}/two/fast")).await.ok()?.0 == 200).then_some(())
    })
    .await;
    assert!(edge.reloads().await["last_error"].is_null());
    // At once, where somebody asks: three failures, and the next attempt by itself would be seconds away.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    fs::write(edge.file("three.yaml"), api("three", taken, "/three", edge.upstream)).unwrap();
    eventually("it is tried again", retrying).await;
    let (code, _, error) = weirctl(&edge.gateway, &["reload"]);
    assert!(code == 1 && error.contains("is taken by another process"), "{code}: {error}");
    drop(other);
    let (code, _, error) = weirctl(&edge.gateway, &["reload", "--wait"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(get(&format!("http://{taken}/three/fast")).await.unwrap().0, 200);
}

/// O5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_start_reads_is_named_until_then() {
    let mut edge = Locked::start("{quietPeriod: 100ms}", &[]).await;
    let settings = fs::read_to_string(edge.file("gateway.yaml")).unwrap();
    fs::write(edge.file("gateway.yaml"), settings.replace("site: here", "site: there")).unwrap();
    edge.generation(2).await;
    assert_eq!(edge.reloads().await["restart_required"].to_string(), "[\"spec.identity\"]");
    assert_eq!(edge.metric("weir_config_restart_required{setting=\"spec.identity\"}").await, 1.0);
    assert_eq!(edge.metric("weir_config_restart_required{setting=\"spec.spool\"}").await, 0.0);
    fs::write(edge.file("gateway.yaml"), &settings).unwrap();
    edge.generation(3).await;
    assert_eq!(edge.reloads().await["restart_required"].to_string(), "[]");
    // A start with the same files is the same generation.
    let stopped = std::mem::replace(
        &mut edge.gateway,
        Gateway::start(&edge.site, &GatewaySpec::new("x", "spare", edge.upstream)).unwrap(),
    );
    assert!(stopped.process.stop(Duration::from_secs(60)).unwrap().success());
    edge.gateway = Gateway::start(&edge.site, &edge.spec).unwrap();
    edge.generation(3).await;
}

/// O12: SIGHUP loads now, the others do nothing, and none ends the gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_loads_and_no_other_signal_ends_the_gateway() {
    let mut edge = Locked::start("{mode: explicit}", &[]).await;
    for signal in [Signal::USR1, Signal::USR2] {
        edge.gateway.process.signal(signal);
    }
    fs::write(edge.file("two.yaml"), api("two", edge.listen, "/two", edge.upstream)).unwrap();
    edge.gateway.process.signal(Signal::HUP);
    edge.generation(2).await;
    assert_eq!(get(&edge.url("/two/fast")).await.unwrap().0, 200);
    assert!(edge.gateway.process.ended().is_none());
}

/// O12 and O6: weir-analytics reads its tokens again, whatever their file's time and length; weir-chdb goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_do_not_end_what_stands_behind_a_gateway() {
    let stack = TestStack::start(None).await.unwrap();
    let tokens = stack.site.path("tokens");
    let text = fs::read_to_string(&tokens).unwrap();
    let times = fs::File::open(&tokens).unwrap().metadata().unwrap().modified().unwrap();
    let other = text.replace("token-edge", "token-egde");
    assert_eq!(other.len(), text.len());
    fs::write(&tokens, other).unwrap();
    fs::File::options().write(true).open(&tokens).unwrap().set_modified(times).unwrap();
    for signal in [Signal::USR1, Signal::USR2, Signal::HUP] {
        stack.signal(weir_e2e::Part::Engine, signal);
        stack.signal(weir_e2e::Part::Analytics, signal);
    }
    eventually("the tokens are read again", async || {
        stack.site.log("analytics").contains("tokens read again").then_some(())
    })
    .await;
    let health = format!("http://{}/healthz", stack.analytics_at);
    assert_eq!(get(&health).await.unwrap().0, 200);
    assert_eq!(get(&format!("http://{}/ping", stack.engine_at)).await.unwrap().0, 200);
    // Nobody asks now: by content, though time and length are those of before.
    fs::write(&tokens, text.replace("token-edge", "token-gede")).unwrap();
    fs::File::options().write(true).open(&tokens).unwrap().set_modified(times).unwrap();
    eventually("the tokens are read again", async || {
        (stack.site.log("analytics").matches("tokens read again").count() > 1).then_some(())
    })
    .await;
}

/// Kept as they were read, for their owner alone; brought back when asked, and confirmed where that opens something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_brings_back_what_was_kept() {
    let edge = Locked::start("{quietPeriod: 100ms, removalPeriod: 0ms}", &[]).await;
    fs::write(edge.file("lock.yaml"), basic("one").replace("username: u", "username: $HOME")).unwrap();
    edge.generation(2).await;
    // It is kept once it serves.
    let text = eventually("it is kept", async || fs::read_to_string(edge.kept().join("2.json")).ok()).await;
    assert!(text.contains("$HOME"), "{text}");
    fs::remove_file(edge.file("lock.yaml")).unwrap();
    edge.generation(3).await;
    assert_eq!(get(&edge.url("/one/fast")).await.unwrap().0, 200);
    // Back to the password: that opens nothing.
    let (code, out, error) = weirctl(&edge.gateway, &["rollback", "--wait"]);
    assert_eq!((code, out.as_str()), (0, "generation 4\n"), "{error}");
    assert_eq!(get(&edge.url("/one/fast")).await.unwrap().0, 401);
    let fallback = edge.reloads().await["fallback"].take();
    assert_eq!((&fallback["generation"], &fallback["cause"]), (&2.into(), &"rollback".into()));
    assert_eq!(edge.metric("weir_config_fallback{cause=\"rollback\"}").await, 1.0);
    // Forward again: it takes a policy away, and nobody is there to confirm it.
    let (code, _, error) = weirctl(&edge.gateway, &["rollback", "--to", "3"]);
    assert!(code == 1 && error.contains("would lose its policy") && error.contains("--yes"), "{code}: {error}");
    assert_eq!(get(&edge.url("/one/fast")).await.unwrap().0, 401);
    let (code, _, error) = weirctl(&edge.gateway, &["rollback", "--to", "3", "--yes", "--wait"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(get(&edge.url("/one/fast")).await.unwrap().0, 200);
    let (code, _, error) = weirctl(&edge.gateway, &["rollback", "--to", "17"]);
    assert!(code == 1 && error.contains("1, 2, 3"), "{code}: {error}");
    // The folder says what it said, and is loaded when somebody asks.
    let (code, out, _) = weirctl(&edge.gateway, &["reload"]);
    assert_eq!((code, out.as_str()), (0, "generation 6\n"));
    assert!(edge.reloads().await["fallback"].is_null());
    let audit = fs::read_to_string(edge.site.path("edge/spool.state/audit.log")).unwrap();
    assert_eq!(audit.lines().filter(|line| line.contains("\"what\":\"rollback\"")).count(), 3, "{audit}");
    assert!(audit.contains("\"what\":\"reload\""));
}

/// A page of a browser, a foreign name, and whoever does not know the token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_administrator_reloads_where_there_is_a_token() {
    let tokens = tempfile::tempdir().unwrap();
    let token = tokens.path().join("token");
    fs::write(&token, "a-token-of-the-administrator\n").unwrap();
    let edge = Locked::start("{}", &["--admin-token-file", &token.to_string_lossy()]).await;
    let port = format!("http://{}", edge.gateway.admin);
    let (code, _, error) = weirctl_at(&port, &["reload"]);
    assert!(code == 3 && error.contains("401"), "{code}: {error}");
    let (code, out, _) = weirctl_at(&port, &["reload", "--token-file", &token.to_string_lossy()]);
    assert_eq!((code, out.as_str()), (0, "generation 1 (unchanged)\n"));
    // The gateway's user needs none at the socket.
    let (code, out, _) = weirctl(&edge.gateway, &["reload"]);
    assert_eq!((code, out.as_str()), (0, "generation 1 (unchanged)\n"));
    let status = |header: &str| {
        let output = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", "-H", header])
            .args(["-H", "Authorization: Bearer a-token-of-the-administrator"])
            .arg(format!("http://{}/reload", edge.gateway.admin))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(status("Host: attacker.example"), "421");
    assert_eq!(status("Origin: http://attacker.example"), "403");
    assert_eq!(status("X-Nothing: x"), "200");
}

/// Without a token the port is for readers, also from this machine: a proxy on it makes strangers look like one. The
/// refusal says what to do, and that is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_only_the_gateways_user_reloads_at_its_socket() {
    let edge = Locked::start("{}", &[]).await;
    let port = format!("http://{}", edge.gateway.admin);
    for command in ["reload", "rollback"] {
        let (code, _, error) = weirctl_at(&port, &[command]);
        assert!(code == 3 && error.contains("403") && error.contains("--admin-token-file FILE"), "{code}: {error}");
    }
    let (_, _, error) = weirctl_at(&port, &["reload"]);
    let named = error.split_once("weirctl --admin ").unwrap().1.split('`').next().unwrap();
    let (code, out, error) = weirctl_at(named, &["reload", "--wait"]);
    assert_eq!((code, out.as_str()), (0, "generation 1 (unchanged)\n"), "{error}");
    // The whole of the admin API is there.
    let (code, out, error) = weirctl_at(named, &["dump"]);
    assert!(code == 0 && out.contains("\"configuration\""), "{code}: {error}");
    assert_eq!(weirctl_at(named, &["probe", "--check", "readiness"]).0, 0);
    let audit = fs::read_to_string(edge.site.path("edge/spool.state/audit.log")).unwrap();
    assert!(audit.lines().count() == 1 && audit.contains("\"who\":\"user "), "{audit}");

    // A page of a browser gets no further by whatever leads it there.
    let status = |header: &str| {
        let output = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", "-H", header, "--unix-socket"])
            .arg(&edge.gateway.socket)
            .arg("http://localhost/reload")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(status("X-Nothing: x"), "200");
    assert_eq!(
        (status("Host: attacker.example"), status("Origin: http://attacker.example")),
        ("421".into(), "403".into())
    );

    // Another user of the machine does not get in, though the socket is found.
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let state = edge.gateway.socket.parent().unwrap();
    assert_eq!((mode(state), mode(&edge.gateway.socket)), (0o700, 0o600));
    if rustix::process::geteuid().is_root() {
        // A folder that lets everybody in: the socket itself does not.
        for folder in state.ancestors().take(3) {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let nobody = || {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "curl", "-s", "--unix-socket"]);
            command.arg(&edge.gateway.socket).arg("http://localhost/status").output().unwrap()
        };
        assert_eq!(nobody().status.code(), Some(7), "curl: no connection");
        // Nor where its mode was changed: the system says who calls.
        fs::set_permissions(&edge.gateway.socket, fs::Permissions::from_mode(0o777)).unwrap();
        let said = nobody();
        assert_eq!(String::from_utf8_lossy(&said.stdout), "this socket is for the user of the gateway\n");
    }
}

/// Another place for it; one that cannot be is a refusal where somebody asked for it, and a warning where nobody did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_socket_is_can_be_said() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run/weir.sock");
    let edge = Locked::start("{}", &["--admin-socket", &socket.to_string_lossy()]).await;
    let (code, _, error) = weirctl_at(&format!("unix:{}", socket.display()), &["reload"]);
    assert_eq!(code, 0, "{error}");
    assert!(!edge.gateway.socket.exists(), "and none where it would be");
    let Locked { site: _site, gateway, .. } = edge;
    let conf = gateway.conf.clone();
    assert!(gateway.process.stop(Duration::from_secs(60)).unwrap().success());
    let long = folder.path().join("x".repeat(120));
    let mut command = Command::new(program("weir").unwrap());
    command.args(["run", "--config"]).arg(&conf).arg("--state").arg(folder.path().join("state"));
    command.env("WEIR_LOG", "warn");
    let refused = command.arg("--admin-socket").arg(long.join("admin.sock")).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("give another path by --admin-socket"), "{said}");

    let edge = Locked::start("{}", &["--state", &long.to_string_lossy()]).await;
    assert!(edge.site.log("edge").contains("there is no admin socket"), "{}", edge.site.log("edge"));
    let (code, _, error) = weirctl_at(&format!("http://{}", edge.gateway.admin), &["reload"]);
    assert!(code == 3 && error.contains("403"), "{code}: {error}");
}

/// `--last-good`: broken, or empty, at the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_a_broken_folder_starts_with_the_last_good_generation() {
    let edge = Locked::start("{quietPeriod: 100ms}", &["--last-good"]).await;
    let Locked { site, gateway, listen, spec, .. } = edge;
    let conf = gateway.conf.clone();
    let url = format!("http://{listen}/one/fast");
    assert!(gateway.process.stop(Duration::from_secs(60)).unwrap().success());
    let broken = |name: &str, text: &str| {
        fs::remove_dir_all(&conf).unwrap();
        fs::create_dir(&conf).unwrap();
        fs::write(conf.join(name), text).unwrap();
    };
    let state = site.path("edge/spool.state").to_string_lossy().into_owned();
    for (name, text, why) in [("bad.yaml", "kind: Nothing\n", "Nothing"), ("notes.txt", "", "the folders are empty")] {
        broken(name, text);
        let mut spec = spec.clone();
        spec.more_args.extend(["--state".to_owned(), state.clone()]);
        let gateway = Gateway::start_as_it_is(&site, &spec).unwrap();
        assert_eq!(get(&url).await.unwrap().0, 401, "with its policy");
        let fallback = gateway.status().await.unwrap()["reloads"]["fallback"].take();
        assert_eq!((&fallback["cause"], &fallback["generation"]), (&"last_good".into(), &1.into()));
        assert!(fallback["why"].as_str().unwrap().contains(why), "{fallback}");
        site.logged("edge", "the last good generation runs").await;
        assert!(gateway.process.stop(Duration::from_secs(60)).unwrap().success());
    }
    // Without the option it does not start: what the folders say counts.
    broken("bad.yaml", "kind: Nothing\n");
    let mut spec = spec.clone();
    spec.more_args = vec!["--state".to_owned(), state];
    assert!(Gateway::start_as_it_is(&site, &spec).is_err());
    assert!(Path::new(&conf).exists());
}
