//! The whole stack for one gateway: upstream, engine, analytics, gateway - each of which can be killed and started
//! again at its own address, with a failpoint armed in it.

use crate::{DEADLINE, Gateway, GatewaySpec, Site, disagreement, eventually};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use weir_testkit::fault_proxy::{FaultProxy, Mode};
use weir_testkit::holding_proxy::HoldingProxy;
pub use weir_testkit::ports::reserve;
use weir_testkit::process::{Process, program};
use weir_testkit::{compare, get, upstream, witness};

/// For the stack's gateway, and for one that a test may put in front of it.
const TOKENS: &str = "token-edge acme test here edge\ntoken-front acme test on-prem front\n";

/// In the file `admin-token` of the site: for calls to weir-analytics that change state.
const ADMIN_TOKEN: &str = "a-token-of-the-administrator\n";

/// What a stack has beside its programs.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Armed in one part at its first start.
    pub failpoint: Option<(Part, &'static str)>,
    /// Disks of their own, which can be filled up; each with its size as mount(8) takes it.
    pub disks: Vec<(Part, &'static str)>,
    /// A network between gateway and weir-analytics that can be made to misbehave.
    pub bad_network: bool,
    /// A proxy between weir-analytics and the engine that can keep an insert back.
    pub holding_proxy: bool,
    /// The wall clocks of gateway and weir-analytics can be set, each by itself; how far they are off at the start.
    pub clocks: Option<&'static str>,
    /// The gateway obeys the permissions of files, as a user without privileges does.
    pub unprivileged: bool,
    /// The members of the gateway's `spool` beside `path` and `ringBytes`, in place of the usual ones.
    pub spool: Option<&'static str>,
    pub ring: Option<&'static str>,
    pub workers: Option<u16>,
    /// More arguments of weir-analytics.
    pub analytics: &'static [&'static str],
}

/// What can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Engine,
    Analytics,
    Gateway,
}

impl Part {
    /// What its log and its disk go by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Analytics => "analytics",
            Self::Gateway => "edge",
        }
    }

    /// Where it keeps what must outlive it.
    fn folder(self) -> &'static str {
        match self {
            Self::Engine => "engine.d",
            Self::Analytics => "analytics.d",
            Self::Gateway => "edge/spool",
        }
    }
}

/// One gateway and everything behind it. Parts end with the stack.
pub struct TestStack {
    pub site: Site,
    /// As the gateway is configured at its next start.
    pub spec: GatewaySpec,
    /// More arguments of weir-analytics, from its next start on.
    pub analytics_args: Vec<String>,
    /// Variables of weir-analytics, from its next start on.
    pub analytics_env: Vec<(&'static str, String)>,
    gateway: Option<Gateway>,
    analytics: Option<Process>,
    engine: Option<Process>,
    pub analytics_at: SocketAddr,
    pub engine_at: SocketAddr,
    pub gateway_at: SocketAddr,
    /// Between gateway and analytics, where it was asked for.
    pub network: Option<FaultProxy>,
    /// Between analytics and engine, where it was asked for.
    pub holding: Option<HoldingProxy>,
    proxy: Option<Process>,
}

impl TestStack {
    /// Starts everything, with `failpoint` armed in one part.
    pub async fn start(failpoint: Option<(Part, &str)>) -> io::Result<Self> {
        Self::build(&Setup::default(), failpoint).await
    }

    /// Sends a signal to one of its programs.
    pub fn signal(&self, part: Part, signal: rustix::process::Signal) {
        let process = match part {
            Part::Engine => self.engine.as_ref(),
            Part::Analytics => self.analytics.as_ref(),
            Part::Gateway => self.gateway.as_ref().map(|gateway| &gateway.process),
        };
        process.into_iter().for_each(|process| process.signal(signal));
    }

    /// Starts everything, with what `setup` asks for.
    pub async fn with(setup: &Setup) -> io::Result<Self> {
        Self::build(setup, setup.failpoint).await
    }

    /// Starts everything, with a network between gateway and analytics that can be made to misbehave.
    pub async fn on_bad_network() -> io::Result<Self> {
        Self::with(&Setup { bad_network: true, ..Setup::default() }).await
    }

    /// Starts everything, with a real nginx and its defaults in front of analytics.
    pub async fn behind_nginx() -> io::Result<Self> {
        let mut stack = Self::start(None).await?;
        let proxy_at = reserve()?;
        let folder = stack.path("nginx.d");
        std::fs::create_dir_all(&folder)?;
        let config = format!(
            "daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}
             http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
               fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
               server {{ listen {proxy_at}; location / {{ proxy_pass http://{}; }} }} }}",
            stack.analytics_at
        );
        std::fs::write(stack.site.path("nginx.conf"), config)?;
        let mut command = std::process::Command::new("nginx");
        command.args(["-c", &stack.path("nginx.conf"), "-e", &format!("{folder}/error.log")]);
        stack.proxy = Some(Process::start("nginx", command, &stack.site.path("nginx.log"))?);
        crate::eventually("nginx answers", async || get(&format!("http://{proxy_at}/healthz")).await.ok()).await;
        stack.stop(Part::Gateway)?;
        stack.spec.analytics = Some((proxy_at, "token-edge".to_owned()));
        // Long paths at speed are more than the small ring of a test holds while a file is synced.
        stack.spec.ring = "16MiB";
        stack.start_part(Part::Gateway, None)?;
        Ok(stack)
    }

    /// Starts everything, one part with a disk of its own of `size`; if it is the gateway, with a ring that is soon full.
    pub async fn on_small_disk(part: Part, size: &'static str) -> io::Result<Self> {
        let ring = (part == Part::Gateway).then_some("128KiB");
        Self::with(&Setup { disks: vec![(part, size)], ring, ..Setup::default() }).await
    }

    async fn build(setup: &Setup, failpoint: Option<(Part, &str)>) -> io::Result<Self> {
        let mut site = Site::new()?;
        let upstream = upstream::spawn("127.0.0.1:0").await?;
        let (analytics_at, engine_at, gateway_at) = (reserve()?, reserve()?, reserve()?);
        let mut spec = GatewaySpec::new("here", "edge", upstream);
        spec.listen = Some(gateway_at);
        spec.spool = setup.spool.unwrap_or(spec.spool);
        spec.ring = setup.ring.unwrap_or(spec.ring);
        spec.workers = setup.workers.unwrap_or(spec.workers);
        for (part, size) in &setup.disks {
            site.small_disk(part.name(), part.folder(), size)?;
        }
        if setup.unprivileged {
            site.unprivileged(Part::Gateway.name());
        }
        for part in setup.clocks.iter().flat_map(|_| [Part::Gateway, Part::Analytics]) {
            site.own_clock(part.name(), setup.clocks.unwrap_or("+0"))?;
        }
        let network = if setup.bad_network { Some(FaultProxy::spawn(analytics_at).await?) } else { None };
        let holding = if setup.holding_proxy { Some(HoldingProxy::spawn(engine_at).await?) } else { None };
        let offered_to = network.as_ref().map_or(analytics_at, |network| network.address);
        spec.analytics = Some((offered_to, "token-edge".to_owned()));
        std::fs::write(site.path("tokens"), TOKENS)?;
        let mut stack = Self {
            site,
            spec,
            analytics_args: setup.analytics.iter().map(|&arg| arg.to_owned()).collect(),
            analytics_env: Vec::new(),
            gateway: None,
            analytics: None,
            engine: None,
            analytics_at,
            engine_at,
            gateway_at,
            network,
            holding,
            proxy: None,
        };
        for part in [Part::Engine, Part::Analytics, Part::Gateway] {
            stack.start_part(part, failpoint.filter(|(armed, _)| *armed == part).map(|(_, name)| name))?;
        }
        Ok(stack)
    }

    /// Starts one part, at its address, with a failpoint armed or none.
    pub fn start_part(&mut self, part: Part, failpoint: Option<&str>) -> io::Result<()> {
        let env: Vec<_> = failpoint.map(|name| ("WEIR_FAILPOINT", name)).into_iter().collect();
        match part {
            // ClickHouse's own code has no failpoints: a test kills it at the moment that it sees.
            Part::Engine => self.engine = Some(self.start_engine()?),
            Part::Analytics => self.analytics = Some(self.start_analytics(&env)?),
            Part::Gateway => self.gateway = Some(Gateway::start_with(&self.site, &self.spec, &env)?),
        }
        Ok(())
    }

    fn start_engine(&self) -> io::Result<Process> {
        let (listen, path) = (self.engine_at.to_string(), self.folder(Part::Engine)?);
        self.ready("engine", "weir-chdb", &["--listen", &listen, "--path", &path], &[])
    }

    fn start_analytics(&self, env: &[(&str, &str)]) -> io::Result<Process> {
        let engine_at = self.holding.as_ref().map_or(self.engine_at, |proxy| proxy.address);
        let (listen, engine) = (self.analytics_at.to_string(), format!("http://{engine_at}"));
        let (tokens, state) = (self.path("tokens"), self.folder(Part::Analytics)?);
        let admin = self.path("admin-token");
        std::fs::write(&admin, ADMIN_TOKEN)?;
        let args = ["--listen", &listen, "--clickhouse", &engine, "--tokens", &tokens, "--state", &state];
        let more: Vec<&str> = self.analytics_args.iter().map(String::as_str).collect();
        let args = [&args[..], &["--admin-token-file", &admin], &more].concat();
        let own = self.analytics_env.iter().map(|(name, value)| (*name, value.as_str()));
        let env: Vec<_> = env.iter().copied().chain(own).collect();
        self.ready("analytics", "weir-analytics", &args, &env)
    }

    fn ready(&self, name: &str, executable: &str, args: &[&str], env: &[(&str, &str)]) -> io::Result<Process> {
        let mut process = self.site.start(name, executable, args, env)?;
        process
            .wait_until_listening(DEADLINE)
            .map_err(|error| io::Error::other(format!("{error}\n{}", self.site.log(name))))?;
        Ok(process)
    }

    fn path(&self, name: &str) -> String {
        self.site.path(name).to_string_lossy().into_owned()
    }

    fn folder(&self, part: Part) -> io::Result<String> {
        let path: PathBuf = self.site.path(part.folder());
        std::fs::create_dir_all(&path)?;
        Ok(path.to_string_lossy().into_owned())
    }

    fn process(&mut self, part: Part) -> Option<&mut Process> {
        match part {
            Part::Engine => self.engine.as_mut(),
            Part::Analytics => self.analytics.as_mut(),
            Part::Gateway => self.gateway.as_mut().map(|gateway| &mut gateway.process),
        }
    }

    /// Leaves a part that was given a small disk no room on it, until the file that this answers is removed.
    pub fn fill_disk(&mut self, part: Part) -> io::Result<PathBuf> {
        self.site.fill_disk(part.name())
    }

    /// The gateway's spool as the gateway sees it.
    pub fn spool(&self) -> PathBuf {
        self.site.seen_by(Part::Gateway.name(), self.spec.spool_path(&self.site))
    }

    /// The folders of the lives in the spool.
    pub fn lives(&self) -> io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(self.spool())?.collect::<Result<Vec<_>, _>>()?;
        Ok(entries.iter().filter(|entry| entry.file_name().len() == 32).map(std::fs::DirEntry::path).collect())
    }

    /// Sets the wall clock of gateway or weir-analytics, as `faketime` takes it (`+7h`, `-2d`, `+0`), and waits until the
    /// part sees it.
    pub async fn set_clock(&mut self, part: Part, offset: &str) -> io::Result<()> {
        self.site.set_clock(part.name(), offset)?;
        if self.has_ended(part) {
            return Ok(());
        }
        let wanted_ms = crate::now_ms() + crate::site::offset_ms(offset);
        let url = match part {
            Part::Gateway => format!("http://{}/dump", self.admin().ok_or(io::ErrorKind::NotFound)?),
            _ => format!("http://{}/api/v1/ledger", self.analytics_at),
        };
        eventually("the clock is set", async || {
            let (_, body) = get(&url).await.ok()?;
            let document: serde_json::Value = serde_json::from_str(&body).ok()?;
            let shown_ms = match part {
                Part::Gateway => crate::site::utc_ms(document["taken"].as_str()?)?,
                _ => document["now_ms"].as_i64()?,
            };
            ((shown_ms - wanted_ms).abs() < 600_000).then_some(())
        })
        .await;
        Ok(())
    }

    /// Runs `weirctl` against weir-analytics; its exit code, and all that it wrote.
    pub fn weirctl(&self, args: &[&str]) -> io::Result<(i32, String)> {
        let output = std::process::Command::new(program("weirctl")?)
            .args(["--analytics", &format!("http://{}", self.analytics_at)])
            .args(args)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Ok((output.status.code().unwrap_or(-1), text))
    }

    /// The gateway's `/status` document.
    pub async fn status(&self) -> io::Result<serde_json::Value> {
        self.gateway.as_ref().ok_or(io::ErrorKind::NotFound)?.status().await
    }

    /// The process id of a part.
    pub fn id(&mut self, part: Part) -> Option<u32> {
        self.process(part).map(|process| process.id())
    }

    /// Of a part that runs.
    pub fn process_id(&mut self, part: Part) -> Option<u32> {
        self.process(part).map(|process| process.id())
    }

    /// Whether a part has ended, or is not there.
    pub fn has_ended(&mut self, part: Part) -> bool {
        self.process(part).is_none_or(|process| process.ended().is_some())
    }

    /// Waits for a part to end by itself.
    pub fn wait(&mut self, part: Part) -> io::Result<std::process::ExitStatus> {
        self.process(part).ok_or(io::ErrorKind::NotFound)?.wait(DEADLINE)
    }

    /// Ends a part as a crash would.
    pub fn kill(&mut self, part: Part) -> io::Result<()> {
        self.take(part).map_or(Ok(()), |process| process.kill().map(drop))
    }

    /// Ends a part as an operator would, and waits for it.
    pub fn stop(&mut self, part: Part) -> io::Result<()> {
        self.take(part).map_or(Ok(()), |process| process.stop(DEADLINE).map(drop))
    }

    fn take(&mut self, part: Part) -> Option<Process> {
        match part {
            Part::Engine => self.engine.take(),
            Part::Analytics => self.analytics.take(),
            Part::Gateway => self.gateway.take().map(|gateway| gateway.process),
        }
    }

    /// How the network between gateway and analytics behaves from now on.
    pub fn set_network(&self, mode: Mode) {
        self.network.as_ref().expect("this stack has a network of its own").set(mode);
    }

    /// Sets how many files a part may have open.
    pub fn limit_files(&mut self, part: Part, files: u64) -> io::Result<()> {
        let id = self.process(part).ok_or(io::ErrorKind::NotFound)?.id();
        let id = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw);
        // The hard limit is inherited; only the soft one can be raised again.
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let limit = rustix::process::Rlimit { current: Some(files), ..limit };
        Ok(rustix::process::prlimit(id, rustix::process::Resource::Nofile, limit).map(drop)?)
    }

    /// A second weir-analytics on the same tables, with a state folder of its own.
    pub fn second_analytics(&self) -> io::Result<Process> {
        let (engine, tokens) = (format!("http://{}", self.engine_at), self.path("tokens"));
        let state = self.path("second.d");
        let args = ["--listen", "127.0.0.1:0", "--clickhouse", &engine, "--tokens", &tokens, "--state", &state];
        let more: Vec<&str> = self.analytics_args.iter().map(String::as_str).collect();
        self.site.start("second", "weir-analytics", &[&args[..], &more].concat(), &[])
    }

    /// Rebuilds a day, as an operator would; answers what the program wrote.
    pub fn repair(&self, day: &str) -> io::Result<std::process::Output> {
        let engine = format!("http://{}", self.engine_at);
        let mut command = std::process::Command::new(program("weir-analytics")?);
        command.args(["repair", "--day", day, "--clickhouse", &engine]).args(&self.analytics_args).output()
    }

    /// Where the gateway's admin listener is.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.gateway.as_ref().map(|gateway| gateway.admin)
    }

    /// Where its user administers it.
    pub fn socket(&self) -> Option<&Path> {
        self.gateway.as_ref().map(|gateway| gateway.socket.as_path())
    }

    /// A plan for the witness: mixed traffic to the gateway.
    pub fn traffic(&self, requests: u64, rate: f64) -> witness::Plan {
        witness::Plan {
            target: self.gateway_at,
            connections: 8,
            rate: Some(rate),
            requests: Some(requests),
            duration: Some(DEADLINE),
            mix: [("/fast", 80), ("/slow?ms=15", 10), ("/status/404", 5), ("/large?kib=40", 4), ("/broken", 1)]
                .map(|(path, weight)| (path.to_owned(), weight))
                .to_vec(),
            log: self.site.path("witness.ndjson"),
        }
    }

    /// Waits until the gateway holds nothing that is not acknowledged, of this life and of those before it.
    pub async fn settle(&self) {
        let deadline = Instant::now() + DEADLINE;
        while !self.is_settled().await.is_some_and(|settled| settled) {
            if Instant::now() >= deadline {
                let log = self.site.log(Part::Gateway.name());
                let tail: Vec<_> = log.lines().rev().take(8).collect();
                panic!("not everything is acknowledged: {:#?}\n{tail:#?}", self.status().await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn is_settled(&self) -> Option<bool> {
        // The folder of a life before this one goes when all that it held is acknowledged and its end is reported.
        if self.lives().ok()?.len() > 1 {
            return Some(false);
        }
        // A chunk of losses alone is in none of the ledger's sets.
        if self.status().await.ok()?["spool"]["chunks"]["on_disk"] != 0 {
            return Some(false);
        }
        let (_, body) = get(&format!("http://{}/ledger", self.admin()?)).await.ok()?;
        let ledger: serde_json::Value = serde_json::from_str(&body).ok()?;
        let empty = |value: &serde_json::Value| value.as_array().is_some_and(Vec::is_empty);
        let is_done = |stream: &serde_json::Value| {
            empty(&stream["spooled"]) && (stream["closed"] == true || empty(&stream["open"]))
        };
        Some(ledger["streams"].as_array()?.iter().all(is_done))
    }

    /// ClickHouse as a client sees it.
    pub fn client(&self) -> clickhouse::Client {
        clickhouse::Client::default().with_url(format!("http://{}", self.engine_at)).with_database("weir")
    }

    /// Holds the witness's log against what is stored, and the roll-ups against the raw table. An empty answer is
    /// what one hopes for.
    pub async fn verdict(&self) -> io::Result<(compare::Report, Vec<String>)> {
        self.verdict_of(&witness::read_log(&self.site.path("witness.ndjson"))?).await
    }

    /// As [`TestStack::verdict`], with a log that a test has read.
    pub async fn verdict_of(&self, log: &[witness::Line]) -> io::Result<(compare::Report, Vec<String>)> {
        let client = self.client();
        let stored = compare::stored(&client, "edge").await.map_err(io::Error::other)?;
        let report = compare::compare(log, &stored);
        let disagreement = disagreement(&client).await.map_err(io::Error::other)?;
        Ok((report, disagreement))
    }
}
