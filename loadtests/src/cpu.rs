//! CPU time of a process and its children, split into its workers and the rest, from `/proc`.

use serde::Serialize;
use std::io;
use std::ops::Sub;
use std::path::Path;

/// Microseconds of CPU (user and system).
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cpu {
    /// Of the threads that serve requests.
    pub workers_us: u64,
    /// Of the whole process, and of its children.
    pub process_us: u64,
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { workers_us: self.workers_us - before.workers_us, process_us: self.process_us - before.process_us }
    }
}

/// What the process and its children have used so far. nginx serves in children; Weir in threads `worker-N`.
pub fn of(pid: u32) -> io::Result<Cpu> {
    let mut cpu = Cpu::default();
    let children = children(pid)?;
    for (process, is_child) in std::iter::once((pid, false)).chain(children.iter().map(|child| (*child, true))) {
        for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
            let (name, us) = thread(&task?.path())?;
            cpu.process_us += us;
            if is_child || name.starts_with("worker-") {
                cpu.workers_us += us;
            }
        }
    }
    Ok(cpu)
}

fn children(pid: u32) -> io::Result<Vec<u32>> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(list.split_whitespace().filter_map(|child| child.parse().ok()).collect())
}

/// A thread's name and its utime + stime. schedstat counts in nanoseconds where stat counts in ticks of 10 ms.
fn thread(task: &Path) -> io::Result<(String, u64)> {
    let name = std::fs::read_to_string(task.join("comm"))?.trim().to_owned();
    let schedstat = std::fs::read_to_string(task.join("schedstat"))?;
    let ns: u64 = schedstat.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
    Ok((name, ns / 1000))
}

/// Anonymous resident memory, without files and rings mapped.
pub fn anonymous_bytes(pid: u32) -> io::Result<u64> {
    let processes = std::iter::once(pid).chain(children(pid)?);
    let of = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Ok(processes.filter_map(of).sum::<u64>() * 1024)
}
