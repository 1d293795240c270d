//! Receives events, writes ClickHouse, answers queries, serves the dashboards page. This file only wires.

mod args;
mod run;

use args::{Args, Verb};
use clap::Parser;
use std::process::ExitCode;
use weir_program::log::Log;

fn main() -> ExitCode {
    let args = Args::parse();
    match &args.verb {
        Some(Verb::Schema { render }) => {
            print!("{}", args.schema(render.clone()).render());
            return ExitCode::SUCCESS;
        }
        Some(Verb::Completions(completions)) => {
            return completions.print::<Args>().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        _ => {}
    }
    let _log = Log::start(&args.log, "info");
    match run::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-analytics: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
