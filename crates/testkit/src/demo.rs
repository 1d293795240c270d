//! The demo: two gateways chained across two sites, an upstream, ClickHouse embedded, the page - all real, on
//! loopback - under steady traffic by the witness, which at the end says whether anything was lost.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use weir_testkit::process::{Process, program};
use weir_testkit::witness::{Plan, Witness, demo_mix, read_log};
use weir_testkit::{compare, get, upstream};

const READY: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);

/// How the demo runs.
#[derive(clap::Args)]
pub struct Options {
    /// Where logs, configuration and data go; made anew at every start.
    #[arg(long, default_value = ".demo")]
    dir: PathBuf,
    /// Requests a second.
    #[arg(long, default_value_t = 150.0)]
    rate: f64,
    /// End by itself after so many seconds, as Ctrl-C would.
    #[arg(long)]
    seconds: Option<u64>,
}

/// Where everything is.
struct Addresses {
    upstream: SocketAddr,
    clickhouse: SocketAddr,
    analytics: SocketAddr,
    edge: SocketAddr,
    edge_admin: SocketAddr,
    core: SocketAddr,
    core_admin: SocketAddr,
}

/// The programs, in the order in which they end.
struct Running {
    edge: Process,
    core: Process,
    analytics: Process,
    clickhouse: Process,
}

/// What ends the demo. It is listened to before the first program starts: a signal that ended this process would leave
/// the others running.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Ends {
    fn listen() -> io::Result<Self> {
        let [interrupt, terminate, hang_up] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self { interrupt: interrupt?, terminate: terminate?, hang_up: hang_up? })
    }

    async fn come(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// Runs the demo. Answers whether the witness found everything in place.
pub async fn run(options: Options) -> io::Result<bool> {
    let began = Instant::now();
    let mut ends = Ends::listen()?;
    let dir = fresh(&options.dir)?;
    println!("\n  Weir demo: two gateways on two sites, every request accounted for\n");
    let addresses = addresses().await?;
    configure(&dir, &addresses)?;
    let mut running = start(&dir, &addresses)?;
    let plan = Plan {
        target: addresses.edge,
        connections: 16,
        rate: Some(options.rate),
        requests: None,
        duration: Some(Duration::from_secs(options.seconds.unwrap_or(24 * 3600))),
        mix: demo_mix(),
        log: dir.join("witness.ndjson"),
    };
    let witness = Witness::start(plan)?;
    tokio::select! {
        shown = first_figure(&addresses, began) => shown?,
        () = ends.come() => return Err(io::Error::other("a signal to end before there was a figure")),
    }
    explain(&addresses, &running, &dir);
    watch(&witness, &mut running, options.seconds, &mut ends).await?;
    settle(witness, running, &addresses, &dir).await
}

fn fresh(dir: &Path) -> io::Result<PathBuf> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    for sub in ["log", "edge/conf.d", "core/conf.d", "clickhouse", "analytics"] {
        std::fs::create_dir_all(dir.join(sub))?;
    }
    dir.canonicalize()
}

async fn addresses() -> io::Result<Addresses> {
    Ok(Addresses {
        upstream: upstream::spawn("127.0.0.1:0").await?,
        clickhouse: address(8123)?,
        analytics: address(8686)?,
        edge: address(8080)?,
        edge_admin: address(9901)?,
        core: address(8081)?,
        core_admin: address(9902)?,
    })
}

/// The usual port where it is free, otherwise some other.
fn address(usual: u16) -> io::Result<SocketAddr> {
    let probe = TcpListener::bind(("127.0.0.1", usual)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)))?;
    probe.local_addr()
}

fn configure(dir: &Path, at: &Addresses) -> io::Result<()> {
    std::fs::write(
        dir.join("tokens"),
        "# token organization environment site gateway\n\
         demo-token-edge acme demo on-prem edge\n\
         demo-token-core acme demo cloud core\n",
    )?;
    let edge = gateway_yaml(dir, "on-prem", "edge", at.edge_admin, at.analytics, "")
        + &api_yaml("orders", at.edge, at.core, "/orders", BASIC_AUTH)
        + &api_yaml("users", at.edge, at.core, "/users", "");
    std::fs::write(dir.join("edge/conf.d/gateway.yaml"), edge)?;
    let core = gateway_yaml(dir, "cloud", "core", at.core_admin, at.analytics, EDGE_IS_A_PEER)
        + &api_yaml("orders", at.core, at.upstream, "", "")
        + &api_yaml("users", at.core, at.upstream, "", "");
    std::fs::write(dir.join("core/conf.d/gateway.yaml"), core)
}

/// The edge connects from there, and so does whoever asks the core without saying from where: see [`explain`].
const EDGE_IS_A_PEER: &str = "  peerGateways: [127.0.0.1]\n";

const BASIC_AUTH: &str = "
  policies:
    - policyRef: {name: http-basic-authentication-flex}
      config: {username: witness, password: demo}";

fn gateway_yaml(dir: &Path, site: &str, gateway: &str, admin: SocketAddr, analytics: SocketAddr, more: &str) -> String {
    let spool = dir.join(gateway).join("spool");
    format!(
        "apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {{name: gateway}}
spec:
  identity: {{organization: acme, environment: demo, site: {site}, gateway: {gateway}}}
  admin: {{address: \"{admin}\"}}
  analytics: {{endpoint: \"http://{analytics}\", token: demo-token-{gateway}}}
  spool: {{path: \"{}\", maxBytes: 256MiB, maxAge: 6h, ringBytes: 4MiB}}
  trustedPeers: [127.0.0.0/8]
{more}",
        spool.display()
    )
}

fn api_yaml(name: &str, listen: SocketAddr, to: SocketAddr, destination: &str, policies: &str) -> String {
    // Who sends to a path of the other gateway sends to a gateway, which reports the time on the link.
    let (version, peer, destination) = if destination.is_empty() {
        ("gateway.mulesoft.com/v1alpha1", "", String::new())
    } else {
        let config = format!("\n          config: {{destinationPath: {destination}}}");
        ("gateway.weir.dev/v1", "\n      peerGateway: true", config)
    };
    format!(
        "---
apiVersion: {version}
kind: ApiInstance
metadata: {{name: {name}}}
spec:
  address: http://{listen}/{name}
  services:
    main:
      address: http://{to}{peer}
      routes:
        - rules: [{{path: /.*}}]{destination}{policies}
"
    )
}

fn start(dir: &Path, at: &Addresses) -> io::Result<Running> {
    let clickhouse = step(
        "ClickHouse, embedded (weir-chdb)",
        dir,
        "weir-chdb",
        &["--listen", &at.clickhouse.to_string(), "--path", &dir.join("clickhouse").to_string_lossy()],
    )?;
    let analytics = step(
        "ingest, queries and the page (weir-analytics)",
        dir,
        "weir-analytics",
        &[
            "--listen",
            &at.analytics.to_string(),
            "--clickhouse",
            &format!("http://{}", at.clickhouse),
            "--tokens",
            &dir.join("tokens").to_string_lossy(),
            "--state",
            &dir.join("analytics").to_string_lossy(),
        ],
    )?;
    let gateway = |what, folder: &str| {
        let conf = dir.join(folder).join("conf.d");
        step(what, dir, "weir", &["run", "--workers", "1", "--name", folder, "--config", &conf.to_string_lossy()])
    };
    let core = gateway("the cloud gateway `core` (weir)", "core")?;
    let edge = gateway("the on-prem gateway `edge` (weir)", "edge")?;
    Ok(Running { edge, core, analytics, clickhouse })
}

fn step(what: &str, dir: &Path, name: &str, args: &[&str]) -> io::Result<Process> {
    let began = Instant::now();
    let mut command = Command::new(program(name)?);
    // In a group of its own: Ctrl-C is the demo's, which ends its children in order.
    command.args(args).process_group(0);
    let log = dir.join("log").join(format!("{}.log", args.get(4).filter(|_| name == "weir").unwrap_or(&name)));
    let mut process = Process::start(name, command, &log)?;
    process.wait_until_listening(READY).map_err(|error| {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let last: Vec<_> = said.lines().rev().take(5).collect();
        io::Error::other(format!("{error}\n  the end of {}:\n  {}", log.display(), last.join("\n  ")))
    })?;
    println!("  started {what:<52} {:>5.1} s", began.elapsed().as_secs_f64());
    Ok(process)
}

async fn first_figure(at: &Addresses, began: Instant) -> io::Result<()> {
    let deadline = Instant::now() + READY;
    let url = format!("http://{}/api/v1/overview?minutes=60", at.analytics);
    loop {
        if let Ok((200, body)) = get(&url).await
            && body.contains("on-prem")
        {
            println!("  first figure on the page after {:.1} s\n", began.elapsed().as_secs_f64());
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("no figure at {url} within {} s; see the logs", READY.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn explain(at: &Addresses, running: &Running, dir: &Path) {
    let ctl = program("weirctl").map_or_else(|_| "weirctl".to_owned(), |path| path.display().to_string());
    println!("  the page          http://{}/   (the last hour, as it goes on: /live)", at.analytics);
    println!("  on-prem gateway   http://{}/orders/fast   (admin http://{})", at.edge, at.edge_admin);
    println!("  cloud gateway     http://{}/orders/fast   (admin http://{})", at.core, at.core_admin);
    println!("  ClickHouse        http://{}/?query=SELECT+count()+FROM+weir.access_events", at.clickhouse);
    println!("  logs and data     {}\n", dir.display());
    println!("  try:");
    println!("    {ctl} --admin http://{} --admin http://{} tail", at.edge_admin, at.core_admin);
    println!("    {ctl} --analytics http://{} ledger", at.analytics);
    println!("    curl -si http://{}/users/fast | grep -i x-request-id      # then:", at.edge);
    println!("    {ctl} --analytics http://{} trace <the first half of that id>", at.analytics);
    println!("    curl -si --interface 127.0.0.2 http://{}/users/fast   # past the edge: what comes to the", at.core);
    println!("                     # cloud gateway from 127.0.0.1 is taken for the edge's, and not for a user's");
    println!("    kill {}      # the cloud gateway: watch the page and a trace say so\n", running.core.id());
    println!("  Ctrl-C ends everything and asks the witness whether anything was lost.\n");
}

async fn watch(witness: &Witness, running: &mut Running, seconds: Option<u64>, ends: &mut Ends) -> io::Result<()> {
    let mut tick = tokio::time::interval(Duration::from_secs(10));
    let end = tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(u64::from(u32::MAX))));
    tokio::pin!(end);
    let mut core_reported = false;
    loop {
        tokio::select! {
            () = ends.come() => return Ok(()),
            () = &mut end => return Ok(()),
            _ = tick.tick() => {
                let tally = witness.tally();
                println!("  sent {:>8}   whole {:>8}   broken off {:>6}", tally.sent, tally.completed, tally.failed);
                if !core_reported && let Some(status) = running.core.ended() {
                    core_reported = true;
                    println!("  the cloud gateway has ended ({status}); the on-prem one answers 502 for it now");
                }
            }
        }
    }
}

/// Whether some gateway has left chunks in its spool.
fn holds_chunks(dir: &Path) -> bool {
    let lives = ["edge", "core"].iter().filter_map(|name| std::fs::read_dir(dir.join(name).join("spool")).ok());
    let chunks = lives.flatten().flatten().filter_map(|life| std::fs::read_dir(life.path().join("chunks")).ok());
    chunks.flatten().next().is_some()
}

/// Waits, for as long as it goes on, until the gateway holds nothing that is not acknowledged.
async fn shipped(admin: SocketAddr) {
    let mut least = u64::MAX;
    let mut patience = Instant::now();
    while let Ok((200, metrics)) = get(&format!("http://{admin}/metrics")).await {
        let of = |name: &str| metrics.lines().filter(|line| line.starts_with(name)).filter_map(sample).sum::<u64>();
        let ring = of("weir_events_accepted_total").saturating_sub(of("weir_events_written_total"));
        let left = of("weir_spool_chunks ") + ring;
        if left < least {
            (least, patience) = (left, Instant::now());
        }
        if left == 0 || patience.elapsed() > Duration::from_secs(10) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn sample(line: &str) -> Option<u64> {
    line.rsplit(' ').next()?.parse().ok()
}

async fn settle(witness: Witness, running: Running, at: &Addresses, dir: &Path) -> io::Result<bool> {
    println!("\n  ending: the witness first, then the gateways, once they have shipped what they hold");
    let tally = witness.stop().await?;
    shipped(at.edge_admin).await;
    running.edge.stop(STOP)?;
    running.core.stop(STOP)?;
    let client = clickhouse::Client::default().with_url(format!("http://{}", at.clickhouse)).with_database("weir");
    let stored = compare::stored(&client, "edge").await.map_err(io::Error::other)?;
    let report = compare::compare(&read_log(&dir.join("witness.ndjson"))?, &stored);
    running.analytics.stop(STOP)?;
    running.clickhouse.stop(STOP)?;
    println!("  the witness:  {report}");
    println!("  {} of {} requests answered whole\n", tally.completed, tally.sent);
    let verdict = match (report.holds(), holds_chunks(dir)) {
        (true, _) => "nothing was lost",
        (false, true) => {
            "not all has arrived: the gateways hold the rest on disk, and ship it when they are started again"
        }
        (false, false) => "SOMETHING IS WRONG: please keep .demo and tell us",
    };
    println!("  {verdict}\n");
    Ok(report.holds())
}
