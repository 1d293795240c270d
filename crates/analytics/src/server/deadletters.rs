//! `/api/v1/deadletters`: what could not be stored as it was, listed, shown, and stored after all.

use super::Server;
use super::answer::{Answer, json, refused};
use super::queries::{Params, QueryError};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use weir_api::operations;
use weir_api::query::{DeadLetterEvents, DeadLetters};

impl Server {
    /// `GET /api/v1/deadletters`.
    pub(super) async fn dead_letters(&self, request: &Request<Incoming>) -> Answer {
        if let Err(answer) = self.admin.authorise(request, "GET /api/v1/deadletters") {
            return *answer;
        }
        answered(self.dead_list().await)
    }

    /// `GET /api/v1/deadletters/show`.
    pub(super) async fn dead_letter_events(&self, request: &Request<Incoming>) -> Answer {
        if let Err(answer) = self.admin.authorise(request, "GET /api/v1/deadletters/show") {
            return *answer;
        }
        answered(self.dead_show(&Params::parse(request.uri().query().unwrap_or_default())).await)
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
    async fn dead_list(&self) -> Result<DeadLetters, QueryError> {
        let (letters, chunks) = (self.reading.schema().all("dead_letters"), self.reading.schema().all("dead_chunks"));
        let sql = format!(
            "SELECT lower(leftPad(hex(d.stream), 16, '0')) AS id, d.reason AS why, uniqExact(d.seq) AS events, \
             min(d.seq) AS first, max(d.seq) AS last, toUnixTimestamp64Micro(min(d.ts)) AS first_us, \
             toUnixTimestamp64Micro(max(d.ts)) AS last_us, toUnixTimestamp64Milli(max(d.received)) AS received_ms, \
             CAST(any(d.stream) IN (SELECT stream FROM {chunks}), 'Bool') AS can_be_replayed \
             FROM {letters} AS d GROUP BY d.stream, d.reason ORDER BY received_ms DESC LIMIT 1000 \
             SETTINGS prefer_column_name_to_alias = 0"
        );
        Ok(DeadLetters { rows: self.reading.json_rows(&sql, &[]).await? })
    }

    /// The events of one stream, `?stream=HEX&from=SEQ&limit=N`.
    async fn dead_show(&self, params: &Params) -> Result<DeadLetterEvents, QueryError> {
        let stream = params.get("stream").and_then(|text| u64::from_str_radix(text, 16).ok());
        let stream = stream.ok_or_else(|| QueryError::Params("`stream` is 16 hex digits".to_owned()))?;
        let from = params.whole("from", operations::FROM_SEQ)?.unwrap_or_default();
        let limit = params.limit()?;
        let sql = format!(
            "SELECT d.seq AS seq, any(d.reason) AS why, toUnixTimestamp64Micro(any(d.ts)) AS us, any(d.event) AS json \
             FROM {} AS d WHERE d.stream = {stream} AND d.seq >= {from} GROUP BY d.seq ORDER BY seq LIMIT {limit} \
             SETTINGS prefer_column_name_to_alias = 0",
            self.reading.schema().all("dead_letters")
        );
        Ok(DeadLetterEvents { rows: self.reading.json_rows(&sql, &[]).await? })
    }
}

fn answered(document: Result<impl Serialize, QueryError>) -> Answer {
    match document {
        Ok(document) => json(StatusCode::OK, &document),
        Err(error) => error.answer(),
    }
}
