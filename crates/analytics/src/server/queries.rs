//! `GET /api/v1/…`: parameters checked, then one function of [`crate::query`] each.

use super::Server;
use super::answer::{Answer, again, json, refused};
use crate::query::{ledger, overview, streams, trace};
use crate::readers::{Reader, Role};
use crate::store::{Store, StoreError};
use http::StatusCode;
use serde_json::Value;
use weir_api::operations::{self, Query, Whole};
use weir_api::query::{ReaderIs, ReaderRole, Trace};
use weir_event::TraceId;

impl Server {
    /// What is only asked, and has parameters.
    pub(super) async fn api(&self, query: Query, id: &str, params: &str, reader: &Reader) -> Answer {
        self.asked(query, id, &Params::parse(params), reader).await.unwrap_or_else(|error| error.answer())
    }

    async fn asked(&self, query: Query, id: &str, params: &Params, reader: &Reader) -> Result<Answer, QueryError> {
        let store = &self.reading.seen_by(&reader.scope);
        let ok = StatusCode::OK;
        Ok(match query {
            Query::Overview => json(ok, &overview::overview(store, params.minutes()?).await?),
            Query::Series => json(ok, &overview::series(store, params.minutes()?, &params.filter()).await?),
            Query::Gateways => json(ok, &streams::gateways(store).await?),
            Query::Errors => json(ok, &trace::errors(store, params.minutes()?, params.limit()?).await?),
            Query::Slow => json(ok, &trace::slow(store, params.minutes()?, params.limit()?).await?),
            Query::Trace => json(ok, &traced(store, id, params).await?),
            Query::Ledger => json(ok, &self.ledger(store, params).await?),
            Query::Reader => json(ok, &described(reader)),
        })
    }

    /// Of the last day, of `minutes`, or of all time with `minutes=all`. The rows are looked at first.
    async fn ledger(&self, store: &Store, params: &Params) -> Result<weir_api::ledger::Ledger, QueryError> {
        let minutes = match params.get("minutes") {
            Some("all") => None,
            _ => params.whole("minutes", operations::LEDGER_MINUTES)?,
        };
        self.auditor.glance().await?;
        Ok(ledger::ledger(store, minutes, self.auditor.audited_ms()).await?)
    }
}

async fn traced(store: &Store, id: &str, params: &Params) -> Result<Trace<Value>, QueryError> {
    let id = TraceId::from_hex(id.as_bytes())
        .ok_or_else(|| QueryError::Params("a trace id is 32 digits of lower-case hex".to_owned()))?;
    let time = |name| Ok::<_, QueryError>(params.whole(name, operations::TIME_US)?.map(u64::cast_signed));
    Ok(trace::trace(store, id, (time("from")?, time("to")?)).await?)
}

fn described(reader: &Reader) -> ReaderIs {
    ReaderIs {
        name: reader.name.clone(),
        role: match reader.role {
            Role::Viewer => ReaderRole::Viewer,
            Role::Admin => ReaderRole::Admin,
        },
        organizations: reader.scope.organizations.clone(),
        environments: reader.scope.environments.clone(),
    }
}

/// ClickHouse's codes for a query that costs more than a reader's may.
const TIME_IS_OVER: u32 = 159;
const TOO_SLOW: u32 = 160;
const OUT_OF_MEMORY: u32 = 241;
const TOO_MANY_ROWS: u32 = 396;

pub(super) enum QueryError {
    Params(String),
    Store(crate::store::StoreError),
}

impl QueryError {
    pub(super) fn answer(&self) -> Answer {
        match self {
            Self::Params(why) => refused(StatusCode::BAD_REQUEST, why),
            Self::Store(StoreError::Refused { code: TIME_IS_OVER | TOO_SLOW, .. }) => {
                refused(StatusCode::UNPROCESSABLE_ENTITY, "this takes longer than --query-time; ask for fewer minutes")
            }
            Self::Store(StoreError::Refused { code: TOO_MANY_ROWS, .. }) => {
                refused(StatusCode::UNPROCESSABLE_ENTITY, "this has more rows than are answered; ask for fewer minutes")
            }
            Self::Store(StoreError::Refused { code: OUT_OF_MEMORY, .. }) => {
                again("ClickHouse has no memory for this; ask for fewer minutes, or again", 10)
            }
            Self::Store(error) => again(&error.to_string(), 5),
        }
    }
}

impl From<crate::store::StoreError> for QueryError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Store(error)
    }
}

/// The query of a URL.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter that may be given several times.
    pub(super) fn all<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A number, or its default.
    pub(super) fn whole(&self, name: &str, bounds: Whole) -> Result<Option<u64>, QueryError> {
        bounds.read(name, self.get(name)).map_err(QueryError::Params)
    }

    fn minutes(&self) -> Result<u64, QueryError> {
        Ok(self.whole("minutes", operations::MINUTES)?.unwrap_or_default())
    }

    pub(super) fn limit(&self) -> Result<u64, QueryError> {
        Ok(self.whole("limit", operations::LIMIT)?.unwrap_or_default())
    }

    fn filter(&self) -> overview::Filter {
        let of = |name| self.get(name).map(str::to_owned);
        overview::Filter { organization: of("organization"), site: of("site"), gateway: of("gateway"), api: of("api") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::RETRY_AFTER;

    #[test]
    fn a_query_that_costs_too_much_is_not_to_be_asked_again() {
        let answer = |code| QueryError::Store(StoreError::Refused { code, text: String::new() }).answer();
        for code in [TIME_IS_OVER, TOO_SLOW, TOO_MANY_ROWS] {
            let answer = answer(code);
            assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
            assert!(!answer.headers().contains_key(RETRY_AFTER));
        }
        for code in [OUT_OF_MEMORY, 202] {
            let answer = answer(code);
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(answer.headers().contains_key(RETRY_AFTER));
        }
    }
}
