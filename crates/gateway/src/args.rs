//! The command line.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use weir_program::Completions;
use weir_program::log::LogOptions;

/// Weir, an API gateway that records every request.
///
/// It reads the YAML resources of Flex Gateway from folders, serves their APIs, and leaves one event of every request
/// in its spool, from where weir-analytics takes it to ClickHouse. `weirctl` asks a running one.
#[derive(Parser)]
#[command(
    name = "weir",
    version,
    after_long_help = "\
Examples:
  weir validate --config examples/conf.d && weir run --config examples/conf.d
  weirctl probe --check readiness

Exit codes:
  0  all is well
  1  the configuration is wrong, or the gateway cannot run it
  2  usage"
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Serve what the configuration says, until SIGTERM or Ctrl-C.
    ///
    /// Changed files are loaded while it runs, as a whole or not at all: a bad edit is reported and changes nothing. They are
    /// complete when a folder is swapped, when nothing has changed for 2 s, or when SIGHUP or `weirctl reload` says so:
    /// docs/configuration-loading.md. At the end no more connections are accepted, open requests finish (25 s unless set otherwise), and events are shipped; asked twice it waits for nobody: docs/lifecycle.md. Where `--log` is not given,
    /// `logging.runtimeLogs.logLevel` of the configuration says the level.
    #[command(after_long_help = "\
Examples:
  weir run --config examples/conf.d
  weir run --config /etc/weir/conf.d --config /run/weir/conf.d --workers 4 --name edge-1
  weir run --config examples/conf.d --last-good --admin-token-file /etc/weir/admin-token
  weir run --config /etc/weir/conf.d --take-over
  WEIR_LOG=debug weir run --config examples/conf.d --log-format json

Environment, where the YAML does not say it:
  FLEX_CONNECTION_IDLE_TIMEOUT_SECONDS           a client's connection without a request; 60
  FLEX_STREAM_IDLE_TIMEOUT_SECONDS               no byte either way on a request; 300
  FLEX_UPSTREAM_RESPONSE_TIMEOUT_SECONDS         until the head of the upstream's response; 15
  FLEX_UPSTREAM_CONNECTION_IDLE_TIMEOUT_SECONDS  a kept connection to an upstream; 60
  FLEX_REWRITE_HOST_HEADER                       whether Host becomes the upstream's; true
  FLEX_PRESERVE_EXTERNAL_REQUEST_ID              whether an X-Request-ID that came in is kept; false
  FLEX_SERVICE_ENVOY_DRAIN_TIME                  what open requests get at the end; 25 s
  and every $NAME that the YAML asks for

Exit codes:
  0  ended as it was asked to
  1  the configuration is wrong, or the gateway cannot run it: a port is taken, the spool cannot be written
  2  usage
  4  something hung at the end, or a second signal to end came: it ended at once, as a kill would end it,
     and the next start takes over what is in the spool")]
    Run(RunOptions),
    /// Check a configuration and report every error in it, with file, line and a suggested fix.
    ///
    /// Loads and compiles as `weir run` would, certificates included, without opening a port or touching the spool. Each
    /// $NAME that the YAML asks for must be set.
    #[command(after_long_help = "\
Examples:
  weir validate --config examples/conf.d
  weir validate --config examples/conf.d --json | jq -r .errors[].message

Exit codes:
  0  the configuration is valid
  1  it has errors: one a line on standard error, or the list `errors` of --json
  2  usage")]
    Validate(ValidateOptions),
    /// Print a completion script for a shell.
    #[command(after_long_help = "\
Examples:
  weir completions bash > /etc/bash_completion.d/weir
  weir completions zsh > /usr/local/share/zsh/site-functions/_weir
  weir completions fish > ~/.config/fish/completions/weir.fish")]
    Completions(Completions),
    /// Print the version.
    #[command(after_long_help = "Examples:\n  weir version")]
    Version,
}

#[derive(clap::Args)]
pub struct RunOptions {
    /// A folder of YAML files, read with its subfolders and watched; may be given more than once.
    #[arg(long, default_value = "/etc/weir/conf.d", value_name = "DIR", env = "WEIR_CONFIG")]
    pub config: Vec<PathBuf>,
    /// Worker threads, 1 to 256; one for each core that the process may use, unless said.
    #[arg(long, value_name = "N", env = "WEIR_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// The name of this replica, where several processes run one gateway; the host's name, unless said.
    #[arg(long, value_name = "REPLICA", env = "FLEX_NAME")]
    pub name: Option<String>,
    /// Start with the last good generation if the folders are invalid or empty. It reports so in its log, in /status and
    /// as a metric, and loads the folders once they are valid.
    #[arg(long, env = "WEIR_LAST_GOOD")]
    pub last_good: bool,
    /// The folder of the last good generations and of the audit log; beside `spool.path`, as SPOOL.state, unless said.
    #[arg(long, value_name = "DIR", env = "WEIR_STATE")]
    pub state: Option<PathBuf>,
    /// File with the administrator's token for reload and rollback at the admin address, 16 characters or more in its first
    /// line. Without it only users that may open the admin socket can: the user of the gateway, and root.
    #[arg(long, value_name = "FILE", env = "WEIR_ADMIN_TOKEN_FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// The Unix socket at which the user of the gateway, and root, administer it without a token; admin.sock in the folder
    /// of --state, unless said.
    #[arg(long, value_name = "PATH", env = "WEIR_ADMIN_SOCKET")]
    pub admin_socket: Option<PathBuf>,
    /// A name besides loopback under which an administrator reaches the admin address; may be given more than once.
    #[arg(long = "host", value_name = "NAME", env = "WEIR_HOST", value_delimiter = ',')]
    pub hosts: Vec<String>,
    /// Start beside a gateway of the same user and the same configuration that is asked to end next: its ports are shared
    /// until then, and its admin and probe ports move here when it ends.
    #[arg(long)]
    pub take_over: bool,
    #[command(flatten)]
    pub log: LogOptions,
}

#[derive(clap::Args)]
pub struct ValidateOptions {
    /// A folder of YAML files, read with its subfolders; may be given more than once.
    #[arg(long, default_value = "/etc/weir/conf.d", value_name = "DIR", env = "WEIR_CONFIG")]
    pub config: Vec<PathBuf>,
    /// One JSON document: {valid, apis, routes, errors: [{file, line, column, resource, path, message}]}.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_teaches() {
        assert_eq!(weir_program::help::lint::<Args>(), Vec::<String>::new());
    }
}
