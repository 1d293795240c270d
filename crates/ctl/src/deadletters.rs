//! `weirctl deadletters`: events that weir-analytics keeps apart.

use crate::args::Deadletters;
use crate::{Failure, Outcome, admin, fetch};
use serde_json::{Value, json};
use std::fmt::Write;
use weir_program::say;

pub async fn deadletters(analytics: &str, command: &Deadletters) -> Result<Outcome, Failure> {
    match command {
        Deadletters::List(options) => {
            let path = format!("/api/v1/deadletters?limit={}", options.limit);
            let (url, body) = fetch::get_ok(analytics, &path).await?;
            let list: Value = serde_json::from_str(&body).map_err(|error| Failure::Answer { url, error })?;
            say(if options.json { body.trim_end().to_owned() } else { table(&list) })?;
        }
        Deadletters::Show(options) => {
            let path = format!("/api/v1/deadletters/show?stream={}&seq={}", options.stream, options.seq);
            let (url, status, body) = fetch::get(analytics, &path).await?;
            match status.as_u16() {
                200 => say(body.trim_end())?,
                404 => {
                    say(body.trim_end())?;
                    return Ok(Outcome::No);
                }
                _ => return Err(fetch::FetchError::Refused { url, status, body: body.trim().to_owned() }.into()),
            }
        }
        Deadletters::Replay(options) => {
            let token = admin::token(options.admin.token_file.as_deref())?;
            let body = json!({ "stream": options.stream }).to_string();
            let (url, body) = fetch::post(analytics, "/api/v1/deadletters/replay", Some(&token), body).await?;
            let done: Value = serde_json::from_str(&body).map_err(|error| Failure::Answer { url, error })?;
            say(if options.json { body.trim_end().to_owned() } else { counts(&done) })?;
        }
    }
    Ok(Outcome::Well)
}

/// The members of the list that a line has.
const COLUMNS: [&str; 5] = ["stream", "seq", "reason", "ts", "received"];

fn table(list: &Value) -> String {
    let rows = list["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return "no dead letters".to_owned();
    }
    let cells: Vec<[String; 5]> = std::iter::once(COLUMNS.map(str::to_owned))
        .chain(rows.iter().map(|row| COLUMNS.map(|name| text(&row[name]))))
        .collect();
    let width = |column: usize| cells.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut out = String::new();
    for row in &cells {
        let line: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(out, "{}", line.join("  ").trim_end());
    }
    if let Some(more) = list["total"].as_u64().and_then(|total| total.checked_sub(rows.len() as u64)).filter(|n| *n > 0)
    {
        let _ = writeln!(out, "and {more} more (--limit)");
    }
    out.trim_end().to_owned()
}

/// What was done, in the words of the document.
fn counts(done: &Value) -> String {
    let members = done.as_object().into_iter().flatten();
    members.map(|(name, value)| format!("{name}: {}", text(value))).collect::<Vec<_>>().join(", ")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_one_event_and_why() {
        let row = json!({ "stream": "00ab", "seq": 7, "reason": "ts_ahead", "ts": "2026-11-28 01:02:03.000000",
            "received": "2026-11-26 01:02:03.000" });
        let out = table(&json!({ "total": 3, "rows": [row] }));
        let line = out.lines().nth(1).unwrap();
        assert!(line.starts_with("00ab    7    ts_ahead  2026-11-28"), "{line}");
        assert!(out.ends_with("and 2 more (--limit)"));
        assert_eq!(table(&json!({ "rows": [] })), "no dead letters");
        assert_eq!(counts(&json!({ "replayed": 2, "refused": 0 })), "refused: 0, replayed: 2");
    }
}
