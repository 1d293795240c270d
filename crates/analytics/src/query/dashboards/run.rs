//! What a statement of a dashboard answers.

use super::expand::{Asked, Statement};
use crate::store::{Store, StoreError};
use serde::Deserialize;
use serde_json::Value;
use weir_api::dashboards::{Column, ColumnKind, Frame, VariableValues};

/// ClickHouse's format `JSONCompact`, as far as it is read.
#[derive(Deserialize)]
struct Compact {
    meta: Vec<Meta>,
    data: Vec<Vec<Value>>,
}

#[derive(Deserialize)]
struct Meta {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

async fn compact(store: &Store, statement: &Statement) -> Result<Compact, StoreError> {
    let args: Vec<_> = statement.args.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let bytes = store.json_compact(&statement.sql, &args).await?;
    serde_json::from_slice(&bytes).map_err(|error| StoreError::Answer { text: error.to_string() })
}

/// The rows of a panel or of an annotation.
pub async fn answer(store: &Store, statement: &Statement, asked: &Asked) -> Result<Frame, StoreError> {
    let found = compact(store, statement).await?;
    let column = |meta: Meta| Column { kind: ColumnKind::of(&meta.kind), name: meta.name };
    Ok(Frame {
        from_ms: asked.from_s * 1000,
        to_ms: asked.to_s * 1000,
        step_s: asked.step_s,
        columns: found.meta.into_iter().map(column).collect(),
        rows: found.data,
    })
}

/// The values of a variable: the first column.
pub async fn values(store: &Store, statement: &Statement) -> Result<VariableValues, StoreError> {
    let found = compact(store, statement).await?;
    let first = |row: Vec<Value>| match row.into_iter().next() {
        Some(Value::String(text)) => Some(text),
        Some(other) => Some(other.to_string()),
        None => None,
    };
    Ok(VariableValues { values: found.data.into_iter().filter_map(first).collect() })
}
