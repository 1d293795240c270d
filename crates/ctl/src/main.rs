//! `weirctl`, the operator's command: asks gateways and `weir-analytics`, and says what they say.
//!
//! Exit codes: 0 well, 1 the answer is no (or the configuration is wrong), 2 usage, 3 could not reach what was
//! asked. A probe that cannot reach its gateway exits 1, because that is what a probe's caller understands.

mod args;
mod fetch;
mod ledger;
mod probe;
mod schema;
mod tail;
mod trace;
mod validate;
mod waterfall;

use args::{Args, Command};
use clap::{CommandFactory, Parser};
use fetch::FetchError;
use std::io;
use std::process::ExitCode;

/// How a command ended.
enum Outcome {
    Well,
    No,
}

/// Why a command could not answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the answer of {url} is not what this version of weirctl understands: {error}")]
    Answer { url: String, error: serde_json::Error },
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.command {
        Command::Tail(options) => tail::tail(&args.admin, options).await,
        Command::Trace(options) => trace::trace(&args.analytics, options).await,
        Command::Probe(options) => return probe::probe(&args.admin, options).await,
        Command::Ledger(options) => ledger::ledger(&args.analytics, options).await,
        Command::Validate { config } => return validate::validate(config),
        Command::Schema => schema::schema().map(|()| Outcome::Well).map_err(Failure::from),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Args::command(), "weirctl", &mut io::stdout());
            return ExitCode::SUCCESS;
        }
    };
    match outcome {
        Ok(Outcome::Well) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        // Whoever reads may stop reading: `weirctl tail | head`.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(if matches!(error, Failure::Fetch(_)) { 3 } else { 1 })
        }
    }
}
