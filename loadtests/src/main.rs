//! `weir-bench`: contenders in one rotation (A B A B …), each doing the same work, priced in CPU a request.
//!
//! The figure is utime + stime of the proxy's own threads over the requests that the load generator counts: on a
//! shared machine it is the robust one. Requests a second and latency are printed for information. The upstream and
//! the load generator run on the other core, and a run in which the proxy's core was not the busy one says so.

mod contender;
mod cpu;
mod report;
mod wrk;

use clap::Parser;
use contender::{Contender, Nginx, Running, Weir};
use report::{Run, Table};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Weir beside plain nginx: 64 keep-alive connections, 1 KiB responses, one worker pinned to core 0.
#[derive(Parser)]
#[command(version)]
pub struct Options {
    /// Rounds of the rotation.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each run, after a warm-up of one.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// The runs as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match bench(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> io::Result<bool> {
    let dir = tempfile::tempdir()?;
    let upstream = contender::upstream(dir.path())?;
    let target = upstream.address();
    let contenders: [&dyn Contender; 2] = [&Nginx, &Weir];
    let mut runs: Vec<Run> = Vec::new();
    let total = options.rounds * contenders.len();
    for round in 0..options.rounds {
        for contender in contenders {
            let left = (total - runs.len()) as u64 * (options.seconds + 3);
            eprintln!("round {} of {}: {} (about {left} s left)", round + 1, options.rounds, contender.name());
            let folder = dir.path().join(format!("{}-{round}", contender.name()));
            std::fs::create_dir_all(&folder)?;
            let running = contender.start(&folder, target)?;
            wrk::run(running.address(), 1, options.connections)?;
            let before = cpu::of(running.process_id())?;
            let load = wrk::run(running.address(), options.seconds, options.connections)?;
            let spent = cpu::of(running.process_id())? - before;
            let accounted = running.accounted_for()?;
            let memory = cpu::anonymous_bytes(running.process_id())?;
            runs.push(Run::new(contender.name(), load, spent, accounted, memory));
        }
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(&runs)?)?;
    }
    let table = Table::of(&runs);
    println!("{table}");
    Ok(table.nothing_lost())
}
