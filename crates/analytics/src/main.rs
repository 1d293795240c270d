//! Receives events, writes ClickHouse, answers queries, serves the dashboards page. This file only wires.

mod args;
mod run;

use args::{Args, Verb};
use std::process::ExitCode;
use weir_program::log::Log;
use weir_program::operations::{Operations, Receiver};
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
    let operations = match operations() {
        Ok(operations) => operations,
        Err(error) => {
            args.log.fail(
                "weir-analytics: ",
                format_args!(
                    "spans of its own operations cannot be sent: {error}; correct the OTEL_EXPORTER_OTLP_ variables"
                ),
            );
            return ExitCode::FAILURE;
        }
    };
    let _log = Log::start_with(&args.log, "info", None, operations.as_ref());
    let log = args.log.clone();
    match run::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.fail("weir-analytics: ", &error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Where `OTEL_EXPORTER_OTLP_ENDPOINT` names a receiver.
fn operations() -> Result<Option<Operations>, Box<dyn std::error::Error>> {
    let service = std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| "weir-analytics".to_owned());
    let start =
        |receiver: Receiver| Operations::start(&service, &[("service.version", env!("CARGO_PKG_VERSION"))], &receiver);
    Ok(Receiver::of_environment()?.map(start).transpose()?)
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
