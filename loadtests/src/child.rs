//! A child process that ends with its handle, and with the bench should that be killed.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child as StdChild, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// A child process. Dropped, it is asked to end (SIGTERM), waited for, and killed when it does not.
pub struct Child(StdChild);

impl Child {
    /// Starts `program` on `cores` (as taskset(1) writes them); what it says goes to `out` and `out` with `.err`.
    pub fn start(cores: &str, program: &Path, args: &[&str], out: &Path) -> io::Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "taskset", "-c", cores]).arg(program).args(args);
        command.stdin(Stdio::null()).stdout(File::create(out)?).stderr(File::create(out.with_extension("err"))?);
        let reported = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", program.display()));
        Ok(Self(command.spawn().map_err(reported)?))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.ok_or_else(|| io::Error::other("no process id"))?, signal)?)
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        // Fails only for a child that has ended.
        let _ = self.signal(Signal::TERM);
        while Instant::now() < deadline && !self.ended() {
            pause(Duration::from_millis(5));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets `wait` go by.
pub fn pause(wait: Duration) {
    let deadline = Instant::now() + wait;
    while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// The path of an installed program.
pub fn installed(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}
