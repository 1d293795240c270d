//! ClickHouse, as this program speaks to it: statements with named parameters, typed rows, one way to insert a
//! block, and errors sorted by what to do about them.
//!
//! Everything goes through the `clickhouse` crate. Every call has a deadline: an engine that hangs must not hang
//! the ingestor.

pub use crate::error::{Class, StoreError};
use crate::metrics::Metrics;
use crate::schema::{Durability, Schema};
use crate::scope::Scope;
use bytes::Bytes;
use clickhouse::error::Error;
use clickhouse::insert_formatted::CompressedData;
use clickhouse::query::BytesCursor;
use clickhouse::{Client, RowOwned, RowRead, RowWrite};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use weir_transport::{client_tls, connector};

/// A handle on one database; clones share connections.
#[derive(Clone)]
pub struct Store {
    client: Client,
    schema: Arc<Schema>,
    url: String,
    login: Arc<Login>,
    /// Of a statement that reads.
    statement: Duration,
    metrics: Arc<Metrics>,
}

/// Has no `Debug`: it must not be shown.
struct Login {
    user: String,
    password: String,
}

/// What a reader's query may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    pub time: Duration,
    pub rows: u64,
    pub bytes: u64,
    /// Of ClickHouse's memory.
    pub memory: u64,
    /// Of ClickHouse's.
    pub threads: u8,
}

impl Costs {
    /// Of the API and the page.
    pub fn of_reader(time: Duration) -> Self {
        Self { time, rows: 1_000_000, bytes: 256 << 20, memory: 1 << 30, threads: 2 }
    }

    /// Of a file of events: its client takes it as fast as it can.
    pub fn of_export(time: Duration) -> Self {
        Self { time: time * 10, bytes: 4 << 30, ..Self::of_reader(time) }
    }

    /// Of a query of a dashboard: what a panel can show.
    pub fn of_dashboards(time: Duration) -> Self {
        Self { rows: 50_000, bytes: 16 << 20, ..Self::of_reader(time) }
    }
}

/// Of a query of the API, and of a statement of the ingestor that moves no block.
const STATEMENT: Duration = Duration::from_secs(60);
/// Of a block, or of a statement over a whole day.
const LONG: Duration = Duration::from_secs(600);

/// One run of one server.
#[derive(Clone, Debug)]
pub struct ServerRun {
    server: String,
    started_s: i64,
}

impl ServerRun {
    /// A start is known to the second, give or take.
    pub fn is(&self, other: &Self) -> bool {
        self.server == other.server && (self.started_s - other.started_s).abs() <= 3
    }
}

/// One row of a type that is read by value.
pub trait Fetched: RowOwned + RowRead {}
impl<T: RowOwned + RowRead> Fetched for T {}

impl Store {
    /// Speaks to `url` as `user`: `http`, or `https` with the machine's own roots.
    pub fn new(url: &str, user: &str, password: &str, schema: Schema) -> Result<Self, StoreError> {
        let login = Arc::new(Login { user: user.to_owned(), password: password.to_owned() });
        let client = client(url, &login, &schema)?;
        Ok(Self {
            client,
            schema: Arc::new(schema),
            url: url.to_owned(),
            login,
            statement: STATEMENT,
            metrics: Arc::default(),
        })
    }

    /// The same database for readers: over connections of their own, so that nobody who writes waits for one of theirs,
    /// and at most at these costs.
    pub fn for_readers(&self, costs: Costs) -> Result<Self, StoreError> {
        let settings = [
            ("max_execution_time", costs.time.as_secs()),
            ("max_result_rows", costs.rows),
            ("max_result_bytes", costs.bytes),
            ("max_memory_usage", costs.memory),
            ("max_threads", costs.threads.into()),
        ];
        let client = settings
            .into_iter()
            .fold(client(&self.url, &self.login, &self.schema)?, |client, (name, value)| {
                client.with_setting(name, value.to_string())
            })
            .with_setting("result_overflow_mode", "throw")
            .with_setting("timeout_overflow_mode", "throw");
        // ClickHouse looks at its clock between blocks of rows.
        Ok(Self { client, statement: costs.time + Duration::from_secs(10), ..self.clone() })
    }

    /// The same database for the queries of dashboards, at most at these costs. They name tables without their database and
    /// mean what they mean in Grafana: an alias of the SELECT comes before a column. Nothing can be changed by them.
    pub fn for_dashboards(&self, costs: Costs) -> Result<Self, StoreError> {
        let reading = self.for_readers(costs)?;
        let client = reading
            .client
            .clone()
            .with_setting("prefer_column_name_to_alias", "0")
            .with_setting("database", self.schema.database.clone())
            .with_setting("readonly", "2");
        Ok(Self { client, ..reading })
    }

    /// The same for a reader who may see `scope` alone, whatever is asked.
    #[must_use]
    pub fn seen_by(&self, scope: &Scope) -> Self {
        if scope.is_all() {
            return self.clone();
        }
        let filters = scope.filters(&self.schema);
        Self { client: self.client.clone().with_setting("additional_table_filters", filters), ..self.clone() }
    }

    /// As [`Store::for_dashboards`], for all events that match: sorted on disk where they are many.
    pub fn for_exports(&self, costs: Costs) -> Result<Self, StoreError> {
        let reading = self.for_dashboards(costs)?;
        let client =
            reading.client.clone().with_setting("max_bytes_before_external_sort", (costs.memory / 4).to_string());
        Ok(Self { client, ..reading })
    }

    /// Whether ClickHouse answers within `limit`.
    pub async fn answers(&self, limit: Duration) -> Result<(), StoreError> {
        let one = self.query("SELECT toUInt64(1)", &[]).fetch_one::<u64>();
        self.within(limit, async { one.await.map(drop) }).await
    }

    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// What is counted of this database, by all clones.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs a statement without a result.
    pub async fn execute(&self, sql: &str) -> Result<(), StoreError> {
        self.execute_with(sql, &[]).await
    }

    /// Runs a statement with `{name:Type}` parameters and without a result.
    pub async fn execute_with(&self, sql: &str, args: &[(&str, String)]) -> Result<(), StoreError> {
        self.within(LONG, self.query(sql, args).execute()).await
    }

    /// All rows of a result.
    pub async fn rows<T: Fetched>(&self, sql: &str, args: &[(&str, String)]) -> Result<Vec<T>, StoreError> {
        self.within(self.statement, self.query(sql, args).fetch_all::<T>()).await
    }

    /// Which run of which server answers.
    pub async fn server_run(&self) -> Result<Option<ServerRun>, StoreError> {
        let sql = "SELECT toString(serverUUID()), toInt64(toUnixTimestamp(now())) - toInt64(uptime())";
        let found = self.rows::<(String, i64)>(sql, &[]).await?.pop();
        Ok(found.map(|(server, started_s)| ServerRun { server, started_s }))
    }

    /// One number.
    pub async fn number(&self, sql: &str, args: &[(&str, String)]) -> Result<u64, StoreError> {
        self.within(self.statement, self.query(sql, args).fetch_one::<u64>()).await
    }

    /// A result as one JSON object a row.
    pub async fn json_rows<T: DeserializeOwned>(
        &self,
        sql: &str,
        args: &[(&str, String)],
    ) -> Result<Vec<T>, StoreError> {
        // Clients send bytes that are no text; JSON must be.
        let query = self
            .query(sql, args)
            .with_setting("output_format_json_quote_64bit_integers", "0")
            .with_setting("output_format_json_validate_utf8", "1");
        let bytes = self.within(self.statement, async { query.fetch_bytes("JSONEachRow")?.collect().await }).await?;
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let rows: Result<_, _> = lines.map(serde_json::from_slice).collect();
        rows.map_err(|error| StoreError::Answer { text: error.to_string() })
    }

    /// A result in ClickHouse's format `JSONCompact`: columns with their types, and rows of values. Times are RFC 3339, UTC.
    pub async fn json_compact(&self, sql: &str, args: &[(&str, String)]) -> Result<Vec<u8>, StoreError> {
        let query = self
            .query(sql, args)
            .with_setting("output_format_json_quote_64bit_integers", "0")
            .with_setting("output_format_json_validate_utf8", "1")
            .with_setting("date_time_output_format", "iso");
        let answered = async { query.fetch_bytes("JSONCompact")?.collect().await };
        Ok(self.within(self.statement, answered).await?.to_vec())
    }

    /// A result in any format, as it comes.
    pub fn pieces(&self, sql: &str, args: &[(&str, String)], format: &str) -> Result<Pieces, StoreError> {
        let query = self
            .query(sql, args)
            .with_setting("output_format_json_quote_64bit_integers", "0")
            .with_setting("output_format_json_validate_utf8", "1");
        let cursor = query.fetch_bytes(format).map_err(|error| self.sort(error))?;
        Ok(Pieces { cursor, ends: Instant::now() + self.statement, store: self.clone() })
    }

    /// Inserts one block under `token`. After an error, whether it is stored is not known.
    pub async fn insert_block(
        &self,
        sql: &str,
        token: &str,
        pieces: impl IntoIterator<Item = CompressedData>,
    ) -> Result<(), StoreError> {
        let mut insert = self
            .client
            .insert_formatted_with(sql)
            .with_setting("insert_deduplication_token", token)
            .with_setting("async_insert", "0")
            // The views have grouped their rows already. To look for equal keys once more cost a fleet of many gateways,
            // where nearly every event is a row of its own in each roll-up, a sixth of the engine's work.
            .with_setting("optimize_on_insert", "0")
            .with_setting("wait_end_of_query", "1");
        self.within(LONG, async {
            for piece in pieces {
                insert.send_compressed(piece).await?;
            }
            insert.end().await
        })
        .await
    }

    /// Inserts rows that may come twice into a small table: the fields of `T` are its columns, by name.
    ///
    /// The types are not compared with the table's (`with_validation`): that costs a `DESCRIBE` before the first insert into
    /// each table. The tests insert into every table.
    pub async fn insert_rows<T: RowWrite>(&self, table: &str, rows: &[T::Value<'_>]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let client = self.client.clone().with_validation(false);
        self.within(STATEMENT, async {
            let mut insert = client.insert_unescaped::<T>(&self.schema.local(table)).await?;
            insert = insert.with_setting("async_insert", "0");
            for row in rows {
                insert.write(row).await?;
            }
            insert.end().await
        })
        .await
    }

    fn query(&self, sql: &str, args: &[(&str, String)]) -> clickhouse::query::Query {
        let query = self.client.query_raw(sql);
        args.iter().fold(query, |query, (name, value)| query.param(name, value))
    }

    async fn within<T>(&self, limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
        let done = match tokio::time::timeout(limit, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.sort(error)),
            Err(_) => Err(StoreError::TimedOut { url: self.url.clone(), after: limit }),
        };
        self.metrics.answered(done.as_ref().err());
        done
    }

    fn sort(&self, error: Error) -> StoreError {
        let url = self.url.clone();
        match error {
            Error::BadResponse(text) => match code(&text) {
                Some(code) => StoreError::Refused { code, text },
                None => StoreError::Unreachable { url, text },
            },
            Error::Network(source) => StoreError::Unreachable { url, text: chain(&*source) },
            Error::TimedOut => StoreError::TimedOut { url, after: self.statement },
            other => StoreError::Answer { text: chain(&other) },
        }
    }
}

/// A result that is read while ClickHouse makes it.
pub struct Pieces {
    cursor: BytesCursor,
    ends: Instant,
    store: Store,
}

impl Pieces {
    /// The next bytes; `None` after the last. An error means that there would be more.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let limit = self.ends.saturating_duration_since(Instant::now());
        match tokio::time::timeout(limit, self.cursor.next()).await {
            Ok(Ok(None)) => {
                self.store.metrics.answered(None);
                Ok(None)
            }
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(self.failed(self.store.sort(error))),
            Err(_) => {
                let error = StoreError::TimedOut { url: self.store.url.clone(), after: self.store.statement };
                Err(self.failed(error))
            }
        }
    }

    fn failed(&self, error: StoreError) -> StoreError {
        self.store.metrics.answered(Some(&error));
        error
    }
}

/// A client with connections of its own.
fn client(url: &str, login: &Login, schema: &Schema) -> Result<Client, StoreError> {
    let mut client = client_of(url)?.with_url(url).with_product_info("weir-analytics", env!("CARGO_PKG_VERSION"));
    if !login.user.is_empty() {
        client = client.with_user(&login.user).with_password(&login.password);
    }
    if schema.durability == Durability::Quorum {
        client = client.with_setting("insert_quorum", "auto").with_setting("insert_quorum_parallel", "1");
    }
    // Sums and ids are compared by name below: a column is the column, never an alias of the SELECT.
    Ok(client.with_setting("prefer_column_name_to_alias", "1"))
}

/// The crate's own client panics on a machine without root certificates, even where only `http` is spoken.
fn client_of(url: &str) -> Result<Client, StoreError> {
    let mut tcp = connector();
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    tcp.set_connect_timeout(Some(Duration::from_secs(10)));
    let nobody = (!url.starts_with("https:")).then_some(&[][..]);
    let config = client_tls(nobody, None)?;
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().wrap_connector(tcp);
    // Below ClickHouse's own keep-alive of 3 s, so that no request meets a connection that is being closed.
    let pool = HyperClient::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(2)).build(connector);
    Ok(Client::with_http_client(pool))
}

/// The number in `Code: 47. DB::Exception: …`.
fn code(text: &str) -> Option<u32> {
    let digits = text.split("Code: ").nth(1)?;
    digits.split('.').next()?.parse().ok()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> StoreError {
        StoreError::Refused { code: code(text).unwrap(), text: text.to_owned() }
    }

    #[test]
    fn errors_are_sorted_by_what_to_do() {
        assert_eq!(refused("Code: 252. DB::Exception: Too many parts (3000)").class(), Class::Transient);
        assert_eq!(refused("Code: 252. DB::Exception: Too many partitions for single INSERT").class(), Class::Data);
        assert_eq!(refused("Code: 202. DB::Exception: Too many simultaneous queries").class(), Class::Transient);
        assert_eq!(refused("Code: 516. DB::Exception: Authentication failed").class(), Class::Operator);
        assert_eq!(refused("Code: 27. DB::Exception: Cannot parse input").class(), Class::Data);
        assert_eq!(refused("Code: 12345. DB::Exception: of tomorrow").class(), Class::Operator);
    }
}
