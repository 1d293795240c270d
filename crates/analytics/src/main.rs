//! Receives events, writes ClickHouse, answers queries, serves the dashboards page. This file only wires.

mod args;
mod run;

use args::{Args, Verb};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Verb::Schema { render }) = &args.verb {
        print!("{}", args.schema(render.clone()).render());
        return ExitCode::SUCCESS;
    }
    run::start_logging();
    match run::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-analytics: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
