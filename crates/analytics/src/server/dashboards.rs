//! `GET /api/v1/dashboards…`: the dashboards and what their queries answer.
//!
//! Times are rounded down to the step in which answers are shared, so that all who look at the last hour ask the same.

use super::Server;
use super::answer::{Answer, csv, json, json_bytes, refused};
use super::places::Client;
use super::queries::{Params, QueryError};
use super::shared::KEPT;
use crate::ingest::now_us;
use crate::query::dashboards::{self, Asked, ExpandError, Statement};
use crate::scope::Scope;
use bytes::Bytes;
use http::StatusCode;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_api::dashboards::{Dashboard, DashboardLine, Dashboards, Frame, VariableQuery};
use weir_api::operations::{self, Dashboards as Kind};

/// Points of a chart over time, at most.
const POINTS: i64 = 2000;
/// Seconds of the time shown, at most: what hours are kept for.
const LONGEST_S: i64 = 400 * 86_400;
/// Seconds of the time shown where its beginning is not given.
const USUAL_S: i64 = 3600;

/// What a call asks ClickHouse.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    statement: Statement,
    /// Of whoever asks: nobody is given the answer of somebody who sees more.
    scope: Scope,
    /// Of the answer: the time that it names.
    shown: (i64, i64, u32),
    is_variable: bool,
}

/// Why there is nothing to ask.
pub(super) enum Wrong {
    Params(String),
    NotThere(String),
}

impl Wrong {
    pub(super) fn answer(&self) -> Answer {
        match self {
            Self::Params(why) => refused(StatusCode::BAD_REQUEST, why),
            Self::NotThere(what) => refused(StatusCode::NOT_FOUND, what),
        }
    }
}

impl From<QueryError> for Wrong {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Params(why) => Self::Params(why),
            QueryError::Store(error) => Self::Params(error.to_string()),
        }
    }
}

impl From<ExpandError> for Wrong {
    fn from(error: ExpandError) -> Self {
        Self::Params(error.to_string())
    }
}

/// The list.
pub(super) fn list() -> Answer {
    let line = |one: &Dashboard| DashboardLine {
        uid: one.uid.clone(),
        title: one.title.clone(),
        description: one.description.clone(),
    };
    json(StatusCode::OK, &Dashboards { rows: dashboards::shipped().iter().map(line).collect() })
}

/// One of the list.
pub(super) fn one(uid: &str) -> Answer {
    find(uid).map_or_else(|wrong| wrong.answer(), |dashboard| json(StatusCode::OK, dashboard))
}

fn find(uid: &str) -> Result<&'static Dashboard, Wrong> {
    dashboards::find(uid).ok_or_else(|| {
        let known: Vec<_> = dashboards::shipped().iter().map(|one| format!("`{}`", one.uid)).collect();
        Wrong::NotThere(format!("there is no such dashboard; there are {}", known.join(", ")))
    })
}

impl Server {
    /// What a query of a dashboard answers, shared with all who ask the same.
    pub(super) async fn dashboard(
        self: Arc<Self>,
        client: Client,
        query: Kind,
        (uid, params): (&str, &str),
        scope: &Scope,
    ) -> Answer {
        let params = Params::parse(params);
        let asked = question(query, uid, &params, scope).and_then(|question| Ok((question, format(&params)?)));
        let (question, format) = match asked {
            Ok(asked) => asked,
            Err(wrong) => return wrong.answer(),
        };
        let server = Arc::clone(&self);
        let key = question.clone();
        match self.shared.get(key, server.asked_of_clickhouse(client, question)).await {
            Ok(body) if format == Format::Json => json_bytes(body),
            Ok(body) => match serde_json::from_slice::<Frame>(&body) {
                Ok(frame) => csv(&file_name(uid, &params), dashboards::csv(&frame)),
                Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            },
            Err(failed) => *failed,
        }
    }

    async fn asked_of_clickhouse(self: Arc<Self>, client: Client, question: Question) -> Result<Bytes, Box<Answer>> {
        let place = self.readers.enter(client).await.map_err(|crowded| Box::new(crowded.answer()))?;
        // It goes on where the client leaves, since ClickHouse does.
        let asked = tokio::spawn(async move {
            let answered = self.answered(&question).await;
            drop(place);
            answered
        });
        match asked.await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) => Err(Box::new(error.answer())),
            Err(_) => Err(Box::new(refused(StatusCode::INTERNAL_SERVER_ERROR, "the query ended by a panic"))),
        }
    }

    async fn answered(&self, question: &Question) -> Result<Bytes, QueryError> {
        let store = &self.reading_dashboards.seen_by(&question.scope);
        let (from_s, to_s, step_s) = question.shown;
        let body = if question.is_variable {
            serde_json::to_vec(&dashboards::values(store, &question.statement).await?)
        } else {
            let asked = Asked { from_s, to_s, step_s, values: BTreeMap::new() };
            serde_json::to_vec(&dashboards::answer(store, &question.statement, &asked).await?)
        };
        body.map(Bytes::from).map_err(|error| QueryError::Params(error.to_string()))
    }
}

/// How an answer is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
}

fn format(params: &Params) -> Result<Format, Wrong> {
    match params.get("format") {
        None | Some("json") => Ok(Format::Json),
        Some("csv") => Ok(Format::Csv),
        Some(_) => Err(Wrong::Params("`format` is `json` or `csv`".to_owned())),
    }
}

/// `weir-events-4`: of a dashboard and a panel that are there.
fn file_name(uid: &str, params: &Params) -> String {
    format!("{uid}-{}", params.get("panel").unwrap_or("rows"))
}

fn question(query: Kind, uid: &str, params: &Params, scope: &Scope) -> Result<Question, Wrong> {
    let dashboard = find(uid)?;
    let asked = asked(params)?;
    let named = |kind: &str| {
        params.get("name").ok_or_else(|| Wrong::Params(format!("`name` is needed: which {kind} is meant")))
    };
    let not_there = |what: String| Wrong::NotThere(format!("`{uid}` has no {what}"));
    let sql = match query {
        Kind::Variable => {
            let name = named("variable")?;
            let variable = dashboard.templating.list.iter().find(|variable| variable.name == name);
            match variable.map(|variable| &variable.query) {
                Some(VariableQuery::Sql(query)) => &query.raw_sql,
                _ => return Err(not_there(format!("variable `{name}` with a query"))),
            }
        }
        Kind::Annotation => {
            let name = named("annotation")?;
            let annotation = dashboard.annotations.list.iter().find(|annotation| annotation.name == name);
            &annotation.ok_or_else(|| not_there(format!("annotation `{name}`")))?.target.raw_sql
        }
        _ => {
            let number = params.whole("panel", operations::PANEL)?;
            let number = number.ok_or_else(|| Wrong::Params("`panel` is needed: which panel is meant".to_owned()))?;
            let ref_id = params.get("target").unwrap_or("A");
            let panel = dashboard.panels.iter().find(|panel| u64::from(panel.id) == number);
            let target = panel.and_then(|panel| panel.targets.iter().find(|target| target.ref_id == ref_id));
            &target.ok_or_else(|| not_there(format!("panel {number} with a query `{ref_id}`")))?.raw_sql
        }
    };
    let (sql, asked) = dashboards::by_hours(sql, &asked, now_us() / 1_000_000);
    let statement = dashboards::expand(dashboard, &sql, &asked)?;
    let shown = (asked.from_s, asked.to_s, asked.step_s);
    Ok(Question { statement, scope: scope.clone(), shown, is_variable: query == Kind::Variable })
}

fn asked(params: &Params) -> Result<Asked, Wrong> {
    asked_of(params, now_us() / 1_000_000, KEPT.as_secs().cast_signed())
}

/// The time, in whole multiples of `kept_s` seconds, and the values that are asked for; the time ends at `now_s` where its
/// end is not given.
pub(super) fn asked_of(params: &Params, now_s: i64, kept_s: i64) -> Result<Asked, Wrong> {
    let seconds = |name| Ok::<_, Wrong>(params.whole(name, operations::TIME_MS)?.map(|ms| ms.cast_signed() / 1000));
    let rounded = |at_s: i64| at_s - at_s % kept_s;
    let to_s = rounded(seconds("to")?.unwrap_or(now_s));
    let from_s = seconds("from")?.map_or(to_s - USUAL_S, rounded);
    if from_s >= to_s {
        return Err(Wrong::Params(format!("`from` is before `to`, by {kept_s} s at least")));
    }
    if to_s - from_s > LONGEST_S {
        return Err(Wrong::Params(format!("at most {} days can be shown", LONGEST_S / 86_400)));
    }
    let finest = u32::try_from((to_s - from_s) / POINTS + 1).unwrap_or(u32::MAX);
    let step = params.whole("step", operations::STEP_S)?.and_then(|step| u32::try_from(step).ok());
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in params.all("var") {
        let Some((name, value)) = pair.split_once(':') else {
            return Err(Wrong::Params("`var` is a name and a value, as `site:berlin`".to_owned()));
        };
        values.entry(name.to_owned()).or_default().push(value.to_owned());
    }
    for list in values.values_mut() {
        list.sort_unstable();
        list.dedup();
    }
    Ok(Asked { from_s, to_s, step_s: step.unwrap_or(finest).max(finest), values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_of(query: &str) -> Result<Asked, String> {
        asked(&Params::parse(query)).map_err(|wrong| match wrong {
            Wrong::Params(why) | Wrong::NotThere(why) => why,
        })
    }

    #[test]
    fn the_same_few_seconds_are_the_same_question() {
        let one = asked_of("from=1000000&to=4600000&step=30&var=site:b&var=site:a&var=api:x:y").unwrap();
        let other = asked_of("from=1004999&to=4604999&step=30&var=api:x:y&var=site:a&var=site:b&var=site:a").unwrap();
        assert_eq!(one, other);
        assert_eq!(one.values["api"], ["x:y"], "a value may have a colon");
        assert_ne!(one, asked_of("from=1005000&to=4605000&step=30").unwrap());
    }

    #[test]
    fn a_step_is_never_so_fine_that_there_are_too_many_points() {
        let year = asked_of("from=0&to=31536000000&step=1").unwrap();
        assert!((year.to_s - year.from_s) / i64::from(year.step_s) <= POINTS);
        assert_eq!(asked_of("from=0&to=3600000&step=600").unwrap().step_s, 600);
    }

    #[test]
    fn wrong_parameters_are_named() {
        let wrong = |query| asked_of(query).unwrap_err();
        assert_eq!(wrong("from=5000&to=5000"), "`from` is before `to`, by 5 s at least");
        assert_eq!(wrong("from=0&to=9999999999000"), "at most 400 days can be shown");
        assert!(wrong("from=x").starts_with("`from` is a whole number"), "{}", wrong("from=x"));
        assert!(wrong("step=0").starts_with("`step` is a whole number"));
        assert_eq!(wrong("var=site"), "`var` is a name and a value, as `site:berlin`");
    }
}
