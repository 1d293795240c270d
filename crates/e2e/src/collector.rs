//! The real OpenTelemetry Collector with the files of `otel-collector/` as they are shipped, and the spans that it has stored.
//!
//! What a test needs otherwise it says by the variables that an operator has. The binary is that of
//! `make .tools/otelcol/installed`; tests that start it belong to `make test-collector`.

use crate::{DEADLINE, Site, eventually, reserve};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use weir_testkit::process::Process;
use weir_testkit::{get, post};

/// Of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// One of the configurations that are shipped.
pub fn shipped(name: &str) -> PathBuf {
    root().join("otel-collector").join(name)
}

/// What `--config` takes: a shipped file's path, or one value as it is.
fn configuration(name: &str) -> String {
    if name.starts_with("yaml:") { name.to_owned() } else { shipped(name).to_string_lossy().into_owned() }
}

/// The Collector, without arguments.
pub fn otelcol() -> io::Result<Command> {
    let path = root().join(".tools/otelcol/otelcol-weir");
    if !path.is_file() {
        let message = format!("`{}` is not built; run `make .tools/otelcol/installed`", path.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    Ok(Command::new(path))
}

/// A Collector as a process, which can be ended and started again at its addresses.
pub struct Collector {
    process: Option<Process>,
    log: PathBuf,
    configurations: Vec<String>,
    env: Vec<(String, String)>,
    /// OTLP over gRPC.
    pub grpc: SocketAddr,
    /// OTLP over HTTP.
    pub http: SocketAddr,
    pub health: SocketAddr,
    /// Where its own metrics are scraped.
    pub metrics: SocketAddr,
}

impl Collector {
    /// Starts one that stores in `clickhouse`, a URL; answers when it takes spans.
    pub async fn start(site: &Site, clickhouse: &str) -> io::Result<Self> {
        Self::with(site, clickhouse, &["config.yaml"], &[]).await
    }

    /// With these of the shipped configurations or values after `yaml:`, the later before the earlier, and these variables.
    pub async fn with(
        site: &Site,
        clickhouse: &str,
        configurations: &[&str],
        env: &[(&str, &str)],
    ) -> io::Result<Self> {
        let mut collector = Self::new(site, clickhouse, configurations, env)?;
        collector.start_again().await?;
        Ok(collector)
    }

    /// One that is not started yet.
    pub fn new(site: &Site, clickhouse: &str, configurations: &[&str], env: &[(&str, &str)]) -> io::Result<Self> {
        let (grpc, http, health, metrics) = (reserve()?, reserve()?, reserve()?, reserve()?);
        let own = [
            ("CLICKHOUSE_ENDPOINT", clickhouse.to_owned()),
            ("OTELCOL_GRPC_ENDPOINT", grpc.to_string()),
            ("OTELCOL_HTTP_ENDPOINT", http.to_string()),
            ("OTELCOL_HEALTH_ENDPOINT", health.to_string()),
            ("OTELCOL_METRICS_PORT", metrics.port().to_string()),
        ];
        let more = env.iter().map(|&(name, value)| (name, value.to_owned()));
        Ok(Self {
            process: None,
            log: site.path("collector.log"),
            configurations: configurations.iter().map(|name| configuration(name)).collect(),
            env: own.into_iter().chain(more).map(|(name, value)| (name.to_owned(), value)).collect(),
            grpc,
            http,
            health,
            metrics,
        })
    }

    /// Starts it at its addresses, and waits until its health check says that it takes spans. An error has its log.
    pub async fn start_again(&mut self) -> io::Result<()> {
        let mut command = otelcol()?;
        for path in &self.configurations {
            command.args(["--config", path]);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let mut process = Process::start("the Collector", command, &self.log)?;
        let url = format!("http://{}/", self.health);
        let is_up = eventually("the Collector is ready or has ended", async || match process.ended() {
            Some(_) => Some(false),
            None => matches!(get(&url).await, Ok((200, _))).then_some(true),
        })
        .await;
        if !is_up {
            return Err(io::Error::other(self.log()));
        }
        self.process = Some(process);
        Ok(())
    }

    /// All that it has logged, over all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.take().map_or(Ok(()), |process| process.kill().map(drop))
    }

    /// Ends it as an operator would: what it holds is stored before.
    pub fn stop(&mut self) -> io::Result<()> {
        self.process.take().map_or(Ok(()), |process| process.stop(DEADLINE).map(drop))
    }

    /// What the process has of memory, in MiB.
    pub fn memory_mib(&self) -> io::Result<u64> {
        self.process.as_ref().ok_or(io::ErrorKind::NotFound)?.memory_mib()
    }

    /// Sends spans in OTLP's JSON; the status and the body of the answer.
    pub async fn send(&self, request: &serde_json::Value) -> io::Result<(u16, String)> {
        post(&self.traces_url(), "application/json", request.to_string()).await
    }

    /// Where OTLP over HTTP takes spans.
    pub fn traces_url(&self) -> String {
        format!("http://{}/v1/traces", self.http)
    }

    /// Its own metrics, as Prometheus gets them.
    pub async fn scrape(&self) -> io::Result<String> {
        Ok(get(&format!("http://{}/metrics", self.metrics)).await?.1)
    }

    /// The sum of the series of one metric whose labels have `label`; 0 as long as there is none.
    pub async fn metric(&self, name: &str, label: &str) -> io::Result<f64> {
        let text = self.scrape().await?;
        let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(label));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}

/// A row of `otel_traces`.
#[derive(clickhouse::Row, serde::Deserialize, Debug, Clone)]
pub struct StoredSpan {
    /// In hex, as the parent, which is empty for the first span of a trace.
    pub span_id: String,
    pub parent_span_id: String,
    pub name: String,
    pub kind: String,
    pub service: String,
    /// In nanoseconds.
    pub duration_ns: u64,
    pub status: String,
    pub attributes: Vec<(String, String)>,
}

/// The stored spans of a trace, its id in hex, by their start.
pub async fn spans_of(clickhouse: &clickhouse::Client, trace: &str) -> clickhouse::error::Result<Vec<StoredSpan>> {
    let sql = "SELECT SpanId AS span_id, ParentSpanId AS parent_span_id, toString(SpanName) AS name, \
               toString(SpanKind) AS kind, toString(ServiceName) AS service, Duration AS duration_ns, \
               toString(StatusCode) AS status, CAST(SpanAttributes, 'Array(Tuple(String, String))') AS attributes \
               FROM weir.otel_traces WHERE TraceId = ? ORDER BY Timestamp, SpanId";
    clickhouse.query(sql).bind(trace).fetch_all().await
}

/// How many spans are stored, each counted once.
pub async fn stored_spans(clickhouse: &clickhouse::Client) -> clickhouse::error::Result<u64> {
    clickhouse.query("SELECT uniqExact(TraceId, SpanId) FROM weir.otel_traces").fetch_one().await
}
