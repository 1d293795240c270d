//! `weirctl deadletters`: events that weir-analytics keeps apart.

use crate::args::Deadletters;
use crate::terminal::{say, say_json, shown};
use crate::{Failure, Outcome, admin, fetch};
use serde::Deserialize;
use std::fmt::Write;
use weir_api::query::{DeadLetterEvents, DeadLetterGroup, DeadLetters, Replayed};

pub async fn deadletters(analytics: &str, command: &Deadletters) -> Result<Outcome, Failure> {
    match command {
        Deadletters::List(options) => {
            let token = admin::token(options.admin.token_file.as_deref())?;
            let (url, body) = fetch::get_as(analytics, "/api/v1/deadletters", Some(&token)).await?;
            let list = serde_json::from_str(&body).and_then(|list| DeadLetters::deserialize(shown(list)));
            let list = list.map_err(|error| Failure::Answer { url, error })?;
            if options.json { say_json(body.trim_end()) } else { say(table(&list)) }?;
        }
        Deadletters::Show(options) => {
            let token = admin::token(options.admin.token_file.as_deref())?;
            let (stream, from, limit) = (&options.stream, options.from, options.limit);
            let path = format!("/api/v1/deadletters/show?stream={stream}&from={from}&limit={limit}");
            let (url, body) = fetch::get_as(analytics, &path, Some(&token)).await?;
            let _is_one: DeadLetterEvents =
                serde_json::from_str(&body).map_err(|error| Failure::Answer { url, error })?;
            say_json(body.trim_end())?;
        }
        Deadletters::Replay(options) => {
            let token = admin::token(options.admin.token_file.as_deref())?;
            let path = "/api/v1/deadletters/replay";
            let (url, body) = fetch::post(analytics, path, Some(&token), String::new()).await?;
            let done: Replayed = serde_json::from_str(&body).map_err(|error| Failure::Answer { url, error })?;
            if options.json { say_json(body.trim_end()) } else { say(counts(done)) }?;
        }
    }
    Ok(Outcome::Well)
}

const HEADINGS: [&str; 6] = ["stream", "reason", "events", "first", "last", "can be replayed"];

fn table(list: &DeadLetters) -> String {
    if list.rows.is_empty() {
        return "no dead letters".to_owned();
    }
    let line = |row: &DeadLetterGroup| {
        let can = if row.can_be_replayed { "yes" } else { "no" };
        let [events, first, last] = [row.events, row.first, row.last].map(|number| number.to_string());
        [row.id.clone(), row.why.clone(), events, first, last, can.to_owned()]
    };
    let cells: Vec<_> = std::iter::once(HEADINGS.map(str::to_owned)).chain(list.rows.iter().map(line)).collect();
    let width = |column: usize| cells.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut out = String::new();
    for row in &cells {
        let line: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(out, "{}", line.join("  ").trim_end());
    }
    out.trim_end().to_owned()
}

fn counts(done: Replayed) -> String {
    format!("stored: {}, still dead letters: {}", done.stored, done.dead_letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_stream_and_why() {
        let row = DeadLetterGroup {
            id: "00ab".to_owned(),
            why: "ts_ahead".to_owned(),
            events: 600,
            first: 7,
            last: 606,
            first_us: 0,
            last_us: 0,
            received_ms: 0,
            can_be_replayed: true,
        };
        let out = table(&DeadLetters { rows: vec![row] });
        let words: Vec<_> = out.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(words, ["00ab", "ts_ahead", "600", "7", "606", "yes"]);
        assert_eq!(table(&DeadLetters { rows: Vec::new() }), "no dead letters");
        assert_eq!(counts(Replayed { stored: 2, dead_letters: 0 }), "stored: 2, still dead letters: 0");
    }
}
