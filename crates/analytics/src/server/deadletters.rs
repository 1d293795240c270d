//! `/api/v1/deadletters`: what could not be stored as it was, listed, shown, and stored after all.

use super::Server;
use super::answer::{Answer, json, refused};
use super::queries::{Params, QueryError};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

impl Server {
    /// `GET /api/v1/deadletters` and `/show`.
    pub(super) async fn dead_letters(&self, request: &Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        if let Err(answer) = self.admin.authorise(request, &format!("GET {path}")) {
            return *answer;
        }
        let params = Params::parse(request.uri().query().unwrap_or_default());
        let answered = match path.as_str() {
            "/api/v1/deadletters" => self.dead_list().await,
            _ => self.dead_show(&params).await,
        };
        match answered {
            Ok(value) => json(StatusCode::OK, &value),
            Err(error) => error.answer(),
        }
    }

    /// `POST /api/v1/deadletters/replay`.
    pub(super) async fn dead_replay(&self, request: &Request<Incoming>) -> Answer {
        if let Err(answer) = self.admin.authorise(request, "POST /api/v1/deadletters/replay") {
            return *answer;
        }
        match self.ingest.replay().await {
            Ok(done) => json(StatusCode::OK, &done),
            Err(refusal) => refused(StatusCode::SERVICE_UNAVAILABLE, &refusal.to_string()),
        }
    }

    /// One row a stream and reason.
    async fn dead_list(&self) -> Result<Value, QueryError> {
        let (letters, chunks) = (self.reading.schema().all("dead_letters"), self.reading.schema().all("dead_chunks"));
        let sql = format!(
            "SELECT lower(leftPad(hex(d.stream), 16, '0')) AS id, d.reason AS why, uniqExact(d.seq) AS events, \
             min(d.seq) AS first, max(d.seq) AS last, toUnixTimestamp64Micro(min(d.ts)) AS first_us, \
             toUnixTimestamp64Micro(max(d.ts)) AS last_us, toUnixTimestamp64Milli(max(d.received)) AS received_ms, \
             toUInt8(any(d.stream) IN (SELECT stream FROM {chunks})) AS can_be_replayed \
             FROM {letters} AS d GROUP BY d.stream, d.reason ORDER BY received_ms DESC LIMIT 1000 \
             SETTINGS prefer_column_name_to_alias = 0"
        );
        Ok(json!({ "rows": self.reading.json_rows(&sql, &[]).await? }))
    }

    /// The events of one stream, `?stream=HEX&from=SEQ&limit=N`.
    async fn dead_show(&self, params: &Params) -> Result<Value, QueryError> {
        let stream = params.get("stream").and_then(|text| u64::from_str_radix(text, 16).ok());
        let stream = stream.ok_or_else(|| QueryError::Params("`stream` is 16 hex digits".to_owned()))?;
        let from = params.get("from").unwrap_or("0").parse::<u64>();
        let from = from.map_err(|_| QueryError::Params("`from` is a sequence number".to_owned()))?;
        let limit = params.number("limit", 50, 1..=1000)?;
        let sql = format!(
            "SELECT d.seq AS seq, any(d.reason) AS why, toUnixTimestamp64Micro(any(d.ts)) AS us, any(d.event) AS json \
             FROM {} AS d WHERE d.stream = {stream} AND d.seq >= {from} GROUP BY d.seq ORDER BY seq LIMIT {limit} \
             SETTINGS prefer_column_name_to_alias = 0",
            self.reading.schema().all("dead_letters")
        );
        Ok(json!({ "rows": self.reading.json_rows(&sql, &[]).await? }))
    }
}
