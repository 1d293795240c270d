//! A day of events, of samples and of reports, made by the engine itself.

use super::{number, sql};
use std::io;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const DAY_S: u64 = 86_400;
/// Of one insert, and so of one block of each view.
const AT_ONCE: u64 = 500_000;
/// User requests among so many events, the others are second hops: `events.sql`.
const REQUESTS: (u64, u64) = (10, 13);
/// Processes of gateways, and how often each sends a sample and a report.
const SAMPLES: u64 = 16 * DAY_S / 10;
const REPORTS: u64 = DAY_S / 60;

/// The time that the events are of, in seconds: from, to. Fills the engine if it has none.
pub fn filled(engine: SocketAddr, events: u64) -> io::Result<(u64, u64)> {
    let there = number(engine, "SELECT count() FROM weir.access_events")?;
    if there == 0.0 {
        fill(engine, events)?;
    }
    let (raw, rolled) = (
        number(engine, "SELECT count() FROM weir.access_events")?,
        number(engine, "SELECT sum(n) FROM weir.requests_1m")?,
    );
    println!("{raw} events, {rolled} requests in the minute roll-up");
    if raw != rolled {
        return Err(io::Error::other("the roll-up does not hold the events"));
    }
    let begin_s = number(engine, "SELECT toUnixTimestamp(toStartOfMinute(min(ts))) FROM weir.access_events")? as u64;
    Ok((begin_s, begin_s + DAY_S))
}

fn fill(engine: SocketAddr, events: u64) -> io::Result<()> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_secs();
    let begin_us = (now_s - DAY_S) / 60 * 60 * 1_000_000;
    let requests = events / REQUESTS.1 * REQUESTS.0;
    let places = [
        ("begin_us", begin_us),
        ("span_us", DAY_S * 1_000_000),
        ("events", events),
        ("requests", requests),
        ("samples", SAMPLES),
        ("reports", REPORTS),
    ];
    let began = Instant::now();
    for first in (0..events).step_by(AT_ONCE as usize) {
        let part = [("first", first), ("count", AT_ONCE.min(events - first))];
        sql(engine, &with(&with(include_str!("events.sql"), &places), &part))?;
    }
    sql(engine, &with(include_str!("samples.sql"), &places))?;
    sql(engine, &with(include_str!("reports.sql"), &places))?;
    println!("{events} events made and rolled up in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

fn with(text: &str, places: &[(&str, u64)]) -> String {
    places.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), &value.to_string()))
}
