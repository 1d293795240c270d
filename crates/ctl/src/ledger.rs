//! `weirctl ledger`: the account of every event that every gateway has accepted.

use crate::admin::Analytics;
use crate::args::LedgerOptions;
use crate::terminal::{say, say_json, shown, tell};
use crate::{Failure, Outcome, admin, fetch};
use serde::Deserialize;
use std::fmt::Write;
use weir_api::ledger::{Acknowledge, Acknowledged, Ledger, LedgerState, StreamAccount, StreamState};

/// Prints the ledger, after what was asked to be done first.
pub async fn ledger(asked: &Analytics, options: &LedgerOptions) -> Result<Outcome, Failure> {
    let analytics = asked.address.as_str();
    let admin = admin::token_if_any(options.admin.token_file.as_deref())?;
    // Whoever may change the account may read it.
    let reader = asked.token.as_deref().or(admin.as_deref());
    if options.verify {
        fetch::post(analytics, "/api/v1/ledger/verify", admin.as_deref().or(reader), String::new()).await?;
    }
    if let Some(stream) = &options.acknowledge {
        acknowledge(analytics, options, stream).await?;
    }
    let minutes = if options.all { "all".to_owned() } else { options.since.to_string() };
    let (url, body) = fetch::get_as(analytics, &format!("/api/v1/ledger?minutes={minutes}"), reader).await?;
    let ledger = serde_json::from_str(&body).and_then(|ledger| Ledger::deserialize(shown(ledger)));
    let ledger = ledger.map_err(|error| Failure::Answer { url, error })?;
    if options.json {
        say_json(body.trim_end())?;
    } else {
        say(render(&ledger, options.all).trim_end())?;
    }
    Ok(match ledger.state {
        LedgerState::Balanced => Outcome::Well,
        LedgerState::Missing => Outcome::No,
        LedgerState::Unknown | LedgerState::Empty => Outcome::Unknown,
    })
}

async fn acknowledge(analytics: &str, options: &LedgerOptions, stream: &str) -> Result<(), Failure> {
    let token = admin::token(options.admin.token_file.as_deref())?;
    let asked =
        Acknowledge { stream: stream.to_owned(), reason: options.reason.clone().unwrap_or_default(), by: user() };
    // Never an error: it is three texts.
    let body = serde_json::to_string(&asked).unwrap_or_default();
    let (url, body) = fetch::post(analytics, "/api/v1/ledger/acknowledge", Some(&token), body).await?;
    let done = serde_json::from_str(&body).and_then(|done| Acknowledged::deserialize(shown(done)));
    let done = done.map_err(|error| Failure::Answer { url, error })?;
    // The document on standard output is the ledger's.
    for note in &done.acknowledged {
        let last = note.last.map_or_else(|| "on".to_owned(), |last| last.to_string());
        tell(format_args!("acknowledged: {}: {} {}-{last} ({})", note.name, note.kind.as_str(), note.first, note.what));
    }
    if done.acknowledged.is_empty() {
        tell("nothing to acknowledge");
    }
    Ok(())
}

/// The name of whoever runs this, for the account.
fn user() -> String {
    ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default()
}

/// Accounts of streams that ended in order, at most, unless all are asked for.
const ENDED: usize = 10;

fn render(ledger: &Ledger, all: bool) -> String {
    let in_order = |stream: &&StreamAccount| {
        stream.closed && stream.state == StreamState::Balanced && stream.waiting == 0 && stream.acknowledged.is_empty()
    };
    let ended = ledger.streams.iter().filter(in_order).count();
    let hidden = if all { 0 } else { ended.saturating_sub(ENDED) };
    let mut left = ended - hidden;
    let shown: Vec<_> = ledger
        .streams
        .iter()
        .filter(|stream| {
            let ended = in_order(stream);
            let shown = !ended || left > 0;
            left -= usize::from(ended && shown);
            shown
        })
        .collect();
    let mut out = format!("{}\n", ledger.sentence);
    if !shown.is_empty() {
        out.push('\n');
        out += &table(&shown);
    }
    if hidden > 0 {
        let _ = writeln!(out, "and {hidden} more that ended, balanced (weirctl ledger --all)");
    }
    out
}

fn table(streams: &[&StreamAccount]) -> String {
    let place = |stream: &StreamAccount| match stream.worker {
        Some(worker) => format!("{}/{}/{}/{worker}", stream.site, stream.gateway, stream.replica),
        None => "(no report)".to_owned(),
    };
    const HEADINGS: [&str; 6] = ["site/gateway/replica/worker", "stream", "accepted", "stored", "waiting", "missing"];
    let mut rows = vec![(HEADINGS.map(str::to_owned), "state", "")];
    for stream in streams {
        let missing: u64 = stream.missing.iter().map(|part| part.count).sum();
        let counts = [stream.accepted, stream.stored, stream.waiting, missing].map(|count| count.to_string());
        let [accepted, stored, waiting, missing] = counts;
        let cells = [place(stream), stream.stream.clone(), accepted, stored, waiting, missing];
        rows.push((cells, &stream.claim, &stream.advice));
    }
    let width = |column: usize| rows.iter().map(|(cells, ..)| cells[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut out = String::new();
    for (cells, state, advice) in &rows {
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let _ = if column < 2 { write!(out, "{cell:<width$}  ") } else { write!(out, "{cell:>width$}  ") };
        }
        let _ = writeln!(out, "{state}");
        if !advice.is_empty() {
            let _ = writeln!(out, "    do: {advice}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stream(worker: u16, more: &serde_json::Value) -> serde_json::Value {
        let mut line = json!({
            "stream": format!("{worker:016x}"), "site": "on-prem", "gateway": "edge", "replica": "r1", "worker": worker,
            "state": "balanced", "claim": "balanced, ended", "advice": "", "closed": true, "accepted": 10, "stored": 10,
            "waiting": 0, "missing": [], "acknowledged": [],
        });
        for (name, value) in more.as_object().unwrap() {
            line[name] = value.clone();
        }
        line
    }

    fn rendered(streams: Vec<serde_json::Value>, all: bool) -> String {
        let ledger = json!({ "state": "missing", "sentence": "MISSING: 2 events", "streams": streams });
        render(&serde_json::from_value(ledger).unwrap(), all)
    }

    #[test]
    fn a_line_says_where_every_event_is_and_the_next_what_to_do() {
        let lost = json!({ "state": "missing", "claim": "2 lost (ring_full)", "advice": "raise spool.ringBytes",
            "stored": 7, "waiting": 1, "missing": [{ "class": "lost", "reason": "ring_full", "count": 2, "ranges": [[7, 8]] }] });
        let out = rendered(vec![stream(0, &lost)], false);
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines[0], "MISSING: 2 events");
        let words: Vec<_> = lines[3].split_whitespace().collect();
        assert_eq!(words[..6], ["on-prem/edge/r1/0", "0000000000000000", "10", "7", "1", "2"]);
        assert_eq!(words[6..].join(" "), "2 lost (ring_full)");
        assert_eq!(lines[4], "    do: raise spool.ringBytes");
    }

    #[test]
    fn what_ended_in_order_does_not_crowd_out_the_rest() {
        let mut streams: Vec<_> = (0..30).map(|worker| stream(worker, &json!({}))).collect();
        streams.push(stream(31, &json!({ "closed": false })));
        let out = rendered(streams.clone(), false);
        assert!(
            out.contains("on-prem/edge/r1/31")
                && out.ends_with("and 20 more that ended, balanced (weirctl ledger --all)\n")
        );
        assert_eq!(rendered(streams, true).lines().count(), 2 + 1 + 31);
    }

    /// docs/ledger.md shows what is printed of the documents that weir-analytics keeps as golden files.
    /// `UPDATE_EXPECT=1 cargo test -p weir-ctl` writes it anew.
    #[test]
    fn the_samples_of_the_documentation_are_what_is_printed() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let path = root.join("docs/ledger.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (mark, fence) = ("<!-- sample: ", "```text\n");
        let (mut made, mut rest, mut count) = (String::new(), text.as_str(), 0);
        while let Some((before, after)) = rest.split_once(mark) {
            let (name, after) = after.split_once(" -->").unwrap();
            let (_, after) = after.split_once(fence).unwrap();
            let (_, after) = after.split_once("```\n").unwrap();
            let document = root.join(format!("crates/analytics/golden/ledger/{name}.json"));
            let ledger: Ledger = serde_json::from_str(&std::fs::read_to_string(document).unwrap()).unwrap();
            let lines: Vec<_> = render(&ledger, false).lines().map(|line| line.trim_end().to_owned()).collect();
            made += &format!("{before}{mark}{name} -->\n{fence}$ weirctl ledger\n{}\n```\n", lines.join("\n"));
            (rest, count) = (after, count + 1);
        }
        made += rest;
        assert_eq!(count, 6);
        expect_test::expect_file![path].assert_eq(&made);
    }
}
