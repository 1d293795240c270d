//! The command line.

use crate::admin::{self, AdminOptions, Analytics, ReaderOptions, TokenError};
use crate::probe_args::ProbeOptions;
use crate::spool_args::{SpoolCommand, SpoolOptions};
use crate::tls::TlsOptions;
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use weir_program::Completions;

/// Where a gateway's admin address is unless its configuration says otherwise.
const ADMIN: &str = "http://127.0.0.1:9901";
/// Where its socket is unless its configuration or its command line say otherwise.
const SOCKET: &str = "/var/lib/weir/spool.state/admin.sock";

/// The command-line client for Weir's gateways and weir-analytics.
///
/// tail, top, probe, reload, rollback, debug, dump and cardinality use the admin address of a gateway; trace, ledger and
/// deadletters use the address of weir-analytics; spool reads a folder; validate and schema need no server. --json prints
/// JSON for programs.
#[derive(Parser)]
#[command(
    name = "weirctl",
    version,
    after_long_help = "\
Examples:
  weirctl probe --check readiness
  weirctl tail --admin http://127.0.0.1:9901 --failed
  weirctl reload --wait --admin unix:/var/lib/weir/spool.state/admin.sock
  weirctl ledger --analytics http://127.0.0.1:8686
  weirctl ledger --analytics https://analytics.example.com:8686 --tls-ca /etc/weir/ca.pem

Exit codes:
  0  well: the answer is yes
  1  the answer is no: not ready, not found, events missing, not valid; also a probe that could not reach its gateway
  2  usage
  3  could not reach what was asked, or it did not answer as it should
  4  not known: a part of the ledger's account (ledger only)

With --json the answer is on standard output, also when there is none: {error: {kind, message}}."
)]
pub struct Args {
    /// A gateway's admin address, or its socket as unix:PATH; may be given more than once where a command can ask several.
    /// http://127.0.0.1:9901 unless said; of reload and rollback without a token, the socket
    /// /var/lib/weir/spool.state/admin.sock where there is one.
    #[arg(long, value_name = "URL", env = "WEIR_ADMIN", global = true)]
    pub admin: Vec<String>,
    /// The address of weir-analytics.
    #[arg(long, default_value = "http://127.0.0.1:8686", value_name = "URL", env = "WEIR_ANALYTICS", global = true)]
    pub analytics: String,
    #[command(flatten)]
    pub reader: ReaderOptions,
    #[command(flatten)]
    pub tls: TlsOptions,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Show events as they happen, from one gateway or several.
    ///
    /// Two lines an event: what was asked, how it ended and whose time it took; and its trace. If the terminal is slower
    /// than the gateway, it shows how many events were missed; requests never wait for it.
    #[command(after_long_help = "\
Examples:
  weirctl tail --failed
  weirctl tail --json --count 100 | jq -c [.status,.path,.total_us]
  weirctl tail --admin http://127.0.0.1:9901 --admin http://10.0.0.2:9901")]
    Tail(TailOptions),
    /// Show what each API does now: requests, failures, and times, the busiest first.
    ///
    /// From the metrics of one gateway, or of several as one, at every interval. A request failed by the fault of the
    /// service or of the gateway; it was refused by a policy.
    #[command(after_long_help = "\
Examples:
  weirctl top
  weirctl top --interval 10 --limit 5
  weirctl top --json --count 1 --admin http://127.0.0.1:9901 --admin http://10.0.0.2:9901

Exit codes:
  0  as often as --count says, or Ctrl-C
  3  a gateway could not be reached")]
    Top(TopOptions),
    /// Show one trace through all gateways as a waterfall: each one's own time, and the time between.
    ///
    /// Made from events, which every request has, sampled or not. An event takes about 2 s to arrive.
    #[command(after_long_help = "\
Examples:
  weirctl trace 4bf92f3577b34da6a3ce929d0e0e4736
  weirctl trace 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b0 --json | jq .events

Exit codes:
  0  here it is
  1  nobody has an event of it, or it is no trace id
  3  weir-analytics could not be reached")]
    Trace(TraceOptions),
    /// Ask whether a gateway is alive, or ready, and say why not. Or send one request through it and look for its traces.
    ///
    /// Liveness and readiness are for an orchestrator's probes. `--check pipeline` sends a marked request, which the gateway
    /// answers itself, and looks for it in the gateway's metrics, as an event in ClickHouse, and as a span: a line for each,
    /// with its delay or with what is wrong. It counts in no figure of requests. It needs what `weirctl reload` needs.
    #[command(after_long_help = "\
Examples:
  weirctl probe --check liveness
  weirctl probe --check=readiness --allow-api-errors
  weirctl probe --check readiness --json | jq -r .message
  sudo -u weir weirctl probe --check pipeline --analytics http://127.0.0.1:8686
  weirctl probe --check pipeline --token-file /etc/weir/admin-token --timeout 60s --json | jq .legs
  weirctl probe --check pipeline --url https://api.example.com --span-table http://127.0.0.1:8123/weir.otel_traces

Exit codes:
  0  it is; of the pipeline: everything that is configured has the request
  1  it is not, or it could not be reached; of the pipeline: a line says which part, and why")]
    Probe(ProbeOptions),
    /// Show the account of every event: balanced up to a time, missing, or unknown, and what to do.
    ///
    /// The answer is a sentence with a time, then one line a stream (a worker of one life of a gateway), the worst first.
    /// Gateways report every 10 s; one that has not for 30 s is unknown from its last report on. What is missing stays in
    /// the account until it is acknowledged. See docs/ledger.md.
    #[command(after_long_help = "\
Examples:
  weirctl ledger
  weirctl ledger --since 7d
  weirctl ledger --all --json | jq -r .sentence
  weirctl ledger --verify                             # count the rows of every day now
  weirctl ledger --acknowledge all --reason 'power failure of 2026-11-26, INC-1234' --token-file /etc/weir/admin-token
  WEIR_ADMIN_TOKEN=secret weirctl ledger --acknowledge 8f3a5c0e1d2b4a69 --reason 'gateway retired'

Exit codes:
  0  balanced up to the time that is printed
  1  events are missing, or stored more than once
  3  weir-analytics could not be reached
  4  nothing is known to be missing, and something is unknown: a silent gateway, an open end, no data yet")]
    Ledger(LedgerOptions),
    /// Show what waits in a gateway's spool, and what cannot be shipped; retry, export or drop the latter.
    ///
    /// Works on the folder itself, whether the gateway runs or not, as the user that the gateway runs as. Each request
    /// leaves a line in `audit.log` of the folder.
    #[command(after_long_help = "\
Examples:
  weirctl spool list
  weirctl spool retry all --path /var/lib/weir/spool
  weirctl spool export all > events.ndjson

Exit codes:
  0  done
  1  the answer is no, or the folder cannot be read or written")]
    Spool(SpoolOptions),
    /// List, show and replay the events that weir-analytics could not store as they are.
    ///
    /// An event whose time is out of range (a clock that was wrong) is kept apart, with its reason. When the cause is
    /// removed, it can be replayed. All of it needs the administrator's token.
    #[command(subcommand)]
    #[command(after_long_help = "\
Examples:
  weirctl deadletters list --token-file /etc/weir/admin-token
  weirctl deadletters show 8f3a5c0e1d2b4a69 --token-file /etc/weir/admin-token
  weirctl deadletters replay --token-file /etc/weir/admin-token")]
    Deadletters(Deadletters),
    /// Make gateways load their folders now, and print the generation that they then serve.
    ///
    /// Takes effect at once, whatever `spec.reload` of the configuration says and whatever the change takes away: whoever
    /// asks says that the files are complete. What could not be run before is tried again. Needs the administrator's token
    /// at an address, and at the gateway's socket to run as its user, or as root. See docs/configuration-loading.md.
    #[command(after_long_help = "\
Examples:
  sudo -u weir weirctl reload
  rsync -a conf.d/ /etc/weir/conf.d/ && sudo -u weir weirctl reload --wait
  weirctl reload --admin unix:/run/weir/admin.sock
  weirctl reload --wait=60 --json | jq -r .generation
  weirctl reload --admin http://127.0.0.1:9901 --admin http://10.0.0.2:9901 --token-file /etc/weir/admin-token

Exit codes:
  0  the generation that is printed serves; with --wait, on every worker
  1  the configuration is refused, or a worker does not serve it in time: standard error says why
  3  a gateway could not be reached, or does not let this user reload")]
    Reload(ReloadOptions),
    /// Make gateways load a kept generation: the previous one, or the given one.
    ///
    /// A gateway keeps its last three good generations; `reloads.kept` of its /status lists them. What is in the folders
    /// is not loaded by itself afterwards, until it changes or somebody asks for a reload. A rollback that would take a
    /// policy away or bring a removed contract back asks for confirmation.
    #[command(after_long_help = "\
Examples:
  sudo -u weir weirctl rollback
  weirctl rollback --to 7 --yes --wait --token-file /etc/weir/admin-token

Exit codes:
  0  the generation that is printed serves; with --wait, on every worker
  1  there is no such generation, it is refused, or nobody confirmed it
  3  a gateway could not be reached, or does not let this user roll back")]
    Rollback(RollbackOptions),
    /// Keep all traces of a header, a consumer or an API for some minutes, whatever is sampled.
    ///
    /// For a gateway that makes spans (docs/tracing.md). The sampled flag goes on to the services, too. Rules end by
    /// themselves and with the process; who added and ended them is in the audit log.
    #[command(
        subcommand,
        after_long_help = "\
Examples:
  sudo -u weir weirctl debug add --header x-debug=1
  weirctl debug list"
    )]
    Debug(Debug),
    /// Print everything about a gateway that a support case needs, as one JSON document, without its secrets.
    ///
    /// The configuration as it runs (passwords, tokens, keys and client secrets as `(redacted)`), listeners with their
    /// certificates' expiry, workers, the spool, the ledger, what was wrong with the last edit, the last warnings of its
    /// own log, and the process: open files, limits, memory. Several gateways give one document a line.
    #[command(after_long_help = "\
Examples:
  weirctl dump
  weirctl dump | jq .process
  weirctl dump --output weir-dump
  weirctl dump --admin http://127.0.0.1:9901 --admin http://10.0.0.2:9901 > dumps.ndjson

Exit codes:
  0  here it is
  1  it could not be written
  3  a gateway could not be reached")]
    Dump(DumpOptions),
    /// Show how many series a gateway's metrics have, and the labels that make them.
    ///
    /// Series of several gateways add up, as they do in Prometheus. What traffic can make of them is bounded: the rest
    /// counts under `__other__`. With --again it looks twice, and shows what has grown.
    #[command(after_long_help = "\
Examples:
  weirctl cardinality
  weirctl cardinality --again=60 --limit 5
  weirctl cardinality --json | jq .series

Exit codes:
  0  here it is
  3  a gateway could not be reached")]
    Cardinality(CardinalityOptions),
    /// Check a configuration and report every error in it, with file, line and a suggested fix.
    ///
    /// What a load of the resources would tell, wherever this command is installed. `weir validate` also compiles them as
    /// the gateway would, certificates included.
    #[command(after_long_help = "\
Examples:
  weirctl validate --config examples/conf.d
  weirctl validate --config examples/conf.d --json | jq -r .errors[].message

Exit codes:
  0  the configuration is valid
  1  it has mistakes")]
    Validate(ValidateOptions),
    /// Print the JSON Schema of every resource, for editors.
    #[command(after_long_help = "Examples:\n  weirctl schema > weir.schema.json")]
    Schema(SchemaOptions),
    /// Print a completion script for a shell.
    #[command(after_long_help = "\
Examples:
  weirctl completions bash > /etc/bash_completion.d/weirctl
  weirctl completions zsh > /usr/local/share/zsh/site-functions/_weirctl
  weirctl completions fish > ~/.config/fish/completions/weirctl.fish")]
    Completions(Completions),
}

impl Args {
    /// weir-analytics, with the token of whoever asks.
    pub fn asked(&self) -> Result<Analytics, TokenError> {
        Ok(Analytics { address: self.analytics.clone(), token: self.reader.token()? })
    }

    /// The gateways to ask.
    pub fn gateways(&self) -> Vec<String> {
        if self.admin.is_empty() { vec![ADMIN.to_owned()] } else { self.admin.clone() }
    }

    /// The gateways whose debug rules are asked for.
    pub fn debugged(&self, command: &Debug) -> Vec<String> {
        match command {
            Debug::List(_) => self.gateways(),
            Debug::Add(DebugAdd { admin, .. }) | Debug::End(DebugEnd { admin, .. }) => self.administered(admin),
        }
    }

    /// The gateways to change, or to ask for what only the administrator may have.
    pub fn administered(&self, options: &AdminOptions) -> Vec<String> {
        let has_token = options.token_file.is_some() || admin::of_environment().is_some();
        if self.admin.is_empty() && !has_token && Path::new(SOCKET).exists() {
            return vec![format!("unix:{SOCKET}")];
        }
        self.gateways()
    }
}

impl Command {
    /// Whether a program reads the answer.
    pub fn json(&self) -> bool {
        match self {
            Self::Tail(options) => options.json,
            Self::Top(options) => options.json,
            Self::Trace(options) => options.json,
            Self::Probe(options) => options.json,
            Self::Ledger(options) => options.json,
            Self::Spool(options) => matches!(&options.command, SpoolCommand::List(list) if list.json),
            Self::Deadletters(command) => command.json(),
            Self::Reload(options) => options.change.json,
            Self::Rollback(options) => options.change.json,
            Self::Debug(
                Debug::Add(DebugAdd { json, .. }) | Debug::List(DebugList { json }) | Debug::End(DebugEnd { json, .. }),
            ) => *json,
            Self::Dump(_) => true,
            Self::Cardinality(options) => options.json,
            Self::Validate(options) => options.json,
            Self::Schema(_) => true,
            Self::Completions(_) => false,
        }
    }
}

#[derive(clap::Args)]
pub struct TailOptions {
    /// One JSON object a line, with every field.
    #[arg(long)]
    pub json: bool,
    /// End after this many events.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Only events with a reason, such as failures and refusals.
    #[arg(long)]
    pub failed: bool,
}

#[derive(clap::Args)]
pub struct TopOptions {
    /// One JSON object a line: {seconds, open, connections, cores, events_given_up, apis: [{api, requests_per_second, …}]}.
    #[arg(long)]
    pub json: bool,
    /// Seconds between two updates.
    #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub interval: u32,
    /// End after this many updates.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Maximum number of APIs.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub limit: usize,
}

#[derive(clap::Args)]
pub struct CardinalityOptions {
    /// One JSON document: {series, metrics: [{name, series, grown, labels: [{name, values}]}]}.
    #[arg(long)]
    pub json: bool,
    /// Maximum number of metrics.
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub limit: usize,
    /// Measure again after this many seconds (60 unless given), and show what has grown most.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "60")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub again: Option<u32>,
}

#[derive(clap::Args)]
pub struct TraceOptions {
    /// The trace id: 32 hex digits. An `x-request-id` is accepted as well.
    pub id: String,
    /// The events as JSON, as weir-analytics gives them: {events: […]}.
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args)]
pub struct LedgerOptions {
    /// The ledger as JSON, as weir-analytics gives it: {state, sentence, balanced_up_to_ms, streams: […]}.
    #[arg(long)]
    pub json: bool,
    /// List accounts in order whose last report is younger: `90m`, `24h`, `7d`. What is missing or unknown is listed
    /// whatever its age.
    #[arg(long, default_value = "24h", value_parser = minutes, value_name = "TIME")]
    pub since: u32,
    /// List the accounts of all time.
    #[arg(long, conflicts_with = "since")]
    pub all: bool,
    /// First count the rows of every kept day, instead of only those of days that may have changed.
    #[arg(long)]
    pub verify: bool,
    /// Acknowledge the missing and unknown events of this stream (16 hex digits), or of `all`: they stay in the account, but
    /// no longer affect its state. Needs the administrator's token.
    #[arg(long, requires = "reason", value_name = "STREAM|all")]
    pub acknowledge: Option<String>,
    /// Why it is accepted, for whoever reads the account later.
    #[arg(long, requires = "acknowledge", value_name = "TEXT")]
    pub reason: Option<String>,
    #[command(flatten)]
    pub admin: AdminOptions,
}

#[derive(clap::Args)]
pub struct ChangeOptions {
    /// Return when every worker serves the generation, or after this many seconds (30 unless given).
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "30")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub wait: Option<u32>,
    /// One JSON document a gateway: {outcome, generation, serving}, or {outcome, errors: […]}.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub admin: AdminOptions,
}

#[derive(clap::Args)]
pub struct ReloadOptions {
    #[command(flatten)]
    pub change: ChangeOptions,
}

#[derive(clap::Args)]
pub struct RollbackOptions {
    /// The generation to load.
    #[arg(long, value_name = "N")]
    pub to: Option<u32>,
    /// Confirm everything that the rollback removes or restores.
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub change: ChangeOptions,
}

#[derive(Subcommand)]
pub enum Debug {
    /// Add a rule.
    #[command(after_long_help = "\
Examples:
  sudo -u weir weirctl debug add --header x-debug=1
  weirctl debug add --api orders --minutes 30 --per-second 5 --token-file /etc/weir/admin-token
  weirctl debug add --consumer mobile-app --json | jq .id

Exit codes:
  0  traces are kept
  3  a gateway could not be reached, makes no spans, or does not let this user change anything")]
    Add(DebugAdd),
    /// List the rules that are in force.
    #[command(after_long_help = "\
Examples:
  weirctl debug list
  weirctl debug list --json | jq -r .rules[].until")]
    List(DebugList),
    /// End a rule before its time.
    #[command(after_long_help = "\
Examples:
  sudo -u weir weirctl debug end 1
  weirctl debug end 1 --token-file /etc/weir/admin-token")]
    End(DebugEnd),
}

#[derive(clap::Args)]
pub struct DebugAdd {
    /// Of requests with this header field: NAME, or NAME=VALUE.
    #[arg(long, value_name = "NAME[=VALUE]", required_unless_present_any = ["consumer", "api"], conflicts_with_all = ["consumer", "api"])]
    pub header: Option<String>,
    /// Of the requests of this consumer.
    #[arg(long, value_name = "NAME", conflicts_with = "api")]
    pub consumer: Option<String>,
    /// Of the requests for this API.
    #[arg(long, value_name = "NAME")]
    pub api: Option<String>,
    /// For how long.
    #[arg(long, value_name = "MINUTES", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub minutes: u32,
    /// At most so many a second.
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub per_second: u32,
    /// One JSON document a gateway.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub admin: AdminOptions,
}

#[derive(clap::Args)]
pub struct DebugList {
    /// One JSON document a gateway.
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args)]
pub struct DebugEnd {
    /// The number of the rule.
    #[arg(value_name = "ID")]
    pub id: u32,
    /// One JSON document a gateway.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub admin: AdminOptions,
}

#[derive(Subcommand)]
pub enum Deadletters {
    /// List them, one line a stream and reason: how many, which numbers, whether they can be replayed.
    #[command(after_long_help = "\
Examples:
  weirctl deadletters list --token-file /etc/weir/admin-token
  WEIR_ADMIN_TOKEN=secret weirctl deadletters list --json | jq -r .rows[].why")]
    List(DeadlettersList),
    /// Print the events of one stream, as JSON.
    #[command(after_long_help = "\
Examples:
  weirctl deadletters show 8f3a5c0e1d2b4a69 --from 4711 --limit 1 --token-file /etc/weir/admin-token")]
    Show(DeadlettersShow),
    /// Store them as the events that they are, as far as their times are in range now.
    #[command(after_long_help = "\
Examples:
  weirctl deadletters replay --token-file /etc/weir/admin-token
  WEIR_ADMIN_TOKEN=secret weirctl deadletters replay --json")]
    Replay(DeadlettersReplay),
}

impl Deadletters {
    fn json(&self) -> bool {
        match self {
            Self::List(options) => options.json,
            Self::Show(_) => true,
            Self::Replay(options) => options.json,
        }
    }
}

#[derive(clap::Args)]
pub struct DeadlettersList {
    /// The document as weir-analytics gives it: {rows: [{id, why, events, first, last, can_be_replayed, …}]}.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub admin: AdminOptions,
}

#[derive(clap::Args)]
pub struct DeadlettersShow {
    /// The stream: 16 hex digits.
    pub stream: String,
    /// The first number to show.
    #[arg(long, default_value_t = 0, value_name = "SEQ")]
    pub from: u64,
    /// At most so many.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: u32,
    #[command(flatten)]
    pub admin: AdminOptions,
}

#[derive(clap::Args)]
pub struct DeadlettersReplay {
    /// The document as weir-analytics gives it.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub admin: AdminOptions,
}

/// `90m`, `24h`, `7d`, in minutes.
fn minutes(text: &str) -> Result<u32, String> {
    let wrong = || "give a time like `90m`, `24h` or `7d`, up to ten years".to_owned();
    let unit = match text.chars().last() {
        Some('m') => 1,
        Some('h') => 60,
        Some('d') => 1440,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|minutes| (1..=5_256_000).contains(minutes)).ok_or_else(wrong)
}

#[derive(clap::Args)]
pub struct DumpOptions {
    /// A folder to write to, instead of standard output: one file for each part of the document (configuration.json,
    /// process.json, …), for this user's eyes only. With several gateways, a folder for each, numbered from 0.
    #[arg(long, value_name = "DIR", visible_alias = "output-directory")]
    pub output: Option<PathBuf>,
    /// A dump is JSON in any case.
    #[arg(long)]
    pub json: bool,
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

#[derive(clap::Args)]
pub struct SchemaOptions {
    /// A schema is JSON in any case.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_minutes_hours_or_days() {
        assert_eq!((minutes("90m"), minutes("24h"), minutes("7d")), (Ok(90), Ok(1440), Ok(10_080)));
        assert!(minutes("0h").is_err() && minutes("24").is_err() && minutes("").is_err() && minutes("é").is_err());
    }

    #[test]
    fn the_help_teaches() {
        assert_eq!(weir_program::help::lint::<Args>(), Vec::<String>::new());
    }
}
