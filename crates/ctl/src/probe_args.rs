//! The arguments of `weirctl probe`.

use crate::admin::AdminOptions;
use clap::ValueEnum;
use std::time::Duration;

#[derive(clap::Args)]
pub struct ProbeOptions {
    /// What is asked.
    #[arg(long, value_enum)]
    pub check: Check,
    /// Ready even though the last edit of the configuration is wrong.
    #[arg(long, visible_alias = "allow-envoy-errors", visible_alias = "allow-policy-errors")]
    pub allow_api_errors: bool,
    /// One JSON document: {check, ok, message}; of the pipeline also {trace_id, legs: [{leg, state, after_ms, message}]}.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub pipeline: PipelineOptions,
}

/// Of the check of the pipeline alone.
#[derive(clap::Args)]
pub struct PipelineOptions {
    /// Pipeline: where to send the request. The gateway's first port for clients unless said.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Pipeline: how long everything may take: `30s`, `2m`.
    #[arg(long, default_value = "30s", value_parser = timeout, value_name = "TIME")]
    pub timeout: Duration,
    /// Pipeline: where spans end up in ClickHouse, as http://HOST:8123/DATABASE.TABLE, in the columns of the Collector's
    /// exporter. Read as the user of WEIR_CLICKHOUSE_USER, with WEIR_CLICKHOUSE_PASSWORD. Not looked for unless said.
    #[arg(long, value_name = "URL")]
    pub span_table: Option<String>,
    #[command(flatten)]
    pub admin: AdminOptions,
}

/// What is asked.
#[derive(Clone, Copy, ValueEnum)]
pub enum Check {
    /// Does the process answer?
    Liveness,
    /// Does it serve?
    Readiness,
    /// Does a request arrive in metrics, in ClickHouse, and as a span?
    Pipeline,
}

/// `30s`, `2m`: up to an hour.
fn timeout(text: &str) -> Result<Duration, String> {
    let wrong = || "give a time like `30s` or `2m`, up to an hour".to_owned();
    let (number, unit) = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(number), _) => (number, 1),
        (None, Some(number)) => (number, 60),
        (None, None) => return Err(wrong()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    seconds.filter(|seconds| (1..=3600).contains(seconds)).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_seconds_or_minutes() {
        assert_eq!((timeout("30s"), timeout("2m")), (Ok(Duration::from_secs(30)), Ok(Duration::from_secs(120))));
        for text in ["0s", "30", "s", "", "61m", "-1s", "1h", "99999999999999999999m"] {
            assert!(timeout(text).is_err(), "{text}");
        }
    }
}
