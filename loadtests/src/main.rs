//! `weir-bench`: contenders in one rotation (A B C A B C …), each doing the same work, priced in CPU a request.
//!
//! The figure is utime + stime of the proxy's own threads over the requests that the load generator counts: on a
//! shared machine it is the robust one. The upstream, the load and this program run on the other core; a run in which
//! the proxy's core was not the busy one says so, and a run that lost a request, an event, a log line or a span is a
//! failed one.

mod analytics;
mod chart;
mod child;
mod contenders;
mod cpu;
mod gateways;
mod guard;
mod load;
mod machine;
mod options;
mod pane;
mod report;
mod rotation;
mod run;
mod sink;
mod tls;
mod works;

use clap::Parser;
use options::{Command, Options};
use rotation::Bench;
use run::Report;
use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.command {
        Some(Command::Guard { record, profile, program, keep, with }) if with.is_empty() => {
            guard::run(*record, *profile, program.as_deref(), keep.as_deref())
        }
        Some(Command::Guard { program, keep, with, .. }) => guard::compare(with, program.as_deref(), keep.as_deref()),
        Some(Command::Analytics { fleet, keep }) => analytics::run(*fleet, keep.as_deref()),
        Some(Command::Pane(options)) => pane::run(options),
        None if options.list => Ok(list(&options)),
        None => bench(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list(options: &Options) -> bool {
    for work in options.works() {
        println!("work       {:16} {} (primary: {})", work.name, work.what, work.primary);
    }
    for contender in options.contenders() {
        let presence = match (contender.presence)() {
            contenders::Presence::Here(path) => path.display().to_string(),
            contenders::Presence::Missing(why) => format!("missing: {why}"),
        };
        println!("contender  {:16} {} ({presence})", contender.name, contender.what);
    }
    true
}

fn bench(options: &Options) -> io::Result<bool> {
    // Read before an hour's work depends on it.
    let earlier = options.compare.as_ref().map(|path| read(path)).transpose()?;
    stay_off_the_proxys_core()?;
    let mut dir = tempfile::tempdir()?;
    dir.disable_cleanup(options.keep);
    let (_upstream, address) = contenders::upstream(&dir.path().join("upstream"))?;
    let (works, contenders) = (options.works(), options.contenders());
    let report = Bench::new(dir.path(), address)?.run(options, &works, &contenders);
    let mut text = report::markdown(&report, &works);
    if let Some(earlier) = &earlier {
        text += &report::compare(&report, earlier, &works);
    }
    println!("{text}");
    std::fs::create_dir_all(&options.out)?;
    let json = options.json.clone().unwrap_or_else(|| options.out.join("runs.json"));
    std::fs::write(options.out.join("bench.md"), text)?;
    std::fs::write(options.out.join("ratios.svg"), chart::svg(&report, &works))?;
    std::fs::write(&json, serde_json::to_vec_pretty(&report)?)?;
    eprintln!("written: {} (bench.md, ratios.svg), {}", options.out.display(), json.display());
    if options.keep {
        eprintln!("kept: {}", dir.path().display());
    }
    Ok(report.is_sound())
}

fn read(path: &std::path::Path) -> io::Result<Report> {
    let reported = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(reported)?;
    serde_json::from_slice(&bytes).map_err(|error| reported(error.into()))
}

/// Keeps this program, and what it starts without saying where, on core 1.
fn stay_off_the_proxys_core() -> io::Result<()> {
    let mut core = rustix::thread::CpuSet::new();
    core.set(1);
    rustix::thread::sched_setaffinity(None, &core)
        .map_err(|error| io::Error::other(format!("core 1 is not to be had ({error}); a bench needs two cores")))
}
