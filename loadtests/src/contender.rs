//! The contenders, each set up for the same work: one worker on core 0, kept connections both ways, 1 KiB.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use weir_testkit::process::{Process, program};

const READY: Duration = Duration::from_secs(20);

/// Something that proxies.
pub trait Contender {
    fn name(&self) -> &'static str;
    fn start(&self, dir: &Path, upstream: SocketAddr) -> io::Result<Box<dyn Running>>;
}

/// A contender that runs.
pub trait Running {
    fn address(&self) -> SocketAddr;
    fn process_id(&self) -> u32;
    /// Requests that its telemetry has accounted for since its start, and those that it has lost; none where it has
    /// no such thing.
    fn accounted_for(&self) -> io::Result<Option<(u64, u64)>>;
}

/// Plain nginx: no log.
pub struct Nginx;

/// Weir with events to the spool, metrics, trace context, a route and one policy.
pub struct Weir;

struct NginxRunning {
    child: Child,
    address: SocketAddr,
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// The upstream of all: nginx on core 1, answering 1 KiB from memory.
pub fn upstream(dir: &Path) -> io::Result<impl Running> {
    let address = free_address()?;
    let body = "u".repeat(1024);
    let server = format!(
        "server {{ listen {address} backlog=4096; keepalive_requests 100000000; location / {{ return 200 \"{body}\"; }} }}"
    );
    nginx(&dir.join("upstream"), "1", &server, address)
}

fn nginx(dir: &Path, core: &str, server: &str, address: SocketAddr) -> io::Result<NginxRunning> {
    std::fs::create_dir_all(dir)?;
    let conf = dir.join("nginx.conf");
    let text = format!(
        "daemon off;\nmaster_process on;\nworker_processes 1;\npid {dir}/pid;\nerror_log {dir}/error.log;\n\
         events {{ worker_connections 4096; }}\nhttp {{ access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; \
         fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n{server}\n}}\n",
        dir = dir.display()
    );
    std::fs::write(&conf, text)?;
    let child = Command::new("taskset")
        .args(["-c", core, "nginx", "-c"])
        .arg(&conf)
        .args(["-p"])
        .arg(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("nginx: {error}; install it: apt-get install nginx")))?;
    let running = NginxRunning { child, address };
    wait_until_it_answers(address)?;
    Ok(running)
}

fn wait_until_it_answers(address: SocketAddr) -> io::Result<()> {
    let deadline = Instant::now() + READY;
    loop {
        match TcpStream::connect(address) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::park_timeout(Duration::from_millis(20)),
        }
    }
}

impl Running for NginxRunning {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn process_id(&self) -> u32 {
        self.child.id()
    }

    fn accounted_for(&self) -> io::Result<Option<(u64, u64)>> {
        Ok(None)
    }
}

impl Drop for NginxRunning {
    fn drop(&mut self) {
        // SIGTERM to the master ends its worker, too; SIGKILL would leave it.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

impl Contender for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn start(&self, dir: &Path, upstream: SocketAddr) -> io::Result<Box<dyn Running>> {
        let address = free_address()?;
        let server = format!(
            "upstream u {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}\n\
             server {{ listen {address} backlog=4096; keepalive_requests 100000000; location /bench {{ proxy_pass http://u; \
             proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}"
        );
        Ok(Box::new(nginx(dir, "0", &server, address)?))
    }
}

struct WeirRunning {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Contender for Weir {
    fn name(&self) -> &'static str {
        "weir"
    }

    fn start(&self, dir: &Path, upstream: SocketAddr) -> io::Result<Box<dyn Running>> {
        let conf: PathBuf = dir.join("conf.d");
        std::fs::create_dir_all(&conf)?;
        std::fs::write(conf.join("bench.yaml"), yaml(dir, upstream))?;
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program("weir")?).args(["run", "--workers", "1", "--config"]).arg(&conf);
        let mut process = Process::start("weir", command, &dir.join("weir.log"))?;
        let said = |line: &str, mark: &str| line.split_once(mark)?.1.trim().parse::<SocketAddr>().ok();
        let address = process.wait_for(READY, |line| said(line, "listening on http://"))?;
        let admin = process.wait_for(READY, |line| said(line, "admin on http://"))?;
        Ok(Box::new(WeirRunning { process, address, admin }))
    }
}

fn yaml(dir: &Path, upstream: SocketAddr) -> String {
    format!(
        "apiVersion: gateway.weir.dev/v1
kind: Configuration
metadata: {{name: gateway}}
spec:
  identity: {{organization: acme, environment: bench, site: here, gateway: weir}}
  admin: {{address: \"127.0.0.1:0\"}}
  spool: {{path: \"{}\", maxBytes: 8GiB, maxAge: 1h, ringBytes: 16MiB}}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {{name: bench}}
spec:
  address: http://127.0.0.1:0/bench
  services:
    main:
      address: http://{upstream}
      routes: [{{rules: [{{path: \"(/.*)\", methods: GET}}]}}]
  policies:
    - policyRef: {{name: http-basic-authentication-flex}}
      config: {{username: witness, password: demo}}
",
        dir.join("spool").display()
    )
}

impl WeirRunning {
    fn metric(&self, name: &str) -> io::Result<u64> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let samples =
            text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        Ok(samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    }
}

impl Running for WeirRunning {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the spool has taken what the rings hold.
    fn accounted_for(&self) -> io::Result<Option<(u64, u64)>> {
        let deadline = Instant::now() + READY;
        loop {
            let accepted = self.metric("weir_events_accepted_total")?;
            let written = self.metric("weir_events_written_total")?;
            let shed = self.metric("weir_events_shed_total")?;
            if written + shed == accepted || Instant::now() > deadline {
                return Ok(Some((written, accepted - written)));
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}
