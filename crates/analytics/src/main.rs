//! Receives events, writes ClickHouse, answers queries, serves the dashboards page. This file only wires.

mod args;
mod run;

use args::{Args, Verb};
use std::process::ExitCode;
use weir_program::log::Log;
use weir_program::say;

fn main() -> ExitCode {
    let args = weir_program::parse::<Args>();
    match &args.verb {
        Some(Verb::Schema { render }) => {
            return printed(say(args.schema(render.clone()).render().trim_end()));
        }
        Some(Verb::Completions(completions)) => {
            return printed(completions.print::<Args>());
        }
        _ => {}
    }
    let _log = Log::start(&args.log, "info");
    let log = args.log.clone();
    match run::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.fail("weir-analytics: ", &error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Of a command whose only work is to print.
fn printed(outcome: std::io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-analytics: cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}
