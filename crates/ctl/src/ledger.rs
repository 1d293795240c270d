//! `weirctl ledger`: the account of every event that every gateway has accepted.

use crate::args::LedgerOptions;
use crate::{Failure, Outcome, fetch};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use weir_program::say;

/// What weir-analytics answers.
#[derive(Deserialize)]
struct Ledger {
    balanced: Balance,
    streams: Vec<Stream>,
}

/// Does the sum hold?
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Balance {
    /// Every accepted event is accounted for.
    True,
    /// Some are not yet: at the gateway still, on their way, or lost.
    Open,
    /// The sets contradict each other.
    False,
}

/// One worker of one life of one gateway.
#[derive(Deserialize)]
struct Stream {
    site: String,
    gateway: String,
    replica: String,
    worker: Option<u16>,
    stream: String,
    accepted: Option<u64>,
    stored: u64,
    dead_letters: u64,
    /// Shed, by reason.
    gaps: BTreeMap<String, u64>,
    open: u64,
    closed: bool,
    balanced: Balance,
    why: Option<String>,
}

/// Prints the ledger. The answer is no when it contradicts itself; what is open is only not yet known.
pub async fn ledger(analytics: &str, options: &LedgerOptions) -> Result<Outcome, Failure> {
    let (url, body) = fetch::get_ok(analytics, "/api/v1/ledger").await?;
    let ledger: Ledger = serde_json::from_str(&body).map_err(|error| Failure::Answer { url, error })?;
    if options.json {
        say(body.trim_end())?;
    } else {
        say(render(&ledger).trim_end())?;
    }
    Ok(if ledger.balanced == Balance::False { Outcome::No } else { Outcome::Well })
}

fn render(ledger: &Ledger) -> String {
    let mut out = format!("{:<32} {:<16}", "site/gateway/replica/worker", "stream");
    for heading in ["accepted", "stored", "dead", "shed", "open"] {
        let _ = write!(out, " {heading:>10}");
    }
    out += "  state\n";
    for stream in &ledger.streams {
        let worker = stream.worker.map_or_else(|| "?".to_owned(), |worker| worker.to_string());
        let place = format!("{}/{}/{}/{worker}", stream.site, stream.gateway, stream.replica);
        let accepted = stream.accepted.map_or_else(|| "?".to_owned(), |count| count.to_string());
        let shed: u64 = stream.gaps.values().sum();
        let _ = writeln!(
            out,
            "{place:<32} {:<16} {accepted:>10} {:>10} {:>10} {shed:>10} {:>10}  {}",
            stream.stream,
            stream.stored,
            stream.dead_letters,
            stream.open,
            state(stream)
        );
    }
    out + match ledger.balanced {
        Balance::True => "balanced: every accepted event is accounted for\n",
        Balance::Open if ledger.streams.iter().all(|stream| stream.open == 0) => {
            "nothing missing: gateways report every 10 s, and the next report closes the account\n"
        }
        Balance::Open => "open: some events are not accounted for yet; gateways report every 10 s\n",
        Balance::False => "NOT BALANCED: the account contradicts itself\n",
    }
}

fn state(stream: &Stream) -> String {
    let mut words = vec![match stream.balanced {
        Balance::True => "balanced",
        Balance::Open => "open",
        Balance::False => "NOT BALANCED",
    }];
    words.extend(stream.closed.then_some("ended"));
    words.extend(stream.why.as_deref());
    let shed: Vec<_> = stream.gaps.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let shed = shed.join(", ");
    words.extend((!shed.is_empty()).then_some(shed.as_str()));
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_where_every_event_is() {
        let ledger: Ledger = serde_json::from_value(serde_json::json!({
            "balanced": "open",
            "streams": [{
                "site": "on-prem", "gateway": "edge", "replica": "r1", "worker": 0, "stream": "00ab", "accepted": 10,
                "stored": 7, "dead_letters": 1, "gaps": {"ring_full": 1}, "open": 1, "closed": true,
                "balanced": "open", "why": null,
            }],
        }))
        .unwrap();
        let out = render(&ledger);
        let line = out.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(line[..7], ["on-prem/edge/r1/0", "00ab", "10", "7", "1", "1", "1"]);
        assert_eq!(line[7..].join(" "), "open, ended, 1 ring_full");
        assert!(out.ends_with("report every 10 s\n"));
    }
}
