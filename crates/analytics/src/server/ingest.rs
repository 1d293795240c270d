//! `POST /v1/chunks` and `POST /v1/streams`: what gateways say, held against the token that they say it with. What
//! is answered is in [`super::document`].

use super::Server;
use super::answer::Answer;
use super::document::{chunk_name, received, respond};
use super::places::Place;
use crate::ingest::{Ingest, Refusal, now_us};
use crate::query::streams;
use crate::tokens::Grant;
use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use weir_api::ingest::{ChunkAnswer, Clocks, Counts, RefusedLine, Report, SENT_HEADER, StreamsAnswer, Verdict};
use weir_event::chunk::{ChunkHeader, MAX_CHUNK};

/// For the whole of a body.
const BODY_TIME: Duration = Duration::from_secs(60);
/// A list of reports is short: gateways split theirs at 256 KiB.
const MAX_REPORTS: usize = 1 << 20;

/// A request that is refused before its body says what it is about.
struct HttpError {
    result: Verdict,
    why: String,
    clock: Option<Clocks>,
}

impl HttpError {
    fn new(result: Verdict, why: impl Into<String>) -> Self {
        Self { result, why: why.into(), clock: None }
    }
}

impl Server {
    pub(super) async fn chunk(&self, request: Request<Incoming>) -> Answer {
        let answer = self.chunk_answer(request).await;
        self.answered.chunk(&answer);
        respond(answer.result.status(), answer.result, &answer)
    }

    async fn chunk_answer(&self, request: Request<Incoming>) -> ChunkAnswer {
        let (grant, bytes, room) = match self.enter(request, MAX_CHUNK).await {
            Ok(entered) => entered,
            Err(no) => {
                return ChunkAnswer { error: Some(no.why), clock: no.clock, ..ChunkAnswer::new(no.result) };
            }
        };
        self.answered.received(bytes.len());
        let received = Some(received(&bytes));
        let header = match Ingest::header(&bytes) {
            Ok(header) => header,
            Err(refusal) => return ChunkAnswer { received, ..refused(&refusal) },
        };
        let chunk = Some(chunk_name(header.stream_id, header.first, header.last));
        let answer = self.offered(&grant, header, bytes, room).await;
        ChunkAnswer { received, chunk, ..answer }
    }

    async fn offered(
        &self,
        grant: &Grant,
        header: ChunkHeader,
        bytes: Bytes,
        room: OwnedSemaphorePermit,
    ) -> ChunkAnswer {
        if !grant.covers(&header.stream.identity) {
            let who = &header.stream.identity;
            let why = format!(
                "the token does not speak for `{}/{}/{}/{}`; give the gateway its own token",
                who.organization, who.environment, who.site, who.gateway
            );
            return ChunkAnswer { error: Some(why), ..ChunkAnswer::new(Verdict::Identity) };
        }
        match self.ingest.offer(header, bytes, Some(room)).await {
            Ok(done) => {
                let counts = Counts { stored: done.stored, duplicate: done.duplicate, dead_letters: done.dead };
                ChunkAnswer { counts: Some(counts), ..ChunkAnswer::new(Verdict::Stored) }
            }
            Err(refusal) => refused(&refusal),
        }
    }

    pub(super) async fn streams(&self, request: Request<Incoming>) -> Answer {
        let answer = self.reports(request).await.unwrap_or_else(|no| StreamsAnswer {
            error: Some(no.why),
            clock: no.clock,
            ..StreamsAnswer::new(no.result)
        });
        respond(answer.status(), answer.result, &answer)
    }

    /// Every line is judged by itself: what one stream suffers never delays another's report.
    async fn reports(&self, request: Request<Incoming>) -> Result<StreamsAnswer, HttpError> {
        let (grant, bytes, _room) = self.enter(request, MAX_REPORTS).await?;
        let lines: Vec<Value> = serde_json::from_slice(&bytes)
            .map_err(|error| HttpError::new(Verdict::Malformed, format!("this is not a list of streams: {error}")))?;
        let (mut reports, mut refused) = (Vec::new(), Vec::new());
        for mut line in lines {
            let gauges = self.gauges.taken_out(&mut line);
            match judged(&grant, line) {
                Ok(report) => {
                    gauges.into_iter().for_each(|gauges| self.gauges.put(&report, gauges));
                    reports.push(report);
                }
                Err(line) => refused.push(line),
            }
        }
        let taken: Vec<_> = reports.iter().map(|report| report.stream.clone()).collect();
        streams::store(&self.store, &reports)
            .await
            .map_err(|error| HttpError::new(Verdict::Unavailable, error.to_string()))?;
        let result = match refused.first() {
            None => Verdict::Stored,
            Some(first) if taken.is_empty() => first.result,
            Some(_) => Verdict::Partly,
        };
        Ok(StreamsAnswer { taken, refused, ..StreamsAnswer::new(result) })
    }

    /// Token, clock, body: in this order, so that a stranger's body is not read and nothing is taken under a wrong
    /// clock. The last is the room in memory that the body holds until its answer.
    async fn enter(
        &self,
        request: Request<Incoming>,
        most: usize,
    ) -> Result<(Grant, Bytes, OwnedSemaphorePermit), HttpError> {
        let grant = self.grant(&request)?;
        if !request.extensions().get::<Arc<Place>>().is_none_or(|place| place.sends()) {
            return Err(HttpError::new(Verdict::Busy, "gateways have as many connections as they may"));
        }
        let sent = request.headers().get(SENT_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
        // An older gateway does not say what its clock shows.
        if let Some(sent_us) = sent {
            self.clock.check(&grant, sent_us, now_us()).map_err(|clocks| HttpError {
                clock: Some(clocks),
                ..HttpError::new(
                    Verdict::Clock,
                    "the clocks of this gateway and of weir-analytics differ by more than --max-clock-difference; set \
                     the wrong one, or run NTP",
                )
            })?;
        }
        let (bytes, room) = self.body(request, most).await?;
        Ok((grant, bytes, room))
    }

    /// What the request's token allows. Before a byte of the body is read.
    fn grant(&self, request: &Request<Incoming>) -> Result<Grant, HttpError> {
        let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(token) = header.and_then(weir_program::operator::bearer) else {
            return Err(HttpError::new(Verdict::Token, "a token is needed: `Authorization: Bearer TOKEN`"));
        };
        let tokens = self.tokens.borrow().clone();
        tokens
            .grant(token.trim())
            .cloned()
            .ok_or_else(|| HttpError::new(Verdict::Token, "the token is not known; add it to the file of --tokens"))
    }

    /// The body, and the room in memory that it holds until its answer. One that breaks off or comes too slowly is a
    /// fault of the way, not of the data.
    async fn body(&self, request: Request<Incoming>, most: usize) -> Result<(Bytes, OwnedSemaphorePermit), HttpError> {
        let claimed = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let size = claimed.unwrap_or(most);
        if size > most {
            return Err(HttpError::new(Verdict::TooLarge, format!("at most {most} bytes are taken")));
        }
        let kib = u32::try_from(size / 1024 + 1).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(kib) else {
            return Err(HttpError::new(Verdict::Busy, "as many bytes are on their way as fit"));
        };
        let body = Limited::new(request.into_body(), most).collect();
        match tokio::time::timeout(BODY_TIME, body).await {
            Ok(Ok(body)) => Ok((body.to_bytes(), room)),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                Err(HttpError::new(Verdict::TooLarge, format!("at most {most} bytes are taken")))
            }
            Ok(Err(_)) => Err(HttpError::new(Verdict::Unavailable, "the body broke off")),
            Err(_) => Err(HttpError::new(Verdict::Unavailable, "the body did not come in time")),
        }
    }
}

/// One line of a list of reports: what it says, or why it is not taken.
fn judged(grant: &Grant, line: Value) -> Result<Report, RefusedLine> {
    let stream = line.get("stream").and_then(Value::as_str).unwrap_or_default().to_owned();
    let no = |result, error: &str| RefusedLine { stream: stream.clone(), result, error: error.to_owned() };
    let report: Report =
        serde_json::from_value(line).map_err(|error| no(Verdict::Malformed, &format!("this is no report: {error}")))?;
    if !grant.covers(&streams::identity(&report)) {
        return Err(no(Verdict::Identity, "the token does not speak for this stream"));
    }
    streams::check(&report).map_err(|why| no(Verdict::Malformed, why))?;
    Ok(report)
}

fn refused(refusal: &Refusal) -> ChunkAnswer {
    let result = match refusal {
        Refusal::Malformed(_) => Verdict::Malformed,
        Refusal::Version(_) => Verdict::Version,
        Refusal::Rejected(_) => Verdict::Rejected,
        Refusal::Underway => Verdict::Underway,
        Refusal::Full => Verdict::Busy,
        Refusal::Unavailable(_) => Verdict::Unavailable,
        Refusal::Stopping => Verdict::Stopping,
        Refusal::Standby(_) => Verdict::Standby,
    };
    let mut why = refusal.to_string();
    if result == Verdict::Version {
        why.push_str("; update weir-analytics");
    }
    ChunkAnswer { error: Some(why), ..ChunkAnswer::new(result) }
}
