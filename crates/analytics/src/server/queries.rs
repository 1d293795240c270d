//! `GET /api/v1/…`: parameters checked, then one function of [`crate::query`] each.

use super::Server;
use super::answer::{Answer, again, json, refused};
use crate::query::{self, ledger, overview, trace};
use crate::store::StoreError;
use http::StatusCode;
use weir_event::TraceId;

impl Server {
    pub(super) async fn api(&self, what: &str, query: &str) -> Answer {
        let params = Params::parse(query);
        let answered = match what.split_once('/') {
            None => self.collection(what, &params).await,
            Some(("trace", id)) => self.trace(id, &params).await,
            Some(_) => return refused(StatusCode::NOT_FOUND, "no such query"),
        };
        match answered {
            Ok(value) => json(StatusCode::OK, &value),
            Err(error) => error.answer(),
        }
    }

    async fn collection(&self, what: &str, params: &Params) -> Result<serde_json::Value, QueryError> {
        if what == "ledger" {
            return self.ledger(params).await;
        }
        let minutes = params.number("minutes", 60, 1..=44_640)?;
        let limit = params.number("limit", 50, 1..=1000)?;
        Ok(match what {
            "overview" => overview::overview(&self.reading, minutes).await?,
            "series" => overview::series(&self.reading, minutes, &params.filter()).await?,
            "gateways" => query::streams::gateways(&self.reading).await?,
            "errors" => trace::errors(&self.reading, minutes, limit).await?,
            "slow" => trace::slow(&self.reading, minutes, limit).await?,
            _ => return Err(QueryError::Unknown),
        })
    }

    /// Of the last day, of `minutes`, or of all time with `minutes=all`. The rows are looked at first.
    async fn ledger(&self, params: &Params) -> Result<serde_json::Value, QueryError> {
        let minutes = match params.get("minutes") {
            Some("all") => None,
            _ => Some(params.number("minutes", 1440, 1..=5_256_000)?),
        };
        self.auditor.glance().await?;
        let ledger = ledger::ledger(&self.reading, minutes, self.auditor.audited_ms()).await?;
        serde_json::to_value(&ledger).map_err(|error| QueryError::Store(StoreError::Answer { text: error.to_string() }))
    }

    async fn trace(&self, id: &str, params: &Params) -> Result<serde_json::Value, QueryError> {
        let id = TraceId::from_hex(id.as_bytes())
            .ok_or_else(|| QueryError::Params("a trace id is 32 digits of lower-case hex".to_owned()))?;
        let between = (params.optional("from")?, params.optional("to")?);
        Ok(trace::trace(&self.reading, id, between).await?)
    }
}

/// ClickHouse's codes for a query that costs more than a reader's may.
const TIME_IS_OVER: u32 = 159;
const TOO_SLOW: u32 = 160;
const OUT_OF_MEMORY: u32 = 241;
const TOO_MANY_ROWS: u32 = 396;

pub(super) enum QueryError {
    Params(String),
    Unknown,
    Store(crate::store::StoreError),
}

impl QueryError {
    pub(super) fn answer(&self) -> Answer {
        match self {
            Self::Params(why) => refused(StatusCode::BAD_REQUEST, why),
            Self::Unknown => refused(StatusCode::NOT_FOUND, "no such query"),
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

    pub(super) fn number(
        &self,
        name: &str,
        usual: u32,
        range: std::ops::RangeInclusive<u32>,
    ) -> Result<u32, QueryError> {
        let Some(text) = self.get(name) else { return Ok(usual) };
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            QueryError::Params(format!("`{name}` is a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// A time in microseconds since the Unix epoch.
    fn optional(&self, name: &str) -> Result<Option<i64>, QueryError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let time = text.parse().ok().filter(|time| (0..=10_000_000_000_000_000).contains(time));
        let wrong = || QueryError::Params(format!("`{name}` is a time in microseconds since 1970"));
        time.ok_or_else(wrong).map(Some)
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
