//! `weirctl ledger`: the account of every event that every gateway has accepted.

use crate::args::LedgerOptions;
use crate::{Failure, Outcome, fetch};
use serde::Deserialize;

/// What weir-analytics answers.
#[derive(Deserialize)]
struct Ledger {
    streams: Vec<Stream>,
}

/// One worker of one life of one gateway.
#[derive(Deserialize)]
struct Stream {
    site: String,
    gateway: String,
    replica: String,
    worker: u16,
    stream: String,
    accepted: Option<u64>,
    stored: u64,
    #[serde(default)]
    shed: u64,
    #[serde(default)]
    dead_lettered: u64,
    open: u64,
    /// `balanced`, `open` or `unbalanced`.
    state: String,
}

/// Prints the ledger. The answer is no when something is missing.
pub async fn ledger(analytics: &str, options: &LedgerOptions) -> Result<Outcome, Failure> {
    let (url, body) = fetch::get_ok(analytics, "/api/v1/ledger").await?;
    let ledger: Ledger = serde_json::from_str(&body).map_err(|error| Failure::Answer { url, error })?;
    if options.json {
        println!("{}", body.trim_end());
    } else {
        print(&ledger);
    }
    let missing = ledger.streams.iter().any(|stream| stream.state == "unbalanced");
    Ok(if missing { Outcome::No } else { Outcome::Well })
}

fn print(ledger: &Ledger) {
    let headings = ["accepted", "stored", "shed", "dead", "open"];
    print!("{:<36} {:<16}", "site/gateway/replica/worker", "stream");
    headings.iter().for_each(|heading| print!(" {heading:>10}"));
    println!("  state");
    for stream in &ledger.streams {
        let place = format!("{}/{}/{}/{}", stream.site, stream.gateway, stream.replica, stream.worker);
        let accepted = stream.accepted.map_or_else(|| "?".to_owned(), |count| count.to_string());
        println!(
            "{place:<36} {:<16} {accepted:>10} {:>10} {:>10} {:>10} {:>10}  {}",
            stream.stream, stream.stored, stream.shed, stream.dead_lettered, stream.open, stream.state
        );
    }
}
