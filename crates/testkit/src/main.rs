//! `weir-testkit`: the upstream, the witness and the demo as one program for development.

mod demo;

use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use weir_testkit::{compare, upstream, witness};

/// What Weir's demo, tests and benches are made of: an upstream, a witness and the demo. For development.
#[derive(Parser)]
#[command(
    name = "weir-testkit",
    version,
    after_long_help = "\
Examples:
  weir-testkit demo
  weir-testkit upstream --listen 127.0.0.1:9000

Exit codes:
  0  well
  1  the answer is no, or it could not be had; the message says why
  2  usage"
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Two gateways on two sites, an upstream, ClickHouse, the page, and steady traffic; until Ctrl-C.
    ///
    /// All on loopback, with ports of their own choice. At the end the witness is held against what is stored.
    #[command(after_long_help = "Examples:\n  weir-testkit demo --rate 300 --seconds 30 --dir .demo")]
    Demo(demo::Options),
    /// An HTTP upstream with endpoints of different speed, size and failure.
    ///
    /// /fast, /slow?ms=N, /status/N, /large?kib=N, /broken and others; it prints where it listens.
    #[command(after_long_help = "Examples:\n  weir-testkit upstream --listen 127.0.0.1:9000")]
    Upstream {
        /// Where to listen; port 0 takes a free one.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: String,
    },
    /// Sends requests and keeps a log of its own of each.
    #[command(after_long_help = "\
Examples:
  weir-testkit witness --target 127.0.0.1:8080 --rate 200 --seconds 10 --log witness.ndjson")]
    Witness {
        /// The address of the gateway.
        #[arg(long)]
        target: SocketAddr,
        /// Requests a second over all connections.
        #[arg(long, default_value_t = 200.0)]
        rate: f64,
        /// How long, in seconds.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Connections at once.
        #[arg(long, default_value_t = 8)]
        connections: usize,
        /// The log: one JSON object a line.
        #[arg(long)]
        log: PathBuf,
    },
    /// Holds a witness's log against the events of one gateway in ClickHouse. Exits 1 when they disagree.
    #[command(after_long_help = "Examples:\n  weir-testkit compare --log witness.ndjson --gateway edge")]
    Compare {
        /// What the witness wrote.
        #[arg(long)]
        log: PathBuf,
        /// ClickHouse's HTTP interface.
        #[arg(long, default_value = "http://127.0.0.1:8123")]
        clickhouse: String,
        /// The database of weir-analytics.
        #[arg(long, default_value = "weir")]
        database: String,
        /// The gateway that the witness talked to.
        #[arg(long)]
        gateway: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Demo(options) => demo::run(options).await,
        Command::Upstream { listen } => serve(&listen).await,
        Command::Witness { target, rate, seconds, connections, log } => {
            let plan = witness::Plan {
                target,
                connections,
                rate: Some(rate),
                requests: None,
                duration: Some(Duration::from_secs(seconds)),
                mix: witness::demo_mix(),
                log,
            };
            watch(plan).await
        }
        Command::Compare { log, clickhouse, database, gateway } => hold(&log, &clickhouse, &database, &gateway).await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Outcome = std::io::Result<bool>;

async fn serve(listen: &str) -> Outcome {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    upstream::serve(listener).await?;
    Ok(true)
}

async fn watch(plan: witness::Plan) -> Outcome {
    let tally = witness::Witness::start(plan)?.wait().await?;
    println!("{} sent, {} completed, {} failed", tally.sent, tally.completed, tally.failed);
    Ok(true)
}

async fn hold(log: &std::path::Path, clickhouse: &str, database: &str, gateway: &str) -> Outcome {
    let client = clickhouse::Client::default().with_url(clickhouse).with_database(database);
    let stored = compare::stored(&client, gateway).await.map_err(std::io::Error::other)?;
    let report = compare::compare(&witness::read_log(log)?, &stored);
    println!("{report}");
    Ok(report.holds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_teaches() {
        assert_eq!(weir_program::help::lint::<Args>(), Vec::<String>::new());
    }
}
