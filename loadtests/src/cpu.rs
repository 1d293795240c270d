//! CPU time of a process and its children, split into its workers and the rest, from `/proc`; and what else a core did.

use std::io;
use std::ops::Sub;
use std::path::Path;
use std::time::Duration;

/// Microseconds of CPU (user and system).
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// Of the threads that serve requests.
    pub workers_us: u64,
    /// Of the whole process, and of its children.
    pub process_us: u64,
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            workers_us: self.workers_us.saturating_sub(before.workers_us),
            process_us: self.process_us.saturating_sub(before.process_us),
        }
    }
}

/// What the process and its children have used so far. `worker` tells a serving thread by its name; a program without
/// such threads (nginx, HAProxy) serves in the process or in its children, whole.
pub fn of(pid: u32, worker: Option<&str>) -> io::Result<Cpu> {
    let mut cpu = Cpu::default();
    for process in std::iter::once(pid).chain(children(pid)?) {
        for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
            let (name, us) = thread(&task?.path())?;
            cpu.process_us += us;
            if worker.is_none_or(|worker| name.starts_with(worker)) {
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

/// Of a process without its children, ended threads too; in ticks of 10 ms.
pub fn whole(pid: u32) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may have spaces; it ends with the last bracket. utime and stime are fields 14 and 15.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// The most that a process had in memory, files mapped included.
pub fn peak_bytes(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    Ok(line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024)
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

/// What core 0 was busy for since the start of the machine, in microseconds, by whomever; and what was stolen from it.
pub fn core_busy_us() -> io::Result<u64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().find(|line| line.starts_with("cpu0 ")).unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|field| ticks.get(*field)).sum::<u64>();
    Ok(busy * 10_000)
}
