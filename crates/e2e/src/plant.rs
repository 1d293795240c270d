//! The whole plant for one gateway: upstream, engine, analytics, gateway - each of which can be killed and started
//! again at its own address, with a failpoint armed in it.

use crate::{DEADLINE, Gateway, GatewaySpec, Site, disagreement, eventually};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use weir_testkit::fault_proxy::{FaultProxy, Mode};
use weir_testkit::process::Process;
use weir_testkit::{compare, get, upstream, witness};

/// For the plant's gateway, and for one that a test may put in front of it.
const TOKENS: &str = "token-edge acme test here edge\ntoken-front acme test on-prem front\n";

/// In the file `admin-token` of the site: for calls to weir-analytics that change state.
const ADMIN_TOKEN: &str = "a-token-of-the-administrator\n";

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

/// One gateway and everything behind it. Parts end with the plant.
pub struct Plant {
    pub site: Site,
    spec: GatewaySpec,
    gateway: Option<Gateway>,
    analytics: Option<Process>,
    engine: Option<Process>,
    pub analytics_at: SocketAddr,
    pub engine_at: SocketAddr,
    pub gateway_at: SocketAddr,
    /// Between gateway and analytics, where it was asked for.
    pub network: Option<FaultProxy>,
    proxy: Option<Process>,
}

impl Plant {
    /// Starts everything, with `failpoint` armed in one part.
    pub async fn start(failpoint: Option<(Part, &str)>) -> io::Result<Self> {
        Self::build(failpoint, None, false).await
    }

    /// Starts everything, with a network between gateway and analytics that can be made to misbehave.
    pub async fn on_bad_network() -> io::Result<Self> {
        Self::build(None, None, true).await
    }

    /// Starts everything, with a real nginx and its defaults in front of analytics.
    pub async fn behind_nginx() -> io::Result<Self> {
        let mut plant = Self::build(None, None, false).await?;
        let proxy_at = reserve()?;
        let folder = plant.path("nginx.d");
        std::fs::create_dir_all(&folder)?;
        let config = format!(
            "daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}
             http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
               fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
               server {{ listen {proxy_at}; location / {{ proxy_pass http://{}; }} }} }}",
            plant.analytics_at
        );
        std::fs::write(plant.site.path("nginx.conf"), config)?;
        let mut command = std::process::Command::new("nginx");
        command.args(["-c", &plant.path("nginx.conf"), "-e", &format!("{folder}/error.log")]);
        plant.proxy = Some(Process::start("nginx", command, &plant.site.path("nginx.log"))?);
        plant.stop(Part::Gateway)?;
        plant.spec.analytics = Some((proxy_at, "token-edge".to_owned()));
        // Long paths at speed are more than the small ring of a test holds while a file is synced.
        plant.spec.ring = "16MiB";
        plant.start_part(Part::Gateway, None)?;
        Ok(plant)
    }

    /// Starts everything, one part with a disk of its own of `size`; if it is the gateway, with a ring that is soon full.
    pub async fn on_small_disk(part: Part, size: &str) -> io::Result<Self> {
        Self::build(None, Some((part, size)), false).await
    }

    async fn build(failpoint: Option<(Part, &str)>, disk: Option<(Part, &str)>, has_network: bool) -> io::Result<Self> {
        let mut site = Site::new()?;
        let upstream = upstream::spawn("127.0.0.1:0").await?;
        let (analytics_at, engine_at, gateway_at) = (reserve()?, reserve()?, reserve()?);
        let mut spec = GatewaySpec::new("here", "edge", upstream);
        spec.listen = Some(gateway_at);
        if let Some((part, size)) = disk {
            // Only where the gateway itself has no room is the ring to be full.
            if part == Part::Gateway {
                spec.ring = "128KiB";
            }
            site.small_disk(part.name(), part.folder(), size)?;
        }
        let network = if has_network { Some(FaultProxy::spawn(analytics_at).await?) } else { None };
        let offered_to = network.as_ref().map_or(analytics_at, |network| network.address);
        spec.analytics = Some((offered_to, "token-edge".to_owned()));
        std::fs::write(site.path("tokens"), TOKENS)?;
        let (gateway, analytics, engine) = (None, None, None);
        let mut plant =
            Self { site, spec, gateway, analytics, engine, analytics_at, engine_at, gateway_at, network, proxy: None };
        for part in [Part::Engine, Part::Analytics, Part::Gateway] {
            plant.start_part(part, failpoint.filter(|(armed, _)| *armed == part).map(|(_, name)| name))?;
        }
        Ok(plant)
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
        let (listen, engine) = (self.analytics_at.to_string(), format!("http://{}", self.engine_at));
        let (tokens, state) = (self.path("tokens"), self.folder(Part::Analytics)?);
        let admin = self.path("admin-token");
        std::fs::write(&admin, ADMIN_TOKEN)?;
        let args = ["--listen", &listen, "--clickhouse", &engine, "--tokens", &tokens, "--state", &state];
        let args = [&args[..], &["--admin-token-file", &admin]].concat();
        self.ready("analytics", "weir-analytics", &args, env)
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
        let id = self.process(part).ok_or(io::ErrorKind::NotFound)?.id();
        self.site.fill_disk(part.name(), id)
    }

    /// Of a part that runs.
    pub fn process_id(&mut self, part: Part) -> Option<u32> {
        self.process(part).map(|process| process.id())
    }

    /// Whether a part has ended, or is not there.
    pub fn has_ended(&mut self, part: Part) -> bool {
        self.process(part).is_none_or(|process| process.ended().is_some())
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
        self.network.as_ref().expect("this plant has a network of its own").set(mode);
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
        self.site.start("second", "weir-analytics", &args, &[])
    }

    /// Rebuilds a day, as an operator would; answers what the program wrote.
    pub fn repair(&self, day: &str) -> io::Result<std::process::Output> {
        let engine = format!("http://{}", self.engine_at);
        let mut command = std::process::Command::new(weir_testkit::process::program("weir-analytics")?);
        command.args(["repair", "--day", day, "--clickhouse", &engine]).output()
    }

    /// Where the gateway's admin listener is.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.gateway.as_ref().map(|gateway| gateway.admin)
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
        let admin = self.admin().expect("the gateway runs");
        let url = format!("http://{admin}/ledger");
        let spool = self.site.path("edge/spool");
        eventually("everything recorded is acknowledged", async || {
            // The folder of a life before this one goes when all that it held is acknowledged and its end is told.
            let is_life = |entry: &std::fs::DirEntry| entry.file_name().len() == 32;
            let lives = std::fs::read_dir(&spool).ok()?.filter(|entry| entry.as_ref().is_ok_and(is_life));
            if lives.count() > 1 {
                return None;
            }
            let (_, body) = get(&url).await.ok()?;
            let ledger: serde_json::Value = serde_json::from_str(&body).ok()?;
            let streams = ledger["streams"].as_array()?;
            let empty = |value: &serde_json::Value| value.as_array().is_some_and(Vec::is_empty);
            streams
                .iter()
                .all(|stream| empty(&stream["spooled"]) && (stream["closed"] == true || empty(&stream["open"])))
                .then_some(())
        })
        .await;
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

    /// As [`Plant::verdict`], with a log that a test has read.
    pub async fn verdict_of(&self, log: &[witness::Line]) -> io::Result<(compare::Report, Vec<String>)> {
        let client = self.client();
        let stored = compare::stored(&client, "edge").await.map_err(io::Error::other)?;
        let report = compare::compare(log, &stored);
        let disagreement = disagreement(&client).await.map_err(io::Error::other)?;
        Ok((report, disagreement))
    }
}

/// An address that nobody has, outside the range from which the system takes ports for outgoing connections: it must
/// still be free when the part that listens there is started a second time.
pub fn reserve() -> io::Result<SocketAddr> {
    let mut last = io::Error::other("no port");
    for _ in 0..100 {
        match TcpListener::bind(("127.0.0.1", fastrand::u16(10_000..32_000))) {
            Ok(listener) => return listener.local_addr(),
            Err(error) => last = error,
        }
    }
    Err(last)
}
