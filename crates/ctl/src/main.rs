//! `weirctl`, the operator's command: asks gateways and `weir-analytics`, and says what they say.
//!
//! Exit codes: 0 well, 1 the answer is no (or the configuration is wrong), 2 usage, 3 could not reach what was
//! asked, 4 the answer is not known (of the ledger). A probe that cannot reach its gateway exits 1, because that is what a probe's caller understands.

mod admin;
mod args;
mod cardinality;
mod change;
mod deadletters;
mod debug;
mod dump;
mod exposition;
mod fetch;
mod ledger;
mod pipeline;
mod probe;
mod probe_args;
mod schema;
mod spool;
mod spool_args;
mod tail;
mod terminal;
mod tls;
mod top;
mod trace;
mod validate;
mod waterfall;

use args::{Args, Command};
use clap::Parser;
use fetch::FetchError;
use serde_json::json;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use terminal::{say_json, tell};

/// How a command ended.
enum Outcome {
    Well,
    No,
    /// Neither yes nor no: nobody can know it now.
    Unknown,
}

/// Why a command could not answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the answer of {url} is not what this version of weirctl understands: {error}; is this its address?")]
    Answer { url: String, error: serde_json::Error },
    #[error("cannot write `{}`: {error}; give a folder that this user may write to", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("cannot use the spool `{}`: {error}; give the gateway's `spool.path` by --path, and run this as its user", path.display())]
    Spool { path: PathBuf, error: io::Error },
    #[error("no chunk `{0}` is set aside; `weirctl spool list` prints those that are")]
    NoSuchChunk(String),
    #[error("not asked at a terminal: give --yes to confirm")]
    Unconfirmed,
    #[error(transparent)]
    Token(#[from] admin::TokenError),
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// For programs: what kind of failure it is.
    fn kind(&self) -> &'static str {
        match self {
            Self::Fetch(FetchError::Url { .. }) => "url",
            Self::Fetch(FetchError::Unreachable { .. } | FetchError::Socket { .. }) => "unreachable",
            Self::Fetch(FetchError::Silent { .. }) => "silent",
            Self::Fetch(FetchError::Broken { .. }) => "broken",
            Self::Fetch(FetchError::Refused { .. } | FetchError::NoTail { .. } | FetchError::NoMetrics { .. }) => {
                "refused"
            }
            Self::Answer { .. } => "answer",
            Self::Spool { .. } | Self::NoSuchChunk(_) => "spool",
            Self::Unconfirmed => "unconfirmed",
            Self::Token(_) => "token",
            Self::Tls(_) => "tls",
            Self::File { .. } | Self::Output(_) => "output",
        }
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Fetch(_) | Self::Answer { .. } => 3,
            Self::Token(_) | Self::Tls(_) => 2,
            _ => 1,
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.tls.config() {
        Ok(config) => {
            config.into_iter().for_each(fetch::speak_by);
            run(&args).await
        }
        Err(error) => Err(error.into()),
    };
    reported(&args, outcome)
}

async fn run(args: &Args) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Tail(options) => tail::tail(&args.gateways(), options).await,
        Command::Top(options) => top::top(&args.gateways(), options).await,
        Command::Trace(options) => trace::trace(&args.asked()?, options).await,
        Command::Probe(options) => probe::probe(args, options).await,
        Command::Ledger(options) => ledger::ledger(&args.asked()?, options).await,
        Command::Spool(options) => spool::spool(options),
        Command::Deadletters(command) => deadletters::deadletters(&args.analytics, command).await,
        Command::Reload(options) => change::reload(&args.administered(&options.change.admin), options).await,
        Command::Rollback(options) => change::roll_back(&args.administered(&options.change.admin), options).await,
        Command::Debug(command) => debug::debug(&args.debugged(command), command).await,
        Command::Cardinality(options) => cardinality::cardinality(&args.gateways(), options).await,
        Command::Dump(options) => dump::dump(&args.gateways(), options).await,
        Command::Validate(options) => validate::validate(options),
        Command::Schema(_) => schema::schema().map(|()| Outcome::Well).map_err(Failure::from),
        Command::Completions(completions) => completions.print::<Args>().map(|()| Outcome::Well).map_err(Failure::from),
    }
}

fn reported(args: &Args, outcome: Result<Outcome, Failure>) -> ExitCode {
    match outcome {
        Ok(Outcome::Well) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Ok(Outcome::Unknown) => ExitCode::from(4),
        // Whoever reads may stop reading: `weirctl tail | head`.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            if args.command.json() {
                drop(say_json(json!({"error": {"kind": error.kind(), "message": error.to_string()}})));
            }
            tell(&error);
            error.exit_code()
        }
    }
}
