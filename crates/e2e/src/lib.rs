//! For development only: one test file a promise to users, and here what they share - real gateways as processes,
//! each with a configuration and a folder of its own, in front of real upstreams.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use weir_testkit::process::{Process, program};

/// What every wait of a test may take.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A folder that goes with the test, with a log for each program.
pub struct Site {
    dir: TempDir,
}

impl Site {
    pub fn new() -> io::Result<Self> {
        Ok(Self { dir: tempfile::tempdir()? })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a program wrote to its standard error.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// Starts a program whose log goes by `name`.
    pub fn start(&self, name: &str, executable: &str, args: &[&str], env: &[(&str, &str)]) -> io::Result<Process> {
        let mut command = Command::new(program(executable)?);
        command.args(args).envs(env.iter().copied());
        Process::start(name, command, &self.path(&format!("{name}.log")))
    }
}

/// How a gateway of a test is configured.
#[derive(Clone, Debug)]
pub struct GatewaySpec {
    pub name: String,
    pub site: String,
    /// Each with its base path, where it forwards to, and a path to put before what is forwarded.
    pub apis: Vec<(String, SocketAddr, String)>,
    /// weir-analytics and the token for it.
    pub analytics: Option<(SocketAddr, String)>,
    pub workers: u16,
    /// Appended to the configuration as it is.
    pub more_yaml: String,
}

impl GatewaySpec {
    /// A gateway that forwards everything of `/` to `upstream`.
    pub fn new(site: &str, name: &str, upstream: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            site: site.to_owned(),
            apis: vec![(String::new(), upstream, String::new())],
            analytics: None,
            workers: 1,
            more_yaml: String::new(),
        }
    }

    pub fn yaml(&self, folder: &Path) -> String {
        let analytics = match &self.analytics {
            Some((address, token)) => format!("  analytics: {{endpoint: \"http://{address}\", token: {token}}}\n"),
            None => String::new(),
        };
        let spool = folder.join("spool");
        let mut yaml = format!(
            "apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {{name: gateway}}
spec:
  identity: {{organization: acme, environment: test, site: {}, gateway: {}}}
  admin: {{address: \"127.0.0.1:0\"}}
  spool: {{path: \"{}\", maxBytes: 64MiB, maxAge: 1h, ringBytes: 1MiB}}
  trustedPeers: [127.0.0.0/8]
{analytics}",
            self.site,
            self.name,
            spool.display()
        );
        for (number, (base, upstream, destination)) in self.apis.iter().enumerate() {
            let config = if destination.is_empty() {
                String::new()
            } else {
                format!("\n          config: {{destinationPath: {destination}}}")
            };
            let _ = write!(
                yaml,
                "---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {{name: api-{number}}}
spec:
  address: http://127.0.0.1:0{base}
  services:
    main:
      address: http://{upstream}
      routes:
        - rules: [{{path: /.*}}]{config}
"
            );
        }
        yaml + &self.more_yaml
    }
}

/// A gateway as a process.
pub struct Gateway {
    pub process: Process,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub conf: PathBuf,
}

impl Gateway {
    pub fn start(site: &Site, spec: &GatewaySpec) -> io::Result<Self> {
        Self::start_with(site, spec, &[])
    }

    /// With variables of the environment.
    pub fn start_with(site: &Site, spec: &GatewaySpec, env: &[(&str, &str)]) -> io::Result<Self> {
        let folder = site.path(&spec.name);
        let conf = folder.join("conf.d");
        std::fs::create_dir_all(&conf)?;
        std::fs::write(conf.join("gateway.yaml"), spec.yaml(&folder))?;
        Self::start_in(site, spec, conf, env)
    }

    fn start_in(site: &Site, spec: &GatewaySpec, conf: PathBuf, env: &[(&str, &str)]) -> io::Result<Self> {
        let (workers, dir) = (spec.workers.to_string(), conf.to_string_lossy().into_owned());
        let args = ["run", "--workers", &workers, "--name", "r1", "--config", &dir];
        let mut process = site.start(&spec.name, "weir", &args, env)?;
        let said = |line: &str, mark: &str| line.split_once(mark)?.1.trim().parse::<SocketAddr>().ok();
        let explain = |error| io::Error::other(format!("{error}\n{}", site.log(&spec.name)));
        let address = process.wait_for(DEADLINE, |line| said(line, "listening on http://")).map_err(explain)?;
        let admin = process.wait_for(DEADLINE, |line| said(line, "admin on http://")).map_err(explain)?;
        Ok(Self { process, address, admin, conf })
    }

    /// The `/status` document.
    pub async fn status(&self) -> io::Result<serde_json::Value> {
        let (_, body) = weir_testkit::get(&format!("http://{}/status", self.admin)).await?;
        serde_json::from_str(&body).map_err(io::Error::other)
    }
}

/// Asks `question` until its answer is some, for as long as a test may take.
pub async fn eventually<T>(what: &str, mut question: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {} s", DEADLINE.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
