//! `POST /v1/chunks` and `POST /v1/streams`: what gateways say, held against the token that they say it with.
//!
//! | status | meaning for the gateway |
//! |---|---|
//! | 200 | stored, in raw and in every roll-up: forget it |
//! | 400, 413, 422 | never acceptable: set it aside and go on |
//! | 401, 403, 409 | not now: keep it; token, identity or version must be mended |
//! | 503 | come again after `Retry-After` seconds |

use super::Server;
use super::answer::{Answer, json, later, refused};
use crate::ingest::{Ingest, Refusal};
use crate::query::streams::{self, Report};
use crate::tokens::Grant;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::json;
use std::time::Duration;
use weir_event::chunk::MAX_CHUNK;

/// For the whole of a body.
const BODY_TIME: Duration = Duration::from_secs(60);
/// A gateway has few workers: a list of reports is short.
const MAX_REPORTS: usize = 1 << 20;

/// A request that is not accepted.
struct No {
    status: StatusCode,
    why: String,
    /// Seconds after which the same may be accepted.
    again: Option<u16>,
}

impl No {
    fn new(status: StatusCode, why: &str) -> Self {
        Self { status, why: why.to_owned(), again: None }
    }

    fn later(why: &str, seconds: u16) -> Self {
        Self { again: Some(seconds), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, why) }
    }

    fn answer(self) -> Answer {
        match self.again {
            Some(seconds) => later(&self.why, seconds),
            None => refused(self.status, &self.why),
        }
    }
}

impl Server {
    pub(super) async fn chunk(&self, request: Request<Incoming>) -> Answer {
        self.take(request).await.unwrap_or_else(No::answer)
    }

    async fn take(&self, request: Request<Incoming>) -> Result<Answer, No> {
        let grant = self.grant(&request)?;
        let (bytes, _room) = self.body(request, MAX_CHUNK).await?;
        let header = Ingest::header(&bytes).map_err(|refusal| refuse(&refusal))?;
        if !grant.covers(&header.stream.identity) {
            let who = &header.stream.identity;
            let why = format!(
                "the token does not speak for `{}/{}/{}/{}`; give the gateway its own token",
                who.organization, who.environment, who.site, who.gateway
            );
            return Err(No::new(StatusCode::FORBIDDEN, &why));
        }
        match self.ingest.offer(bytes).await {
            Ok(done) => Ok(json(
                StatusCode::OK,
                &json!({ "stored": done.stored, "duplicate": done.duplicate, "dead_letters": done.dead }),
            )),
            Err(refusal) => Err(refuse(&refusal)),
        }
    }

    pub(super) async fn streams(&self, request: Request<Incoming>) -> Answer {
        self.reports(request).await.unwrap_or_else(No::answer)
    }

    async fn reports(&self, request: Request<Incoming>) -> Result<Answer, No> {
        let grant = self.grant(&request)?;
        let (bytes, _room) = self.body(request, MAX_REPORTS).await?;
        let reports: Vec<Report> = serde_json::from_slice(&bytes)
            .map_err(|error| No::new(StatusCode::BAD_REQUEST, &format!("this is not a list of streams: {error}")))?;
        for report in &reports {
            if !grant.covers(&report.identity()) {
                return Err(No::new(StatusCode::FORBIDDEN, "the token does not speak for every stream of the list"));
            }
            report.check().map_err(|why| No::new(StatusCode::BAD_REQUEST, why))?;
        }
        streams::store(&self.store, &reports).await.map_err(|error| No::later(&error.to_string(), 5))?;
        Ok(json(StatusCode::OK, &json!({ "stored": reports.len() })))
    }

    /// What the request's token allows. Before a byte of the body is read.
    fn grant(&self, request: &Request<Incoming>) -> Result<Grant, No> {
        let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(token) = header.and_then(|value| value.strip_prefix("Bearer ")) else {
            return Err(No::new(StatusCode::UNAUTHORIZED, "a token is needed: `Authorization: Bearer TOKEN`"));
        };
        let tokens = self.tokens.borrow().clone();
        tokens
            .grant(token.trim())
            .cloned()
            .ok_or_else(|| No::new(StatusCode::UNAUTHORIZED, "the token is not known; add it to the file of --tokens"))
    }

    /// The body, and the room in memory that it holds until its answer.
    async fn body(
        &self,
        request: Request<Incoming>,
        most: usize,
    ) -> Result<(Bytes, tokio::sync::OwnedSemaphorePermit), No> {
        let claimed = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let size = claimed.unwrap_or(most);
        if size > most {
            return Err(No::new(StatusCode::PAYLOAD_TOO_LARGE, &format!("at most {most} bytes are taken")));
        }
        let kib = u32::try_from(size / 1024 + 1).unwrap_or(u32::MAX);
        let Ok(room) = std::sync::Arc::clone(&self.room).try_acquire_many_owned(kib) else {
            return Err(No::later("as many bytes are on their way as fit", 1));
        };
        let body = Limited::new(request.into_body(), most).collect();
        match tokio::time::timeout(BODY_TIME, body).await {
            Ok(Ok(body)) => Ok((body.to_bytes(), room)),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                Err(No::new(StatusCode::PAYLOAD_TOO_LARGE, &format!("at most {most} bytes are taken")))
            }
            Ok(Err(_)) => Err(No::new(StatusCode::BAD_REQUEST, "the body broke off")),
            Err(_) => Err(No::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
        }
    }
}

fn refuse(refusal: &Refusal) -> No {
    let why = refusal.to_string();
    match refusal {
        Refusal::Malformed(_) => No::new(StatusCode::BAD_REQUEST, &why),
        Refusal::Version(_) => No::new(StatusCode::CONFLICT, &format!("{why}; update weir-analytics")),
        Refusal::Rejected(_) => No::new(StatusCode::UNPROCESSABLE_ENTITY, &why),
        Refusal::Underway | Refusal::Full => No::later(&why, 1),
        Refusal::Unavailable(_) | Refusal::Stopping => No::later(&why, 5),
    }
}
