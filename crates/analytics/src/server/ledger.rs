//! `POST /api/v1/ledger/…`: an audit of every day now.

use super::Server;
use super::answer::{Answer, json, refused};
use crate::store::StoreError;
use http::StatusCode;

impl Server {
    /// Counts every day that is kept by stream, and compacts. It changes no row of an event and no claim that was true,
    /// so it needs no token.
    pub(super) async fn verify(&self) -> Answer {
        match self.audit_all().await {
            Ok(found) => json(StatusCode::OK, &found),
            Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        }
    }

    async fn audit_all(&self) -> Result<crate::audit::Found, StoreError> {
        let found = self.auditor.look(true).await?;
        let compacted = self.auditor.compact().await?;
        Ok(crate::audit::Found { compacted, ..found })
    }
}
