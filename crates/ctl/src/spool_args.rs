//! The command line of `weirctl spool`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Args)]
pub struct SpoolOptions {
    /// The spool's folder: `spool.path` of the gateway's configuration.
    #[arg(long, default_value = "/var/lib/weir/spool", value_name = "DIR", env = "WEIR_SPOOL", global = true)]
    pub path: PathBuf,
    #[command(subcommand)]
    pub command: SpoolCommand,
}

#[derive(Subcommand)]
pub enum SpoolCommand {
    /// List what waits in the spool, and what is set aside with why.
    #[command(after_long_help = "\
Examples:
  weirctl spool list --path /var/lib/weir/spool
  weirctl spool list --json | jq -r .set_aside[].reason")]
    List(ListOptions),
    /// Offer chunks that are set aside once more.
    #[command(after_long_help = "\
Examples:
  weirctl spool retry all")]
    Retry(Chunks),
    /// Print the events of chunks that are set aside, one JSON object a line.
    #[command(after_long_help = "\
Examples:
  weirctl spool export all > events.ndjson
  weirctl spool export all --output events.ndjson

Exit codes:
  0  here they are
  1  a chunk could not be read, or the output not be written")]
    Export(ExportOptions),
    /// Give up chunks that are set aside, for good. The loss stays in the ledger, as `dropped`.
    #[command(after_long_help = "\
Examples:
  weirctl spool drop all
  weirctl spool drop all --yes

Exit codes:
  0  requested
  1  not confirmed, or there is no such chunk")]
    Drop(DropOptions),
}

#[derive(Args)]
pub struct ListOptions {
    /// One JSON document: {path, lives: […], set_aside: […]}.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Chunks {
    /// File names as `weirctl spool list` prints them, or `all`.
    #[arg(required = true, value_name = "CHUNK")]
    pub chunk: Vec<String>,
}

#[derive(Args)]
pub struct ExportOptions {
    #[command(flatten)]
    pub chunks: Chunks,
    /// A new file for this user's eyes only, instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Args)]
pub struct DropOptions {
    #[command(flatten)]
    pub chunks: Chunks,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}
