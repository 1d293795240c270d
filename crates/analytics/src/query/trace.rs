//! Single events: all of one trace, the last that failed, the slowest. From raw rows, under the names of
//! [`FIELDS`]; ids are hex, times RFC 3339, as in [`weir_event::json`].

use crate::schema::{FAILED, REQUESTS};
use crate::store::{Store, StoreError};
use serde_json::Value;
use weir_api::query::{Requests, Trace};
use weir_event::TraceId;
use weir_event::field::{FIELDS, Field};

/// The field as JSON shows it.
fn shown(field: &Field) -> String {
    let name = field.name;
    match (name, field.column) {
        ("stream", _) => format!("lower(leftPad(hex(e.{name}), 16, '0')) AS {name}"),
        ("parent_span_id", _) => {
            format!("if(e.{name} = unhex('0000000000000000'), '', lower(hex(e.{name}))) AS {name}")
        }
        (_, kind) if kind.starts_with("FixedString") => format!("lower(hex(e.{name})) AS {name}"),
        (_, kind) if kind.starts_with("DateTime64") => {
            format!("concat(replaceOne(toString(e.{name}), ' ', 'T'), 'Z') AS {name}")
        }
        (_, "IPv6") => format!("replaceRegexpOne(toString(e.{name}), '^::ffff:([0-9]+[.])', '\\\\1') AS {name}"),
        _ => format!("e.{name}"),
    }
}

/// Every field of an event, of a table that is called `e`.
pub(super) fn all_shown() -> String {
    FIELDS.iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn select(store: &Store, rest: &str) -> String {
    format!("SELECT {} FROM {} AS e {rest}", all_shown(), store.schema().all("access_events"))
}

/// Every event of a trace, in the order of their starts. `between` are times in microseconds since the Unix epoch
/// that the events are known to lie in: with them a trace is found in a few parts, without them in all.
pub async fn trace(
    store: &Store,
    id: TraceId,
    between: (Option<i64>, Option<i64>),
) -> Result<Trace<Value>, StoreError> {
    let mut conditions = format!("WHERE e.trace_id = unhex('{id}')");
    for (time, sign) in [(between.0, ">="), (between.1, "<=")] {
        if let Some(us) = time {
            conditions.push_str(&format!(" AND e.ts {sign} fromUnixTimestamp64Micro({us}, 'UTC')"));
        }
    }
    let rows = store.json_rows(&select(store, &format!("{conditions} ORDER BY e.ts LIMIT 1000")), &[]).await?;
    Ok(Trace { trace_id: id.to_string(), events: rows })
}

const SHORT: &str = "concat(replaceOne(toString(e.ts), ' ', 'T'), 'Z') AS ts, e.site, e.gateway, e.api, e.route, \
    e.method, e.path, e.status, e.reason, e.side, e.total_us, e.upstream, lower(hex(e.trace_id)) AS trace_id";

/// The last requests that failed: what the overview counts as errors.
pub async fn errors(store: &Store, minutes: u64, limit: u64) -> Result<Requests, StoreError> {
    listed(store, &format!("{REQUESTS} AND {FAILED}"), "e.ts DESC", minutes, limit).await
}

/// The slowest requests.
pub async fn slow(store: &Store, minutes: u64, limit: u64) -> Result<Requests, StoreError> {
    listed(store, REQUESTS, "e.total_us DESC", minutes, limit).await
}

async fn listed(store: &Store, which: &str, order: &str, minutes: u64, limit: u64) -> Result<Requests, StoreError> {
    let sql = format!(
        "SELECT {SHORT} FROM {} AS e WHERE e.ts > now64(6, 'UTC') - INTERVAL {minutes} MINUTE AND {which} \
         ORDER BY {order} LIMIT {limit}",
        store.schema().all("access_events")
    );
    Ok(Requests { minutes, rows: store.json_rows(&sql, &[]).await? })
}
