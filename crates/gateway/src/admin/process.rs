//! What the system says of this process: memory, open files, limits. Whatever it does not say is `null`.

use crate::descriptors;
use rustix::process::{Resource, getrlimit};
use std::fs;
use weir_api::admin::{Memory, OpenFiles, Process};

/// The facts.
pub fn facts() -> Process {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limit = getrlimit(Resource::Nofile);
    let system = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    Process {
        pid: std::process::id(),
        user: rustix::process::geteuid().as_raw(),
        host: text(system.nodename()),
        kernel: format!("{} {}", text(system.sysname()), text(system.release())),
        cores: std::thread::available_parallelism().ok().map(std::num::NonZero::get),
        arguments: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        variables: variables(),
        threads: number(&status, "Threads:"),
        memory: Memory {
            resident_bytes: kib(&status, "VmRSS:"),
            resident_peak_bytes: kib(&status, "VmHWM:"),
            anonymous_bytes: kib(&status, "RssAnon:"),
            swapped_bytes: kib(&status, "VmSwap:"),
            limit_bytes: memory_limit(),
        },
        open_files: OpenFiles { open: descriptors::open(), limit: limit.current, limit_hard: limit.maximum },
    }
}

/// The names of the variables that Weir may read. Their values may be secrets.
fn variables() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("WEIR_") || name.starts_with("FLEX_")).collect();
    names.sort();
    names
}

fn number(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn kib(status: &str, name: &str) -> Option<u64> {
    number(status, name).map(|kib| kib.saturating_mul(1024))
}

/// What the container allows (cgroup v2); `None` where it allows everything.
fn memory_limit() -> Option<u64> {
    fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_of_this_process() {
        let facts = facts();
        assert_eq!(facts.pid, std::process::id());
        assert!(facts.memory.resident_bytes > Some(100_000), "{facts:?}");
        assert!(facts.open_files.open.map(|open| open as u64) <= facts.open_files.limit, "{facts:?}");
        assert!(facts.threads > Some(0), "{facts:?}");
    }
}
