//! `weirctl deadletters`: events that weir-analytics keeps apart.

use crate::args::Deadletters;
use crate::terminal::{say, say_json, shown};
use crate::{Failure, Outcome, admin, fetch};
use serde_json::Value;
use std::fmt::Write;

pub async fn deadletters(analytics: &str, command: &Deadletters) -> Result<Outcome, Failure> {
    match command {
        Deadletters::List(options) => {
            let token = admin::token(options.admin.token_file.as_deref())?;
            let (url, body) = fetch::get_as_admin(analytics, "/api/v1/deadletters", &token).await?;
            let list: Value = serde_json::from_str(&body).map_err(|error| Failure::Answer { url, error })?;
            if options.json { say_json(body.trim_end()) } else { say(table(&shown(list))) }?;
        }
        Deadletters::Show(options) => {
            let token = admin::token(options.admin.token_file.as_deref())?;
            let (stream, from, limit) = (&options.stream, options.from, options.limit);
            let path = format!("/api/v1/deadletters/show?stream={stream}&from={from}&limit={limit}");
            let (url, body) = fetch::get_as_admin(analytics, &path, &token).await?;
            let _is_json: Value = serde_json::from_str(&body).map_err(|error| Failure::Answer { url, error })?;
            say_json(body.trim_end())?;
        }
        Deadletters::Replay(options) => {
            let token = admin::token(options.admin.token_file.as_deref())?;
            let path = "/api/v1/deadletters/replay";
            let (url, body) = fetch::post(analytics, path, Some(&token), String::new()).await?;
            let done: Value = serde_json::from_str(&body).map_err(|error| Failure::Answer { url, error })?;
            if options.json { say_json(body.trim_end()) } else { say(counts(&shown(done))) }?;
        }
    }
    Ok(Outcome::Well)
}

/// The members of the list that a line has, and their headings.
const COLUMNS: [(&str, &str); 6] = [
    ("id", "stream"),
    ("why", "reason"),
    ("events", "events"),
    ("first", "first"),
    ("last", "last"),
    ("can_be_replayed", "can be replayed"),
];

fn table(list: &Value) -> String {
    let rows = list["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return "no dead letters".to_owned();
    }
    let cell = |row: &Value, name: &str| match (name, &row[name]) {
        ("can_be_replayed", value) => (if *value == 1 || *value == true { "yes" } else { "no" }).to_owned(),
        (_, value) => text(value),
    };
    let cells: Vec<[String; 6]> = std::iter::once(COLUMNS.map(|(_, heading)| heading.to_owned()))
        .chain(rows.iter().map(|row| COLUMNS.map(|(name, _)| cell(row, name))))
        .collect();
    let width = |column: usize| cells.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut out = String::new();
    for row in &cells {
        let line: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(out, "{}", line.join("  ").trim_end());
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
    use serde_json::json;

    #[test]
    fn a_line_names_a_stream_and_why() {
        let row =
            json!({ "id": "00ab", "why": "ts_ahead", "events": 600, "first": 7, "last": 606, "can_be_replayed": 1 });
        let out = table(&json!({ "rows": [row] }));
        let words: Vec<_> = out.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(words, ["00ab", "ts_ahead", "600", "7", "606", "yes"]);
        assert_eq!(table(&json!({ "rows": [] })), "no dead letters");
        assert_eq!(counts(&json!({ "replayed": 2, "refused": 0 })), "refused: 0, replayed: 2");
    }
}
