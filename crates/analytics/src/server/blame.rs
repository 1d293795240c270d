//! `GET /api/v1/blame`: what changed when an API got worse. One API, named once; all else as on its dashboard.

use super::Server;
use super::answer::{Answer, json, refused};
use super::dashboards::{Wrong, asked_of};
use super::queries::{Params, QueryError};
use crate::ingest::now_us;
use crate::query::blame;
use crate::scope::Scope;
use http::StatusCode;

impl Server {
    pub(super) async fn blame(&self, params: &str, scope: &Scope) -> Answer {
        let asked = match asked_of(&Params::parse(params), now_us() / 1_000_000, 1) {
            Ok(asked) => asked,
            Err(wrong) => return wrong.answer(),
        };
        let Some([api]) = asked.values.get("api").map(Vec::as_slice) else {
            return refused(StatusCode::BAD_REQUEST, "`var=api:NAME` is needed, once: which API is meant");
        };
        let statement = match blame::statement(&asked) {
            Ok(statement) => statement,
            Err(error) => return Wrong::from(error).answer(),
        };
        match blame::blame(&self.reading_dashboards.seen_by(scope), &statement, api).await {
            Ok(found) => json(StatusCode::OK, &found),
            Err(error) => QueryError::from(error).answer(),
        }
    }
}
