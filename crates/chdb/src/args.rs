//! The command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use weir_program::Completions;
use weir_program::log::LogOptions;

/// ClickHouse's own server for one machine, started out of ClickHouse's library.
///
/// What answers is ClickHouse's own code: HTTP, the native protocol (--tcp-port), formats, sessions, settings,
/// KILL QUERY, /play and /metrics are as its documentation says. This program writes the server's configuration,
/// locks the folder, holds the server open and ends it in order. There is no TLS, no CREATE USER, no ON CLUSTER.
/// SIGTERM lets running queries finish; a kill loses nothing that was acknowledged.
#[derive(Debug, Parser)]
#[command(name = "weir-chdb", version, verbatim_doc_comment, args_override_self = true)]
#[command(subcommand_negates_reqs = true)]
#[command(after_long_help = "\
Examples:
  weir-chdb --path /var/lib/weir/clickhouse
  weir-chdb --path /var/lib/weir/clickhouse --listen 0.0.0.0:8123 --users /etc/weir/users --memory 4GiB
  curl 'http://127.0.0.1:8123/?query=SELECT+version()'
  curl 'http://127.0.0.1:8123/' -d 'CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a'
  curl 'http://127.0.0.1:8123/?query=INSERT+INTO+t+FORMAT+CSV' --data-binary @rows.csv

The server's warnings are in the log; --log debug shows its failed queries too.

Exit codes:
  0  ended as it was asked to
  1  it could not start, or the server ended by itself; the message says how to fix it
  2  usage
  4  something hung at the end, or a second signal to end came: it ended at once, as a kill would end it")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,

    /// Address and port of HTTP; port 0 takes a free one. Not loopback only with --users
    #[arg(long, env = "WEIR_CHDB_LISTEN", default_value = "127.0.0.1:8123", value_name = "ADDR:PORT")]
    pub listen: SocketAddr,

    /// Port of ClickHouse's native protocol, on 127.0.0.1; without it, it is not served. For clients that you trust: a
    /// connection that is reset within its greeting ends this version of the engine
    #[arg(long, env = "WEIR_CHDB_TCP_PORT", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub tcp_port: Option<u16>,

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

    /// Most memory of the server: bytes, KiB, MiB, GiB, or a percentage of the machine's. A query that would go
    /// beyond it ends with error 241
    #[arg(long, env = "WEIR_CHDB_MEMORY", default_value = "80%", value_name = "SIZE")]
    pub memory: Memory,

    /// A folder that the statements of users with all rights may read and write beside --path, as in file() and
    /// BACKUP; may be given several times
    #[arg(long, value_name = "DIR")]
    pub files: Vec<PathBuf>,

    /// Connections at once; further ones wait to be accepted
    #[arg(long, env = "WEIR_CHDB_MAX_CONNECTIONS", default_value_t = 512, value_name = "N", value_parser = at_least_one)]
    pub max_connections: u64,

    /// Queries at once; further ones get error 202
    #[arg(long, env = "WEIR_CHDB_MAX_QUERIES", default_value_t = 256, value_name = "N", value_parser = at_least_one)]
    pub max_queries: u64,

    /// Seconds until a connection without a request is closed
    #[arg(long, env = "WEIR_CHDB_IDLE_TIMEOUT", default_value_t = 60, value_name = "SECONDS")]
    pub idle_timeout: u64,

    /// Seconds that a client may be silent within the body of a request, until it is given up: what a weir-analytics
    /// that takes over may have to wait for
    #[arg(long, env = "WEIR_CHDB_RECEIVE_TIMEOUT", default_value_t = 30, value_name = "SECONDS", value_parser = at_least_one)]
    pub receive_timeout: u64,

    /// Seconds that running queries get to finish after SIGTERM or SIGINT
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
}

/// How much memory the server may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Memory {
    Bytes(u64),
    /// Of the machine's, or of the limit of its control group.
    Ratio(f64),
}

/// Below it the server does not start.
const LEAST_MEMORY: u64 = 256 << 20;

impl std::str::FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "write bytes, or a number with KiB, MiB, GiB or %, as in `2GiB` or `80%`".to_owned();
        let digits = text.find(|at: char| !at.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let shift = match unit {
            "%" if (1..=95).contains(&number) => return Ok(Self::Ratio(number as f64 / 100.0)),
            "%" => return Err("a percentage is from 1 to 95".to_owned()),
            "" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err(wrong()),
        };
        match number.checked_mul(1 << shift) {
            Some(bytes) if bytes >= LEAST_MEMORY => Ok(Self::Bytes(bytes)),
            Some(_) => Err("the server needs 256MiB at least".to_owned()),
            None => Err(wrong()),
        }
    }
}

fn at_least_one(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "give a whole number above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_teaches() {
        assert_eq!(weir_program::help::lint::<Args>(), Vec::<String>::new());
    }

    #[test]
    fn memory_is_bytes_or_a_share() {
        let parse = |text: &str| text.parse::<Memory>();
        assert_eq!(parse("2GiB"), Ok(Memory::Bytes(2 << 30)));
        assert_eq!(parse("300MiB"), Ok(Memory::Bytes(300 << 20)));
        assert_eq!(parse("268435456"), Ok(Memory::Bytes(LEAST_MEMORY)));
        assert_eq!(parse("50%"), Ok(Memory::Ratio(0.5)));
        for wrong in ["", "2GB", "GiB", "-1", "99%", "0%", "1MiB", "99999999999999999GiB", "2.5GiB"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
