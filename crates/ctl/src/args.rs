//! The command line.

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;

/// Asks Weir's gateways and its analytics, and says what they say.
#[derive(Parser)]
#[command(
    name = "weirctl",
    version,
    after_help = "Exit codes: 0 well, 1 the answer is no, 2 usage, 3 could not reach what was asked (a probe: 1)."
)]
pub struct Args {
    /// A gateway's admin address; may be given more than once where a command can ask several.
    #[arg(long, default_value = "http://127.0.0.1:9901", value_name = "URL", env = "WEIR_ADMIN", global = true)]
    pub admin: Vec<String>,
    /// The address of weir-analytics.
    #[arg(long, default_value = "http://127.0.0.1:8686", value_name = "URL", env = "WEIR_ANALYTICS", global = true)]
    pub analytics: String,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Show events as they happen, from one gateway or several.
    Tail(TailOptions),
    /// Show one trace through all gateways as a waterfall: each one's own time, and the time between.
    Trace(TraceOptions),
    /// Ask whether a gateway is alive, or ready. Exits 0 or 1, and says why.
    Probe(ProbeOptions),
    /// Show the account of every event: accepted, stored, and where the others are. Exits 1 if any is missing.
    Ledger(LedgerOptions),
    /// Check a configuration and tell every mistake in it, with file and line.
    Validate {
        /// A folder of YAML files, read with its subfolders; may be given more than once.
        #[arg(long, default_value = "/etc/weir/conf.d", value_name = "DIR")]
        config: Vec<PathBuf>,
    },
    /// Print the JSON Schema of every resource, for editors: weirctl schema > weir.schema.json
    Schema,
    /// Print a completion script: weirctl completions bash > /etc/bash_completion.d/weirctl
    Completions { shell: Shell },
}

#[derive(clap::Args)]
pub struct TailOptions {
    /// One JSON object a line, with every field.
    #[arg(long)]
    pub json: bool,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Only events with a reason: what did not simply pass.
    #[arg(long)]
    pub failed: bool,
}

#[derive(clap::Args)]
pub struct TraceOptions {
    /// The trace id: 32 hex digits. An `x-request-id` will do, too.
    pub id: String,
    /// The events as JSON, as weir-analytics gives them.
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args)]
pub struct ProbeOptions {
    #[arg(long, value_enum)]
    pub check: Check,
    /// Ready even though the last edit of the configuration is wrong.
    #[arg(long, visible_alias = "allow-envoy-errors", visible_alias = "allow-policy-errors")]
    pub allow_api_errors: bool,
}

/// What is asked.
#[derive(Clone, Copy, ValueEnum)]
pub enum Check {
    /// Does the process answer?
    Liveness,
    /// Does it serve?
    Readiness,
}

#[derive(clap::Args)]
pub struct LedgerOptions {
    /// The ledger as JSON, as weir-analytics gives it.
    #[arg(long)]
    pub json: bool,
}
