//! A contender that runs.

use super::accounts::Accounts;
use super::template::Ports;
use crate::child::{Child, pause};
use crate::cpu::{self, Cpu};
use crate::load::http;
use rustix::process::Signal;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const READY: Duration = Duration::from_secs(60);

/// How a new configuration is taken up.
pub enum Reload {
    Signal(Signal),
    /// The file is watched.
    Rewrite(PathBuf),
}

/// A contender that runs, until it is dropped.
pub struct Proxy {
    pub child: Child,
    pub http: SocketAddr,
    pub https: SocketAddr,
    /// Where its metrics are, with a row for each route.
    pub admin: Option<SocketAddr>,
    pub accounts: Accounts,
    pub reload: Option<Reload>,
    /// How the names of its serving threads begin.
    worker: Option<&'static str>,
}

impl Proxy {
    pub fn new(child: Child, worker: Option<&'static str>, ports: &Ports) -> Self {
        let accounts = Accounts::None;
        Self { child, http: ports.http, https: ports.https, admin: None, accounts, reload: None, worker }
    }

    /// CPU time used so far.
    pub fn cpu(&self) -> io::Result<Cpu> {
        cpu::of(self.child.id(), self.worker)
    }

    pub fn anonymous_bytes(&self) -> io::Result<u64> {
        cpu::anonymous_bytes(self.child.id())
    }

    /// One request has gone through to the upstream and back.
    pub fn wait_until_it_proxies(&mut self, name: &str) -> io::Result<()> {
        let deadline = Instant::now() + READY;
        loop {
            let why = match http::get(self.http, "/bench/1k") {
                Ok((200, _)) => return Ok(()),
                Ok((status, _)) => format!("it answered {status}"),
                Err(error) => error.to_string(),
            };
            let ended = self.child.ended();
            if ended || Instant::now() > deadline {
                let how = if ended { "ended" } else { "does not proxy" };
                return Err(io::Error::other(format!("`{name}` {how}: {why}; see its folder's out.err (`--keep`)")));
            }
            pause(Duration::from_millis(20));
        }
    }

    /// Makes it take its configuration up anew.
    pub fn reload(&self, turn: u32) -> io::Result<()> {
        match &self.reload {
            Some(Reload::Signal(signal)) => self.child.signal(*signal),
            Some(Reload::Rewrite(file)) => {
                let text = std::fs::read_to_string(file)?;
                let kept = text.lines().filter(|line| !line.starts_with("# turn")).collect::<Vec<_>>().join("\n");
                let new = file.with_extension("new");
                // A change that is one: the site's name would be; a comment keeps what is compared elsewhere.
                std::fs::write(&new, format!("{kept}\n# turn {turn}\n"))?;
                std::fs::rename(new, file)
            }
            None => Err(io::Error::other("it has no way to be reloaded here")),
        }
    }
}
