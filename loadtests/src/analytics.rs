//! The way of events from the ingest port into the embedded engine, and what it answers then: events stored a second,
//! the CPU that each program takes for an event, blocks, memory, bytes an event, query times.
//!
//! Chunks are offered as a gateway's shipper offers them, by streams of their own; stored means acknowledged, which means
//! in the raw table and in every roll-up. At the end the rows are counted: a fast run that lost one is a failed run.

use crate::child::{Child, pause};
use crate::cpu;
use crate::gateways::{self, Fleet, Load};
use crate::load::http;
use crate::machine::Machine;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use weir_testkit::ports::reserve;
use weir_testkit::process::program;

/// All cores: nothing else is priced beside it.
const CORES: &str = "0-1023";
const READY: Duration = Duration::from_secs(60);
/// Merges that go on after the last event are waited for, so long at most.
const SETTLED: Duration = Duration::from_secs(60);

/// What is asked of the stored events: a name and its SQL.
const QUERIES: [(&str, &str); 4] = [
    (
        "overview: an hour by API from the minute roll-up",
        "SELECT api, sum(n), max(max_total_us) FROM weir.requests_1m GROUP BY api FORMAT Null",
    ),
    (
        "slowest 20 of an API, raw",
        "SELECT path, total_us FROM weir.access_events WHERE organization = 'acme' AND api = 'name-1' ORDER BY total_us DESC LIMIT 20 FORMAT Null",
    ),
    (
        "quantiles by route, raw",
        "SELECT route, count(), quantiles(0.5, 0.99)(total_us) FROM weir.access_events GROUP BY route FORMAT Null",
    ),
    (
        "one trace, raw",
        "SELECT * FROM weir.access_events WHERE trace_id = unhex('00000000000000000000000000000001') FORMAT Null",
    ),
];

/// What a run has used so far, of each program.
#[derive(Clone, Copy)]
struct Used {
    bench: Duration,
    analytics: Duration,
    engine: Duration,
}

impl Used {
    fn by(analytics: &Child, engine: &Child) -> io::Result<Self> {
        let of = cpu::whole;
        Ok(Self { bench: of(std::process::id())?, analytics: of(analytics.id())?, engine: of(engine.id())? })
    }

    fn since(self, before: Self) -> Self {
        Self {
            bench: self.bench.saturating_sub(before.bench),
            analytics: self.analytics.saturating_sub(before.analytics),
            engine: self.engine.saturating_sub(before.engine),
        }
    }

    fn line(self, events: u64) -> String {
        let each = |used: Duration| used.as_secs_f64() * 1e6 / events as f64;
        format!(
            "{:.2} us weir-analytics, {:.2} us ClickHouse ({:.2} us the bench's own gateways)",
            each(self.analytics),
            each(self.engine),
            each(self.bench)
        )
    }
}

/// Stores the events of a fleet and asks for them. False when one is not there.
pub fn run(fleet: Fleet, keep: Option<&Path>) -> io::Result<bool> {
    let temporary = tempfile::tempdir()?;
    let dir = keep.unwrap_or(temporary.path());
    std::fs::create_dir_all(dir)?;
    let (engine_at, analytics_at) = (reserve()?, reserve()?);
    let engine = engine(dir, engine_at)?;
    let analytics = analytics(dir, engine_at, analytics_at)?;
    println!("{}", Machine::look().line());
    println!("{}", fleet.line());
    let before = Used::by(&analytics, &engine)?;
    let Load { sent, wire, took } = gateways::offer(fleet, analytics_at).map_err(|error| with_logs(error, dir))?;
    let offered = Used::by(&analytics, &engine)?.since(before);
    println!(
        "{sent} events stored in {:.1} s: {:.0} a second, making them included",
        took.as_secs_f64(),
        sent as f64 / took.as_secs_f64()
    );
    println!("CPU an event until the last was stored: {}", offered.line(sent));
    let number = |sql: &str| -> io::Result<f64> {
        ask(engine_at, sql)?.trim().parse().map_err(|_| io::Error::other(format!("`{sql}` gave no number")))
    };
    let settled = settle(|| number("SELECT count() FROM system.merges WHERE database = 'weir'"))?;
    let all = Used::by(&analytics, &engine)?.since(before);
    println!("CPU an event with the merges after it ({:.1} s more): {}", settled.as_secs_f64(), all.line(sent));
    println!(
        "blocks: {}, of {:.0} events; memory at most: {:.0} MiB weir-analytics, {:.0} MiB ClickHouse",
        number("SELECT uniqExact(block) FROM weir.stored_seqs")?,
        sent as f64 / number("SELECT uniqExact(block) FROM weir.stored_seqs")?,
        cpu::peak_bytes(analytics.id())? as f64 / f64::from(1 << 20),
        cpu::peak_bytes(engine.id())? as f64 / f64::from(1 << 20),
    );
    println!("on the wire: {:.1} bytes an event", wire as f64 / sent as f64);
    let parts = "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts WHERE active AND database = 'weir' AND table = 'access_events'";
    println!("on disk: {:.1} bytes an event in the raw table", number(parts)?);
    for (name, sql) in QUERIES {
        println!("{:7.1} ms  {name}", milliseconds(engine_at, sql)?);
    }
    let (raw, rolled) =
        (number("SELECT count() FROM weir.access_events")?, number("SELECT sum(n) FROM weir.requests_1m")?);
    println!("rows: {raw} raw, {rolled} in the minute roll-up, {sent} sent");
    Ok(raw == sent as f64 && rolled == sent as f64)
}

/// Until no merge runs three times in a row.
pub fn settle(merges: impl Fn() -> io::Result<f64>) -> io::Result<Duration> {
    let (began, mut quiet) = (Instant::now(), 0);
    while quiet < 3 && began.elapsed() < SETTLED {
        quiet = if merges()? == 0.0 { quiet + 1 } else { 0 };
        pause(Duration::from_millis(200));
    }
    Ok(began.elapsed())
}

/// The error, and what the programs said.
fn with_logs(error: io::Error, dir: &Path) -> io::Error {
    let said = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
    io::Error::new(error.kind(), format!("{error}\n{}{}", said("engine.err"), said("analytics.err")))
}

pub fn engine(dir: &Path, at: SocketAddr) -> io::Result<Child> {
    let (at_text, data) = (at.to_string(), dir.join("engine").to_string_lossy().into_owned());
    std::fs::create_dir_all(&data)?;
    let args = ["--listen", &at_text, "--path", &data];
    ready(
        Child::start(CORES, &program("weir-chdb")?, &args, &dir.join("engine.out"))?,
        at,
        "/ping",
        &dir.join("engine.err"),
    )
}

pub fn analytics(dir: &Path, engine: SocketAddr, at: SocketAddr) -> io::Result<Child> {
    let tokens = dir.join("tokens");
    std::fs::write(&tokens, format!("{} acme * * *\n", gateways::TOKEN))?;
    let (listen, engine) = (at.to_string(), format!("http://{engine}"));
    let (tokens, state) = (tokens.to_string_lossy(), dir.join("state").to_string_lossy().into_owned());
    let args = ["--listen", &listen, "--clickhouse", &engine, "--tokens", &tokens, "--state", &state];
    ready(
        Child::start(CORES, &program("weir-analytics")?, &args, &dir.join("analytics.out"))?,
        at,
        "/healthz",
        &dir.join("analytics.err"),
    )
}

fn ready(mut child: Child, at: SocketAddr, path: &str, log: &Path) -> io::Result<Child> {
    let deadline = Instant::now() + READY;
    while !matches!(http::get(at, path), Ok((200, _))) {
        if child.ended() || Instant::now() > deadline {
            return Err(io::Error::other(format!(
                "`{path}` is not answered: {}",
                std::fs::read_to_string(log)?.trim()
            )));
        }
        pause(Duration::from_millis(50));
    }
    Ok(child)
}

/// The median of five, after one.
fn milliseconds(at: SocketAddr, sql: &str) -> io::Result<f64> {
    ask(at, sql)?;
    let mut times = (0..5)
        .map(|_| {
            let began = Instant::now();
            ask(at, sql).map(|_| began.elapsed().as_secs_f64() * 1000.0)
        })
        .collect::<io::Result<Vec<_>>>()?;
    times.sort_by(f64::total_cmp);
    Ok(times[2])
}

pub fn ask(at: SocketAddr, sql: &str) -> io::Result<String> {
    match http::post(at, "/", sql.as_bytes())? {
        (200, text) => Ok(text),
        (status, text) => Err(io::Error::other(format!("`{sql}` was answered {status}: {text}"))),
    }
}
