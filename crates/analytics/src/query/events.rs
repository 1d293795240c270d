//! Events that match what is chosen on the Events dashboard: the newest as a list, or all of them as a file.
//!
//! What is chosen means what it means on the dashboard, because the condition is that of its table, out of the same file.

use super::dashboards::{Asked, ExpandError, Statement, csv_line, expand, find};
use super::trace::all_shown;
use crate::store::{Store, StoreError};
use serde_json::Value;
use weir_api::dashboards::{ColumnKind, Dashboard};
use weir_api::query::Events;
use weir_event::field::FIELDS;

/// The dashboard that says which events match.
const DASHBOARD: &str = "weir-events";
/// Its table.
const TABLE: &str = "Events";

/// What a list shows of an event.
const LINE: &str = "toUnixTimestamp64Micro(e.ts) AS ts_us, toUnixTimestamp64Milli(e.ts_received) AS received_ms, \
    lower(leftPad(hex(e.stream), 16, '0')) AS stream, e.seq AS seq, e.site AS site, e.gateway AS gateway, e.api AS api, \
    e.route AS route, e.consumer AS consumer, e.method AS method, e.path AS path, e.status AS status, e.reason AS reason, \
    e.side AS side, e.total_us AS total_us, e.upstream AS upstream, lower(hex(e.trace_id)) AS trace_id";

/// The condition of the dashboard's table, with its macros and variables.
fn condition(dashboard: &Dashboard) -> Option<&str> {
    let table = dashboard.panels.iter().find(|panel| panel.title == TABLE)?;
    let (_, rest) = table.targets.first()?.raw_sql.split_once("\nFROM access_events WHERE ")?;
    rest.rsplit_once("\nORDER BY ts DESC").map(|(condition, _)| condition)
}

/// Which events are meant.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    pub asked: &'a Asked,
    /// Received after this time, in milliseconds since the Unix epoch.
    pub after_ms: Option<u64>,
}

impl Wanted<'_> {
    fn statement(&self, make: impl Fn(&str) -> String) -> Result<Statement, ExpandError> {
        let wrong = || ExpandError::Dashboard(format!("`{DASHBOARD}` has no table `{TABLE}` of events"));
        let dashboard = find(DASHBOARD).ok_or_else(wrong)?;
        let mut condition = condition(dashboard).ok_or_else(wrong)?.to_owned();
        if let Some(after_ms) = self.after_ms {
            condition.push_str(&format!(" AND ts_received > fromUnixTimestamp64Milli({after_ms})"));
        }
        expand(dashboard, &make(&condition), self.asked)
    }

    /// How many match.
    pub fn counted(&self) -> Result<Statement, ExpandError> {
        self.statement(|condition| format!("SELECT count() FROM access_events WHERE {condition}"))
    }

    /// The newest, as a list shows them.
    pub fn newest(&self, limit: u64) -> Result<Statement, ExpandError> {
        self.statement(|condition| of_newest(LINE, condition, limit))
    }

    /// The newest with every field.
    pub fn whole(&self, limit: u64) -> Result<Statement, ExpandError> {
        self.statement(|condition| of_newest(&all_shown(), condition, limit))
    }
}

/// Columns are chosen outside: an alias of theirs must not be what the condition compares.
fn of_newest(columns: &str, condition: &str, limit: u64) -> String {
    let newest = format!("SELECT * FROM access_events WHERE {condition} ORDER BY ts DESC LIMIT {limit}");
    format!("SELECT {columns} FROM ({newest}) AS e ORDER BY e.ts DESC")
}

fn args(statement: &Statement) -> Vec<(&str, String)> {
    statement.args.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()
}

/// The events of [`Wanted::newest`].
pub async fn list(store: &Store, statement: &Statement) -> Result<Events, StoreError> {
    Ok(Events { rows: store.json_rows(&statement.sql, &args(statement)).await? })
}

/// The number of [`Wanted::counted`].
pub async fn count(store: &Store, statement: &Statement) -> Result<u64, StoreError> {
    store.number(&statement.sql, &args(statement)).await
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// RFC 4180, with a line of names.
    Csv,
    /// A JSON object a line.
    Lines,
}

/// The events of [`Wanted::whole`] as a file, piece by piece.
pub struct File {
    kind: FileKind,
    rows: crate::store::Pieces,
    /// The beginning of a line whose end has not come.
    open: Vec<u8>,
    begun: bool,
}

impl File {
    pub async fn begin(store: &Store, statement: &Statement, kind: FileKind) -> Result<Self, StoreError> {
        let format = match kind {
            FileKind::Csv => "JSONCompactEachRow",
            FileKind::Lines => "JSONEachRow",
        };
        let rows = store.pieces(&statement.sql, &args(statement), format)?;
        Ok(Self { kind, rows, open: Vec::new(), begun: false })
    }

    /// The next piece of whole lines; `None` after the last. An error means that the file is not whole.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let mut out = String::new();
        if !std::mem::replace(&mut self.begun, true) && self.kind == FileKind::Csv {
            let names: Vec<_> = FIELDS.iter().map(|field| Value::String(field.name.to_owned())).collect();
            csv_line(&mut out, names.iter().map(|name| (name, ColumnKind::Text)));
        }
        while let Some(piece) = self.rows.next().await? {
            self.open.extend_from_slice(&piece);
            let Some(end) = self.open.iter().rposition(|byte| *byte == b'\n') else { continue };
            let rest = self.open.split_off(end + 1);
            let lines = std::mem::replace(&mut self.open, rest);
            if self.kind == FileKind::Lines {
                return Ok(Some(lines));
            }
            for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let row: Vec<Value> =
                    serde_json::from_slice(line).map_err(|error| StoreError::Answer { text: error.to_string() })?;
                csv_line(&mut out, row.iter().zip(FIELDS.iter().map(|field| ColumnKind::of(shown_as(field)))));
            }
            return Ok(Some(out.into_bytes()));
        }
        if !self.open.is_empty() {
            return Err(StoreError::Answer { text: "the last row broke off".to_owned() });
        }
        // The names alone, where there is no row.
        Ok((!out.is_empty()).then(|| out.into_bytes()))
    }
}

/// The type that a field is shown as: ids and times are texts.
fn shown_as(field: &weir_event::field::Field) -> &'static str {
    if field.name == "stream" { "String" } else { field.column }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_is_that_of_the_dashboard() {
        let condition = condition(find(DASHBOARD).unwrap()).unwrap();
        assert!(condition.starts_with("$__timeFilter(ts) AND sample_interval > 0"), "{condition}");
        for variable in ["organization", "consumer", "result", "reason", "status", "search", "trace"] {
            assert!(condition.contains(&format!("${{{variable}:singlequote}}")), "{variable}: {condition}");
        }
        assert!(!condition.contains("ORDER BY") && !condition.contains("LIMIT"), "{condition}");
    }
}
