//! The command line.

use clap::{Parser, Subcommand};
use jiff::civil::{Date, date};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use weir_analytics::schema::{Durability, Layout, Retention, Schema};
use weir_analytics::server::Bounds;
use weir_analytics::server::tls::TlsFiles;
use weir_program::Completions;
use weir_program::log::LogOptions;

/// Receives events of gateways, writes them to ClickHouse exactly once, answers queries and serves a page.
///
/// Without a command it serves until SIGTERM or Ctrl-C. It owns the tables: they are made, and brought to this version,
/// at each start. While ClickHouse is away it waits, and the gateways keep what they have.
#[derive(Debug, Parser)]
#[command(name = "weir-analytics", version, args_override_self = true)]
#[command(after_long_help = "\
Examples:
  weir-analytics --clickhouse http://127.0.0.1:8123 --tokens /etc/weir/tokens --state /var/lib/weir/analytics
  WEIR_ANALYTICS_PASSWORD=secret weir-analytics --clickhouse https://ch.example.com:8443 --user weir --cluster main
  weir-analytics --listen 0.0.0.0:8686 --tokens /etc/weir/tokens --readers /etc/weir/readers --tls-certificate /etc/weir/tls.pem --tls-key /etc/weir/tls.key
  curl -s http://127.0.0.1:8686/healthz

Exit codes:
  0  ended as it was asked to, or the command is done
  1  the configuration or the database's schema is wrong; the message says how to fix it
  2  usage
  3  ClickHouse could not be reached (commands only: the server waits for it)
  4  something hung at the end, or a second signal to end came: it ended at once, as a kill would end it")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,

    /// Address and port to serve on; port 0 takes a free one. An address that is not loopback needs --tokens
    #[arg(long, env = "WEIR_ANALYTICS_LISTEN", default_value = "127.0.0.1:8686", value_name = "ADDR:PORT")]
    pub listen: SocketAddr,

    /// PEM file of the certificate and its chain, for https; with --tls-key. Read again when it changes
    #[arg(long, env = "WEIR_ANALYTICS_TLS_CERTIFICATE", requires = "tls_key", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,

    /// PEM file of the certificate's private key
    #[arg(long, env = "WEIR_ANALYTICS_TLS_KEY", requires = "tls_certificate", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// PEM file of the authorities for client certificates: every client must then have one, probes and browsers too
    #[arg(long, env = "WEIR_ANALYTICS_TLS_CLIENT_CA", requires = "tls_certificate", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// ClickHouse's HTTP address: a server, or weir-chdb. A user and a password in it replace --user and --password
    #[arg(
        long,
        global = true,
        env = "WEIR_ANALYTICS_CLICKHOUSE",
        default_value = "http://127.0.0.1:8123",
        value_name = "URL",
        hide_env_values = true
    )]
    pub clickhouse: Address,

    /// ClickHouse's user
    #[arg(long, global = true, env = "WEIR_ANALYTICS_USER", default_value = "", value_name = "NAME")]
    pub user: String,

    /// The user's password; better given by the environment, which other users cannot see
    #[arg(
        long,
        global = true,
        env = "WEIR_ANALYTICS_PASSWORD",
        default_value = "",
        value_name = "TEXT",
        hide_env_values = true
    )]
    pub password: String,

    /// The database of all tables; made if it is not there
    #[arg(long, global = true, env = "WEIR_ANALYTICS_DATABASE", default_value = "weir", value_name = "NAME")]
    pub database: String,

    /// Replicated tables on the ClickHouse cluster of this name, instead of one server's own
    #[arg(long, global = true, env = "WEIR_ANALYTICS_CLUSTER", value_name = "NAME")]
    pub cluster: Option<String>,

    /// File of the gateways that may send: lines `token organization environment site gateway`, `*` for any in the last three.
    /// Read again when it changes. Without it nobody may send
    #[arg(long, env = "WEIR_ANALYTICS_TOKENS", value_name = "FILE")]
    pub tokens: Option<PathBuf>,

    /// File of the readers: lines `token name role organizations environments`, the role `viewer` or `admin`, names as
    /// `acme,bolt`, `*` for all. Read again when it changes. Without it everyone on this machine may read, and nobody if
    /// the port is not on loopback
    #[arg(long, env = "WEIR_ANALYTICS_READERS", value_name = "FILE")]
    pub readers: Option<PathBuf>,

    /// Folder of what must survive a crash; made if it is not there. One program at a time
    #[arg(long, env = "WEIR_ANALYTICS_STATE", default_value = "/var/lib/weir/analytics", value_name = "DIR")]
    pub state: PathBuf,

    /// How long events are kept: `30d`, `36h`. More than --spool-max-age
    #[arg(long, global = true, env = "WEIR_ANALYTICS_RETENTION_RAW", default_value = "30d", value_parser = duration, value_name = "TIME")]
    pub retention_raw: Duration,

    /// How long the roll-up by minutes is kept
    #[arg(long, global = true, env = "WEIR_ANALYTICS_RETENTION_MINUTES", default_value = "35d", value_parser = duration, value_name = "TIME")]
    pub retention_minutes: Duration,

    /// How long the roll-up by hours is kept
    #[arg(long, global = true, env = "WEIR_ANALYTICS_RETENTION_HOURS", default_value = "400d", value_parser = duration, value_name = "TIME")]
    pub retention_hours: Duration,

    /// How long samples of gateways (`gateway_gauges`) are kept
    #[arg(long, global = true, env = "WEIR_ANALYTICS_RETENTION_GAUGES", default_value = "35d", value_parser = duration, value_name = "TIME")]
    pub retention_gauges: Duration,

    /// The longest that any gateway keeps events in its spool (its `spool.maxAge`)
    #[arg(long, env = "WEIR_ANALYTICS_SPOOL_MAX_AGE", default_value = "24h", value_parser = duration, value_name = "TIME")]
    pub spool_max_age: Duration,

    /// How far a gateway's clock may differ from this machine's; beyond that its events are not accepted
    #[arg(long, env = "WEIR_ANALYTICS_MAX_CLOCK_DIFFERENCE", default_value = "5m", value_parser = duration, value_name = "TIME")]
    pub max_clock_difference: Duration,

    /// What makes an insert durable before it is acknowledged: `fsync` (files and folders of every part are synced),
    /// `quorum` (a majority of replicas has it; with --cluster), or `off` (a power failure may take acknowledged events)
    #[arg(long, global = true, env = "WEIR_ANALYTICS_DURABLE_INSERTS", default_value = "fsync", value_name = "HOW")]
    pub durable_inserts: Durability,

    /// Time without a sign of the writing weir-analytics after which another one takes over
    #[arg(long, global = true, env = "WEIR_ANALYTICS_LEASE", default_value = "15s", value_parser = duration, value_name = "TIME")]
    pub lease: Duration,

    /// Connections at once. Half are kept for gateways; where one more comes, one that sends nothing is closed
    #[arg(long, env = "WEIR_ANALYTICS_CONNECTIONS", default_value_t = Bounds::default().connections, value_parser = at_least::<16>, value_name = "N")]
    pub connections: usize,

    /// Queries of readers that ClickHouse works on at once; further ones are answered 503 within 3 s
    #[arg(long, env = "WEIR_ANALYTICS_QUERIES", default_value_t = Bounds::default().queries, value_parser = at_least::<1>, value_name = "N")]
    pub queries: usize,

    /// Of these, queries of one client address
    #[arg(long, env = "WEIR_ANALYTICS_QUERIES_PER_CLIENT", default_value_t = Bounds::default().queries_per_client, value_parser = at_least::<1>, value_name = "N")]
    pub queries_per_client: usize,

    /// The longest that ClickHouse works on a reader's query
    #[arg(long, env = "WEIR_ANALYTICS_QUERY_TIME", default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub query_time: Duration,

    /// File with the administrator's token, 16 characters or more in its first line: for changing the account (acknowledge,
    /// replay) and for reading everything; without it only administrators of --readers may
    #[arg(long, alias = "admin-token", env = "WEIR_ANALYTICS_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,

    /// A name besides loopback under which readers and administrators reach this server; may be given more than once
    #[arg(long = "host", env = "WEIR_ANALYTICS_HOST", value_delimiter = ',', value_name = "NAME")]
    pub hosts: Vec<String>,

    #[command(flatten)]
    pub log: LogOptions,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Print the tables as SQL, without touching any server
    #[command(after_long_help = "\
Examples:
  weir-analytics schema
  weir-analytics schema --render cluster:main --database weir --retention-raw 90d > schema.sql")]
    Schema {
        /// `single` or `cluster:NAME`
        #[arg(long, default_value = "single", value_name = "LAYOUT")]
        render: Layout,
    },
    /// Bring the database to this version's schema, and end
    #[command(after_long_help = "\
Examples:
  weir-analytics migrate --clickhouse http://127.0.0.1:8123

Exit codes:
  0  the schema is that of this version
  1  the database's schema is not one that this version can bring forward
  3  ClickHouse could not be reached")]
    Migrate,
    /// Rebuild the roll-ups of one day from its events; the server that writes stands by meanwhile
    #[command(after_long_help = "\
Examples:
  weir-analytics repair --day 2026-11-23 --clickhouse http://127.0.0.1:8123

Exit codes:
  0  the roll-ups of that day are those of its events
  1  some of that day's events have expired or are missing; nothing was changed
  3  ClickHouse could not be reached")]
    Repair {
        /// The day, UTC: `2026-11-23`
        #[arg(long, value_parser = day, value_name = "YYYY-MM-DD")]
        day: i64,
    },
    /// Print a completion script for a shell
    #[command(after_long_help = "\
Examples:
  weir-analytics completions bash > /etc/bash_completion.d/weir-analytics")]
    Completions(Completions),
}

impl Args {
    pub fn retention(&self) -> Retention {
        let (raw, gauges) = (self.retention_raw, self.retention_gauges);
        Retention { raw, minutes: self.retention_minutes, hours: self.retention_hours, gauges }
    }

    pub fn schema(&self, layout: Layout) -> Schema {
        let durability = self.durable_inserts;
        Schema { database: self.database.clone(), layout, retention: self.retention(), durability }
    }

    pub fn tls(&self) -> Option<TlsFiles> {
        let (certificate, key) = self.tls_certificate.clone().zip(self.tls_key.clone())?;
        Some(TlsFiles { certificate, key, client_ca: self.tls_client_ca.clone() })
    }

    pub fn bounds(&self) -> Bounds {
        let (queries, of_one) = (self.queries, self.queries_per_client);
        Bounds { connections: self.connections, queries, queries_per_client: of_one.min(queries) }
    }

    pub fn layout(&self) -> Layout {
        self.cluster.clone().map_or(Layout::Single, Layout::Cluster)
    }
}

/// ClickHouse's address, and the credentials that stood in it: they are shown nowhere.
#[derive(Clone)]
pub struct Address {
    pub url: String,
    pub credentials: Option<(String, String)>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url)
    }
}

impl std::str::FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "give an address like `http://127.0.0.1:8123` or `https://ch.example.com:8443`";
        let uri: http::Uri = text.parse().map_err(|_| wrong)?;
        let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or(wrong)?;
        if !matches!(scheme, "http" | "https") || authority.host().is_empty() || uri.query().is_some() {
            return Err(wrong);
        }
        let (user, bare) = authority.as_str().rsplit_once('@').unwrap_or(("", authority.as_str()));
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        let credentials = (!user.is_empty()).then(|| (decoded(user), decoded(password)));
        let path = if uri.path() == "/" { "" } else { uri.path() };
        Ok(Self { url: format!("{scheme}://{bare}{path}"), credentials })
    }
}

/// Without its escapes (RFC 3986 2.1).
fn decoded(text: &str) -> String {
    let form = format!("v={}", text.replace('+', "%2B").replace('&', "%26"));
    form_urlencoded::parse(form.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn at_least<const LEAST: usize>(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (LEAST..=1_000_000).contains(number));
    number.ok_or_else(|| format!("give a whole number from {LEAST} to 1000000"))
}

/// `90s`, `15m`, `36h`, `30d`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "give a time like `90s`, `15m`, `36h` or `30d`, of 18250d at most".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    // Fifty years. ClickHouse's DateTime ends in 2106: what is kept beyond that is taken for expired, and removed.
    let most = 18_250 * 86_400;
    let total = number.checked_mul(seconds).filter(|total| (1..=most).contains(total)).ok_or_else(wrong)?;
    Ok(Duration::from_secs(total))
}

/// Days since the Unix epoch.
fn day(text: &str) -> Result<i64, String> {
    // What a column of days can hold.
    let there = |day: &Date| text.len() == 10 && (1970..=2299).contains(&day.year());
    let day = text.parse().ok().filter(there).ok_or_else(|| "give a day like `2026-11-23`".to_owned())?;
    Ok(date(1970, 1, 1).duration_until(day).as_hours() / 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_days_are_read() {
        assert_eq!(duration("36h"), Ok(Duration::from_secs(129_600)));
        assert!(duration("36").is_err() && duration("").is_err() && duration("0d").is_err() && duration("é").is_err());
        assert!(duration("99999999999999999999d").is_err());
        assert!(duration("18250d").is_ok() && duration("18251d").is_err(), "ClickHouse's times end in 2106");
        assert_eq!(day("1970-01-01"), Ok(0));
        assert_eq!(day("2026-11-23"), Ok(20_780));
        assert!(day("2026-13-01").is_err() && day("tomorrow").is_err() && day("2026-11-23T00:00").is_err());
        for (text, there) in [("2026-02-28", true), ("2026-02-29", false), ("2024-02-29", true), ("2026-04-31", false)]
        {
            assert_eq!(day(text).is_ok(), there, "{text}");
        }
    }

    #[test]
    fn credentials_are_moved_out_of_the_address() {
        let read = |text: &str| text.parse::<Address>();
        let address = read("https://we%40ir:se+c%3Aret@ch.example:8443/base").unwrap();
        assert_eq!(address.url, "https://ch.example:8443/base");
        assert_eq!(address.credentials, Some(("we@ir".to_owned(), "se+c:ret".to_owned())));
        assert_eq!(format!("{address:?}"), "https://ch.example:8443/base");
        let plain = read("http://127.0.0.1:8123/").unwrap();
        assert_eq!((plain.url.as_str(), plain.credentials), ("http://127.0.0.1:8123", None));
        for wrong in ["nonsense", "ftp://a", "http://", "http:///x", "http://a/?user=b", "127.0.0.1:8123"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_help_teaches() {
        assert_eq!(weir_program::help::lint::<Args>(), Vec::<String>::new());
    }
}
