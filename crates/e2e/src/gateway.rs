//! A gateway as a process, with a configuration made for the test.

use crate::{DEADLINE, Site};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use weir_testkit::process::Process;

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
    /// Where to listen; a port of its own choice unless said.
    pub listen: Option<SocketAddr>,
    /// The size of each worker's ring.
    pub ring: &'static str,
    /// The members of `spool` beside `path` and `ringBytes`.
    pub spool: &'static str,
    /// Where the spool is; in the gateway's own folder unless said.
    pub spool_at: Option<PathBuf>,
    /// When files are loaded: soon, because most tests write them in one go.
    pub reload: String,
    /// More arguments of the command.
    pub more_args: Vec<String>,
    pub replica: String,
    /// The name of its folder and its log, where it is not that of the gateway.
    pub called: Option<&'static str>,
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
            listen: None,
            ring: "1MiB",
            spool: "maxBytes: 64MiB, maxAge: 1h",
            spool_at: None,
            reload: "{quietPeriod: 100ms}".to_owned(),
            more_args: Vec::new(),
            replica: "r1".to_owned(),
            called: None,
            more_yaml: String::new(),
        }
    }

    /// The spool's folder.
    pub fn spool_path(&self, site: &Site) -> PathBuf {
        self.spool_in(&site.path(self.called()))
    }

    /// The name of its folder and its log.
    pub fn called(&self) -> &str {
        self.called.unwrap_or(&self.name)
    }

    fn spool_in(&self, folder: &Path) -> PathBuf {
        self.spool_at.clone().unwrap_or_else(|| folder.join("spool"))
    }

    pub fn yaml(&self, folder: &Path) -> String {
        let analytics = match &self.analytics {
            Some((address, token)) => format!("  analytics: {{endpoint: \"http://{address}\", token: {token}}}\n"),
            None => String::new(),
        };
        let spool = self.spool_in(folder);
        let listen = self.listen.map_or_else(|| "127.0.0.1:0".to_owned(), |address| address.to_string());
        let mut yaml = format!(
            "apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {{name: gateway}}
spec:
  identity: {{organization: acme, environment: test, site: {}, gateway: {}}}
  admin: {{address: \"127.0.0.1:0\"}}
  spool: {{path: \"{}\", {}, ringBytes: {}}}
  reload: {}
  trustedPeers: [127.0.0.0/8]
{analytics}",
            self.site,
            self.name,
            spool.display(),
            self.spool,
            self.ring,
            self.reload,
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
  address: http://{listen}{base}
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
    /// Where its user administers it.
    pub socket: PathBuf,
    pub conf: PathBuf,
}

impl Gateway {
    pub fn start(site: &Site, spec: &GatewaySpec) -> io::Result<Self> {
        Self::start_with(site, spec, &[])
    }

    /// With variables of the environment.
    pub fn start_with(site: &Site, spec: &GatewaySpec, env: &[(&str, &str)]) -> io::Result<Self> {
        let folder = site.path(spec.called());
        let conf = folder.join("conf.d");
        std::fs::create_dir_all(&conf)?;
        std::fs::write(conf.join("gateway.yaml"), spec.yaml(&folder))?;
        Self::start_in(site, spec, conf, env)
    }

    /// With the folder as it is found.
    pub fn start_as_it_is(site: &Site, spec: &GatewaySpec) -> io::Result<Self> {
        Self::start_in(site, spec, site.path(spec.called()).join("conf.d"), &[])
    }

    fn start_in(site: &Site, spec: &GatewaySpec, conf: PathBuf, env: &[(&str, &str)]) -> io::Result<Self> {
        let (workers, dir) = (spec.workers.to_string(), conf.to_string_lossy().into_owned());
        let args = ["run", "--workers", &workers, "--name", &spec.replica, "--config", &dir];
        let args: Vec<_> = args.into_iter().chain(spec.more_args.iter().map(String::as_str)).collect();
        let mut process = site.start(spec.called(), "weir", &args, env)?;
        let said = |line: &str, mark: &str| line.split_once(mark)?.1.trim().parse::<SocketAddr>().ok();
        let explain = |error| io::Error::other(format!("{error}\n{}", site.log(spec.called())));
        let address = process.wait_for(DEADLINE, |line| said(line, "listening on http://")).map_err(explain)?;
        let admin = process.wait_for(DEADLINE, |line| said(line, "admin on http://")).map_err(explain)?;
        let mut state = spec.spool_path(site).into_os_string();
        state.push(".state");
        Ok(Self { process, address, admin, socket: Path::new(&state).join("admin.sock"), conf })
    }

    /// A connection on which `path` was asked for, and whose answer nobody has read.
    pub fn ask(&self, path: &str) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes())?;
        Ok(stream)
    }

    /// What the process has of memory, in MiB.
    pub fn memory(&self) -> io::Result<u64> {
        self.process.memory_mib()
    }

    /// How many connections of clients the process has at one of its ports.
    pub fn connections_at(&self, port: SocketAddr) -> io::Result<usize> {
        const LISTENS: &str = "0A";
        let process = format!("/proc/{}", self.process.id());
        let mut own = HashSet::new();
        for file in std::fs::read_dir(format!("{process}/fd"))? {
            // One that was closed since the folder was read.
            let Ok(target) = std::fs::read_link(file?.path()) else { continue };
            let inode = target.to_str().and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']'));
            own.extend(inode.map(str::to_owned));
        }
        // `sl local_address rem_address st …`: addresses as `0100007F:26AD`, the inode is the tenth column.
        let of_port = format!(":{:04X}", port.port());
        let is_one = |line: &&str| {
            let columns: Vec<_> = line.split_whitespace().collect();
            let [_, local, _, state, ..] = columns[..] else { return false };
            local.ends_with(&of_port) && state != LISTENS && columns.get(9).is_some_and(|inode| own.contains(*inode))
        };
        Ok(std::fs::read_to_string(format!("{process}/net/tcp"))?.lines().filter(is_one).count())
    }

    /// The `/status` document.
    pub async fn status(&self) -> io::Result<serde_json::Value> {
        let (_, body) = weir_testkit::get(&format!("http://{}/status", self.admin)).await?;
        serde_json::from_str(&body).map_err(io::Error::other)
    }
}
