//! What Prometheus' own libraries expose of every process, by their names.

use crate::Families;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

crate::catalogue! {
    CPU Counter "process_cpu_seconds_total" "s" [] "CPU time of the process, of the system's part of it, too.";
    THREAD_CPU Counter "weir_thread_cpu_seconds_total" "s" ["thread"]
        "CPU time of the threads of that name that run: its rate is the share of a core that a worker is busy.";
    OPEN_FILES Gauge "process_open_fds" "{file}" [] "File descriptors that the process has open.";
    MOST_FILES Gauge "process_max_fds" "{file}" [] "File descriptors that the process may have open.";
    RESIDENT Gauge "process_resident_memory_bytes" "By" [] "Memory of the process that is in RAM.";
    THREADS Gauge "process_threads" "{thread}" [] "Threads of the process.";
    START_TIME Gauge "process_start_time_seconds" "s" [] "When the process started, in seconds since the Unix epoch.";
}

/// The samples of this process, which began at `started`. What the system does not say has none.
pub fn metrics(out: &mut Families, started: SystemTime) {
    out.seconds(&CPU, &[], processor_time().as_secs_f64());
    for (name, nanos) in threads() {
        out.seconds(&THREAD_CPU, &[&name], nanos as f64 / 1e9);
    }
    let Figures { open_files, most_files, resident, threads } = figures();
    let gauges = [
        (&OPEN_FILES, open_files),
        (&MOST_FILES, most_files),
        (&RESIDENT, resident),
        (&THREADS, threads),
        (&START_TIME, started.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64())),
    ];
    for (metric, value) in gauges {
        value.into_iter().for_each(|value| out.gauge(metric, &[], value));
    }
}

/// What the system says of this process now, each where it does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// File descriptors that are open.
    pub open_files: Option<f64>,
    /// File descriptors that may be open.
    pub most_files: Option<f64>,
    /// Memory in RAM, in bytes.
    pub resident: Option<f64>,
    /// Threads that run.
    pub threads: Option<f64>,
}

/// The figures of this moment.
pub fn figures() -> Figures {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    Figures {
        open_files: fs::read_dir("/proc/self/fd").ok().map(|open| open.count() as f64),
        most_files: getrlimit(Resource::Nofile).current.map(|most| most as f64),
        resident: number(&status, "VmRSS:").map(|kib| kib * 1024.0),
        threads: number(&status, "Threads:"),
    }
}

/// CPU time of the process, of the system's part of it, too.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Name and CPU time of the threads that run, in nanoseconds. A number at the end of a name stays: workers have one each.
pub fn threads() -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for thread in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file| fs::read_to_string(thread.path().join(file)).ok();
        // On the processor, waiting for it, times it was given: the first.
        let nanos = read("schedstat").and_then(|times| times.split_whitespace().next()?.parse::<u64>().ok());
        let Some((name, nanos)) = read("comm").zip(nanos) else { continue };
        *all.entry(name.trim_end().to_owned()).or_default() += nanos;
    }
    all
}

fn number(status: &str, name: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exposition;

    #[test]
    fn every_metric_has_a_sample() {
        let (mut families, mut out) = (Families::default(), Exposition::default());
        metrics(&mut families, SystemTime::now());
        out.families(families);
        let text = String::from_utf8(out.finish()).unwrap();
        for metric in all() {
            let is_sample =
                |line: &str| line.strip_prefix(metric.name).is_some_and(|rest| rest.starts_with([' ', '{']));
            assert!(text.lines().any(is_sample), "{}: {text}", metric.name);
        }
        let busy = || threads().values().sum::<u64>();
        let before = busy();
        while busy() == before {}
    }
}
