//! The command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand};
use weir_program::Completions;
use weir_program::log::LogOptions;

use crate::server::Limits;

/// ClickHouse's engine behind ClickHouse's HTTP interface, for one machine.
///
/// clickhouse-connect, clickhouse-go (Grafana), the `clickhouse` crate and curl are served unchanged.
/// URL parameters that are settings hold for one request. With `session_id` temporary tables, SET and
/// USE are kept for the next; without it every request starts afresh. GET may only read. KILL QUERY
/// takes the client's `query_id`; system.processes shows it as Settings['chdb_client_name']. A result is
/// streamed, unless its format needs it whole. The program's own figures are on /metrics, without a
/// password. SIGTERM lets running statements finish; a kill loses nothing that was acknowledged.
#[derive(Debug, Parser)]
#[command(name = "weir-chdb", version, verbatim_doc_comment, args_override_self = true)]
#[command(subcommand_negates_reqs = true)]
#[command(after_long_help = "\
Examples:
  weir-chdb --path /var/lib/weir/clickhouse
  weir-chdb --path /var/lib/weir/clickhouse --listen 0.0.0.0:8123 --users /etc/weir/users --log debug
  curl 'http://127.0.0.1:8123/?query=SELECT+version()'
  curl 'http://127.0.0.1:8123/' -d 'CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a'
  curl 'http://127.0.0.1:8123/?query=INSERT+INTO+t+FORMAT+CSV' --data-binary @rows.csv

--log debug shows failed statements.

Exit codes:
  0  ended as it was told to
  1  the configuration is wrong; the message says how to mend it
  2  usage")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,

    /// Address and port to serve on; port 0 takes a free one. Not loopback only with --users
    #[arg(long, env = "WEIR_CHDB_LISTEN", default_value = "127.0.0.1:8123", value_name = "ADDR:PORT")]
    pub listen: SocketAddr,

    /// Folder of the data; made if it is not there. One program at a time
    #[arg(long, env = "WEIR_CHDB_PATH", value_name = "DIR", required = true)]
    path: Option<PathBuf>,

    /// File of who may ask, one a line: `name:sha256-of-the-password-in-hex:full` or `...:readonly`.
    /// Without it the user `default` with an empty password may do all, from this machine
    #[arg(long, env = "WEIR_CHDB_USERS", value_name = "FILE")]
    pub users: Option<PathBuf>,

    /// The engine's library; without it, libchdb.so beside this program, in ../lib, or in the repository
    #[arg(long, env = "WEIR_CHDB_LIB", value_name = "FILE")]
    pub library: Option<PathBuf>,

    /// Connections at once; further ones wait to be accepted
    #[arg(long, env = "WEIR_CHDB_MAX_CONNECTIONS", default_value_t = 256, value_name = "N", value_parser = at_least_one)]
    pub max_connections: usize,

    /// Statements at once; further ones get error 202
    #[arg(long, env = "WEIR_CHDB_MAX_QUERIES", default_value_t = 32, value_name = "N", value_parser = at_least_one)]
    pub max_queries: usize,

    /// Longest text of a statement, in bytes, its data apart
    #[arg(long, env = "WEIR_CHDB_MAX_QUERY_SIZE", default_value_t = 1 << 20, value_name = "BYTES", value_parser = at_least_one)]
    pub max_query_size: usize,

    /// Sessions that are kept at once (`session_id`); the longest idle goes first
    #[arg(long, env = "WEIR_CHDB_MAX_SESSIONS", default_value_t = 256, value_name = "N", value_parser = at_least_one)]
    pub max_sessions: usize,

    /// Most that a result may hold, in bytes before formatting, whose format needs it in memory as a whole (JSON,
    /// Parquet, Pretty, WITH TOTALS); others are streamed. Beyond it error 396
    #[arg(long, env = "WEIR_CHDB_MAX_WHOLE_RESULT", default_value_t = 256 << 20, value_name = "BYTES", value_parser = at_least_one)]
    pub max_whole_result: usize,

    /// Longest head of a request (line and headers, so also a query in the URL), in bytes
    #[arg(long, env = "WEIR_CHDB_MAX_HEAD", default_value_t = 128 << 10, value_name = "BYTES", value_parser = head_size)]
    pub max_head: usize,

    /// Seconds until a connection without a request is closed
    #[arg(long, env = "WEIR_CHDB_IDLE_TIMEOUT", default_value_t = 60, value_name = "SECONDS")]
    pub idle_timeout: u64,

    /// Seconds that a client may take to send the next piece of a body, or to read the next piece of a result
    #[arg(long, env = "WEIR_CHDB_TRANSFER_TIMEOUT", default_value_t = 60, value_name = "SECONDS")]
    pub transfer_timeout: u64,

    /// Seconds that running statements get to finish after SIGTERM or SIGINT
    #[arg(long, env = "WEIR_CHDB_DRAIN_TIMEOUT", default_value_t = 30, value_name = "SECONDS")]
    pub drain_timeout: u64,

    #[command(flatten)]
    pub log: LogOptions,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Print a completion script for a shell
    #[command(after_long_help = "Examples:\n  weir-chdb completions bash > /etc/bash_completion.d/weir-chdb")]
    Completions(Completions),
}

impl Args {
    /// The folder of the data: required where no command is given.
    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new("."))
    }

    pub fn limits(&self) -> Limits {
        Limits {
            max_connections: self.max_connections,
            max_queries: self.max_queries,
            max_query_size: self.max_query_size,
            max_whole_result: self.max_whole_result as u64,
            max_sessions: self.max_sessions,
            max_head: self.max_head,
            idle: Duration::from_secs(self.idle_timeout),
            transfer: Duration::from_secs(self.transfer_timeout),
            drain: Duration::from_secs(self.drain_timeout),
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "give a whole number above 0".to_owned())
}

/// hyper reads heads into a buffer of 8 KiB at least.
fn head_size(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number >= 8192).ok_or_else(|| "give a whole number of at least 8192".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_teaches() {
        assert_eq!(weir_program::help::complaints::<Args>(), Vec::<String>::new());
    }
}
