//! `weirctl tail`: events as they happen, from one gateway or several at once.

use crate::args::TailOptions;
use crate::fetch::{self, FetchError};
use crate::{Failure, Outcome, terminal};
use http_body_util::BodyExt;
use serde::de::Error;
use serde_json::{Map, Value};
use std::io::Write;
use tokio::sync::mpsc;

/// Lines that may wait while the terminal is slow.
const WAITING: usize = 1024;
/// The longest line: an event is a few KiB.
const LONGEST: usize = 1 << 20;

/// Follows every gateway until the count is reached, they all end, or Ctrl-C.
pub async fn tail(admin: &[String], options: &TailOptions) -> Result<Outcome, Failure> {
    let (sender, mut lines) = mpsc::channel(WAITING);
    for base in admin {
        let (url, body) = fetch::tail(base).await?;
        tokio::spawn(follow(url, body, sender.clone()));
    }
    drop(sender);
    let mut out = std::io::stdout().lock();
    if !options.json {
        writeln!(out, "{HEADING}")?;
    }
    let mut left = options.count.unwrap_or(u64::MAX);
    while left > 0
        && let Some(line) = lines.recv().await
    {
        let (url, line) = line?;
        let event = event(&line).map_err(|error| Failure::Answer { url, error })?;
        if let Some(missed) = event["missed"].as_u64() {
            if options.json {
                writeln!(out, "{}", terminal::json(&event.to_string()))?;
            } else {
                terminal::tell(format_args!(
                    "({missed} events were not shown: this terminal is slower than the gateway)"
                ));
            }
            continue;
        }
        if options.failed && event["reason"] == "" {
            continue;
        }
        if options.json {
            writeln!(out, "{}", terminal::json(&event.to_string()))?;
        } else {
            writeln!(out, "{}", row(&terminal::shown(event)))?;
        }
        out.flush()?;
        left -= 1;
    }
    Ok(Outcome::Well)
}

/// One line of a tail: an event, or how many were missed.
fn event(line: &str) -> serde_json::Result<Value> {
    let event: Map<String, Value> = serde_json::from_str(line)?;
    let is_known = event.contains_key("missed") || event.contains_key("trace_id");
    is_known.then_some(Value::Object(event)).ok_or_else(|| serde_json::Error::custom("neither an event nor `missed`"))
}

type Line = Result<(String, String), FetchError>;

async fn follow(url: String, mut body: hyper::body::Incoming, lines: mpsc::Sender<Line>) {
    let mut rest = Vec::new();
    let broken = |cause: String| Err(FetchError::Broken { url: url.clone(), cause });
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => rest.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Err(error) => return drop(lines.send(broken(error.to_string())).await),
        }
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&rest[..end]).into_owned();
            rest.drain(..=end);
            if lines.send(Ok((url.clone(), line))).await.is_err() {
                return;
            }
        }
        if rest.len() > LONGEST {
            return drop(lines.send(broken("a line without an end".to_owned())).await);
        }
    }
    if !rest.is_empty() {
        drop(lines.send(Ok((url, String::from_utf8_lossy(&rest).into_owned()))).await);
    }
}

const HEADING: &str = "time            site/gateway         status  total ms  = gateway + upstream + client  request, and why it did not simply pass";

fn row(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let millis = |name: &str| event[name].as_u64().unwrap_or_default() as f64 / 1000.0;
    let time = text("ts").get(11..26).unwrap_or_default();
    let place = format!("{}/{}", text("site"), text("gateway"));
    let mut row = format!(
        "{time} {place:<20} {:>6} {:>9.3} = {:>7.3} + {:>8.3} + {:>6.3}  {} {}",
        event["status"],
        millis("total_us"),
        millis("gateway_us"),
        millis("upstream_us"),
        millis("client_us"),
        text("method"),
        text("path"),
    );
    if !text("reason").is_empty() {
        row += &format!("  [{}: {}]", text("side"), text("reason"));
    }
    row + &format!(
        "\n                trace {} span {} parent {}",
        text("trace_id"),
        text("span_id"),
        or_dash(text("parent_span_id"))
    )
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_says_who_and_why() {
        let event = json!({
            "ts": "2026-11-23T06:41:25.123456Z", "site": "on-prem", "gateway": "edge", "status": 502, "method": "GET",
            "path": "/orders", "total_us": 1500, "gateway_us": 500, "upstream_us": 1000, "client_us": 0,
            "reason": "connection_refused", "side": "upstream", "trace_id": "t", "span_id": "s", "parent_span_id": "",
        });
        let row = row(&event);
        assert!(row.starts_with("06:41:25.123456 on-prem/edge"), "{row}");
        assert!(row.contains("[upstream: connection_refused]") && row.ends_with("parent -"), "{row}");
    }
}
