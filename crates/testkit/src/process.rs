//! The programs of the workspace as child processes: found, started, waited for, and ended by their own handle.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The folder of this build's programs: that of the running executable, or its parent for a test.
pub fn programs() -> io::Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let folder = executable.parent().unwrap_or(Path::new("."));
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    Ok(folder.to_owned())
}

/// The path of one of this build's programs.
pub fn program(name: &str) -> io::Result<PathBuf> {
    let path = programs()?.join(name);
    if path.is_file() {
        return Ok(path);
    }
    let message = format!("`{}` is not built; run `cargo build --workspace --bins`", path.display());
    Err(io::Error::new(io::ErrorKind::NotFound, message))
}

/// A child that is killed when its handle goes. Its standard output is read line by line.
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Process {
    /// Starts `command`. Its standard error goes to `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> io::Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("the child has no output"))?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { name: name.to_owned(), child, lines, seen: Vec::new() })
    }

    /// Waits for a line of output that `wanted` finds something in.
    pub fn wait_for<T>(&mut self, limit: Duration, wanted: impl Fn(&str) -> Option<T>) -> io::Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = wanted(&line);
                    self.seen.push(line);
                    if let Some(found) = found {
                        return Ok(found);
                    }
                }
                Err(error) => return Err(self.not_said(error)),
            }
        }
    }

    /// Waits for the line `listening on http://ADDR`, the programs' sign of readiness.
    pub fn wait_until_listening(&mut self, limit: Duration) -> io::Result<SocketAddr> {
        self.wait_for(limit, |line| line.split("listening on http://").nth(1)?.split_whitespace().next()?.parse().ok())
    }

    fn not_said(&mut self, error: RecvTimeoutError) -> io::Error {
        let state = match (error, self.child.try_wait()) {
            (_, Ok(Some(status))) => format!("it ended with {status}"),
            _ => "it is still running".to_owned(),
        };
        io::Error::other(format!("`{}` did not say that it is ready: {state}; it said {:?}", self.name, self.seen))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has of memory, in MiB.
    pub fn memory_mib(&self) -> io::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        kib.map(|kib: u64| kib / 1024).ok_or_else(|| io::Error::other("the system does not say"))
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Err(io::Error::other(format!("it has not ended within {} s", limit.as_secs())))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to end with SIGTERM, waits, and kills it when it does not.
    pub fn stop(mut self, limit: Duration) -> io::Result<ExitStatus> {
        self.signal(rustix::process::Signal::TERM);
        if let Ok(status) = self.wait(limit) {
            return Ok(status);
        }
        self.child.kill()?;
        self.child.wait()
    }

    /// Ends it at once, as a crash would (SIGKILL).
    pub fn kill(mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // Fails only for a child that has ended.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
