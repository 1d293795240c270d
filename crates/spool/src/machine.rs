//! Which machine this is, which start of its kernel, and a clock that no setting of the wall clock moves.
//!
//! What a process wrote to a mapped file is whole after its death as long as the kernel ran on; after another start of
//! the kernel it is whatever had reached the disk. So a life notes under which start it ran, and its successor asks.

use serde_json::{Value, json};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use weir_event::clock::system_us;

/// Time since the machine started: comparable within one start of the kernel. Read once from the kernel, and counted
/// on from there by the monotonic clock.
pub(crate) fn boottime() -> Duration {
    static ANCHOR: OnceLock<(Duration, Instant)> = OnceLock::new();
    let (up, at) = ANCHOR.get_or_init(|| (uptime().unwrap_or_default(), Instant::now()));
    *up + at.elapsed()
}

/// The first figure of `/proc/uptime`, in seconds.
fn uptime() -> Option<Duration> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    Duration::try_from_secs_f64(text.split_whitespace().next()?.parse().ok()?).ok()
}

/// What a life notes of where it runs, and what a later one compares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// `/etc/machine-id`, or the name of the host where there is none.
    machine: String,
    /// One start of the kernel; empty where it is not known.
    kernel_boot: String,
    /// When the life began, by [`boottime`], in microseconds.
    began_us: u64,
    pid: u32,
    /// When the process began, in the kernel's ticks: with `pid`, one process of one start of the kernel.
    pid_began: u64,
    /// The inode of the life's folder: another one is a copy. 0 where it is not known.
    inode: u64,
}

impl Place {
    /// Of this process, whose folder is `folder`.
    pub(crate) fn here(folder: &Path) -> io::Result<Self> {
        let pid = std::process::id();
        Ok(Self {
            machine: machine(),
            kernel_boot: kernel_boot(),
            began_us: u64::try_from(boottime().as_micros()).unwrap_or(u64::MAX),
            pid,
            pid_began: process_began(pid).unwrap_or(0),
            inode: fs::metadata(folder)?.ino(),
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "machine": self.machine, "kernel_boot": self.kernel_boot, "began_us": self.began_us,
            "pid": self.pid, "pid_began": self.pid_began, "inode": self.inode,
        })
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| Some(value.get(key)?.as_str()?.to_owned());
        let number = |key: &str| value.get(key)?.as_u64();
        Some(Self {
            machine: text("machine")?,
            kernel_boot: text("kernel_boot")?,
            began_us: number("began_us")?,
            pid: number("pid")?.try_into().ok()?,
            pid_began: number("pid_began")?,
            inode: number("inode")?,
        })
    }

    /// Whether the kernel has run on since: what was written to mapped files is whole.
    pub(crate) fn same_kernel(&self) -> bool {
        !self.kernel_boot.is_empty() && self.kernel_boot == kernel_boot() && self.machine == machine()
    }

    /// When the life began, by the [`boottime`] of this start of the kernel.
    pub(crate) fn began(&self) -> Option<Duration> {
        self.same_kernel().then(|| Duration::from_micros(self.began_us))
    }

    /// Whether `folder` is a copy of the one that the life had, and the life itself may go on elsewhere.
    pub(crate) fn is_copy(&self, folder: &Path) -> io::Result<bool> {
        let moved = self.inode != 0 && fs::metadata(folder)?.ino() != self.inode;
        let lives = self.same_kernel() && process_began(self.pid) == Some(self.pid_began);
        Ok(moved && (self.machine != machine() || lives))
    }
}

/// Whether the kernel was already running at a wall time; for lives that noted no [`Place`].
pub(crate) fn kernel_ran_at(wall_us: i64) -> bool {
    let up = i64::try_from(boottime().as_micros()).unwrap_or(i64::MAX);
    wall_us >= system_us().saturating_sub(up)
}

fn machine() -> String {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id = id.trim();
    if id.is_empty() { rustix::system::uname().nodename().to_string_lossy().into_owned() } else { id.to_owned() }
}

fn kernel_boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Field 22 of `/proc/PID/stat`. The second field is a name in parentheses that may hold anything.
fn process_began(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_as_it_was_written_and_knows_itself() {
        let folder = tempfile::tempdir().unwrap();
        let here = Place::here(folder.path()).unwrap();
        assert_eq!(Place::from_json(&here.to_json()), Some(here.clone()));
        assert!(here.same_kernel() && here.began().unwrap() <= boottime());
        assert!(!here.is_copy(folder.path()).unwrap());
        assert!(kernel_ran_at(system_us()) && !kernel_ran_at(0));
    }

    #[test]
    fn a_copy_is_known_while_its_original_may_live() {
        let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let here = Place::here(folder.path()).unwrap();
        assert!(here.is_copy(copy.path()).unwrap(), "this very process goes on");
        let dead = Place { pid_began: 1, ..here.clone() };
        assert!(!dead.is_copy(copy.path()).unwrap(), "moved on one machine, and its process is gone");
        let elsewhere = Place { machine: "another".to_owned(), ..here };
        assert!(elsewhere.is_copy(copy.path()).unwrap());
        assert!(!elsewhere.is_copy(folder.path()).unwrap(), "the volume itself was moved");
    }
}
