//! `POST /api/v1/ledger/…`: an audit of every day now, and what an operator acknowledges.

use super::Server;
use super::admin::Denied;
use super::answer::{Answer, json, refused};
use crate::query::acknowledge::{AcknowledgeError, acknowledge, check};
use crate::store::StoreError;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::json;
use weir_api::ledger::{Acknowledge, Audited};

/// A reason is a sentence.
const MAX_BODY: usize = 64 * 1024;
const BODY_TIME: std::time::Duration = std::time::Duration::from_secs(10);

impl Server {
    /// Counts every day that is kept by stream, and compacts. It changes no row of an event and no claim that was true, so
    /// that it needs no administrator where readers need no token.
    pub(super) async fn verify(&self) -> Answer {
        match self.audit_all().await {
            Ok(found) => json(StatusCode::OK, &found),
            Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        }
    }

    async fn audit_all(&self) -> Result<Audited, StoreError> {
        let found = self.auditor.look(true).await?;
        let compacted = self.auditor.compact().await?;
        Ok(Audited { compacted, ..found })
    }

    pub(super) async fn acknowledge(&self, request: Request<Incoming>) -> Answer {
        self.acknowledged(request).await.unwrap_or_else(Denied::answer)
    }

    async fn acknowledged(&self, request: Request<Incoming>) -> Result<Answer, Denied> {
        let operator = self.admin.check(&request)?;
        let wrong = |why: String| Denied::new(StatusCode::BAD_REQUEST, &why);
        let body = tokio::time::timeout(BODY_TIME, Limited::new(request.into_body(), MAX_BODY).collect()).await;
        let body = body.map_err(|_| wrong("the body did not come in time".to_owned()))?;
        let body = body.map_err(|error| wrong(error.to_string()))?.to_bytes();
        let asked: Acknowledge = serde_json::from_slice(&body).map_err(|error| wrong(error.to_string()))?;
        check(&asked).map_err(|error| wrong(error.to_string()))?;
        let details = json!({ "stream": asked.stream, "reason": asked.reason, "by": asked.by });
        self.admin.note(&operator, "acknowledge", &details)?;
        let who = if asked.by.is_empty() { operator.to_string() } else { format!("{} ({operator})", asked.by) };
        acknowledge(&self.store, &asked, &who).await.map(|done| json(StatusCode::OK, &done)).map_err(|error| {
            let status = match error {
                AcknowledgeError::Reason | AcknowledgeError::Stream => StatusCode::BAD_REQUEST,
                AcknowledgeError::Unknown(_) => StatusCode::NOT_FOUND,
                AcknowledgeError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            Denied::new(status, &error.to_string())
        })
    }
}
