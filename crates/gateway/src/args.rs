//! The command line.

use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Weir, an API gateway that records everything that passes.
#[derive(Parser)]
#[command(
    name = "weir",
    version,
    after_help = "Exit codes: 0 all is well, 1 the configuration is wrong or the gateway cannot run it, 2 usage.\n\
                  Try: weir validate --config conf.d && weir run --config conf.d"
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Serve what the configuration says, until SIGTERM or Ctrl-C; changed files are loaded while running.
    Run(RunOptions),
    /// Check a configuration and tell every mistake in it, with file and line. Exits 1 if there is any.
    Validate {
        /// A folder of YAML files, read with its subfolders; may be given more than once.
        #[arg(long, default_value = "/etc/weir/conf.d", value_name = "DIR")]
        config: Vec<PathBuf>,
    },
    /// Print the version.
    Version,
}

#[derive(clap::Args)]
pub struct RunOptions {
    /// A folder of YAML files, read with its subfolders and watched; may be given more than once.
    #[arg(long, default_value = "/etc/weir/conf.d", value_name = "DIR", env = "WEIR_CONFIG")]
    pub config: Vec<PathBuf>,
    /// Worker threads; one for each core that the process may use, unless said.
    #[arg(long, value_name = "N", env = "WEIR_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// The name of this replica, where several processes run one gateway; the host's name, unless said.
    #[arg(long, value_name = "REPLICA", env = "FLEX_NAME")]
    pub name: Option<String>,
    /// How the gateway's own log is written, on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "WEIR_LOG_FORMAT")]
    pub log_format: LogFormat,
}

/// The form of the program's own log.
#[derive(Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// One line an event, for people.
    Text,
    /// One JSON object a line.
    Json,
}
